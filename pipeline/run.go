package pipeline

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// A Runner is one run. [Runner.Gauges] may be called at any time, from anywhere.
type Runner struct {
	cfg     Config
	budget  *budget
	workers []worker

	// hard ends calls in flight: it outlives the caller's context by up to Drain.
	hard  context.Context
	abort context.CancelCauseFunc
	// halt ends with the first reason to stop: nothing is taken or sent after it.
	halt     context.Context
	stopWork context.CancelFunc
	// gate is halt, or less: it also ends whenever the job as a whole has to wait, and is made anew after.
	gate atomic.Pointer[admission]

	counting counting
	tooLarge sync.Once // a record was told of that reserves more than the quota of a minute

	inFlight atomic.Int64
	parked   atomic.Int64
	deferred atomic.Int64
	unstored atomic.Int64
	broke    atomic.Bool
	mode     atomic.Value // Mode
	storing  atomic.Int32 // a storeState
}

type admission struct {
	ctx  context.Context
	shut context.CancelFunc
}

// silence is how long a stream may say nothing before the gauges count it.
const silence = 2 * time.Minute

// New checks a run's configuration and fills in its defaults.
func New(cfg Config) (*Runner, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	r := &Runner{cfg: cfg, budget: newBudget(cfg.MaxBuffer), workers: make([]worker, cfg.Concurrency)}
	r.mode.Store(Running)
	return r, nil
}

// Run takes every record of the source to the store. It returns nil when the source is used up and
// all of it is stored, [ErrInterrupted] when ctx ended first, and a *[StopError] when the run had to
// stop by itself. Once ctx has ended nothing more is sent, calls in flight have Drain to finish, and
// what has arrived is committed. It is called once.
func (r *Runner) Run(ctx context.Context) error {
	r.hard, r.abort = context.WithCancelCause(context.WithoutCancel(ctx))
	defer r.abort(nil)
	r.halt, r.stopWork = context.WithCancel(r.hard)
	defer r.stopWork()
	r.openAdmission()
	defer context.AfterFunc(ctx, func() {
		t := time.AfterFunc(r.cfg.Drain, func() { r.abort(errDrainTimeout) })
		context.AfterFunc(r.hard, func() { t.Stop() })
	})()

	intake := make(chan intake)
	tasks, outcomes := make(chan *task), make(chan outcome)
	results, storeChanged := make(chan *Result), make(chan struct{}, 1)

	// The reader may hang in a read of a terminal or a pipe that nothing can interrupt; then
	// it is left behind rather than waited for.
	reading := make(chan struct{})
	go func() {
		defer close(reading)
		r.read(r.halt, intake)
	}()
	defer func() {
		r.stopWork()
		select {
		case <-reading:
		case <-time.After(time.Second):
		}
	}()

	var g errgroup.Group // no context: a worker's failure is a record's, not its siblings'
	for i := range r.workers {
		w := &r.workers[i]
		w.Runner = r
		g.Go(func() error { w.run(tasks, outcomes); return nil })
	}
	var stored error
	g.Go(func() error {
		s := storer{Runner: r, results: results, changed: storeChanged}
		stored = s.run(context.WithoutCancel(ctx))
		return nil
	})
	d := newDispatcher(r, intake, tasks, outcomes, results)
	ended := d.run(ctx, storeChanged)
	close(tasks)
	close(results)
	_ = g.Wait() // nothing in it fails
	if stored != nil {
		return stored
	}
	return ended
}

// An intake is a record read, or why there is none.
type intake struct {
	rec *Record
	err error
}

// read offers records, as far as the buffer budget reaches, and at last the source's error.
func (r *Runner) read(ctx context.Context, out chan<- intake) {
	// Room is made before a record is read, for one like the last: the record in the reader's
	// hands may be as large as any in flight.
	var room int64
	for {
		err := r.budget.acquire(ctx, room, 0)
		if err != nil {
			return // nothing is taken any more
		}
		rec, err := r.cfg.Source.Next(ctx)
		if err == nil {
			err = r.fit(ctx, rec.Size, room)
			room = rec.Size
		}
		select {
		case out <- intake{rec, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

// fit turns the room made for a record into what the record really takes.
func (r *Runner) fit(ctx context.Context, size, room int64) error {
	if size <= room {
		r.budget.add(size - room)
		return nil
	}
	return r.budget.acquire(ctx, size-room, room)
}

// Gauges are the run's levels now.
func (r *Runner) Gauges() Gauges {
	g := Gauges{
		InFlight: int(r.inFlight.Load()),
		Waiting:  int(r.parked.Load()),
		Deferred: int(r.deferred.Load()),
		Broke:    r.broke.Load(),
		Unstored: int(r.unstored.Load()),
		Buffered: r.budget.held(),
		Mode:     r.mode.Load().(Mode),
	}
	now := time.Now().UnixNano()
	for i := range r.workers {
		if since := r.workers[i].silentSince.Load(); since > 0 && now-since >= int64(silence) {
			g.Silent++
			if !r.workers[i].begun.Load() {
				g.Unbegun++
			}
		}
	}
	return g
}

func (r *Runner) setMode(m Mode) {
	r.mode.Store(m)
	r.cfg.Limiter.Out(m == Outage || m == Waking)
}

// admission is the context that tasks wait for their permit in.
func (r *Runner) admission() context.Context { return r.gate.Load().ctx }

func (r *Runner) openAdmission() {
	ctx, shut := context.WithCancel(r.halt)
	if old := r.gate.Swap(&admission{ctx, shut}); old != nil {
		old.shut()
	}
}

func (r *Runner) closeAdmission() { r.gate.Load().shut() }

// sourceError is the end of the source as the run sees it.
func sourceError(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return &StopError{Reason: StopSource, Err: err}
}
