package lab

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// A Kind is a kind of client.
type Kind string

// The clients.
const (
	Ours     Kind = "ours"     // pipeline and ratelimit, as they are
	Standard Kind = "standard" // goroutines over the SDK's standard retryer
	Adaptive Kind = "adaptive" // goroutines over the SDK's adaptive mode
	AIMD     Kind = "AIMD"     // goroutines below an adaptive limit of streams, as inspect_ai has it
	Patient  Kind = "patient"  // sends evenly and rests after a refusal: a bound, nobody's client
)

// Kinds are those that the table has a column for, ours first.
var Kinds = []Kind{Ours, Standard, Adaptive, AIMD}

// firstTokenTimeout is every client's patience.
const firstTokenTimeout = time.Minute

// A pool is the records of a job, which all runners of it take from.
type pool struct {
	svc  *Service
	n    int64
	hold func(at time.Duration) time.Duration // what passes between two records of the source at a moment; nil: nothing
	turn chan struct{}                        // whose turn it is to wait for that; not a mutex, with which no time passes in a bubble

	mu        sync.Mutex
	next      int64
	emptied   time.Duration   // when the last record was taken, or after it one that had failed
	stored    []time.Duration // when each record was answered for good; 0: not yet
	last      time.Duration   // of these
	answered  int64
	again     int64 // records that were stored a second time
	errorRows int64
}

func newPool(svc *Service, n int64, hold func(time.Duration) time.Duration) *pool {
	return &pool{svc: svc, n: n, hold: hold, turn: make(chan struct{}, 1), stored: make([]time.Duration, n)}
}

// take is the next record's number, or io.EOF.
func (p *pool) take(ctx context.Context) (int64, error) {
	if p.hold != nil {
		p.turn <- struct{}{}
		in := wait(ctx, p.hold(p.svc.now()))
		<-p.turn
		if !in {
			return 0, ctx.Err()
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if p.next == p.n {
		return 0, io.EOF
	}
	p.next++
	if p.next == p.n {
		p.emptied = p.svc.now()
	}
	return p.next - 1, nil
}

// takenAgain notes that a record which had failed is tried again.
func (p *pool) takenAgain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next == p.n {
		p.emptied = p.svc.now()
	}
}

// done notes that a record has been answered.
func (p *pool) done(record int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stored[record] > 0 {
		p.again++
		return
	}
	p.last = p.svc.now()
	p.stored[record] = p.last
	p.answered++
}

// Next is the pool as a pipeline.Source.
func (p *pool) Next(ctx context.Context) (*pipeline.Record, error) {
	i, err := p.take(ctx)
	if err != nil {
		return nil, err
	}
	return &pipeline.Record{Pos: i, ID: strconv.FormatInt(i, 10), Source: "lab", Line: i + 1, Input: answer, ReadAt: time.Now(), Size: 1}, nil
}

// Commit is the pool as a pipeline.Store.
func (p *pool) Commit(_ context.Context, batch []*pipeline.Result) error {
	for _, r := range batch {
		if r.Err == nil {
			p.done(r.Record.Pos)
			continue
		}
		p.mu.Lock()
		p.errorRows++
		p.mu.Unlock()
	}
	return nil
}

// ours runs the pipeline and the limiter over the pool until it is used up, or ctx ends.
func ours(ctx context.Context, p *pool, client, streams int, o ratelimit.Options, seed uint64) (*ratelimit.Limiter, error) {
	// The limiter asks under its lock and the pipeline from one goroutine, so each has a generator of its own.
	o.Concurrency = streams
	o.Rand = rand.New(rand.NewPCG(seed, uint64(client)<<32|1)).Float64
	limiter, err := ratelimit.New(o)
	if err != nil {
		return nil, err
	}
	runner, err := pipeline.New(pipeline.Config{
		Source: p, Model: endpoint{p.svc, client}, Store: p, Limiter: limiter,
		ModelID: "lab", Concurrency: streams, FirstTokenTimeout: firstTokenTimeout,
		Rand: rand.New(rand.NewPCG(seed, uint64(client)<<32|2)).Float64,
	})
	if err != nil {
		return nil, err
	}
	if err := runner.Run(ctx); err != nil && !errors.Is(err, pipeline.ErrInterrupted) {
		return limiter, err
	}
	return limiter, nil
}
