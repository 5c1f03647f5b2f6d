package lab

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// none stands for a record where there is none.
const none = -1

// DefaultRTT is the time from a client to the service and back.
const DefaultRTT = 50 * time.Millisecond

// A Span is a stretch of time since the service began, its end not included.
type Span struct{ From, To time.Duration }

func (s Span) has(at time.Duration) bool { return at >= s.From && at < s.To }

// A Config is a service. The zero value has no limits and no faults.
type Config struct {
	Seed     uint64
	Shape    Shape // of both quotas
	Tokens   Curve // settled tokens a second; nil: no quota
	Requests Curve // requests a second; nil: no quota
	Burndown float64
	RTT      time.Duration // 0: DefaultRTT
	Jitter   time.Duration // calls are on their way for up to so much longer, so that hardly any two arrive at the same moment; 0: none

	Slots  int     // streams served at a time, in order of arrival; 0: any number
	Decode float64 // output tokens a second that all streams share; 0: any number

	Workload func(record int64) Workload

	Outages  []Span  // every call fails, and streams that are open break off
	Hang     Span    // in which
	Hangs    float64 // this share of the calls that were admitted never says anything
	Noise    float64 // share of calls refused for no reason
	InStream float64 // share of refusals that come in the stream, when the first token would
}

// A Fate is what became of a call.
type Fate uint8

// The fates.
const (
	Open     Fate = iota // not ended yet
	Answered             // to its end
	Refused              // for want of quota, or by noise
	Failed               // by the service
	Cut                  // by the client
)

// A Call is what the service knows of one attempt. Times are since it began.
type Call struct {
	Client         int
	Record         int64
	At, End        time.Duration // arrival; end of the last token, refusal or failure, or the moment at which the client hung up
	FirstToken     time.Duration // as the client sees it, network and queue included; 0 when there was none
	Fate           Fate
	Hung           bool
	Reserved, Used float64 // tokens as the quota counts them
}

// A Service is a model of Amazon Bedrock, for clients in the same synctest bubble. Its methods may be called concurrently.
type Service struct {
	cfg   Config
	start time.Time
	phase time.Duration // of the full minutes

	slots   *slots
	decoder *decoder

	mu       sync.Mutex
	tokens   quota
	requests quota
	calls    []Call
	tries    map[int64]uint64 // of each record
}

// NewService makes a service that begins now.
func NewService(cfg Config) *Service {
	if cfg.RTT == 0 {
		cfg.RTT = DefaultRTT
	}
	if cfg.Burndown == 0 {
		cfg.Burndown = 1
	}
	phase := time.Duration(rand.New(rand.NewPCG(cfg.Seed, ^uint64(0))).Float64() * float64(window))
	s := &Service{cfg: cfg, start: time.Now(), phase: phase, tries: map[int64]uint64{}}
	if cfg.Tokens != nil {
		s.tokens = newQuota(cfg.Shape, cfg.Tokens, phase)
	}
	if cfg.Requests != nil {
		s.requests = newQuota(cfg.Shape, cfg.Requests, phase)
	}
	if cfg.Slots > 0 {
		s.slots = &slots{free: cfg.Slots}
	}
	if cfg.Decode > 0 {
		s.decoder = &decoder{total: cfg.Decode, each: 1 / cfg.Workload(0).Token.Seconds()}
	}
	return s
}

// Calls are all calls so far, in the order of their arrival.
func (s *Service) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func (s *Service) now() time.Duration { return time.Since(s.start) }

// untilFullMinute is the time until a full minute of the quotas that have such begins.
func (s *Service) untilFullMinute() time.Duration { return window - (s.now()+s.phase)%window }

func (s *Service) demand(record int64) demand {
	return s.cfg.Workload(record).draw(s.cfg.Seed, record)
}

// admit notes the arrival of a call and decides on it.
func (s *Service) admit(client int, record int64, d demand) (index int, c Call, chance *rand.Rand) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.tries[record]++
	chance = rand.New(rand.NewPCG(s.cfg.Seed+s.tries[record]<<32, uint64(record)))
	c = Call{Client: client, Record: record, At: now, Reserved: d.reserved()}
	switch {
	case s.out(now):
		c.Fate = Failed
	case chance.Float64() < s.cfg.Noise, !s.fits(now, c.Reserved):
		c.Fate = Refused
	default:
		s.take(now, c.Reserved)
		c.Hung = s.cfg.Hang.has(now) && chance.Float64() < s.cfg.Hangs
	}
	s.calls = append(s.calls, c)
	return len(s.calls) - 1, c, chance
}

// observe asks what becomes of calls that arrive at random moments of a span, without making them: a share of them would be
// refused. It ends with ctx.
func (s *Service) observe(ctx context.Context, in Span) (refused float64) {
	chance := rand.New(rand.NewPCG(s.cfg.Seed, 1))
	asked, met := 0, 0
	if !wait(ctx, in.From-s.now()) {
		return 0
	}
	for s.now() < in.To && wait(ctx, time.Duration(chance.ExpFloat64()*float64(observeEvery))) {
		s.mu.Lock()
		if asked++; !s.fits(s.now(), s.demand(chance.Int64N(1<<40)).reserved()) {
			met++
		}
		s.mu.Unlock()
	}
	return float64(met) / float64(max(1, asked))
}

const observeEvery = 100 * time.Millisecond

func (s *Service) fits(now time.Duration, reserved float64) bool {
	return (s.tokens == nil || s.tokens.fits(now, reserved)) && (s.requests == nil || s.requests.fits(now, 1))
}

func (s *Service) take(now time.Duration, reserved float64) {
	if s.tokens != nil {
		s.tokens.take(now, reserved)
	}
	if s.requests != nil {
		s.requests.take(now, 1)
	}
}

func (s *Service) out(at time.Duration) bool {
	for _, o := range s.cfg.Outages {
		if o.has(at) {
			return true
		}
	}
	return false
}

// end notes the end of a call that had been admitted, and what it used.
func (s *Service) end(index int, fate Fate, used float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.calls[index]
	c.End, c.Fate, c.Used = s.now(), fate, used
	if s.tokens != nil {
		s.tokens.settle(c.End, c.At, c.Reserved, used)
	}
}

// turnedAway notes when a call that was not admitted was told so.
func (s *Service) turnedAway(index int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[index].End = s.now()
}

func (s *Service) firstToken(index int, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[index].FirstToken = took
}

// wait sleeps for d. It reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A stream is a call whose first content has come.
type stream struct {
	s      *Service
	client int
	record int64
	index  int
	demand demand
	began  time.Duration // of the streaming, as the service sees it
	slot   bool
}

// The failures of the service, as a client is told them.
var (
	errRefused = &pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "Too many tokens, please wait before trying again."}
	errOut     = &pipeline.InvokeError{Kind: pipeline.Transient, Type: "InternalServerException", Code: 500, Message: "The system encountered an unexpected error."}
	errBroken  = &pipeline.InvokeError{Kind: pipeline.Transient, Type: pipeline.TypeConnectionError, Message: "connection reset by peer", Content: true}
	errCut     = &pipeline.InvokeError{Kind: pipeline.Transient, Type: pipeline.TypeConnectionError, Message: "use of closed network connection"}
)

// open makes a call and returns when its first content has come, or why none will.
func (s *Service) open(ctx context.Context, client int, record int64) (*stream, *pipeline.InvokeError) {
	sent, d := s.now(), s.demand(record)
	if !wait(ctx, s.cfg.RTT/2+s.jitter(client, record)) {
		return nil, errCut
	}
	index, c, chance := s.admit(client, record, d)
	switch c.Fate {
	case Refused:
		if chance.Float64() < s.cfg.InStream {
			return nil, s.answerNo(ctx, index, errRefused, d.first)
		}
		return nil, s.answerNo(ctx, index, errRefused, 0)
	case Failed:
		return nil, s.answerNo(ctx, index, errOut, 20*time.Millisecond)
	}
	if c.Hung {
		<-ctx.Done()
		time.Sleep(s.jitter(client, record)) // calls that began together are given up together
		s.end(index, Cut, 0)
		return nil, errCut
	}
	st := &stream{s: s, client: client, record: record, index: index, demand: d, slot: s.slots != nil}
	if st.slot && !s.slots.acquire(ctx) {
		s.end(index, Cut, 0)
		return nil, errCut
	}
	if e := st.sleep(ctx, d.first+s.cfg.RTT/2); e != nil {
		return nil, e
	}
	st.began = s.now() - s.cfg.RTT/2
	s.firstToken(index, s.now()-sent)
	return st, nil
}

// jitter is a moment by which a step of a client with a record is put off. Timers of a bubble that are due at the same time go off in an order
// that is drawn anew in each run, so none shall be: steps of the same moment differ in the nanoseconds at least, unless their records are
// a thousand apart.
func (s *Service) jitter(client int, record int64) time.Duration {
	if s.cfg.Jitter == 0 {
		return 0
	}
	now := uint64(s.now())
	drawn := time.Duration(rand.New(rand.NewPCG(s.cfg.Seed<<16^uint64(client), uint64(record)<<32^now)).Int64N(int64(s.cfg.Jitter)))
	return drawn.Truncate(time.Microsecond) + time.Duration(uint64(record)%1000)
}

func (s *Service) answerNo(ctx context.Context, index int, e *pipeline.InvokeError, after time.Duration) *pipeline.InvokeError {
	if !wait(ctx, after+s.cfg.RTT/2) {
		e = errCut
	}
	s.turnedAway(index)
	return e
}

// sleep lets the service work for d, unless an outage begins or the client hangs up.
func (st *stream) sleep(ctx context.Context, d time.Duration) *pipeline.InvokeError {
	now := st.s.now()
	for _, o := range st.s.cfg.Outages {
		if o.From >= now && o.From < now+d {
			if !wait(ctx, o.From-now+st.s.jitter(st.client, st.record)) {
				return st.cut()
			}
			st.close(Failed, 0)
			return errBroken
		}
	}
	if !wait(ctx, d) {
		return st.cut()
	}
	return nil
}

// cut ends a stream that the client has closed: what was made until then was used.
func (st *stream) cut() *pipeline.InvokeError {
	used := 0.0
	if st.began > 0 && st.demand.stream > 0 {
		share := min(1, (st.s.now()-st.began).Seconds()/st.demand.stream.Seconds())
		used = float64(st.demand.input) + share*(st.demand.used(st.s.cfg.Burndown)-float64(st.demand.input))
	}
	st.close(Cut, float64(int64(used)))
	return errCut
}

func (st *stream) close(fate Fate, used float64) {
	st.s.end(st.index, fate, used)
	if st.slot {
		st.s.slots.release()
	}
}

// half waits for the content in the middle of a stream.
func (st *stream) half(ctx context.Context) *pipeline.InvokeError {
	if st.s.decoder != nil {
		return nil
	}
	return st.sleep(ctx, max(0, st.demand.stream-st.s.cfg.RTT/2)/2)
}

// rest waits for the end of a stream.
func (st *stream) rest(ctx context.Context) *pipeline.InvokeError {
	if d := st.s.decoder; d != nil {
		if !d.run(ctx, st.demand.output) {
			return st.cut()
		}
	} else if e := st.sleep(ctx, st.began+st.demand.stream-st.s.now()); e != nil {
		return e
	}
	st.close(Answered, st.demand.used(st.s.cfg.Burndown))
	wait(ctx, st.s.cfg.RTT/2) // on its way; who hangs up now has been served all the same
	return nil
}

// An endpoint is the service as the pipeline of one client sees it.
type endpoint struct {
	*Service
	client int
}

// Encode tells what a record may use.
func (p endpoint) Encode(rec *pipeline.Record) (*pipeline.Request, error) {
	d := p.demand(rec.Pos)
	return &pipeline.Request{Record: rec, Body: rec.Input, InputTokens: d.input, MaxTokens: d.maxTokens}, nil
}

// Prepare has nothing to do.
func (endpoint) Prepare(context.Context) error { return nil }

// Refresh has nothing to do.
func (endpoint) Refresh() {}

var answer = []byte(`{}`)

// Invoke makes one call.
func (p endpoint) Invoke(ctx context.Context, req *pipeline.Request) iter.Seq2[pipeline.Event, error] {
	return func(yield func(pipeline.Event, error) bool) {
		content := pipeline.Event{Content: true, Text: true}
		st, e := p.open(ctx, p.client, req.Record.Pos)
		fail := func(e *pipeline.InvokeError) {
			own := *e // the pipeline writes to it
			yield(pipeline.Event{}, &own)
		}
		if e != nil {
			fail(e)
			return
		}
		for _, step := range []func(context.Context) *pipeline.InvokeError{st.half, st.rest} {
			if !yield(content, nil) {
				_ = st.cut() // nobody is there to be told
				return
			}
			if e := step(ctx); e != nil {
				fail(e)
				return
			}
		}
		if !yield(pipeline.Event{Terminal: true}, nil) {
			return
		}
		yield(pipeline.Event{Response: &pipeline.Response{
			Output: answer, StopReason: "end_turn", ServerFirstByte: -1, ServerTotal: -1,
			Usage: pipeline.Usage{InputTokens: st.demand.input, OutputTokens: st.demand.output},
		}}, nil)
	}
}
