package pipeline

import (
	"container/heap"
	"context"
	"fmt"
	"slices"
	"time"
)

const (
	// throttlesOwn is how often a record may be refused for itself before it becomes an error row.
	throttlesOwn = 20
	// firstSent is how many records must be refused alike, before any was not, for the job to be wrong.
	firstSent = 20
)

// A dispatcher decides what goes next. One goroutine runs it and owns all of it.
type dispatcher struct {
	*Runner
	intake   <-chan intake
	tasks    chan<- *task
	outcomes <-chan outcome
	results  chan<- *Result

	ready       []*task // may go now
	retries     []*task // may go as far as the retry account reaches
	aside       []*task // fail by themselves: go when nothing new can
	waiting     dueHeap // for their next attempt
	condemned   []*task // out of attempts, until a later call tells whether an outage is the reason
	active      int     // handed to workers
	taking      bool    // more may come from intake
	stopping    bool    // nothing goes any more
	stopErr     error   // why
	cut         int     // calls that were ended without a row
	readErr     error   // why nothing more is taken, if not for the end of the input
	answered    bool    // a call has succeeded
	gate        gate
	health      *health
	admitted    admissions
	firstTokens ring // of the last answers
	account     retryAccount
	deadline    deadline
	thirsty     time.Time // since when nothing new has come although it was asked for; zero otherwise

	sends        int   // calls handed to workers
	lastAnswered int   // the latest of them that was answered
	firsts       tally // how the first calls of records went
	again        tally // how the calls after a failure went

	notReady time.Time // since when the model was not, and no call succeeded; zero otherwise

	sentRecords int
	firstBound  int          // firstSent, and the records numbered before it that were not sent after all
	refused     int          // of the first ones
	refusal     *InvokeError // how, the same type for all
	judged      bool         // settled: the first records are no sign of a wrong job
}

func newDispatcher(r *Runner, in <-chan intake, tasks chan<- *task, outcomes <-chan outcome, results chan<- *Result) *dispatcher {
	return &dispatcher{
		Runner: r, intake: in, tasks: tasks, outcomes: outcomes, results: results,
		taking: true, judged: r.cfg.Proven, firstBound: firstSent,
		gate: gate{mode: Running}, health: newHealth(r.cfg.Concurrency),
		account:  newRetryAccount(r.cfg.RetryShare, r.cfg.Concurrency, time.Now()),
		deadline: newDeadline(&r.cfg, time.Now()),
	}
}

// held counts the records that are neither new nor in flight.
func (d *dispatcher) held() int {
	n := len(d.ready) + len(d.retries) + len(d.aside) + d.waiting.Len() + len(d.condemned)
	if d.gate.confirm != nil {
		n++
	}
	return n
}

// all yields the records that are held.
func (d *dispatcher) all(yield func(*task) bool) {
	for _, line := range [...][]*task{d.ready, d.retries, d.aside, d.waiting, d.condemned} {
		for _, t := range line {
			if !yield(t) {
				return
			}
		}
	}
	if d.gate.confirm != nil {
		yield(d.gate.confirm)
	}
}

// maxHeld bounds them.
func (d *dispatcher) maxHeld() int { return max(256, 4*d.cfg.Concurrency) }

// run moves records until the input is used up or the run stops, and every task is back.
func (d *dispatcher) run(ctx context.Context, storeChanged <-chan struct{}) error {
	interrupted := ctx.Done()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	writable := true
	for {
		now := time.Now()
		d.wake(now)
		d.keepDeadline(now)
		d.account.flow(now, d.trickle(now))
		d.parked.Store(int64(d.held()))
		d.deferred.Store(int64(d.unpaid()))
		switch {
		case d.starved():
			d.outage(now, d.condemned[0].failure)
		case d.hopeless():
			d.reopen()
		case d.active == 0 && d.endsInOutage():
			d.outageAtEnd(now)
		}
		if d.finished() {
			return d.verdict()
		}
		var next *task
		if !d.stopping && writable {
			next = d.pick(now)
		}
		var out chan<- *task
		if next != nil {
			out = d.tasks
		}
		var in <-chan intake
		if next == nil && !d.stopping && writable && d.takes() {
			in = d.intake
		}
		d.thirst(in != nil, now)
		timer.Reset(d.sleep(now))

		select {
		case out <- next:
			d.sent(next)
		case next := <-in:
			d.take(next)
		case o := <-d.outcomes:
			d.active--
			d.judge(o, time.Now())
		case <-timer.C:
		case <-storeChanged:
			state := storeState(d.storing.Load())
			writable = state == storeWorks
			d.followStore(state)
		case <-interrupted:
			interrupted = nil
			d.stop(ErrInterrupted)
		}
	}
}

// finished reports whether nothing is left to do and nobody is out. Tasks that will not go
// any more are dropped: they have no row and are left.
func (d *dispatcher) finished() bool {
	if d.active > 0 {
		return false
	}
	if d.stopping {
		return true
	}
	if d.taking || d.held() > len(d.condemned) {
		return false
	}
	d.release()
	return true
}

// verdict is how the run ended.
func (d *dispatcher) verdict() error {
	switch {
	case d.stopErr != nil && !(d.deadline.over && d.complete()):
		return d.stopErr
	case d.readErr != nil:
		return d.readErr
	case !d.judged && d.refused > 0:
		return d.allRefused()
	}
	return nil
}

// complete reports whether every record of the input was sent, and none of the calls cut: the last of them ended as the
// deadline came.
func (d *dispatcher) complete() bool { return !d.taking && d.held() == 0 && d.cut == 0 }

// stop ends the run: nothing goes any more, calls in flight may finish.
func (d *dispatcher) stop(err error) {
	if d.stopping {
		return
	}
	d.stopping, d.stopErr = true, err
	d.setMode(Draining)
	d.stopWork()
}

// takes reports whether a new record may come in. While the gate is shut it is for a probe alone, and goes past the
// bound: records that fail by themselves may be all that is held, and never prove the service well.
func (d *dispatcher) takes() bool {
	switch {
	case !d.taking:
		return false
	case d.gate.open():
		return d.held() < d.maxHeld()
	}
	return d.fresh() < 0 && d.held() < 2*d.maxHeld()
}

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

// take lets a record in, or learns that there are no more.
func (d *dispatcher) take(next intake) {
	d.thirsty = time.Time{}
	switch {
	case next.err != nil:
		d.taking = false
		d.readErr = sourceError(next.err) // what was read before it is still sent
	case next.rec.Fault != nil:
		d.results <- d.rejection(next.rec)
	default:
		d.ready = append(d.ready, &task{rec: next.rec})
	}
}

// followStore stops sending while results cannot be kept.
func (d *dispatcher) followStore(state storeState) {
	switch {
	case d.stopping:
	case state == storeLost:
		d.stop(nil) // the storer says why
	case state == storeFails:
		d.setMode(Blocked)
		d.closeAdmission()
	default:
		d.setMode(d.gate.mode)
		if d.gate.open() {
			d.openAdmission()
		}
	}
}

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
	return max(next.Sub(now), 0)
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
		t.order, t.firstSent = d.sentRecords, d.sends
		t.lastAdmission = d.admitted.seq
		d.account.earn(d.cfg.RetryShare)
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

// judge decides what an outcome means for its record and for the job.
func (d *dispatcher) judge(o outcome, now time.Time) {
	t := o.task
	probe := d.gate.probing == t
	t.probe = false
	if probe {
		d.gate.probing = nil
	}
	if !o.admitted && o.fault == nil {
		d.unsent(t)
		return
	}
	t.owes, t.paid, t.free = false, false, false
	switch {
	case o.fault != nil:
		if t.order <= d.firstBound {
			d.firstBound++
		}
		t.rec.Fault = o.fault
		d.results <- d.rejection(t.rec)
		return
	case o.err == nil:
		d.succeed(t, o, now, probe)
		return
	case o.err.Kind == Interrupted:
		d.cut++
		return // no row: it is left
	}
	if o.err.Partial != "" && len(o.err.Partial) >= len(t.partial) {
		t.partial = o.err.Partial
	}
	t.failure, t.failedIn = o.err, o.timing
	switch o.err.Kind {
	case Throttled:
		d.throttled(t, o, now, probe)
	case NotReady:
		d.asleep(t, now, probe)
	case JobFatal:
		d.jobFatal(t, now, probe)
	case RecordFatal:
		d.lastAnswered = max(d.lastAnswered, t.sent)
		d.count(t, false)
		d.reopenIf(probe)
		d.health.add(t, false, o.timing.Started)
		d.fail(t)
	default:
		d.failed(t, o, now, probe)
	}
}

// unsent puts a task back whose call was not made.
func (d *dispatcher) unsent(t *task) {
	if t.paid {
		t.paid = false
		d.account.earn(1)
	}
	t.free = false
	line := d.lineOf(t)
	*line = slices.Insert(*line, 0, t)
}

func (d *dispatcher) succeed(t *task, o outcome, now time.Time, probe bool) {
	d.answered = true
	d.lastAnswered = max(d.lastAnswered, t.sent)
	d.count(t, false)
	if d.dry(now) {
		d.account.earn(earnedByAnswer)
	}
	d.notReady = time.Time{}
	d.judged = d.judged || t.order <= d.firstBound
	d.reopenIf(probe)
	d.health.add(t, false, o.timing.Started)
	d.admitted.admit(t.reservation())
	if first := o.timing.FirstToken; first >= 0 {
		d.firstTokens.add(first)
	} else { // an answer in one piece: nothing comes before all of it
		d.firstTokens.add(o.timing.Total)
	}
	d.deadline.lasted.add(o.timing.Total)
	if !d.health.suspect(d.cfg.MaxAttempts) {
		d.spare(t.sent, now)
	}
	d.budget.add(int64(len(o.response.Output) + len(o.response.Text)))
	d.results <- &Result{
		Record: t.rec, ModelID: d.cfg.ModelID, Request: t.req,
		Response: o.response, Timing: o.timing, Attempts: t.attempts + 1,
	}
	t.rec, t.req = nil, nil
}

// throttled sends a record round again. It costs no attempt, unless only this record is refused.
func (d *dispatcher) throttled(t *task, o outcome, now time.Time, probe bool) {
	d.reopenIf(probe) // the service is there
	t.throttleRow++
	// A quota of the day that is used up refuses everybody, for hours if it has to be: no record
	// is at fault, and the limiter alone says when the next may try.
	if !o.err.Daily {
		if o.alone || d.admitted.since(t.lastAdmission, t.reservation()) {
			t.throttles++
		}
		t.lastAdmission = d.admitted.seq
	}
	if t.throttles >= throttlesOwn {
		d.fail(t)
		return
	}
	// The limiter holds everybody after a refusal. A record that is refused again and again
	// also steps back behind the others.
	if t.throttleRow == 1 || o.err.Daily {
		d.ready = append(d.ready, t)
		return
	}
	d.park(t, now.Add(backoff(t.throttleRow-1, d.cfg.Rand)))
}

// asleep lets the job wait for a model that is waking up.
func (d *dispatcher) asleep(t *task, now time.Time, probe bool) {
	if d.notReady.IsZero() {
		d.notReady = now
	}
	d.ready = append(d.ready, t)
	switch {
	case d.overslept(t, now):
	case d.gate.mode != Waking:
		d.shut(Waking, now, fmt.Sprintf("the model is not ready (%s); trying one call at a time", Clip(t.failure.Error())))
	case probe:
		d.gate.wait(now)
	}
}

// overslept stops a job whose model has not become ready in time, whatever came between.
func (d *dispatcher) overslept(t *task, now time.Time) bool {
	if d.notReady.IsZero() || now.Sub(d.notReady) < patience {
		return false
	}
	d.stop(&StopError{Reason: StopNotReady, Err: t.failure, Detail: fmt.Sprintf("the model did not become ready in %v", patience)})
	return true
}

// jobFatal confirms with one more call before it believes that nothing can succeed.
func (d *dispatcher) jobFatal(t *task, now time.Time, probe bool) {
	switch {
	case d.gate.mode == Confirm && probe:
		d.stop(&StopError{Reason: StopJobFatal, Err: t.failure, Detail: "no call can succeed, which a second one with fresh credentials confirmed"})
		return
	case d.gate.mode == Confirm:
		d.ready = append(d.ready, t)
		return
	}
	d.cfg.Model.Refresh()
	d.shut(Confirm, now, fmt.Sprintf("%s; resolving credentials anew and trying once more", Clip(t.failure.Error())))
	d.gate.probeAt, d.gate.confirm = now, t
}

// failed is for overload and transient errors: again, up to the record's attempts, which do
// not count while the service is out.
func (d *dispatcher) failed(t *task, o outcome, now time.Time, probe bool) {
	if d.gate.mode == Outage || d.gate.mode == Waking {
		d.failedShut(t, now, probe)
		return
	}
	d.reopenIf(probe)
	d.count(t, true)
	t.attempts++
	t.owes = true
	if !t.failedAt.IsZero() && d.health.wellSince(t.failedAt) {
		t.own = true
	}
	t.failedAt = now
	if d.tellsOfOutage(t) {
		t.counted = true
		d.health.add(t, true, o.timing.Started)
	}
	switch {
	case d.health.ill():
		d.park(t, now)
		d.outage(now, t.failure)
	case t.attempts < d.cfg.MaxAttempts:
		d.park(t, now.Add(backoff(t.attempts, d.cfg.Rand)))
	case !t.own && (d.othersLeft() || d.endsInOutage(t)): // until a later call tells, see spare
		d.condemned = append(d.condemned, t)
	default:
		d.fail(t)
	}
}

// tellsOfOutage reports whether a failure says something of the service. It does not if that may lie in the record,
// not a second time if an answer had begun, and not if hardly any record is answered that failed before: records that
// always fail are what is left at the end of any job, and no outage.
func (d *dispatcher) tellsOfOutage(t *task) bool {
	switch {
	case t.counted && t.failure.ofOneAnswer(), t.sent != t.firstSent && d.again.share(d.health.size) > 0.6:
		return false
	}
	return d.blameless(t)
}

// blameless reports whether nothing is known by which a record itself may be at fault: others were answered between its last
// two failures, or in an earlier session.
func (d *dispatcher) blameless(t *task) bool {
	return !t.own && (!d.cfg.Retry || t.failure.Type == TypeConnectionError)
}

// count notes how a call went while the service was there, as far as that was known.
func (d *dispatcher) count(t *task, failed bool) {
	if t.sent == t.firstSent {
		d.firsts.add(failed)
	} else {
		d.again.add(failed)
	}
}

// failedShut is for failures while the job as a whole waits. They cost no attempt, as long as there can be
// a record that proves the service well again.
func (d *dispatcher) failedShut(t *task, now time.Time, probe bool) {
	if probe && t.failure.Type == TypeFirstTokenTimeout { // it may be slower than it was
		d.gate.timeout = min(2*d.gate.timeout, d.cfg.FirstTokenTimeout)
	}
	if probe {
		d.gate.wait(now)
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
	d.gate.shut(mode, now)
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

// fail makes the error row of a record that was sent.
func (d *dispatcher) fail(t *task) {
	e := t.failure
	d.results <- &Result{
		Record: t.rec, ModelID: d.cfg.ModelID, Request: t.req, Timing: t.failedIn,
		Attempts: max(t.attempts, 1), Partial: t.partial,
		Err: &RowError{Code: e.Code, Type: e.Type, Message: e.Message, Retryable: e.Retryable(), RequestID: e.RequestID},
	}
	d.budget.add(int64(len(t.partial)))
	t.rec, t.req = nil, nil
	d.judgeFirst(t.order, e)
}

// judgeFirst stops the job when the first records it sent were all refused alike: then it is
// the job that is wrong, and not twenty records.
func (d *dispatcher) judgeFirst(order int, e *InvokeError) {
	if d.judged || order > d.firstBound {
		return
	}
	if e.Kind != RecordFatal || d.refusal != nil && d.refusal.Type != e.Type {
		d.judged = true
		return
	}
	d.refused++
	d.refusal = e
	if d.refused >= firstSent {
		d.stop(d.allRefused())
	}
}

func (d *dispatcher) allRefused() error {
	return &StopError{
		Reason: StopAllRefused, Err: d.refusal,
		Detail: fmt.Sprintf("every one of the first %d records sent was refused alike", d.refused),
	}
}

func (d *dispatcher) rejection(rec *Record) *Result {
	return &Result{Record: rec, ModelID: d.cfg.ModelID, Err: &RowError{Type: rec.Fault.Type, Message: rec.Fault.Message}}
}

// A dueHeap orders tasks by the time they may go again.
type dueHeap []*task

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a task; use heap.Push.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(*task)) }

// Pop takes the last task; use heap.Pop.
func (h *dueHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// A ring keeps the last durations it was given.
type ring struct {
	values [512]time.Duration
	n      int
}

func (r *ring) add(d time.Duration) {
	r.values[r.n%len(r.values)] = d
	r.n++
}

// p99 is 0 while nothing was added.
func (r *ring) p99() time.Duration {
	n := min(r.n, len(r.values))
	if n == 0 {
		return 0
	}
	sorted := slices.Clone(r.values[:n])
	slices.Sort(sorted)
	return sorted[(n-1)*99/100]
}
