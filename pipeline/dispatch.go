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
	waiting     dueHeap // for their next attempt
	condemned   []*task // out of attempts, while an outage may be the reason
	active      int     // handed to workers
	taking      bool    // more may come from intake
	stopping    bool    // nothing goes any more
	stopErr     error   // why
	readErr     error   // why nothing more is taken, if not for the end of the input
	answered    bool    // a call has succeeded
	gate        gate
	health      *health
	admitted    admissions
	firstTokens ring // of the last answers

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
	}
}

// held counts the records that are neither new nor in flight.
func (d *dispatcher) held() int {
	n := len(d.ready) + d.waiting.Len() + len(d.condemned)
	if d.gate.confirm != nil {
		n++
	}
	return n
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
		d.parked.Store(int64(d.held()))
		switch {
		case d.starved():
			d.outage(now, d.condemned[0].failure)
		case d.hopeless():
			d.reopen()
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
	case d.stopErr != nil:
		return d.stopErr
	case d.readErr != nil:
		return d.readErr
	case !d.judged && d.refused > 0:
		return d.allRefused()
	}
	return nil
}

// stop ends the run: nothing goes any more, calls in flight may finish.
func (d *dispatcher) stop(err error) {
	if d.stopping {
		return
	}
	d.stopping, d.stopErr = true, err
	d.setMode(Draining)
	d.stopWork()
}

// takes reports whether a new record may come in.
func (d *dispatcher) takes() bool {
	if !d.taking || d.held() >= d.maxHeld() {
		return false
	}
	return d.gate.open() || d.fresh() < 0 // or something new to probe with
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
	notOwn := func(t *task) bool { return !t.own }
	return !slices.ContainsFunc(d.ready, notOwn) && !slices.ContainsFunc(d.waiting, notOwn)
}

// take lets a record in, or learns that there are no more.
func (d *dispatcher) take(next intake) {
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

// wake moves tasks whose time has come from waiting to ready.
func (d *dispatcher) wake(now time.Time) {
	for d.waiting.Len() > 0 && !d.waiting[0].due.After(now) {
		d.ready = append(d.ready, heap.Pop(&d.waiting).(*task))
	}
}

// sleep is how long nothing happens by itself.
func (d *dispatcher) sleep(now time.Time) time.Duration {
	next := now.Add(time.Hour)
	if d.waiting.Len() > 0 && d.waiting[0].due.Before(next) {
		next = d.waiting[0].due
	}
	if len(d.condemned) > 0 && d.active == 0 {
		next = now.Add(min(next.Sub(now), time.Second)) // the reader may come to wait for room
	}
	if !d.gate.open() && d.gate.probing == nil && d.gate.probeAt.Before(next) && d.gate.probeAt.After(now) {
		next = d.gate.probeAt
	}
	return max(next.Sub(now), 0)
}

// pick chooses what goes next, without taking it: records that come back before new ones,
// and a single probe while the gate is shut.
func (d *dispatcher) pick(now time.Time) *task {
	if d.gate.open() {
		if len(d.ready) == 0 {
			return nil
		}
		d.ready[0].probe = false
		return d.ready[0]
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
	case d.waiting.Len() > 0:
		return d.waiting[0]
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
	if t.order == 0 {
		d.sentRecords++
		t.order = d.sentRecords
		t.lastAdmission = d.admitted.seq
	}
	switch place := slices.Index(d.ready, t); {
	case t == d.gate.confirm:
		d.gate.confirm = nil
	case place == 0:
		d.ready[0] = nil
		d.ready = d.ready[1:]
	case place > 0:
		d.ready = slices.Delete(d.ready, place, place+1)
	default:
		heap.Pop(&d.waiting)
	}
	if !d.gate.open() {
		d.gate.probing = t
		d.gate.probes++
	}
}

// judge decides what an outcome means for its record and for the job.
func (d *dispatcher) judge(o outcome, now time.Time) {
	t := o.task
	probe := d.gate.probing == t
	t.probe = false
	if probe {
		d.gate.probing = nil
	}
	switch {
	case o.fault != nil:
		if t.order <= d.firstBound {
			d.firstBound++
		}
		t.rec.Fault = o.fault
		d.results <- d.rejection(t.rec)
		return
	case !o.admitted:
		d.ready = slices.Insert(d.ready, 0, t)
		return
	case o.err == nil:
		d.succeed(t, o, probe)
		return
	case o.err.Kind == Interrupted:
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
		d.reopenIf(probe)
		d.health.add(t, false, o.timing.Started)
		d.fail(t)
	default:
		d.failed(t, o, now, probe)
	}
}

func (d *dispatcher) succeed(t *task, o outcome, probe bool) {
	d.answered = true
	d.notReady = time.Time{}
	d.judged = d.judged || t.order <= d.firstBound
	d.reopenIf(probe)
	d.health.add(t, false, o.timing.Started)
	d.admitted.admit(t.reservation())
	d.firstTokens.add(o.timing.FirstToken)
	if !d.health.suspect(d.cfg.MaxAttempts) {
		d.release()
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
	t.attempts++
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
	case d.health.suspect(d.cfg.MaxAttempts) && d.othersLeft():
		d.condemned = append(d.condemned, t)
	default:
		d.fail(t)
	}
}

// tellsOfOutage reports whether a failure says something of the service. It does not if others were answered
// between this failure of the record and the one before, and not a second time if an answer had begun: records
// that always fail are what is left at the end of any job, and no outage.
func (d *dispatcher) tellsOfOutage(t *task) bool {
	switch {
	case t.own, t.counted && t.failure.ofOneAnswer():
		return false
	case d.cfg.Retry:
		return t.failure.Type == TypeConnectionError
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
		d.gate.wait(now)
	}
	age := now.Sub(d.gate.since)
	if probe && d.gate.mode == Outage && age >= outagePatience && !d.taking && d.fresh() < 0 {
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

// outage gives the attempts back that tripped it, and lets single probes find its end.
func (d *dispatcher) outage(now time.Time, why *InvokeError) {
	d.health.giveBack()
	for _, t := range d.condemned {
		t.attempts = min(t.attempts, d.cfg.MaxAttempts-1)
		d.park(t, now)
	}
	d.condemned = nil
	d.shut(Outage, now, fmt.Sprintf("nearly all of the last %d calls failed (%s): waiting for the service, one call at a time", d.health.size, Clip(why.Error())))
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

// release writes the error rows of those whose failures were no outage.
func (d *dispatcher) release() {
	for _, t := range d.condemned {
		d.fail(t)
	}
	d.condemned = nil
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
