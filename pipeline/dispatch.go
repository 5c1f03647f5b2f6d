package pipeline

import (
	"context"
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
	short    *task     // what a bound on spending has stopped the run at

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
		room := d.room(next)
		if room == RoomNow && !d.takeOn(next) {
			room = RoomLater // a worker was quicker
		}
		broke := room != RoomNow
		d.broke.Store(broke)
		if room == RoomNever {
			d.stopShort(next)
			continue
		}
		if broke {
			next = nil // an outcome tells when to look again
		}
		var out chan<- *task
		if next != nil {
			out = d.tasks
		}
		var in <-chan intake
		if next == nil && !broke && !d.stopping && writable && d.takes() {
			in = d.intake
		}
		d.thirst(in != nil, now)
		timer.Reset(d.sleep(now))

		var handed bool
		select {
		case out <- next:
			handed = true
			d.sent(next)
		case fresh := <-in:
			d.take(fresh)
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
		if !handed {
			d.retract(next)
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
		if d.short != nil {
			return d.spent()
		}
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
