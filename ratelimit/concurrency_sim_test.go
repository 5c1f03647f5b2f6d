package ratelimit

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A model is a service with a capacity for streams, as a simulation sees it. The zero value has no bound.
type model struct {
	slots  int           // streams served at a time; others wait in the order they came; 0: any number
	shared float64       // streams at full speed that the whole token rate is enough for; 0: any number
	cap    int           // streams beyond which one is refused with an overload; 0: none
	fails  float64       // the share of streams that never begin and time out, or are overloads at once
	after  time.Duration // when they fail
	tpm    float64       // quota of tokens; 0: none

	ttft  func(r *rand.Rand, input int64, at time.Duration) float64 // seconds to the first token, unloaded
	input func(r *rand.Rand, n int) int64                           // tokens of the n-th input
	out   float64                                                   // mean tokens of output, exponential
	speed float64                                                   // tokens a second of one stream
}

// A stream is one request in a [crowd].
type stream struct {
	at      time.Duration // of its next event
	what    func(*stream)
	began   time.Duration
	first   float64 // seconds from the slot to the first token
	out     float64
	work    float64 // where the service's work must be when it ends
	input   int64
	id, gen uint32
	index   int
}

type byTime []*stream

func (q byTime) Len() int           { return len(q) }
func (q byTime) Less(i, j int) bool { return q[i].at < q[j].at }
func (q byTime) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byTime) Push(x any)        { *q = append(*q, x.(*stream)) }
func (q *byTime) Pop() any          { n := len(*q) - 1; e := (*q)[n]; *q = (*q)[:n]; return e }

type byWork []*stream

func (q byWork) Len() int           { return len(q) }
func (q byWork) Less(i, j int) bool { return q[i].work < q[j].work }
func (q byWork) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *byWork) Push(x any)        { *q = append(*q, x.(*stream)) }
func (q *byWork) Pop() any          { n := len(*q) - 1; e := (*q)[n]; *q = (*q)[:n]; return e }

// A crowd is more records than any limit admits, before a model: a simulation of streams in virtual time.
type crowd struct {
	model model
	core  *core
	rng   *rand.Rand
	now   time.Duration

	timed   byTime
	talking byWork // streams that share the token rate
	work    float64
	workAt  time.Duration
	waiting []*stream // for a slot
	serving int
	n       int
	head    *stream
	wake    time.Duration // when to ask the core again; 0: not

	told  []Decision
	begun time.Time

	// Since the last reset.
	served, sent, overloads int
	tokens                  float64
	firsts                  []float64
	span, streams, least    float64
}

func newCrowd(m model, o Options, seed uint64) *crowd {
	s := &crowd{model: m, rng: rand.New(rand.NewPCG(seed, 11)), begun: epoch}
	if s.model.ttft == nil {
		s.model.ttft = noisyFirst(0.5, 0.3)
	}
	if s.model.out == 0 {
		s.model.out, s.model.speed = 210, 60
	}
	o.Rand, o.Burndown = s.rng.Float64, 1
	o.Watch = func(d Decision) {
		if d.Control == ControlConcurrency {
			s.told = append(s.told, d)
		}
	}
	s.core = newCore(o, epoch)
	s.reset()
	return s
}

// noisyFirst is a log-normal time to the first token with a mean.
func noisyFirst(mean, sigma float64) func(*rand.Rand, int64, time.Duration) float64 {
	return func(r *rand.Rand, _ int64, _ time.Duration) float64 {
		return mean * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2)
	}
}

func (s *crowd) reset() {
	s.served, s.sent, s.overloads, s.tokens, s.firsts, s.span, s.streams = 0, 0, 0, 0, s.firsts[:0], 0, 0
	s.least = math.Inf(1)
}

func (s *crowd) wall() time.Time { return s.begun.Add(s.now) }

// rate is tokens a second of each stream that talks.
func (s *crowd) rate() float64 {
	if m := s.model; m.shared > 0 && float64(len(s.talking)) > m.shared {
		return m.speed * m.shared / float64(len(s.talking))
	}
	return s.model.speed
}

// goOn lets the streams talk until t.
func (s *crowd) goOn(t time.Duration) {
	d := (t - s.workAt).Seconds()
	s.work += d * s.rate()
	s.span += d
	s.streams += d * float64(s.core.inFlight)
	s.least = min(s.least, s.core.streams.limit)
	s.now, s.workAt = t, t
}

func (s *crowd) in(seconds float64, e *stream, what func(*stream)) {
	e.at, e.what = s.now+time.Duration(seconds*1e9), what
	heap.Push(&s.timed, e)
}

// run goes on for d.
func (s *crowd) run(d time.Duration) {
	until := s.now + d
	for {
		s.admit()
		next := until
		if len(s.timed) > 0 {
			next = min(next, s.timed[0].at)
		}
		if s.wake > 0 {
			next = min(next, s.wake)
		}
		ends := time.Duration(math.MaxInt64)
		if len(s.talking) > 0 {
			ends = s.now + time.Duration(max(0, math.Ceil((s.talking[0].work-s.work)/s.rate()*1e9)))
			next = min(next, ends)
		}
		s.goOn(next)
		switch {
		case next == until:
			return
		case next == ends:
			s.done(heap.Pop(&s.talking).(*stream))
		case len(s.timed) > 0 && next == s.timed[0].at:
			e := heap.Pop(&s.timed).(*stream)
			e.what(e)
		}
	}
}

func (s *crowd) admit() {
	for {
		if s.head == nil {
			s.head = &stream{input: 500}
			if s.model.input != nil {
				s.head.input = s.model.input(s.rng, s.n)
			}
			s.n++
		}
		e := s.head
		v := s.core.admit(s.wall(), Cost{Input: e.input, MaxTokens: 400})
		if !v.ok {
			s.core.waiting(s.wall(), v)
			s.wake = 0
			if !v.at.IsZero() {
				s.wake = max(s.now+1, v.at.Sub(s.begun))
			}
			return
		}
		s.head = nil
		e.began, e.id, e.gen = s.now, v.id, s.core.flights[v.id].gen
		s.sent++
		s.begin(e)
	}
}

func (s *crowd) begin(e *stream) {
	m := &s.model
	switch {
	case m.cap > 0 && s.core.inFlight > m.cap:
		s.in(0.05, e, s.refuse)
	case s.rng.Float64() < m.fails:
		s.in(m.after.Seconds(), e, s.refuse)
	case m.slots > 0 && s.serving >= m.slots:
		s.waiting = append(s.waiting, e)
	default:
		s.serve(e)
	}
}

func (s *crowd) refuse(e *stream) {
	s.overloads++
	s.core.fail(s.wall(), e.id, e.gen, Usage{}, true)
}

func (s *crowd) serve(e *stream) {
	s.serving++
	s.in(s.model.ttft(s.rng, e.input, s.now), e, s.talk)
}

func (s *crowd) talk(e *stream) {
	s.firsts = append(s.firsts, (s.now - e.began).Seconds())
	s.core.firstToken(s.wall(), e.id, e.gen)
	e.out = math.Ceil(s.rng.ExpFloat64() * s.model.out)
	e.work = s.work + e.out
	heap.Push(&s.talking, e)
}

func (s *crowd) done(e *stream) {
	s.serving--
	s.served++
	s.tokens += e.out
	s.core.succeed(s.wall(), e.id, e.gen, Usage{Input: e.input, Output: int64(e.out)})
	for len(s.waiting) > 0 && s.serving < s.model.slots {
		w := s.waiting[0]
		s.waiting = s.waiting[1:]
		s.serve(w)
	}
}

// p95 of the first tokens, seconds.
func (s *crowd) p95() float64 {
	if len(s.firsts) == 0 {
		return 0
	}
	f := slices.Clone(s.firsts)
	slices.Sort(f)
	return f[len(f)*95/100]
}

// unloaded is the p95 of the first tokens of a model that nobody waits for.
func (s *crowd) unloaded() float64 {
	f := make([]float64, 20_000)
	for i := range f {
		f[i] = s.model.ttft(s.rng, 500, 0)
	}
	slices.Sort(f)
	return f[len(f)*95/100]
}

// each is the mean seconds of a stream that nothing slows.
func (s *crowd) each() float64 { return 0.5 + (s.model.out+0.5)/s.model.speed }

func (s *crowd) String() string {
	return fmt.Sprintf("%7.2f/s, %6.1f in flight, limit %4.0f, ttft p95 %.2f, overloads %.3f", float64(s.served)/s.span, s.streams/s.span, s.core.streams.limit, s.p95(), float64(s.overloads)/float64(max(1, s.sent)))
}

func (s *crowd) log(t *testing.T) {
	for _, d := range s.told {
		t.Logf("%8.1f %-6s %5.0f -> %5.0f %s", d.At.Sub(s.begun).Seconds(), d.Action, d.From, d.To, d.Reason)
	}
}
