package pipeline

import (
	"fmt"
	"slices"
	"time"
)

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
		if o.stop != nil {
			d.stop(o.stop)
		}
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
	if t.sent == t.firstSent {
		t.firstSent = 0 // its first call is still to come
	}
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
		d.gate.wait(now, d.cfg.Rand)
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
