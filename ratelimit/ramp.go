package ratelimit

import "time"

const (
	rampFirst = 16  // streams begin at once, and the others
	rampRate  = 100 // a second
)

// A ramp bounds the first streams of a job whose quota nobody knows, until a cut has made a pace: what is sent before the first
// refusal is back would all be refused with it.
type ramp struct {
	on    bool
	began time.Time // with the first request; zero: there was none
}

// ready tells when there may be one more than so many in flight, of so many at most.
func (r *ramp) ready(now time.Time, inFlight int, most float64) time.Time {
	if !r.on || r.began.IsZero() {
		return now
	}
	if rampFirst+now.Sub(r.began).Seconds()*rampRate >= most {
		r.on = false
		return now
	}
	if inFlight < rampFirst {
		return now
	}
	return r.began.Add(time.Duration(inFlight-rampFirst+1) * (time.Second / rampRate))
}
