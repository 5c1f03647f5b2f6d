package pipeline

import (
	"container/heap"
	"fmt"
	"slices"
	"time"
)

// starved reports whether nothing goes on because all that is held is out of attempts: no success tells
// that they were at fault, and there is no room for a record that could.
func (d *dispatcher) starved() bool {
	return len(d.condemned) > 0 && d.held() == len(d.condemned) && d.active == 0 && !d.stopping && d.gate.open() &&
		(d.held() >= d.maxHeld() || d.budget.waits() && d.unstored.Load() == 0)
}

// hopeless reports whether an outage waits for nothing: all that is left are records that failed while others
// were answered, so that none of them can prove the service well.
func (d *dispatcher) hopeless() bool {
	if d.gate.mode != Outage || d.taking || d.active > 0 || d.stopping || d.held() == 0 {
		return false
	}
	for t := range d.all {
		if !t.own {
			return false
		}
	}
	return true
}

// failedShut is for failures while the job as a whole waits. They cost no attempt, as long as there can be
// a record that proves the service well again.
func (d *dispatcher) failedShut(t *task, now time.Time, probe bool) {
	if probe && t.failure.Type == TypeFirstTokenTimeout { // it may be slower than it was
		d.gate.timeout = min(2*d.gate.timeout, d.cfg.FirstTokenTimeout)
	}
	if probe {
		d.gate.wait(now, d.cfg.Rand)
	}
	age := now.Sub(d.gate.since)
	if probe && d.gate.mode == Outage && age >= d.gate.patience && d.fresh() < 0 && (!d.taking || d.clogged(age)) {
		if t.attempts++; t.attempts >= d.cfg.MaxAttempts {
			d.fail(t)
			return
		}
	}
	d.ready = append(d.ready, t)
	switch {
	case d.overslept(t, now):
	case d.gate.mode == Outage && !d.answered && !d.cfg.Proven && age >= patience:
		d.stop(&StopError{Reason: StopNoService, Err: t.failure, Detail: fmt.Sprintf("no call has succeeded in %v", patience)})
	}
}

// clogged reports whether no new record can come to prove the service well, and those that keep it out may be at fault: a tenth
// of first calls fail in good times, or no outage lasts that long.
func (d *dispatcher) clogged(age time.Duration) bool {
	if !d.budget.waits() && d.takes() {
		return false
	}
	return d.firsts.calls > 0 && d.usualFailures(0) >= 0.1 || age >= cloggedPatience
}

// outage lets single probes find the end of what most calls failed by.
func (d *dispatcher) outage(now time.Time, why *InvokeError) {
	failing := d.health.failingSince()
	d.forgive(now)
	d.shut(Outage, now, fmt.Sprintf("nearly all of the last %d calls failed (%s): waiting for the service, one call at a time", d.health.size, Clip(why.Error())))
	d.gate.patience, d.gate.failing = outagePatience, failing
}

// forgive gives back what the failures that tripped an outage cost: attempts, and the retry account's.
func (d *dispatcher) forgive(now time.Time) {
	first, again := d.health.giveBack()
	d.firsts.forget(first)
	d.again.forget(again)
	for _, t := range d.condemned {
		t.attempts, t.owes = min(t.attempts, d.cfg.MaxAttempts-1), false
		d.park(t, now)
	}
	d.condemned = nil
	for _, line := range [...]*[]*task{&d.retries, &d.aside} {
		*line = slices.DeleteFunc(*line, func(t *task) bool {
			if !t.owes {
				d.ready = append(d.ready, t)
			}
			return !t.owes
		})
	}
	d.account.refill()
}

func (d *dispatcher) othersLeft() bool {
	return d.taking || d.active > 0 || d.held() > len(d.condemned)
}

// shut closes the gate. Tasks that wait for a permit come back unsent.
func (d *dispatcher) shut(mode Mode, now time.Time, notice string) {
	if t := d.gate.confirm; t != nil { // something else came between
		d.gate.confirm = nil
		d.ready = slices.Insert(d.ready, 0, t)
	}
	d.gate.shut(mode, now, d.cfg.Rand)
	d.gate.timeout = max(probeTimeoutMin, 3*d.firstTokens.p99())
	d.setMode(mode)
	d.closeAdmission()
	d.cfg.Notify(notice)
}

// reopenIf opens the gate after its probe found the service there.
func (d *dispatcher) reopenIf(probe bool) {
	if !probe || d.stopping {
		return
	}
	if d.gate.mode != Confirm {
		d.cfg.Notify("the service answers again")
	}
	d.reopen()
}

// reopen lets the job go on at its old pace.
func (d *dispatcher) reopen() {
	if !d.gate.failing.IsZero() {
		d.cfg.Limiter.Recovered(d.gate.failing)
	}
	d.gate = gate{mode: Running}
	d.health.forget()
	d.setMode(Running)
	d.openAdmission()
	for _, t := range d.waiting { // equal, so the heap stays one: they waited long enough
		t.due = time.Time{}
	}
}

// park lets a task wait until due.
func (d *dispatcher) park(t *task, due time.Time) {
	t.due = due
	heap.Push(&d.waiting, t)
}

// release writes the error rows of those out of attempts.
func (d *dispatcher) release() {
	for _, t := range d.condemned {
		d.fail(t)
	}
	d.condemned = nil
}

// spare settles those out of attempts once a call that was sent after theirs has been answered. Where it is not likely that
// so many failed by themselves they met a short outage, which the answers of older streams hid: they go once more.
// Answers to calls sent before tell nothing of the service as they met it.
func (d *dispatcher) spare(answered int, now time.Time) {
	n := 0
	for _, t := range d.condemned {
		if t.sent < answered && !t.spared {
			n++
		}
	}
	shortOutage := d.cfg.MaxAttempts > 1 && d.tooMany(n)
	kept := d.condemned[:0]
	for _, t := range d.condemned {
		switch {
		case t.sent > answered:
			kept = append(kept, t)
		case t.spared || !shortOutage:
			d.fail(t)
		default:
			t.spared = true
			t.attempts--
			d.park(t, now)
		}
	}
	clear(d.condemned[len(kept):])
	d.condemned = kept
}
