package pipeline

import (
	"container/heap"
	"slices"
	"time"
)

// wake lines up tasks whose time has come.
func (d *dispatcher) wake(now time.Time) {
	for d.waiting.Len() > 0 && !d.waiting[0].due.After(now) {
		t := heap.Pop(&d.waiting).(*task)
		line := d.lineOf(t)
		*line = append(*line, t)
	}
}

// lineOf is where a task belongs that may go as far as its own waiting goes.
func (d *dispatcher) lineOf(t *task) *[]*task {
	switch {
	case !t.owes:
		return &d.ready
	case t.own:
		return &d.aside
	}
	return &d.retries
}

// sleep is how long nothing happens by itself.
func (d *dispatcher) sleep(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	if d.waiting.Len() > 0 && d.waiting[0].due.Before(next) {
		next = d.waiting[0].due
	}
	for _, at := range d.turns(now) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	if len(d.condemned) > 0 && d.active == 0 {
		next = now.Add(min(next.Sub(now), time.Second)) // the reader may come to wait for room
	}
	if !d.gate.open() && d.gate.probing == nil && d.gate.probeAt.Before(next) && d.gate.probeAt.After(now) {
		next = d.gate.probeAt
	}
	if d.deadline.set() {
		next = earlier(next, d.deadline.lookBy(now))
	}
	return max(next.Sub(now), time.Nanosecond) // a select on a timer that is due already may crash the race detector in a bubble of synctest
}

// pick chooses what goes next, without taking it: as [dispatcher.choose] says, and a single probe while the gate
// is shut.
func (d *dispatcher) pick(now time.Time) *task {
	if d.gate.open() {
		t := d.choose(now)
		if t != nil {
			t.probe = false
		}
		return t
	}
	if d.gate.probing != nil || now.Before(d.gate.probeAt) {
		return nil
	}
	t := d.candidate()
	if t != nil {
		t.probe, t.probeTimeout = true, d.gate.timeout
	}
	return t
}

// candidate is the next probe. Every other one is a record that has not failed yet, if there is one: those
// that have may be at fault themselves.
func (d *dispatcher) candidate() *task {
	fresh := d.fresh()
	switch {
	case d.gate.confirm != nil:
		return d.gate.confirm
	case fresh >= 0 && d.gate.probes%2 == 1:
		return d.ready[fresh]
	case len(d.ready) > 0:
		return d.ready[0]
	case len(d.retries) > 0:
		return d.retries[0]
	case d.waiting.Len() > 0:
		return d.waiting[0]
	case len(d.aside) > 0:
		return d.aside[0]
	}
	return nil
}

// fresh is the place in ready of the first record that has not failed yet, or -1.
func (d *dispatcher) fresh() int {
	return slices.IndexFunc(d.ready, func(t *task) bool { return t.failure == nil })
}

// sent takes a task that a worker has received out of its place.
func (d *dispatcher) sent(t *task) {
	d.active++
	d.sends++
	t.sent = d.sends
	if t.order == 0 {
		d.sentRecords++
		t.order = d.sentRecords
		t.lastAdmission = d.admitted.seq
		d.account.earn(d.cfg.RetryShare)
	}
	if t.firstSent == 0 {
		t.firstSent = d.sends
	}
	d.remove(t)
	if t.owes && !t.probe && !t.free {
		t.paid = true
		d.account.spend()
	}
	if !d.gate.open() {
		d.gate.probing = t
		d.gate.probes++
	}
}

// remove takes a task out of wherever it is held.
func (d *dispatcher) remove(t *task) {
	if t == d.gate.confirm {
		d.gate.confirm = nil
		return
	}
	for _, line := range [...]*[]*task{&d.ready, &d.retries, &d.aside} {
		switch place := slices.Index(*line, t); {
		case place == 0:
			(*line)[0] = nil
			*line = (*line)[1:]
			return
		case place > 0:
			*line = slices.Delete(*line, place, place+1)
			return
		}
	}
	heap.Pop(&d.waiting)
}
