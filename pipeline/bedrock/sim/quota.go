package sim

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// A Shape is how a quota refills; no AWS page says which is the service's.
type Shape string

// The shapes of a quota. The zero Shape is Bucket.
const (
	// Bucket refills continuously and holds what a window refills. It may go into debt by
	// settlement.
	Bucket Shape = "bucket"
	// Minute counts anew in each window; a refund goes to the window in which it arrives.
	Minute Shape = "minute"
	// StrictMinute is Minute, but a refund that arrives after its own window is lost.
	StrictMinute Shape = "strict-minute"
	// Sliding counts the last window: a request counts from its start until a window later, with
	// its reservation first and with its settlement once that is known.
	Sliding Shape = "sliding"
)

// A Quota limits what one model id admits. Zero figures do not limit.
type Quota struct {
	RPM   float64 // requests per minute
	TPM   float64 // quota tokens per minute
	TPD   float64 // quota tokens per rolling 24 hours
	Shape Shape   // of RPM and TPM
	// Window is the time over which RPM and TPM are counted, 60 s by default. A shorter one admits
	// as much per minute, in smaller portions.
	Window time.Duration
}

func (q Quota) validate() error {
	var errs []error
	for name, v := range map[string]float64{"rpm": q.RPM, "tpm": q.TPM, "tpd": q.TPD} {
		if !(v >= 0) || math.IsInf(v, 0) {
			errs = append(errs, fmt.Errorf("%s must not be negative, is %v", name, v))
		}
	}
	switch q.Shape {
	case "", Bucket, Minute, StrictMinute, Sliding:
	default:
		errs = append(errs, fmt.Errorf("unknown shape %q; the shapes are %s, %s, %s, %s", q.Shape, Bucket, Minute, StrictMinute, Sliding))
	}
	if q.Window < 0 {
		errs = append(errs, fmt.Errorf("window must not be negative, is %v", q.Window))
	}
	return errors.Join(errs...)
}

func (q Quota) limits() bool { return q.RPM > 0 || q.TPM > 0 || q.TPD > 0 }

// A meter admits amounts at the pace of one figure of a quota. Time never goes back; callers
// hold the ledger's lock.
type meter interface {
	// fits reports whether n could be taken now.
	fits(now time.Time, n float64) bool
	// take charges n, which fitted.
	take(now time.Time, n float64)
	// settle corrects what was taken at start from n to used.
	settle(now, start time.Time, n, used float64)
}

// A ledger keeps the quota of one model id: docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html. Its methods may be called
// concurrently, with the time given by the caller.
type ledger struct {
	mu                    sync.Mutex
	last                  time.Time
	requests, tokens, day meter // nil where there is no limit
}

func newLedger(q Quota, now time.Time) *ledger {
	l := &ledger{last: now}
	window := q.Window
	if window == 0 {
		window = time.Minute
	}
	if q.RPM > 0 {
		l.requests = newMeter(q.Shape, q.RPM, window, now)
	}
	if q.TPM > 0 {
		l.tokens = newMeter(q.Shape, q.TPM, window, now)
	}
	if q.TPD > 0 {
		l.day = &sliding{limit: q.TPD, window: 24 * time.Hour, grain: time.Minute}
	}
	return l
}

func newMeter(shape Shape, perMinute float64, window time.Duration, now time.Time) meter {
	limit := perMinute * window.Minutes()
	switch shape {
	case Minute, StrictMinute:
		return &fixedWindow{limit: limit, window: window, origin: now, strict: shape == StrictMinute}
	case Sliding:
		return &sliding{limit: limit, window: window}
	}
	return &bucket{limit: limit, window: window, level: limit, at: now}
}

// A grant is what an admitted request holds until it is settled.
type grant struct {
	start    time.Time
	reserved float64
}

// admit charges a request with its reservation, or says with which message it is refused.
func (l *ledger) admit(now time.Time, reserved float64) (grant, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.advance(now)
	switch {
	case l.requests != nil && !l.requests.fits(now, 1):
		return grant{}, msgRequests
	case l.day != nil && !l.day.fits(now, reserved):
		return grant{}, msgDay
	case l.tokens != nil && !l.tokens.fits(now, reserved):
		return grant{}, msgTokens
	}
	if l.requests != nil {
		l.requests.take(now, 1)
	}
	for _, m := range []meter{l.day, l.tokens} {
		if m != nil {
			m.take(now, reserved)
		}
	}
	return grant{now, reserved}, ""
}

// settle replaces the reservation by what was used.
func (l *ledger) settle(now time.Time, g grant, used float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now = l.advance(now)
	for _, m := range []meter{l.day, l.tokens} {
		if m != nil {
			m.settle(now, g.start, g.reserved, used)
		}
	}
}

// advance keeps time from going back between callers that asked the clock before they had the lock.
func (l *ledger) advance(now time.Time) time.Time {
	if now.After(l.last) {
		l.last = now
	}
	return l.last
}
