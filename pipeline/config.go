package pipeline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// Config is a run. Source, Model, Store and Limiter are required; every other field has a default.
type Config struct {
	Source  Source
	Model   Model
	Store   Store
	Limiter *ratelimit.Limiter

	ModelID     string // for the rows
	Concurrency int    // streams in flight at most; default 32
	MaxAttempts int    // per record, throttles not counted; default 5
	// RetryShare is how many calls may be retries of overload and transient failures for each record sent, beside
	// a float of one window of calls and a slow trickle; default 0.2. Waits for quota and probes do not count. A
	// retry past it waits, it does not fail.
	RetryShare float64

	// CountTokens asks the service for the input tokens of every record before its first attempt, so that what is reserved is
	// exact; Model must be a [Counter]. What cannot be counted is estimated.
	CountTokens bool

	// Spending bounds what the run may cost; default: nothing does. Where it has no room for the next call while others are in
	// flight, the run waits for them; where it never will have, the run returns a *[StopError].
	Spending Spending

	FirstTokenTimeout time.Duration // attempt's start → first content; default 10 min
	IdleTimeout       time.Duration // silence after the first content; default 5 min
	Timeout           time.Duration // of an attempt; default 60 min

	MaxBuffer      int64         // bytes of requests and answers held; default 256 MiB. One record always passes.
	Drain          time.Duration // for calls in flight once ctx has ended, and for a store that fails; default 25 s
	CommitInterval time.Duration // how long a result may wait to become durable; default 200 ms

	// Deadline is when the run has to be over, on the wall clock; zero for never. Nothing more is sent so long before it as
	// calls take (99 in 100 of those answered so far, at most Timeout), what is in flight then may end, and what has not ended
	// at the deadline is cut and has no row. The run then returns a *[StopError].
	Deadline time.Time
	// Records tells how many records have a row and how many there are, less than 0 while that is not known: to say
	// early that the deadline cannot be kept. It is called from one goroutine, now and then; nil: not known.
	Records func() (done, total int64)
	// DayUsedSince tells since when, in the last 24 hours, tokens were used by this run and its earlier sessions: a quota of
	// the day comes back a day after that. It is called from one goroutine, now and then; nil: since Run was called.
	DayUsedSince func() time.Time

	// Proven says that the model answered in an earlier session of this run, so that a first
	// stretch of refused records is no sign of a wrong job.
	Proven bool

	// Retry says that every record of the source has failed before, while others were answered: that they fail
	// again is no sign of an outage, unless they cannot even connect.
	Retry bool

	Observer Observer             // default: nobody
	Notify   func(message string) // told of what a person should know, one line each; default: nobody
	Rand     func() float64       // jitter in [0,1); default math/rand/v2
}

func (c *Config) setDefaults() error {
	if c.Source == nil || c.Model == nil || c.Store == nil || c.Limiter == nil {
		return errors.New("pipeline: Source, Model, Store and Limiter are required")
	}
	if _, ok := c.Model.(Counter); c.CountTokens && !ok {
		return errors.New("pipeline: CountTokens needs a Model that is a Counter")
	}
	setDefault(&c.Concurrency, 32)
	setDefault(&c.MaxAttempts, 5)
	setDefault(&c.RetryShare, 0.2)
	setDefault(&c.FirstTokenTimeout, 10*time.Minute)
	setDefault(&c.IdleTimeout, 5*time.Minute)
	setDefault(&c.Timeout, time.Hour)
	setDefault(&c.MaxBuffer, 256<<20)
	setDefault(&c.Drain, 25*time.Second)
	setDefault(&c.CommitInterval, 200*time.Millisecond)
	if c.Concurrency < 0 || c.MaxAttempts < 0 || c.MaxBuffer < 0 || !(c.RetryShare > 0) {
		return fmt.Errorf("pipeline: Concurrency %d, MaxAttempts %d, MaxBuffer %d and RetryShare %v must not be negative",
			c.Concurrency, c.MaxAttempts, c.MaxBuffer, c.RetryShare)
	}
	if c.Spending == nil {
		c.Spending = unbounded{}
	}
	if c.Observer == nil {
		c.Observer = nobody{}
	}
	if c.Notify == nil {
		c.Notify = func(string) {}
	}
	if c.Rand == nil {
		c.Rand = rand.Float64
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

type nobody struct{}

func (nobody) AttemptStarted()      {}
func (nobody) AttemptDone(*Attempt) {}
func (nobody) Stored([]*Result)     {}
