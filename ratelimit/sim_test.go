package ratelimit

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// A service is a quota of tokens of some shape. AWS does not say which it has.
type service interface {
	// admit takes reserve tokens, if they are there.
	admit(now time.Time, reserve float64) bool
	// settle replaces the reservation of a request admitted at began.
	settle(now, began time.Time, reserve, used float64)
	// quota changes the quota, in tokens a minute.
	quota(now time.Time, tpm float64)
}

// slidingService counts what was admitted in a window. It is strict, and the oracle of the property tests too.
type slidingService struct {
	window  time.Duration
	tpm     float64
	entries []entry
	total   float64 // of whole numbers, so exact
}

type entry struct {
	at     time.Time
	tokens float64
}

func (s *slidingService) sum(now time.Time) float64 {
	for len(s.entries) > 0 && now.Sub(s.entries[0].at) >= s.window {
		s.total -= s.entries[0].tokens
		s.entries = s.entries[1:]
	}
	return s.total
}

func (s *slidingService) add(now time.Time, tokens float64) {
	s.entries = append(s.entries, entry{now, tokens})
	s.total += tokens
}

func (s *slidingService) admit(now time.Time, reserve float64) bool {
	if s.sum(now)+reserve > s.tpm {
		return false
	}
	s.add(now, reserve)
	return true
}

func (s *slidingService) settle(_, began time.Time, reserve, used float64) {
	i, _ := slices.BinarySearchFunc(s.entries, began, func(e entry, t time.Time) int { return e.at.Compare(t) })
	for ; i < len(s.entries) && s.entries[i].at.Equal(began); i++ {
		if s.entries[i].tokens == reserve {
			s.entries[i].tokens = used
			s.total += used - reserve
			return
		}
	}
}

func (s *slidingService) quota(_ time.Time, tpm float64) { s.tpm = tpm }

// bucketService fills continuously and holds so many seconds of its quota.
type bucketService struct {
	tpm, seconds float64
	level        float64
	last         time.Time
}

func (s *bucketService) advance(now time.Time) {
	if s.last.IsZero() {
		s.level = s.tpm / 60 * s.seconds
	} else {
		s.level = min(s.tpm/60*s.seconds, s.level+s.tpm/60*now.Sub(s.last).Seconds())
	}
	s.last = now
}

func (s *bucketService) admit(now time.Time, reserve float64) bool {
	s.advance(now)
	if s.level < reserve {
		return false
	}
	s.level -= reserve
	return true
}

func (s *bucketService) settle(now, _ time.Time, reserve, used float64) {
	s.advance(now)
	s.level += reserve - used
}

func (s *bucketService) quota(now time.Time, tpm float64) {
	s.advance(now)
	s.tpm = tpm
}

// minuteService starts from nothing at every full minute. A refund that arrives later counts then, or not at all.
type minuteService struct {
	tpm    float64
	strict bool
	window int64
	used   float64
}

func (s *minuteService) advance(now time.Time) {
	if w := now.Unix() / 60; w != s.window {
		s.window, s.used = w, 0
	}
}

func (s *minuteService) admit(now time.Time, reserve float64) bool {
	s.advance(now)
	if s.used+reserve > s.tpm {
		return false
	}
	s.used += reserve
	return true
}

func (s *minuteService) settle(now, began time.Time, reserve, used float64) {
	s.advance(now)
	if s.strict && began.Unix()/60 != s.window {
		return
	}
	s.used += used - reserve
}

func (s *minuteService) quota(_ time.Time, tpm float64) { s.tpm = tpm }

// A job is the requests of a simulation.
type job struct {
	input, max int64
	out        float64 // mean output tokens, exponential, at most max
	slow       time.Duration
	lasts      time.Duration // of each, whatever its output; 0: half a second and slow for each token
}

var (
	plainJob   = job{input: 500, max: 480, out: 210, slow: 17 * time.Millisecond}   // reserves 1.4 times what it settles at
	tenfold    = job{input: 300, max: 2000, out: 200, slow: 15 * time.Millisecond}  // 4.6 times
	thirtyfold = job{input: 300, max: 6000, out: 200, slow: 15 * time.Millisecond}  // 12 times
	burnJob    = job{input: 200, max: 300, out: 150, slow: 20 * time.Millisecond}   // with burndown 5: settles above
	slowJob    = job{input: 500, max: 4000, out: 1500, slow: 40 * time.Millisecond} // streams of a minute
)

func (j job) next(r *rand.Rand) (Cost, Usage, time.Duration) {
	out := int64(min(float64(j.max), max(1, r.ExpFloat64()*j.out)))
	if j.lasts > 0 {
		return Cost{j.input, j.max}, Usage{Input: j.input, Output: out}, j.lasts
	}
	return Cost{j.input, j.max}, Usage{Input: j.input, Output: out}, 500*time.Millisecond + time.Duration(out)*j.slow
}

// A simulation drives a core through virtual time.
type simulation struct {
	core   *core
	svc    service
	job    job
	rng    *rand.Rand
	rtt    time.Duration
	jitter time.Duration // a refusal takes rtt and up to this much more
	now    time.Time
	start  time.Time

	queue events
	head  *event // the request at the head of the queue
	wake  time.Time

	left     int           // records still to be served; negative: no end
	every    time.Duration // a record comes so often; 0: there is always one
	arrives  time.Time     // the next
	inStream float64       // the share of refusals that come in the stream, about a second later
	slots    float64       // streams the service can serve at a time; 0: any number
	overload float64       // the share of admitted requests that the service cannot serve

	sent, refused, served int
	used                  float64
}

type event struct {
	at, began time.Time
	cost      Cost
	usage     Usage
	lasts     time.Duration
	refused   bool
	overload  bool
	id, gen   uint32
}

type events []*event

func (q events) Len() int           { return len(q) }
func (q events) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q events) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *events) Push(x any)        { *q = append(*q, x.(*event)) }
func (q *events) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

func simulate(o Options, svc service, j job, seed uint64) *simulation {
	return simulateAt(o, svc, j, seed, time.Unix(1_800_000_017, 0))
}

// simulateAt begins at a time of its own.
func simulateAt(o Options, svc service, j job, seed uint64, start time.Time) *simulation {
	rng := rand.New(rand.NewPCG(seed, 1))
	o.Rand = rng.Float64
	if o.Burndown == 0 {
		o.Burndown = 1
	}
	return &simulation{
		core: newCore(o, start), svc: svc, job: j, rng: rng,
		rtt: 50 * time.Millisecond, now: start, start: start, left: -1,
	}
}

// An actor is something that sends requests to a service.
type actor interface {
	next() time.Time    // when it has something to do
	step(now time.Time) // does it
}

// play lets d of virtual time pass for all of them.
func play(from time.Time, d time.Duration, actors ...actor) {
	until := from.Add(d)
	for _, a := range actors {
		a.step(from)
	}
	for {
		first, at := actors[0], actors[0].next()
		for _, a := range actors[1:] {
			if t := a.next(); t.Before(at) {
				first, at = a, t
			}
		}
		if !at.Before(until) {
			return
		}
		first.step(at)
	}
}

// run goes on for d of virtual time.
func (s *simulation) run(d time.Duration) {
	until := s.now.Add(d)
	play(s.now, d, s)
	s.now = until
}

func (s *simulation) next() time.Time {
	at := s.now.Add(time.Hour)
	if len(s.queue) > 0 && s.queue[0].at.Before(at) {
		at = s.queue[0].at
	}
	if !s.wake.IsZero() && s.wake.Before(at) {
		at = s.wake
	}
	return at
}

func (s *simulation) step(now time.Time) {
	s.now = now
	for len(s.queue) > 0 && !s.queue[0].at.After(s.now) {
		s.end(heap.Pop(&s.queue).(*event))
		s.pump()
	}
	s.pump()
}

func (s *simulation) pump() {
	for {
		if s.head == nil {
			if s.left == 0 || s.arrives.After(s.now) {
				s.core.account(s.now)
				s.core.waiting(s.now, verdict{})
				s.wake = time.Time{}
				if s.left != 0 {
					s.wake = s.arrives
				}
				return
			}
			s.left--
			if s.every > 0 {
				s.arrives = s.now.Add(s.every)
			}
			s.head = &event{}
			s.head.cost, s.head.usage, s.head.lasts = s.job.next(s.rng)
		}
		v := s.core.admit(s.now, s.head.cost)
		if !v.ok {
			s.core.waiting(s.now, v)
			s.wake = v.at
			if !v.at.IsZero() && !v.at.After(s.now) {
				panic("the core asks to be asked again at once")
			}
			s.check()
			return
		}
		e := s.head
		s.head = nil
		e.began, e.id, e.gen = s.now, v.id, s.core.flights[v.id].gen
		e.at = s.now.Add(e.lasts)
		s.sent++
		r := reserve(e.cost)
		if !s.svc.admit(s.now, r) {
			e.refused, e.at = true, s.now.Add(s.rtt+time.Duration(s.rng.Float64()*float64(s.jitter)))
			s.left++ // goes again
			if s.inStream > 0 && s.rng.Float64() < s.inStream {
				e.at = e.at.Add(time.Second)
			}
		} else {
			share := s.overload
			if s.slots > 0 {
				share = 1 - s.slots/float64(s.core.inFlight)
			}
			e.overload = share > 0 && s.rng.Float64() < share
		}
		heap.Push(&s.queue, e)
	}
}

func (s *simulation) end(e *event) {
	if e.refused {
		s.refused++
		s.core.throttled(s.now, e.id, e.gen, false)
		return
	}
	if e.overload {
		s.svc.settle(s.now, e.began, reserve(e.cost), 0)
		s.left++ // goes again
		s.core.fail(s.now, e.id, e.gen, Usage{}, true)
		return
	}
	s.served++
	u := s.core.predict.settle(e.usage)
	s.used += u
	s.svc.settle(s.now, e.began, reserve(e.cost), u)
	s.core.succeed(s.now, e.id, e.gen, e.usage)
}

// check finds what must never be.
func (s *simulation) check() {
	for _, x := range []float64{s.core.tokenPace.x, s.core.requestPace.x} {
		if math.IsNaN(x) || x < 1.0/60/100 {
			panic("a pace is not a positive number")
		}
	}
	if math.IsNaN(s.core.tokens.level) || math.IsInf(s.core.tokens.level, 0) {
		panic("the level is not finite")
	}
}

// measure runs on for d and returns the share of the quota that was used in it, and the share of requests refused.
func (s *simulation) measure(d time.Duration, tpm float64) (used, refused float64) {
	u, n, r := s.used, s.sent, s.refused
	s.run(d)
	return (s.used - u) / (tpm * d.Minutes()), float64(s.refused-r) / float64(max(1, s.sent-n))
}

// An open service has no quota.
type open struct{}

func (open) admit(time.Time, float64) bool                 { return true }
func (open) settle(time.Time, time.Time, float64, float64) {}
func (open) quota(time.Time, float64)                      {}

// A noisy service refuses a share of what comes, whatever the rate.
type noisy struct {
	service
	share float64
	rng   *rand.Rand
}

func (s *noisy) admit(now time.Time, r float64) bool {
	return s.rng.Float64() >= s.share && s.service.admit(now, r)
}
