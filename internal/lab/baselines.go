package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	smithymiddle "github.com/aws/smithy-go/middleware"

	"github.com/batchrun/batchrun/pipeline"
)

// A caller makes the calls of a baseline. Its call is tried again inside as the baseline does, and fails when that gives up.
type caller interface {
	call(ctx context.Context, record int64) error
}

// loop is what a user writes around a caller: so many goroutines, records that failed once more after all others, until
// the pool is used up or ctx ends. After a failure a goroutine rests for a second, which is more than most would write: without
// it the standard retryer, whose own bucket is empty most of the time, sends a thousand calls a second into an empty quota.
func loop(ctx context.Context, p *pool, client, goroutines int, c caller) {
	var (
		wg     sync.WaitGroup
		mu     sync.Mutex
		failed []int64
	)
	next := func() (int64, bool) {
		record, err := p.take(ctx)
		if err == nil {
			return record, true
		}
		mu.Lock()
		defer mu.Unlock()
		if !errors.Is(err, io.EOF) || len(failed) == 0 {
			return 0, false
		}
		record, failed = failed[0], failed[1:]
		p.takenAgain()
		return record, true
	}
	for i := range goroutines {
		wg.Go(func() {
			wait(ctx, p.svc.jitter(client, int64(none-i)))
			for {
				record, ok := next()
				if !ok {
					return
				}
				if c.call(ctx, record) == nil {
					p.done(record)
					continue
				}
				mu.Lock()
				failed = append(failed, record)
				mu.Unlock()
				if !wait(ctx, rest) {
					return
				}
			}
		})
	}
	wg.Wait()
}

const rest = time.Second

// newCaller makes a baseline.
func newCaller(kind Kind, svc *Service, client, goroutines int, seed uint64) caller {
	switch kind {
	case Standard:
		return newSDK(svc, client, retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = sdkAttempts }))
	case Adaptive:
		return newSDK(svc, client, retry.NewAdaptiveMode(func(o *retry.AdaptiveModeOptions) {
			o.StandardOptions = append(o.StandardOptions, func(o *retry.StandardOptions) { o.MaxAttempts = sdkAttempts })
		}))
	case AIMD:
		return newAIMD(svc, client, goroutines, seed)
	}
	panic("lab: no baseline " + string(kind))
}

const sdkAttempts = 5

// sdk is the retry loop of the AWS SDK around a retryer: the SDK's own code, whose sleeps are timers and so run on the
// bubble's clock. As there, a call has succeeded once its response begins, and a stream that breaks is not tried again.
type sdk struct {
	svc      *Service
	client   int
	attempts *retry.Attempt
}

func newSDK(svc *Service, client int, retryer aws.RetryerV2) *sdk {
	return &sdk{svc: svc, client: client, attempts: retry.NewAttemptMiddleware(retryer, func(r any) any { return r })}
}

func (c *sdk) call(ctx context.Context, record int64) error {
	var st *stream
	send := smithymiddle.FinalizeHandlerFunc(func(ctx context.Context, _ smithymiddle.FinalizeInput) (out smithymiddle.FinalizeOutput, md smithymiddle.Metadata, err error) {
		st, err = openWithin(ctx, c.svc, c.client, record)
		return out, md, err
	})
	if _, _, err := c.attempts.HandleFinalize(ticking{ctx, c, record}, smithymiddle.FinalizeInput{}, send); err != nil {
		return err
	}
	if e := st.rest(ctx); e != nil {
		return e
	}
	return nil
}

// A ticking context lets a microsecond pass whenever somebody looks at it, and a little more. Adaptive mode rounds its sleeps down to whole
// nanoseconds, so that it may ask for a token once more with a sleep of nothing; as code takes no time in a bubble, it would do
// so for ever.
type ticking struct {
	context.Context
	sdk    *sdk
	record int64
}

func (c ticking) Done() <-chan struct{} {
	time.Sleep(time.Microsecond + c.sdk.svc.jitter(c.sdk.client, c.record))
	return c.Context.Done()
}

// openWithin opens a stream and waits for its first token as long as every client does.
func openWithin(ctx context.Context, svc *Service, client int, record int64) (*stream, error) {
	bounded, cancel := context.WithTimeout(ctx, firstTokenTimeout)
	defer cancel()
	st, e := svc.open(bounded, client, record)
	if e == nil {
		return st, nil
	}
	return nil, &sdkError{e, bounded.Err() != nil && ctx.Err() == nil}
}

// An sdkError is a failure as the SDK's retryers recognise it.
type sdkError struct {
	*pipeline.InvokeError
	late bool
}

// ErrorCode is the service's name for it.
func (e *sdkError) ErrorCode() string { return e.Type }

// HTTPStatusCode is the status of the response, 0 for none.
func (e *sdkError) HTTPStatusCode() int { return e.Code }

// Timeout says that the client's patience was over.
func (e *sdkError) Timeout() bool { return e.late }

// ConnectionError says that the connection broke.
func (e *sdkError) ConnectionError() bool { return e.Type == pipeline.TypeConnectionError && !e.late }

// What inspect_ai does (src/inspect_ai/util/_concurrency.py at 05f2212, class AdaptiveConcurrencyController): the limit
// doubles after as many clean calls as it is, until the first retry; from then on it grows by a twentieth after as many. A
// retry after a throttle cuts it to 0.8, at most once in 15 s in which clean calls do not count, and every retry starts the count
// anew. Limits of 10 and more are multiples of 5. At that commit transient errors cut as well; that they only stop the growth, as in
// later ones, is in its favour.
const (
	aimdStart    = 20
	aimdFloor    = 4 // clean calls at least
	aimdCut      = 0.8
	aimdGrowth   = 0.05
	aimdCooldown = 15 * time.Second

	// Assumed: a call keeps its place while it waits for its next try, which it does as tenacity's
	// wait_exponential_jitter(initial=3, max=1800, jitter=3) says, without end.
	aimdWait    = 3 * time.Second
	aimdMaxWait = 30 * time.Minute
)

type aimd struct {
	svc    *Service
	client int
	most   int

	mu      sync.Mutex
	rng     *rand.Rand
	limit   int
	held    int
	queue   []chan struct{}
	clean   int
	retried bool
	until   time.Time // of the cooldown
}

func newAIMD(svc *Service, client, goroutines int, seed uint64) *aimd {
	return &aimd{svc: svc, client: client, most: goroutines, limit: min(aimdStart, goroutines), rng: rand.New(rand.NewPCG(seed, uint64(client)<<32|3))}
}

func (c *aimd) call(ctx context.Context, record int64) error {
	if !c.acquire(ctx) {
		return context.Cause(ctx)
	}
	defer c.release()
	for try := 0; ; try++ {
		st, err := openWithin(ctx, c.svc, c.client, record)
		if err == nil {
			if e := st.rest(ctx); e != nil {
				err = e
			}
		}
		if err == nil {
			if try == 0 {
				c.succeeded()
			}
			return nil
		}
		if !wait(ctx, c.again(try, isThrottle(err))) {
			return fmt.Errorf("given up: %w", err)
		}
	}
}

// again notes a retry and tells how long to wait before it.
func (c *aimd) again(try int, throttled bool) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clean, c.retried = 0, true
	if now := time.Now(); throttled && !now.Before(c.until) {
		c.until = now.Add(aimdCooldown)
		c.limit = max(1, nice(int(float64(c.limit)*aimdCut), math.Floor))
	}
	pause := aimdWait.Seconds() * (math.Exp2(float64(min(try, 20))) + c.rng.Float64())
	return min(aimdMaxWait, time.Duration(pause*float64(time.Second)))
}

func isThrottle(err error) bool {
	e, ok := errors.AsType[*sdkError](err)
	return ok && e.Kind == pipeline.Throttled
}

func (c *aimd) succeeded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Now().Before(c.until) {
		return
	}
	if c.clean++; c.clean < max(c.limit, aimdFloor) {
		return
	}
	c.clean = 0
	if c.retried {
		c.limit = min(c.most, nice(c.limit+max(1, int(math.RoundToEven(float64(c.limit)*aimdGrowth))), math.Ceil))
	} else {
		c.limit = min(c.most, 2*c.limit)
	}
	c.admit()
}

// nice rounds to a multiple of 5, from 10 on.
func nice(n int, round func(float64) float64) int {
	if n < 10 {
		return n
	}
	return int(round(float64(n)/5)) * 5
}

func (c *aimd) acquire(ctx context.Context) bool {
	mine := make(chan struct{})
	c.mu.Lock()
	c.queue = append(c.queue, mine)
	c.admit()
	c.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
		return false // everything ends
	}
}

func (c *aimd) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held--
	c.admit()
}

func (c *aimd) admit() {
	for len(c.queue) > 0 && c.held < c.limit {
		c.held++
		close(c.queue[0])
		c.queue = c.queue[1:]
	}
}
