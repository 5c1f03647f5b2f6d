package pipeline

import (
	"fmt"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

const (
	// lookEvery is how often the dispatcher looks at the clock on the wall: a machine that slept, or whose clock was set,
	// has no timer for that.
	lookEvery = 10 * time.Second
	// guessMost is how long calls are taken to last while none was answered; a tenth of the time there is, if that is less.
	guessMost = time.Minute
	// dayLength is after how long the service forgets what a quota of the day was used for.
	dayLength = 24 * time.Hour
	// dayGrain is within what the limiter's ledger of the day, and what is known of earlier sessions, are exact.
	dayGrain = 10 * time.Minute
)

// A deadline keeps a run within its time. All its methods do nothing where there is none.
type deadline struct {
	at       time.Time // on the wall clock; zero: none
	begun    time.Time
	lasted   ring          // calls that were answered, from their start to the terminal event
	margin   time.Duration // what calls in flight are given to end
	looked   time.Time
	over     bool      // what was in flight is cut
	day      bool      // the quota of the day is used up, which was said,
	dayAfter int       // when so many calls had been answered
	dayBack  time.Time // when it comes back, as known at dayFrom
	dayFrom  time.Time
	forecast forecast
}

func newDeadline(cfg *Config, now time.Time) deadline {
	d := deadline{at: cfg.Deadline.Round(0), begun: now}
	if !d.at.IsZero() {
		d.forecast = newForecast(now, d.at)
	}
	return d
}

func (l *deadline) set() bool { return !l.at.IsZero() }

// passed reports whether a moment before the deadline has come.
func (l *deadline) passed(now time.Time, before time.Duration) bool {
	return !now.Round(0).Before(l.at.Add(-before))
}

// lookBy is when there is something to look at next.
func (l *deadline) lookBy(now time.Time) time.Time {
	next := now.Add(min(lookEvery, l.forecast.every))
	for _, before := range []time.Duration{l.margin, 0} {
		if left := l.at.Add(-before).Sub(now.Round(0)); left > 0 {
			next = earlier(next, now.Add(left))
		}
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// keepDeadline stops the run so early that what is in flight can end before the deadline, cuts at the deadline what has not,
// and says in time what cannot be done by then.
func (d *dispatcher) keepDeadline(now time.Time) {
	l := &d.deadline
	if !l.set() {
		return
	}
	if l.looked.IsZero() || now.Sub(l.looked) >= time.Second {
		l.looked = now
		l.margin = d.drainTime()
	}
	switch {
	case !l.over && l.passed(now, 0):
		l.over = true // whether or not anything is left: see complete
		d.abort(errDeadline)
		d.stopForDeadline("")
	case d.stopping:
	case l.passed(now, l.margin) && (d.taking || d.held() > 0):
		d.stopForDeadline(fmt.Sprintf("calls take up to %v: nothing more is sent, so that those in flight can end by %s", l.margin.Round(time.Millisecond), clock(l.at, now)))
	default:
		d.watchDay(now)
		d.foretell(now)
	}
}

// stopForDeadline ends the run; notice is said if it is not "".
func (d *dispatcher) stopForDeadline(notice string) {
	if d.stopping {
		return
	}
	if notice != "" && d.active > 0 {
		d.cfg.Notify(notice)
	}
	detail := "the deadline, " + clock(d.deadline.at, time.Now()) + ", came before the end of the input"
	switch {
	case d.gate.mode == Outage:
		detail += ", in an outage of the service"
	case d.deadline.day:
		detail += ", with the quota of the day used up"
	}
	d.stop(&StopError{Reason: StopDeadline, Detail: detail})
}

// drainTime is what calls in flight need to end: as long as 99 in 100 took so far.
func (d *dispatcher) drainTime() time.Duration {
	l := &d.deadline
	if l.lasted.n == 0 {
		return min(d.cfg.Timeout, guessMost, l.at.Sub(l.begun.Round(0))/10)
	}
	return min(d.cfg.Timeout, l.lasted.p99())
}

// watchDay stops a run that waits for a quota of the day which cannot come back in time. Whoever stated that quota
// is told by the limiter's ledger: what was used leaves it a day later. Where the service refused, nobody knows.
func (d *dispatcher) watchDay(now time.Time) {
	l := &d.deadline
	if now != l.looked { // once a second
		return
	}
	snapshot := d.cfg.Limiter.Snapshot()
	if snapshot.Binding != ratelimit.BoundByDay || d.inFlight.Load() > 0 {
		// A call in flight may be the limiter's next try: as long as none is answered, nothing has come back.
		l.day, l.dayBack = l.day && l.lasted.n == l.dayAfter, time.Time{}
		return
	}
	by := clock(l.at, now)
	if back := d.dayBack(); !back.Equal(l.dayBack) {
		l.dayBack, l.dayFrom = back, now
	}
	if snapshot.HoldUntil.IsZero() && l.passed(l.dayBack, l.margin) && now.Sub(l.dayFrom) >= dayGrain {
		d.stop(&StopError{Reason: StopDay, Detail: fmt.Sprintf("the quota of the day is used up, and nothing of it comes back before %s; the deadline is %s", clock(l.dayBack, now), by)})
		return
	}
	if !l.day {
		l.day, l.dayAfter = true, l.lasted.n
		d.cfg.Notify(fmt.Sprintf("the quota of the day is used up: waiting for it, until %s at the latest", by))
	}
}

// dayBack is when the first of what was used of a quota of the day leaves it.
func (d *dispatcher) dayBack() time.Time {
	since := d.deadline.begun
	if d.cfg.DayUsedSince != nil {
		since = earlier(since, d.cfg.DayUsedSince())
	}
	return since.Round(0).Add(dayLength)
}

// foretell says whether the rest can be done in time.
func (d *dispatcher) foretell(now time.Time) {
	if d.cfg.Records == nil || !d.forecast().due(now) {
		return
	}
	done, total := d.cfg.Records()
	if total < 0 || !d.gate.open() || d.deadline.day {
		d.forecast().forget(now) // what was seen before a pause does not tell the pace after it
		return
	}
	if notice := d.forecast().look(now, done, total); notice != "" {
		d.cfg.Notify(notice)
	}
}

func (d *dispatcher) forecast() *forecast { return &d.deadline.forecast }

// clock is a time of day in words, with its date where that is not within a day.
func clock(at, now time.Time) string {
	if gap := at.Sub(now); gap < 0 && gap > -dayLength || gap >= 0 && gap < dayLength {
		return at.Local().Format("15:04")
	}
	return at.Local().Format("Mon 2 Jan 15:04")
}
