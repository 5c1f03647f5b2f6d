package ratelimit

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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

	ttft  func(r *rand.Rand, input int64, at time.Duration) float64 // seconds to the first token, unloaded
	input func(r *rand.Rand, n int) int64                           // tokens of the n-th input
	out   float64                                                   // mean tokens of output, exponential
	even  bool                                                      // or every one as long as the mean
	speed float64                                                   // tokens a second of one stream
}

// A stream is one request in a [crowd].
type stream struct {
	at      time.Duration // of its next event
	what    func(*stream)
	began   time.Duration
	out     float64
	work    float64 // where the service's work must be when it ends
	input   int64
	id, gen uint32
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
	records int // of the job; 0: more than there is time for
	head    *stream
	wake    time.Duration // when to ask the core again; 0: not

	told  []Decision
	begun time.Time

	// Since the last reset.
	served, sent, overloads int
	tokens                  float64
	firsts                  []float64
	span, streams, least    float64
	busy                    float64 // slots, or the part of the shared rate, in use
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

// steadyFirst is half a second to the first token.
func steadyFirst(*rand.Rand, int64, time.Duration) float64 { return 0.5 }

// noisyFirst is a log-normal time to the first token with a mean.
func noisyFirst(mean, sigma float64) func(*rand.Rand, int64, time.Duration) float64 {
	return func(r *rand.Rand, _ int64, _ time.Duration) float64 {
		return mean * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2)
	}
}

func (s *crowd) reset() {
	s.served, s.sent, s.overloads, s.tokens, s.firsts, s.span, s.streams = 0, 0, 0, 0, s.firsts[:0], 0, 0
	s.busy = 0
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
	s.busy += d * float64(s.serving)
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
			if s.records > 0 && s.n == s.records {
				s.core.account(s.wall())
				s.core.waiting(s.wall(), verdict{})
				s.wake = 0
				return
			}
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
	e.out = s.model.out
	if !s.model.even {
		e.out = math.Ceil(s.rng.ExpFloat64() * s.model.out)
	}
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

// unhindered is the mean seconds of a stream that nothing slows.
func (s *crowd) unhindered() float64 { return 0.5 + (s.model.out+0.5)/s.model.speed }

func (s *crowd) String() string {
	return fmt.Sprintf("%.1f served a second, %.1f in flight, limit %v (least %v), first tokens p95 %.2f s, %.1f%% overloads",
		float64(s.served)/s.span, s.streams/s.span, s.core.streams.limit, s.least, s.p95(), 100*s.overloaded())
}

// overloaded is the share of what was sent.
func (s *crowd) overloaded() float64 { return float64(s.overloads) / float64(max(1, s.sent)) }

// until runs until the limit is so high, and tells how long that took, a quarter of an hour at most.
func (s *crowd) until(limit float64) time.Duration {
	start := s.now
	for s.core.streams.limit < limit && s.now-start < 15*time.Minute {
		s.run(100 * time.Millisecond)
	}
	return s.now - start
}

// history is what a test that fails shows.
func (s *crowd) history() string {
	var b strings.Builder
	for _, d := range s.told {
		fmt.Fprintf(&b, "\n%8.1f s: %s from %v to %v: %s", d.At.Sub(s.begun).Seconds(), d.Action, d.From, d.To, d.Reason)
	}
	return b.String()
}

// Each row is a promise, kept for the worst of three seeds.
func TestStreamsFindTheKnee(t *testing.T) {
	type row struct {
		model  model
		bound  int
		change func(*model) // half-way; nil: none
		warm   time.Duration
		check  func(t *testing.T, s *crowd)
	}
	slots := func(used, late float64) func(*testing.T, *crowd) {
		return func(t *testing.T, s *crowd) {
			if got := s.busy / s.span / float64(s.model.slots); got < used {
				t.Errorf("%.1f%% of the slots used, want %v%%", 100*got, 100*used)
			}
			if got := s.p95() / s.unloaded(); got > late {
				t.Errorf("first tokens p95 %.2f times the unloaded, want %v", got, late)
			}
		}
	}
	shared := func(most float64) func(*testing.T, *crowd) {
		return func(t *testing.T, s *crowd) {
			if got := s.tokens / s.span / (s.model.shared * s.model.speed); got < 0.97 {
				t.Errorf("%.1f%% of the token rate used, want 97%%", 100*got)
			}
			knee := s.model.shared * s.unhindered() / (s.unhindered() - 0.5) // some wait for their first token
			if got := s.streams / s.span / knee; got > most {
				t.Errorf("%.2f times the streams that are enough, want %v", got, most)
			}
		}
	}
	capped := func(t *testing.T, s *crowd) {
		if got := s.busy / s.span / float64(s.model.cap); got < 0.95 {
			t.Errorf("%.1f%% of the streams there can be, want 95%%", 100*got)
		}
		if got := s.overloaded(); got > 0.02 {
			t.Errorf("%.1f%% overloads, want 2%%", 100*got)
		}
	}
	const few = 4 * time.Minute
	for name, tt := range map[string]row{
		"16 slots":                    {model{slots: 16}, 256, nil, few, slots(0.99, 1.4)},
		"16 slots without noise":      {model{slots: 16, ttft: steadyFirst}, 64, nil, few, slots(0.985, 1.4)},
		"64 slots":                    {model{slots: 64}, 1024, nil, few, slots(0.975, 1.25)},
		"64 slots without noise":      {model{slots: 64, ttft: steadyFirst}, 256, nil, few, slots(0.975, 1.25)},
		"256 slots":                   {model{slots: 256}, 1024, nil, few, slots(0.975, 1.25)},
		"16 slots double":             {model{slots: 16}, 128, func(m *model) { m.slots = 32 }, 3 * time.Minute, slots(0.97, 1.4)},
		"64 slots halve":              {model{slots: 64}, 256, func(m *model) { m.slots = 32 }, 3 * time.Minute, slots(0.975, 1.25)},
		"64 slots double":             {model{slots: 64}, 512, func(m *model) { m.slots = 128 }, 3 * time.Minute, slots(0.975, 1.25)},
		"token rate for 16":           {model{shared: 16}, 256, nil, few, shared(3)},
		"token rate for 64":           {model{shared: 64}, 1024, nil, few, shared(3)},
		"token rate for 64 halves":    {model{shared: 64}, 1024, func(m *model) { m.shared = 32 }, 3 * time.Minute, shared(2)},
		"token rate for 64 doubles":   {model{shared: 64}, 1024, func(m *model) { m.shared = 128 }, 3 * time.Minute, shared(3)},
		"refuses more than 10":        {model{cap: 10}, 128, nil, few, capped},
		"refuses more than 100":       {model{cap: 100}, 800, nil, few, capped},
		"refuses more than 100 or 50": {model{cap: 100}, 800, func(m *model) { m.cap = 50 }, 3 * time.Minute, capped},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newCrowd(tt.model, Options{Concurrency: tt.bound}, seed)
				if tt.change != nil {
					s.run(8 * time.Minute)
					tt.change(&s.model)
				}
				s.run(tt.warm)
				s.reset()
				s.run(10 * time.Minute)
				if tt.check(t, s); t.Failed() {
					t.Fatalf("seed %d: %v%s", seed, s, s.history())
				}
			}
		})
	}
}

// Where no service queues the limit is out of the way, soon and for good.
func TestStreamsAreNotHeldBackWithoutAKnee(t *testing.T) {
	noise := noisyFirst(0.5, 0.5)
	byInput := func(r *rand.Rand, input int64, at time.Duration) float64 {
		return noise(r, input, at) * (0.4 + float64(input)/3000)
	}
	for name, tt := range map[string]struct {
		model  model
		bound  int
		rpm    float64
		need   float64 // streams
		within time.Duration
		keeps  float64 // of the need, at any time after
	}{
		"20 a second":          {model{ttft: noise}, 256, 20 * 60, 81, 30 * time.Second, 1},
		"500 a second":         {model{ttft: noise}, 4096, 500 * 60, 2001, 90 * time.Second, 1},
		"a short benchmark":    {model{ttft: noisyFirst(0.1, 0.2), speed: 250, out: 100}, 200, 0, 200, 5 * time.Second, 1},
		"all the bound":        {model{ttft: noise}, 64, 0, 64, 30 * time.Second, 0.9},
		"the service's day":    {model{ttft: func(r *rand.Rand, n int64, at time.Duration) float64 { return noise(r, n, at) * (1 + 0.5*at.Hours()) }}, 64, 0, 64, 30 * time.Second, 0.9},
		"inputs mixed tenfold": {model{ttft: byInput, input: func(r *rand.Rand, _ int) int64 { return 500 + 4500*r.Int64N(2) }}, 64, 0, 64, 30 * time.Second, 0.9},
		"inputs that grow":     {model{ttft: byInput, input: func(_ *rand.Rand, n int) int64 { return 500 + int64(n)/10 }}, 64, 0, 64, 30 * time.Second, 0.9},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newCrowd(tt.model, Options{Concurrency: tt.bound, RequestsPerMinute: tt.rpm}, seed)
				if took := s.until(tt.need); took > tt.within {
					t.Fatalf("seed %d: %v streams after %v, want them within %v%s", seed, tt.need, took, tt.within, s.history())
				}
				s.reset()
				s.run(time.Duration(15 * 60 * 64 / max(64, tt.need) * 1e9))
				if s.least < tt.keeps*tt.need {
					t.Errorf("seed %d: later %v, want it never below %v%s", seed, s, tt.keeps*tt.need, s.history())
				}
			}
		})
	}
}

// A tenth of the calls hang until they time out: streams in flight must be free to grow to what the quota needs then.
func TestTimeoutsDoNotShrinkTheLimit(t *testing.T) {
	for seed := range uint64(3) {
		s := newCrowd(model{after: time.Minute}, Options{Concurrency: 400, RequestsPerMinute: 20 * 60}, seed)
		s.run(5 * time.Minute)
		s.reset()
		s.model.fails = 0.1
		s.run(15 * time.Minute)
		s.model.fails = 0
		s.run(5 * time.Minute)
		if got := float64(s.sent) / s.span / 20; got < 0.95 {
			t.Errorf("seed %d: %.1f%% of the quota used, want 95%%: %v%s", seed, 100*got, s, s.history())
		}
		if got := float64(s.sent) / float64(s.served); got > 1.12 {
			t.Errorf("seed %d: %.3f attempts a record, want 1.12", seed, got)
		}
	}
}

// After an outage the limit is what it was, as soon as the service answers.
func TestStreamsComeBackAfterAnOutage(t *testing.T) {
	const seeds = 16 // it takes some streams of any length, one after the other
	var all time.Duration
	for seed := range uint64(seeds) {
		s := newCrowd(model{after: 2 * time.Second}, Options{Concurrency: 128}, seed)
		s.run(2 * time.Minute)
		s.model.fails = 1
		s.run(time.Minute)
		low := s.core.streams.limit
		s.model.fails = 0
		took := s.until(128)
		if all += took; low > 64 || took > 45*time.Second {
			t.Errorf("seed %d: limit %v in the outage, want it low; back after %v, want 45s%s", seed, low, took, s.history())
		}
	}
	if mean := all / seeds; mean > 30*time.Second {
		t.Errorf("back after %v in the mean, want 30s", mean)
	}
}

// Overloads that come whatever the load take streams away for a moment only.
func TestOverloadsAtRandomAreFoundOut(t *testing.T) {
	for seed := range uint64(3) {
		s := newCrowd(model{after: 200 * time.Millisecond}, Options{Concurrency: 200}, seed)
		s.run(2 * time.Minute)
		s.reset()
		s.model.fails = 0.6
		s.run(15 * time.Minute)
		if got := s.streams / s.span; got < 180 {
			t.Errorf("seed %d: %v; want 180 in flight%s", seed, s, s.history())
		}
	}
}
