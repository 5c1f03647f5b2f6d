package ratelimit

import (
	"maps"
	"time"
)

// A Virtual is a [Limiter] without a clock and without a queue: the caller says how late it is and holds whoever has to
// wait. It takes the same decisions, by the same code, in as much time as they take to compute, so it tells beforehand how long
// a job will be kept waiting. It is not for concurrent use.
//
// Times are counted from the start of the limiter and must not go back.
type Virtual struct {
	core  *core
	start time.Time
}

// A Flight is a request that a [Virtual] has let go.
type Flight struct{ id, gen uint32 }

// NewVirtual returns a limiter in virtual time, or what [Options.Validate] finds. What is learned depends on [Options.Rand], which
// a forecast should give, so as to say the same each time.
func NewVirtual(o Options) (*Virtual, error) {
	l, err := New(o)
	if err != nil {
		return nil, err
	}
	return &Virtual{l.core, l.core.asOf}, nil
}

// Admit asks whether a request may go, on behalf of the first in the queue. Where it may not, again is when to ask again, and 0
// means that only the end of a request in flight can help.
func (v *Virtual) Admit(at time.Duration, c Cost) (f Flight, again time.Duration, ok bool) {
	now := v.start.Add(at)
	verdict := v.core.admit(now, c)
	if !verdict.ok {
		v.core.waiting(now, verdict)
		if !verdict.at.IsZero() {
			again = max(verdict.at.Sub(v.start), at+1)
		}
		return Flight{}, again, false
	}
	return Flight{verdict.id, v.core.flights[verdict.id].gen}, 0, true
}

// Idle says that nobody waits.
func (v *Virtual) Idle(at time.Duration) {
	now := v.start.Add(at)
	v.core.account(now)
	v.core.waiting(now, verdict{})
}

// FirstToken is as [Permit.FirstToken].
func (v *Virtual) FirstToken(at time.Duration, f Flight) {
	v.core.firstToken(v.start.Add(at), f.id, f.gen)
}

// Succeed is as [Permit.Succeed].
func (v *Virtual) Succeed(at time.Duration, f Flight, u Usage) {
	v.core.succeed(v.start.Add(at), f.id, f.gen, u)
}

// Throttled is as [Permit.Throttled], of a quota that is not the day's.
func (v *Virtual) Throttled(at time.Duration, f Flight) {
	v.core.throttled(v.start.Add(at), f.id, f.gen, false)
}

// Waited is as in [Snapshot], up to a moment.
func (v *Virtual) Waited(at time.Duration) map[string]time.Duration {
	v.core.account(v.start.Add(at))
	return maps.Collect(func(yield func(string, time.Duration) bool) {
		for i, d := range v.core.waits {
			if !yield(causeNames[i], d) {
				return
			}
		}
	})
}

// Reserves is what the service takes for a request when it starts, in tokens.
func Reserves(c Cost) float64 { return reserve(c) }

// Settles is what the service takes for a request in the end, in tokens, with a burndown.
func Settles(u Usage, burndown float64) float64 { return (&predictor{burndown: burndown}).settle(u) }
