package ratelimit

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flat options give jitter without chance, so that two limiters decide alike.
func flat(o Options) Options {
	o.Rand = func() float64 { return 0.5 }
	return o
}

// TestVirtualDecidesAsLimiter: the same requests end at the same moment, whether a limiter waits for them on the clock
// or a virtual one is asked.
func TestVirtualDecidesAsLimiter(t *testing.T) {
	tests := map[string]struct {
		o   Options
		job job
	}{
		"tokens":                        {Options{TokensPerMinute: 60_000, Concurrency: 100}, plainJob},
		"max_tokens ten times the mean": {Options{TokensPerMinute: 60_000, Concurrency: 100}, tenfold},
		"settled above the reservation": {Options{TokensPerMinute: 60_000, Burndown: 5, Concurrency: 100}, burnJob},
		"requests":                      {Options{RequestsPerMinute: 300, Concurrency: 100}, plainJob},
		"streams":                       {Options{Concurrency: 3}, plainJob},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			const n = 400
			virtual := tt.job.virtually(t, flat(tt.o), n)
			var real time.Duration
			synctest.Test(t, func(t *testing.T) { real = tt.job.really(t, flat(tt.o), n) })
			// Ends that fall together may come in either order.
			if d := (virtual - real).Abs(); d > real/1000 {
				t.Errorf("%d requests take %v in virtual time, %v on the clock", n, virtual, real)
			}
		})
	}
}

// really sends n requests through a Limiter and returns how long it took.
func (j job) really(t *testing.T, o Options, n int) time.Duration {
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	start, rng := time.Now(), rand.New(rand.NewPCG(7, 7))
	var flying sync.WaitGroup
	for range n {
		cost, usage, lasts := j.next(rng)
		p, err := l.Acquire(t.Context(), cost)
		if err != nil {
			t.Fatal(err)
		}
		flying.Go(func() {
			time.Sleep(lasts)
			p.Succeed(usage)
		})
	}
	flying.Wait()
	return time.Since(start)
}

// virtually does the same with a Virtual.
func (j job) virtually(t *testing.T, o Options, n int) time.Duration {
	v, err := NewVirtual(o)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	var (
		now  time.Duration
		ends virtualEnds
	)
	next := func(until time.Duration) { // lets what ends before until end
		for len(ends) > 0 && ends[0].at <= until {
			e := heap.Pop(&ends).(virtualEnd)
			now = e.at
			v.Succeed(now, e.f, e.u)
		}
	}
	for range n {
		cost, usage, lasts := j.next(rng)
		for {
			f, again, ok := v.Admit(now, cost)
			if ok {
				heap.Push(&ends, virtualEnd{now + lasts, f, usage})
				break
			}
			switch {
			case len(ends) > 0 && (again == 0 || ends[0].at <= again):
				next(ends[0].at)
			case again > now:
				now = again
			default:
				t.Fatalf("asked again at %v, and it is %v", again, now)
			}
		}
	}
	v.Idle(now)
	next(1 << 62)
	return now
}

type virtualEnd struct {
	at time.Duration
	f  Flight
	u  Usage
}

type virtualEnds []virtualEnd

func (q virtualEnds) Len() int           { return len(q) }
func (q virtualEnds) Less(i, j int) bool { return q[i].at < q[j].at }
func (q virtualEnds) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *virtualEnds) Push(x any)        { *q = append(*q, x.(virtualEnd)) }
func (q *virtualEnds) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	*q = (*q)[:last]
	return e
}

// TestVirtualWaited: the waits of a virtual limiter sum to the time that it was run for.
func TestVirtualWaited(t *testing.T) {
	v, err := NewVirtual(flat(Options{RequestsPerMinute: 60}))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, ok := v.Admit(0, Cost{Input: 1}); !ok {
		t.Fatal("the first request may not go")
	}
	_, again, ok := v.Admit(0, Cost{Input: 1})
	if ok || again <= 0 || again > 2*time.Second {
		t.Fatalf("the second may go %v, again at %v; want it to wait about a second", ok, again)
	}
	v.Idle(again)
	waited := v.Waited(again + time.Second)
	if got := waited[BoundByRequests]; got != again {
		t.Errorf("waited %v for requests, want %v", got, again)
	}
	var sum time.Duration
	for _, d := range waited {
		sum += d
	}
	if want := again + time.Second; sum != want {
		t.Errorf("all waits are %v, want %v", sum, want)
	}
}
