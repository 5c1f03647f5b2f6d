package report

import (
	"maps"
	"sync"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

const (
	recently = 30 // seconds that a rate is taken over
	maxTypes = 64 // kinds of errors counted by name: the service makes them up, not we
)

// Names in [Attempts.ByError] that are none of the service.
const (
	ErrorOther       = "other"       // more kinds than can be counted
	ErrorInterrupted = "interrupted" // cut by the end of the session
)

// Attempts are calls by what became of them.
type Attempts struct {
	Total     int64 `json:"total"` // those that ended
	Succeeded int64 `json:"succeeded"`
	Throttled int64 `json:"throttled"` // also in ByError
	// ThrottledFor are those of the throttled whose message named a quota, tokens or requests. Which of them was learned is another
	// matter: that follows from when the service refused, not from its words.
	ThrottledFor map[string]int64 `json:"throttledFor,omitempty"`
	ByError      map[string]int64 `json:"byError,omitempty"`
}

// Tokens are what whole answers were billed for.
type Tokens struct {
	Input      int64 `json:"input"`
	Output     int64 `json:"output"`
	CacheRead  int64 `json:"cacheRead"`
	CacheWrite int64 `json:"cacheWrite"`
}

// Times are those of whole answers, as section 6 of the design defines them, in milliseconds.
type Times struct {
	TTFT       *Distribution `json:"ttftMs,omitempty"`       // start → first content
	TTFTReused *Distribution `json:"ttftReusedMs,omitempty"` // on connections that were open already
	Total      *Distribution `json:"totalMs,omitempty"`      // start → terminal event
	InterToken *Distribution `json:"interTokenMs,omitempty"` // between content events
	// OutputSpeed is that of single answers: output tokens / (total − TTFT).
	OutputSpeed *Distribution `json:"outputTokensPerSecond,omitempty"`
}

// Stats is what a [Collector] has seen.
type Stats struct {
	Times
	Attempts    Attempts `json:"attempts"`
	Tokens      Tokens   `json:"tokens"`
	Connections int64    `json:"connectionsOpened"` // that an answer came on
}

// Recent is how a run goes at the moment.
type Recent struct {
	Rate      float64 // records that were sent and are stored, each second of the last 30
	Throttled float64 // part of the attempts of the last 30 seconds, from 0 to 1; negative where there were none
	TTFTP50   time.Duration
	TTFTP99   time.Duration // both negative where there is none
}

// A Collector counts what happens in a session. It is a pipeline.Observer.
type Collector struct {
	start time.Time

	mu          sync.Mutex
	ttft        *histogram
	reused      *histogram
	total       *histogram
	speed       *histogram
	ended       int64
	succeeded   int64
	throttled   int64
	connections int64
	byError     map[string]int64
	byQuota     map[string]int64 // throttled; nil while none was named
	tokens      Tokens
	seconds     [recently + 1]second // the one under way, and those before

	gapsMu sync.Mutex // of its own, as gaps are many
	gaps   *histogram
}

// A second counts what happened in it.
type second struct {
	at                       int64 // seconds since the start
	stored, ended, throttled int64
}

var _ pipeline.Observer = (*Collector)(nil)

// NewCollector begins a session.
func NewCollector() *Collector {
	return &Collector{
		start: time.Now(), byError: map[string]int64{},
		ttft: newTimes(), reused: newTimes(), total: newTimes(), gaps: newTimes(), speed: newSpeeds(),
	}
}

// AttemptStarted is a pipeline.Observer's.
func (c *Collector) AttemptStarted() {}

// AttemptDone counts an attempt.
func (c *Collector) AttemptDone(a *pipeline.Attempt) {
	age := time.Since(c.start)
	c.mu.Lock()
	now := c.second(age)
	c.ended++
	now.ended++
	if a.Err != nil {
		if a.Err.Kind == pipeline.Throttled {
			c.throttled++
			c.countQuota(a.Err.Quota)
			now.throttled++
		}
		c.countError(a.Err)
		c.mu.Unlock()
		return
	}
	c.succeeded++
	c.tokens.Input += a.Usage.InputTokens
	c.tokens.Output += a.Usage.OutputTokens
	c.tokens.CacheRead += a.Usage.CacheReadInputTokens
	c.tokens.CacheWrite += a.Usage.CacheWriteInputTokens
	t := &a.Timing
	c.ttft.addTime(t.FirstToken)
	if t.Connect > 0 {
		c.connections++
	} else {
		c.reused.addTime(t.FirstToken)
	}
	c.total.addTime(t.Total)
	if streaming := t.Total - t.FirstToken; t.FirstToken >= 0 && streaming > 0 && a.Usage.OutputTokens > 0 {
		c.speed.add(int64(float64(a.Usage.OutputTokens) * 1000 / streaming.Seconds()))
	}
	c.mu.Unlock()

	if len(a.Gaps) > 0 {
		c.gapsMu.Lock()
		for _, gap := range a.Gaps {
			c.gaps.addTime(gap)
		}
		c.gapsMu.Unlock()
	}
}

func (c *Collector) countQuota(name string) {
	if name == "" {
		return
	}
	if c.byQuota == nil {
		c.byQuota = map[string]int64{}
	}
	c.byQuota[name]++
}

func (c *Collector) countError(err *pipeline.InvokeError) {
	name := err.Type
	if err.Kind == pipeline.Interrupted {
		name = ErrorInterrupted
	}
	if _, known := c.byError[name]; name == "" || !known && len(c.byError) >= maxTypes {
		name = ErrorOther
	}
	c.byError[name]++
}

// Stored counts a batch for the rate; rejected records, which were not sent, do not count.
func (c *Collector) Stored(batch []*pipeline.Result) {
	age := time.Since(c.start)
	var sent int64
	for _, r := range batch {
		if !r.Rejected() {
			sent++
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.second(age).stored += sent
}

// second is the count of the second under way.
func (c *Collector) second(age time.Duration) *second {
	at := int64(age / time.Second)
	s := &c.seconds[at%int64(len(c.seconds))]
	if s.at != at {
		*s = second{at: at}
	}
	return s
}

// Recent tells how the run goes. It is cheap enough to be asked a few times a second.
func (c *Collector) Recent() Recent {
	age := time.Since(c.start)
	c.mu.Lock()
	defer c.mu.Unlock()
	r := Recent{Throttled: -1, TTFTP50: c.ttft.duration(50), TTFTP99: c.ttft.duration(99)}
	at := int64(age / time.Second)
	var stored, ended, throttled int64
	for _, s := range c.seconds {
		if s.at >= at-recently {
			stored, ended, throttled = stored+s.stored, ended+s.ended, throttled+s.throttled
		}
	}
	// What is counted began with a whole second.
	span := min(age, age-time.Duration(at-recently)*time.Second)
	r.Rate = float64(stored) / max(span, time.Second).Seconds()
	if ended > 0 {
		r.Throttled = float64(throttled) / float64(ended)
	}
	return r
}

func (h *histogram) duration(percent float64) time.Duration {
	v, ok := h.at(percent)
	if !ok {
		return -1
	}
	return time.Duration(v) * time.Microsecond
}

// Stats is everything so far.
func (c *Collector) Stats() Stats {
	c.gapsMu.Lock()
	gaps := c.gaps.distribution()
	c.gapsMu.Unlock()

	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{
		Times: Times{
			TTFT: c.ttft.distribution(), TTFTReused: c.reused.distribution(), Total: c.total.distribution(),
			InterToken: gaps, OutputSpeed: c.speed.distribution(),
		},
		Attempts:    Attempts{Total: c.ended, Succeeded: c.succeeded, Throttled: c.throttled, ThrottledFor: maps.Clone(c.byQuota), ByError: maps.Clone(c.byError)},
		Tokens:      c.tokens,
		Connections: c.connections,
	}
}
