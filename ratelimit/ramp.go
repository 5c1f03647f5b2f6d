package ratelimit

import "time"

const (
	rampFirst = 16              // streams begin at once, and the others
	rampRate  = 100             // a second
	rampYoung = 5 * time.Second // in which a refusal stops that
)

// A ramp bounds the first streams of a job whose quota nobody knows, until a cut has made a pace: what is sent before the first
// refusal is back would all be refused with it. And before there is enough to judge refusals by, whoever is refused is not replaced: a
// quota that is used up refuses the next one as well, and streams that end give something back.
type ramp struct {
	on    bool
	began time.Time // with the first request
	most  int       // streams since one was refused; 0: none was
}

// ready tells when there may be one more than so many in flight, of so many at most.
func (r *ramp) ready(now time.Time, inFlight int, most float64) time.Time {
	if !r.on {
		return now
	}
	age := now.Sub(r.began)
	switch {
	case age < rampYoung && r.most > 0 && inFlight >= r.most:
		return r.began.Add(rampYoung)
	case age >= rampYoung && rampFirst+age.Seconds()*rampRate >= most:
		r.on = false
		return now
	case inFlight < rampFirst:
		return now
	}
	return r.began.Add(time.Duration(inFlight-rampFirst+1) * (time.Second / rampRate))
}

// refused notes a refusal, after which so many are in flight.
func (r *ramp) refused(inFlight int) {
	if r.most == 0 || inFlight < r.most {
		r.most = max(1, inFlight)
	}
}
