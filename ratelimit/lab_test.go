package ratelimit

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// A scenario is runners on a quota that may change with time, and what is expected of them.
type scenario struct {
	name     string
	o        Options
	job      job
	tpm      float64                       // of the service
	rpm      float64                       // of the service, and what the share is of; 0: it does not count requests
	quota    func(minutes float64) float64 // what tpm is multiplied with; nil: 1
	runners  int                           // 0: one
	join     time.Duration                 // when the last of them comes
	stranger bool                          // the last of them is an SDK's adaptive mode
	at       func(seconds int, l *lab)     // called every second, before it
	warm     int                           // minutes that do not count
	lasts    int                           // minutes that do
	share    map[string]float64            // least share that is held, by shape; "" is every other
	refused  float64                       // most
	jain     float64                       // least
	other    float64                       // most that the stranger gets, of an equal share; 0: any
	minute   float64                       // most refused in any one minute that counts; 0: any
}

// An outcome is what came of a scenario.
type result struct {
	share   float64 // settled of the quota, over what the accounting allows
	refused float64 // of what ours sent
	jain    float64 // among ours
	other   float64 // what the stranger got of its share
	minute  float64 // refused in the worst minute
}

// A lab plays a scenario.
type lab struct {
	svc    service
	ours   []*simulation
	alien  *adaptive
	actors []actor
}

// totals are the tokens that settled, or the requests served where these are what is short, and what was sent.
func (l *lab) totals() (used float64, sent, refused int) {
	_, requests := l.svc.(*dual)
	for _, s := range l.ours {
		if requests {
			used += float64(s.served)
		} else {
			used += s.used
		}
		sent += s.sent
		refused += s.refused
	}
	return used, sent, refused
}

func (sc scenario) play(shape string, seed uint64) (result, *lab) {
	n := max(1, sc.runners)
	tokens := shapes[shape](sc.tpm)
	l := &lab{svc: tokens}
	if sc.rpm > 0 {
		l.svc = &dual{tokens: tokens, requests: shapes[shape](sc.rpm)}
	}
	o := sc.o
	if o.Concurrency == 0 {
		o.Concurrency = 400
	}
	start := time.Unix(1_800_000_000+17*int64(seed), 0) // the client does not know the service's minute
	join := func(i int, now time.Time) {
		if sc.stranger && i == n-1 {
			l.alien = newAdaptive(l.svc, sc.job, seed, now)
			l.actors = append(l.actors, l.alien)
			return
		}
		s := simulateAt(o, l.svc, sc.job, seed*100+uint64(i), now)
		l.ours = append(l.ours, s)
		l.actors = append(l.actors, s)
	}
	for i := range n {
		if i < n-1 || sc.join == 0 {
			join(i, start)
		}
	}
	most := 1.0
	if shape == "sliding window" || shape == "minute, no refund" {
		most = bound(sc.job, max(1, o.Burndown))
	}
	var quota, other float64
	var before, per []float64
	var used0 float64
	var sent0, refused0, sentM, refusedM int
	var res result
	for sec := range (sc.warm + sc.lasts) * 60 {
		now := start.Add(time.Duration(sec) * time.Second)
		q := sc.tpm
		if sc.quota != nil {
			q *= sc.quota(float64(sec) / 60)
			l.svc.quota(now, q)
		}
		if sc.join > 0 && sec == int(sc.join.Seconds()) {
			join(n-1, now)
		}
		if sc.at != nil {
			sc.at(sec, l)
		}
		if sec == sc.warm*60 {
			used0, sent0, refused0 = l.totals()
			for _, s := range l.ours {
				before = append(before, s.used)
			}
			if l.alien != nil {
				other = l.alien.used
			}
		}
		if sec%60 == 0 {
			_, s, r := l.totals()
			if sec > sc.warm*60 {
				res.minute = max(res.minute, float64(r-refusedM)/float64(max(1, s-sentM)))
			}
			sentM, refusedM = s, r
		}
		if sec >= sc.warm*60 {
			if sc.rpm > 0 {
				q, most = sc.rpm, 1
			}
			quota += q / 60
		}
		play(now, time.Second, l.actors...)
	}
	used, sent, refused := l.totals()
	res.refused = float64(refused-refused0) / float64(max(1, sent-sent0))
	sum := used - used0
	for i, s := range l.ours {
		b := 0.0
		if i < len(before) {
			b = before[i]
		}
		per = append(per, s.used-b)
	}
	if l.alien != nil {
		sum += l.alien.used - other
		res.other = (l.alien.used - other) / (quota * most / float64(n))
	}
	res.share, res.jain = sum/quota/most, jain(per)
	return res, l
}

// jain is Jain's index of fairness: 1 where all have the same, 1/n where one has all.
func jain(x []float64) float64 {
	var sum, squares float64
	for _, v := range x {
		sum += v
		squares += v * v
	}
	return sum * sum / (float64(len(x)) * squares)
}

// dual counts tokens and requests.
type dual struct{ tokens, requests service }

func (s *dual) admit(now time.Time, reserve float64) bool {
	if !s.requests.admit(now, 1) {
		return false
	}
	if !s.tokens.admit(now, reserve) {
		s.requests.settle(now, now, 1, 0)
		return false
	}
	return true
}

func (s *dual) settle(now, began time.Time, reserve, used float64) {
	s.tokens.settle(now, began, reserve, used)
}

func (s *dual) quota(now time.Time, tpm float64) { s.tokens.quota(now, tpm) }

// adaptive is a program on an SDK's adaptive retry mode: a cubic rate limiter of requests with beta 0.7
// (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html), and backoff up to 20 s.
type adaptive struct {
	svc   service
	job   job
	rng   *rand.Rand
	now   time.Time
	start time.Time
	queue events
	wake  time.Time
	idle  int // workers
	gone  bool

	enabled         bool
	rate, level     float64 // requests a second, requests
	last            time.Time
	lastMax, window float64
	throttledAt     float64
	measured        float64
	bucket          float64
	inBucket        float64
	tries           map[*event]int
	sent, refused   int
	used            float64
}

func newAdaptive(svc service, j job, seed uint64, now time.Time) *adaptive {
	return &adaptive{
		svc: svc, job: j, rng: rand.New(rand.NewPCG(seed, 77)), now: now, start: now, last: now,
		idle: 200, tries: map[*event]int{},
	}
}

func (a *adaptive) seconds() float64 { return a.now.Sub(a.start).Seconds() }

// quit sends nothing more.
func (a *adaptive) quit() { a.gone = true }

func (a *adaptive) next() time.Time {
	at := a.now.Add(time.Hour)
	if len(a.queue) > 0 {
		at = a.queue[0].at
	}
	if !a.wake.IsZero() && a.wake.Before(at) {
		at = a.wake
	}
	return at
}

func (a *adaptive) step(now time.Time) {
	a.now = now
	for len(a.queue) > 0 && !a.queue[0].at.After(now) {
		e := heap.Pop(&a.queue).(*event)
		switch {
		case e.refused:
			a.refused++
			a.update(true)
			a.tries[e]++
			e.refused, e.overload = false, true // waits
			e.at = now.Add(time.Duration(a.rng.Float64() * min(20, math.Exp2(float64(a.tries[e]))) * 1e9))
			heap.Push(&a.queue, e)
		case e.overload:
			delete(a.tries, e)
			a.idle++ // its retry is as good as another request
		default:
			a.update(false)
			u := float64(e.usage.Input + e.usage.Output)
			a.used += u
			a.svc.settle(now, e.began, reserve(e.cost), u)
			a.idle++
		}
	}
	a.refill()
	a.wake = time.Time{}
	for a.idle > 0 && !a.gone {
		if a.enabled && a.level < 1 {
			a.wake = now.Add(seconds((1-a.level)/a.rate) + time.Microsecond)
			return
		}
		if a.enabled {
			a.level--
		} else if a.sent > 100 && a.sent%10 == 0 { // connections take a while
			a.sent++
			a.wake = now.Add(100 * time.Millisecond)
			return
		}
		a.idle--
		a.sent++
		e := &event{began: now}
		e.cost, e.usage, e.lasts = a.job.next(a.rng)
		e.at = now.Add(e.lasts)
		if !a.svc.admit(now, reserve(e.cost)) {
			e.refused, e.at = true, now.Add(50*time.Millisecond)
		}
		heap.Push(&a.queue, e)
	}
}

func (a *adaptive) refill() {
	if a.enabled {
		a.level = min(max(1, a.rate), a.level+a.rate*a.now.Sub(a.last).Seconds())
	}
	a.last = a.now
}

// update is what the SDKs do after each answer.
func (a *adaptive) update(throttled bool) {
	t := math.Floor(a.seconds()*2) / 2
	a.inBucket++
	if t > a.bucket {
		a.measured = 0.8*a.inBucket/(t-a.bucket) + 0.2*a.measured
		a.inBucket, a.bucket = 0, t
	}
	var calculated float64
	if throttled {
		use := a.measured
		if a.enabled {
			use = min(use, a.rate)
		}
		a.lastMax = use
		a.window = math.Cbrt(a.lastMax * 0.3 / 0.4)
		a.throttledAt = a.seconds()
		calculated = use * 0.7
		a.enabled = true
	} else {
		a.window = math.Cbrt(a.lastMax * 0.3 / 0.4)
		calculated = 0.4*math.Pow(a.seconds()-a.throttledAt-a.window, 3) + a.lastMax
	}
	a.refill()
	a.rate = max(0.5, min(calculated, 2*a.measured))
	a.level = min(a.level, max(1, a.rate))
}
