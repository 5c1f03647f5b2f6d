package pipeline

import (
	"fmt"
	"math"
	"time"
)

const (
	// endWitnesses is how many records must have failed on end for their failures to be the service's.
	endWitnesses = 3
	// endChance is how likely their failing by themselves may at most be for that.
	endChance = 1.0 / 500
)

// endsInOutage reports whether the end of the job, with too few records left to fill the health window, meets a service that
// does not answer. More are tasks that are held nowhere yet.
//
// Records that always fail are what is left at the end of any job, since they alone are sent again. So those that failed
// count only if their first call was sent after every call that was answered: these are the last of the input, taken as they
// came. That they all fail by themselves is as likely as what first calls have shown so far makes it.
func (d *dispatcher) endsInOutage(more ...*task) bool {
	if d.taking || d.stopping || !d.gate.open() {
		return false
	}
	n := 0
	for _, t := range more {
		n += d.witness(t)
	}
	for t := range d.all {
		if t.failure == nil {
			return false
		}
		n += d.witness(t)
	}
	return d.tooMany(n)
}

// tooMany reports whether n records, one after the other, are not likely to have failed by themselves.
func (d *dispatcher) tooMany(n int) bool {
	return n >= endWitnesses && math.Pow(d.usualFailures(n), float64(n)) <= endChance
}

// witness is 1 for a record that tells of an outage at the end, else 0.
func (d *dispatcher) witness(t *task) int {
	kind := t.failure.Kind
	if t.firstSent > d.lastAnswered && (kind == Transient || kind == Overload) && !t.failure.ofOneAnswer() && d.blameless(t) {
		return 1
	}
	return 0
}

// usualFailures is the share of first calls that failed, the last n of them left out; a tenth where there were none.
func (d *dispatcher) usualFailures(n int) float64 {
	usual := d.firsts
	usual.forget(n)
	return (float64(usual.failed) + 0.1) / (float64(usual.calls) + 1)
}

// outageAtEnd waits for the service with what is left.
func (d *dispatcher) outageAtEnd(now time.Time) {
	var why *InvokeError
	for t := range d.all {
		if d.witness(t) == 1 {
			why = t.failure
		}
	}
	left, failing := d.held(), d.health.failingSince()
	d.forgive(now)
	d.shut(Outage, now, fmt.Sprintf("all of the last %d records failed and nothing sent later was answered (%s): waiting for the service, one call at a time",
		left, Clip(why.Error())))
	d.gate.patience, d.gate.failing = outageAtEndPatience, failing
}
