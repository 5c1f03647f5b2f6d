package plan

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// roundTrip is how long a refusal takes to come back.
const roundTrip = 50 * time.Millisecond

// A planned is one request and what becomes of it.
type planned struct {
	cost  ratelimit.Cost
	usage ratelimit.Usage
	first time.Duration // from its start
	lasts time.Duration
}

// A course is a run in virtual time: so many requests through the limiter of a run, to a model of the service.
type course struct {
	limiter  *ratelimit.Virtual
	service  service
	burndown float64
	next     func(i int) planned
	requests int
	mark     int // the admission whose time is wanted

	now     time.Duration
	taken   int       // of the requests
	again   []planned // refused, to go before any other
	flights flights

	marked time.Duration // when that admission was
	last   time.Duration // and the last
	busy   time.Duration // sum of the times in flight
	used   float64       // tokens settled
	refuse int           // refusals
}

// A flight is an event to come: the end of a request, or its first token.
type flight struct {
	at      time.Duration
	id      ratelimit.Flight
	request planned
	began   time.Duration
	grant   int64 // the service's
	first   bool  // this is its first token
	refused bool
}

type flights []flight

func (q flights) Len() int           { return len(q) }
func (q flights) Less(i, j int) bool { return q[i].at < q[j].at }
func (q flights) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *flights) Push(x any)        { *q = append(*q, x.(flight)) }
func (q *flights) Pop() any {
	last := len(*q) - 1
	f := (*q)[last]
	*q = (*q)[:last]
	return f
}

// newCourse prepares a run of so many requests.
func newCourse(o ratelimit.Options, s service, requests int, next func(i int) planned) (*course, error) {
	rng := rand.New(rand.NewPCG(3, 4))
	o.Rand = rng.Float64
	v, err := ratelimit.NewVirtual(o)
	if err != nil {
		return nil, err
	}
	return &course{limiter: v, service: s, burndown: o.Burndown, next: next, requests: requests, mark: -1}, nil
}

// run goes on until every request has ended.
func (c *course) run() error {
	for {
		wake := c.admit()
		if len(c.flights) == 0 && wake == 0 {
			if c.taken < c.requests || len(c.again) > 0 {
				return fmt.Errorf("the limiter lets nothing go after %v", c.now)
			}
			return nil
		}
		if len(c.flights) == 0 || wake > 0 && wake < c.flights[0].at {
			c.now = wake
			continue
		}
		f := heap.Pop(&c.flights).(flight)
		c.now = f.at
		c.land(f)
	}
}

// admit lets go whoever may, and tells when to ask again; 0: after the next event.
func (c *course) admit() (wake time.Duration) {
	for {
		var head planned
		switch {
		case len(c.again) > 0:
			head = c.again[len(c.again)-1]
		case c.taken < c.requests:
			head = c.next(c.taken)
		default:
			c.limiter.Idle(c.now)
			return 0
		}
		id, again, ok := c.limiter.Admit(c.now, head.cost)
		if !ok {
			return again
		}
		if len(c.again) > 0 {
			c.again = c.again[:len(c.again)-1]
		} else {
			if c.taken == c.mark {
				c.marked = c.now
			}
			c.taken++
		}
		c.send(id, head)
	}
}

func (c *course) send(id ratelimit.Flight, p planned) {
	f := flight{at: c.now + roundTrip, id: id, request: p, began: c.now, refused: true}
	if grant, ok := c.service.admit(c.now, ratelimit.Reserves(p.cost)); ok {
		f.at, f.grant, f.refused = c.now+p.lasts, grant, false
		c.last = c.now
		if p.first < p.lasts {
			first := f
			first.at, first.first = c.now+p.first, true
			heap.Push(&c.flights, first)
		}
	}
	heap.Push(&c.flights, f)
}

func (c *course) land(f flight) {
	switch {
	case f.first:
		c.limiter.FirstToken(c.now, f.id)
	case f.refused:
		c.refuse++
		c.again = append(c.again, f.request)
		c.limiter.Throttled(c.now, f.id)
	default:
		used := ratelimit.Settles(f.request.usage, c.burndown)
		c.used += used
		c.busy += c.now - f.began
		c.service.settle(c.now, f.grant, ratelimit.Reserves(f.request.cost), used)
		c.limiter.Succeed(c.now, f.id, f.request.usage)
	}
}

// A service has a quota of tokens that refills in some way; AWS does not say in which.
type service interface {
	// admit takes a reservation, if it is there, and names it.
	admit(now time.Duration, tokens float64) (grant int64, ok bool)
	// settle replaces a reservation by what was used.
	settle(now time.Duration, grant int64, reserved, used float64)
}

// An open service has no quota.
type open struct{}

func (open) admit(time.Duration, float64) (int64, bool)    { return 0, true }
func (open) settle(time.Duration, int64, float64, float64) {}

// A returning service fills continuously up to a minute of its quota, and what was reserved and not used is back at once.
type returning struct {
	perMinute float64
	level     float64
	asOf      time.Duration
}

func newReturning(perMinute float64) *returning {
	return &returning{perMinute: perMinute, level: perMinute}
}

func (s *returning) advance(now time.Duration) {
	s.level = min(s.perMinute, s.level+s.perMinute*(now-s.asOf).Minutes())
	s.asOf = now
}

func (s *returning) admit(now time.Duration, tokens float64) (int64, bool) {
	s.advance(now)
	if s.level < min(tokens, s.perMinute) { // what is larger than a minute's quota could never go otherwise
		return 0, false
	}
	s.level -= tokens
	return 0, true
}

func (s *returning) settle(now time.Duration, _ int64, reserved, used float64) {
	s.advance(now)
	s.level += reserved - used
}

// A counting service counts every request for a minute from its start, as reserved and once that is known as used.
type counting struct {
	perMinute float64
	total     float64
	entries   []entry
	gone      int64 // entries that have left the window
}

type entry struct {
	at     time.Duration
	tokens float64
}

func (s *counting) advance(now time.Duration) {
	n := 0
	for n < len(s.entries) && now-s.entries[n].at >= time.Minute {
		s.total -= s.entries[n].tokens
		n++
	}
	s.entries = s.entries[n:]
	s.gone += int64(n)
}

func (s *counting) admit(now time.Duration, tokens float64) (int64, bool) {
	s.advance(now)
	if len(s.entries) > 0 && s.total+tokens > s.perMinute {
		return 0, false
	}
	s.entries = append(s.entries, entry{now, tokens})
	s.total += tokens
	return s.gone + int64(len(s.entries)) - 1, true
}

func (s *counting) settle(now time.Duration, grant int64, reserved, used float64) {
	s.advance(now)
	if grant >= s.gone {
		s.entries[grant-s.gone].tokens = used
		s.total += used - reserved
	}
}
