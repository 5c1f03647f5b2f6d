package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	small  = Cost{Input: 100, MaxTokens: 100}
	served = Usage{Input: 100, Output: 100}
)

func newLimiter(t *testing.T, o Options) *Limiter {
	t.Helper()
	if o.Rand == nil {
		o.Rand = func() float64 { return 0.5 }
	}
	l, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func acquire(t *testing.T, l *Limiter, c Cost) Permit {
	t.Helper()
	p, err := l.Acquire(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ask begins an Acquire and returns where its permit arrives.
func ask(ctx context.Context, l *Limiter, c Cost) <-chan Permit {
	got := make(chan Permit, 1)
	go func() {
		if p, err := l.Acquire(ctx, c); err == nil {
			got <- p
		} else {
			close(got)
		}
	}()
	synctest.Wait()
	return got
}

func arrived(got <-chan Permit) bool {
	synctest.Wait()
	return len(got) > 0
}

func wantIdle(t *testing.T, l *Limiter) {
	t.Helper()
	synctest.Wait()
	if s := l.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("%d in flight, %d waiting; want none", s.InFlight, s.Waiting)
	}
}

func TestOptionsReportAllFaults(t *testing.T) {
	o := Options{RequestsPerMinute: -1, TokensPerMinute: math.NaN(), TokensPerDay: math.Inf(1), Burndown: -5, Concurrency: -2}
	_, err := New(o)
	for _, want := range []string{"requests per minute: -1", "tokens per minute: NaN", "tokens per day: +Inf", "burndown: -5", "concurrency: -2"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v) = %v, want it to mention %q", o, err, want)
		}
	}
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("zero options: %v", err)
	}
}

func TestRequestsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{RequestsPerMinute: 60}), time.Now()
		acquire(t, l, small).Succeed(served)
		if d := time.Since(start); d != 0 {
			t.Errorf("the first call took %v, want none", d)
		}
		acquire(t, l, small).Succeed(served)
		if d := time.Since(start); d < time.Second {
			t.Errorf("the second call took %v, want a second: the limiter starts empty", d)
		}
		for range 59 {
			acquire(t, l, small).Succeed(served)
		}
		if d := time.Since(start); d < time.Minute || d > time.Minute+time.Second {
			t.Errorf("61 calls at 60 a minute took %v, want a minute and at most a second", d)
		}
		if s := l.Snapshot(); s.Share(BoundByRequests) < 0.99 {
			t.Errorf("bound by requests for %.2f of the time, want all of it: %v", s.Share(BoundByRequests), s.Waited)
		}
	})
}

func TestTokensPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{TokensPerMinute: 12_000}), time.Now()
		for range 61 {
			acquire(t, l, small).Succeed(served)
		}
		if d := time.Since(start); d < time.Minute || d > 61*time.Second {
			t.Errorf("61 × 200 tokens at 12,000 a minute took %v, want a minute and at most a second", d)
		}
		if s := l.Snapshot(); s.Share(BoundByTokens) < 0.99 || s.TokensPerMinute != share*12_000 {
			t.Errorf("snapshot %+v, want it bound by tokens", s)
		}
	})
}

// Debt is paid back before the next request goes, refunds let it go sooner.
func TestSettlementAboveTheReservationDelaysTheNext(t *testing.T) {
	for name, tt := range map[string]struct {
		end     func(Permit)
		soonest time.Duration
		latest  time.Duration
	}{
		"as reserved":     {func(p Permit) { p.Succeed(Usage{Input: 100, Output: 20}) }, 20 * time.Second, 21 * time.Second},
		"more":            {func(p Permit) { p.Succeed(Usage{Input: 100, CacheWrite: 50, Output: 40}) }, 35 * time.Second, 36 * time.Second},
		"failed, some":    {func(p Permit) { p.Fail(Usage{Input: 100}) }, 10 * time.Second, 11 * time.Second},
		"failed, nothing": {func(p Permit) { p.Fail(Usage{}) }, 0, 0},
		"overloaded":      {func(p Permit) { p.Overloaded(Usage{}) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// 10 tokens a second, and an output token counts five. The reservation is not multiplied.
				l := newLimiter(t, Options{TokensPerMinute: 600, Burndown: 5})
				p, start := acquire(t, l, Cost{Input: 100, MaxTokens: 100}), time.Now()
				tt.end(p)
				acquire(t, l, Cost{Input: 100, MaxTokens: 100}).Fail(Usage{})
				if d := time.Since(start); d < tt.soonest || d > tt.latest {
					t.Errorf("the next went after %v, want %v to %v", d, tt.soonest, tt.latest)
				}
			})
		})
	}
}

func TestLargerThanTheQuotaGoesAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{TokensPerMinute: 600}), time.Now()
		acquire(t, l, Cost{Input: 300}).Succeed(Usage{Input: 300})
		acquire(t, l, Cost{Input: 1000}).Succeed(Usage{Input: 1000})
		if d := time.Since(start); d < time.Minute || d > 61*time.Second {
			t.Errorf("a request larger than the quota went after %v, want a minute: alone in its window", d)
		}
	})
}

func TestTokensPerDay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{TokensPerDay: 1000}), time.Now()
		for range 5 {
			acquire(t, l, small).Succeed(served)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("the day's quota took %v, want none: only the minute is paced", d)
		}
		got := ask(t.Context(), l, small)
		if s := l.Snapshot(); s.Binding != BoundByDay {
			t.Errorf("bound by %q, want %q", s.Binding, BoundByDay)
		}
		(<-got).Succeed(served)
		if d := time.Since(start); d < 24*time.Hour || d > 24*time.Hour+10*time.Minute {
			t.Errorf("the sixth went after %v, want a day and at most ten minutes", d)
		}
	})
}

// What an earlier session sent says nothing of a quota that nobody stated: one refusal at the start of the next is no reason to
// take that little for it.
func TestRestoredUseIsNoEvidence(t *testing.T) {
	c := newCore(Options{Burndown: 1, Concurrency: 32, Rand: func() float64 { return 0.5 }}, epoch)
	c.restore(epoch, 10*time.Second, 100, 30_000)
	var last verdict
	for range 5 {
		last = c.admit(epoch, Cost{Input: 100, MaxTokens: 100})
	}
	c.throttled(after(50*time.Millisecond), last.id, c.flights[last.id].gen, false)
	if c.tokenPace.learned() {
		t.Errorf("one refusal after a resume cut the pace to %v tokens a minute", perMinute(c.tokenPace.x))
	}
}

func TestRestore(t *testing.T) {
	for name, tt := range map[string]struct {
		o       Options
		restore func(*Limiter)
		want    time.Duration
		within  time.Duration
	}{
		"a full minute of tokens":   {Options{TokensPerMinute: 600}, func(l *Limiter) { l.Restore(time.Now().Add(-20*time.Second), 1, 600) }, 40 * time.Second, time.Second},
		"in parts":                  {Options{TokensPerMinute: 600}, func(l *Limiter) { l.Restore(time.Now().Add(-50*time.Second), 1, 200); l.Restore(time.Now(), 1, 400) }, 10 * time.Second, time.Second},
		"a full minute of requests": {Options{RequestsPerMinute: 60}, func(l *Limiter) { l.Restore(time.Now().Add(-45*time.Second), 60, 0) }, 15 * time.Second, time.Second},
		"longer than a minute ago":  {Options{TokensPerMinute: 600, RequestsPerMinute: 60}, func(l *Limiter) { l.Restore(time.Now().Add(-61*time.Second), 1000, 1000) }, 0, 0},
		"a full day":                {Options{TokensPerDay: 1000}, func(l *Limiter) { l.Restore(time.Now().Add(-23*time.Hour), 1000, 1000) }, time.Hour, 5 * time.Minute},
		"longer than a day ago":     {Options{TokensPerDay: 1000}, func(l *Limiter) { l.Restore(time.Now().Add(-25*time.Hour), 1000, 1000) }, 0, 0},
		"from the future":           {Options{TokensPerMinute: 600}, func(l *Limiter) { l.Restore(time.Now().Add(time.Hour), 1, 600) }, time.Minute, time.Second},
		"no number":                 {Options{TokensPerMinute: 600}, func(l *Limiter) { l.Restore(time.Now(), -1, math.NaN()) }, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, start := newLimiter(t, tt.o), time.Now()
				tt.restore(l)
				acquire(t, l, small).Succeed(served)
				if d := time.Since(start); d < tt.want || d > tt.want+tt.within {
					t.Errorf("the first went after %v, want %v and at most %v more", d, tt.want, tt.within)
				}
			})
		})
	}
}

func TestFirstComeFirstServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{TokensPerMinute: 60_000, Concurrency: 3})
		var mu sync.Mutex
		var order []int
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				// Small requests do not pass large ones.
				p := acquire(t, l, Cost{Input: int64(1 + i%7*500)})
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
				time.Sleep(time.Duration(i%5) * 100 * time.Millisecond)
				p.Succeed(Usage{Input: int64(1 + i%7*500)})
			})
			synctest.Wait() // in line
		}
		wg.Wait()
		for i, got := range order {
			if got != i {
				t.Fatalf("place %d went to %d: %v", i, got, order)
			}
		}
		wantIdle(t, l)
	})
}

func TestConcurrencyIsABound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{Concurrency: 2})
		a := acquire(t, l, small)
		b := acquire(t, l, small)
		got := ask(t.Context(), l, small)
		time.Sleep(time.Hour)
		if arrived(got) {
			t.Error("three in flight, want 2")
		}
		if s := l.Snapshot(); s.Binding != BoundByConcurrency || s.Waiting != 1 || s.InFlight != 2 || s.ConcurrencyLimit != 2 || s.Waited[BoundByConcurrency] != time.Hour {
			t.Errorf("snapshot %+v, want one waiting for concurrency for an hour", s)
		}
		a.Succeed(served)
		if !arrived(got) {
			t.Error("a place is free and nobody has it")
		}
		b.Succeed(served)
		if s := l.Snapshot(); s.Binding != BoundByInput {
			t.Errorf("bound by %q, want %q", s.Binding, BoundByInput)
		}
	})
}

// What a first token allows goes at once: a stream may take minutes to end.
func TestFirstTokensAdmitWhoeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{Concurrency: 256}), time.Now()
		for range 200 {
			go func() {
				p := acquire(t, l, small)
				time.Sleep(500 * time.Millisecond)
				p.FirstToken()
				time.Sleep(10 * time.Minute)
				p.Succeed(served)
			}()
		}
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := l.Snapshot().InFlight; n != 200 {
			t.Errorf("%d of 200 in flight %v after the start, though none has ended", n, time.Since(start))
		}
		time.Sleep(time.Hour)
	})
}

// A caller that makes no more calls than may be in flight never waits, and yet it is what the user allows that holds it. With fewer
// calls it is the input, and where the service bears fewer streams it is those.
func TestStreamsThatBind(t *testing.T) {
	for name, tt := range map[string]struct {
		o     Options
		calls int
		want  string
	}{
		"as many as there may be, and none waits": {Options{Concurrency: 4}, 4, BoundByConcurrency},
		"one waits":                    {Options{Concurrency: 4}, 5, BoundByConcurrency},
		"one fewer":                    {Options{Concurrency: 4}, 3, BoundByInput},
		"as many as the service bears": {Options{Concurrency: 8, Start: Learned{Concurrency: 4}}, 5, BoundByStreams},
		"none":                         {Options{Concurrency: 4}, 0, BoundByInput},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				l := newLimiter(t, tt.o)
				for range tt.calls {
					ask(ctx, l, small)
				}
				time.Sleep(time.Minute)
				if s := l.Snapshot(); s.Binding != tt.want || s.Share(tt.want) != 1 {
					t.Errorf("bound by %q, waited %v; want %q all the time", s.Binding, s.Waited, tt.want)
				}
			})
		})
	}
}

func TestPermitEndsOnce(t *testing.T) {
	ends := map[string]func(Permit){
		"succeed":   func(p Permit) { p.Succeed(served) },
		"fail":      func(p Permit) { p.Fail(Usage{}) },
		"throttled": func(p Permit) { p.Throttled(false) },
		"overload":  func(p Permit) { p.Overloaded(Usage{}) },
		"daily":     func(p Permit) { p.Throttled(true) },
		"unsent":    func(p Permit) { p.Unsent() },
	}
	for first, end := range ends {
		for second, again := range ends {
			t.Run(first+", "+second, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLimiter(t, Options{Concurrency: 2, TokensPerMinute: 1e6})
					p := acquire(t, l, small)
					end(p)
					before := l.Snapshot()
					held := l.core.minute.sum
					again(p)
					other := acquire(t, l, small) // takes the same flight
					again(p)
					if got := l.Snapshot(); got.InFlight != 1 || got.Throttled != before.Throttled || got.ConcurrencyLimit != before.ConcurrencyLimit {
						t.Errorf("after a second end: %+v, before: %+v", got, before)
					}
					other.Fail(Usage{})
					held.sent, held.accepted = held.sent+1, held.accepted+1
					if got := l.core.minute.sum; got != held {
						t.Errorf("ledger after a second end: %+v, want %+v", got, held)
					}
				})
			})
		}
	}
	var none Permit
	for _, end := range ends {
		end(none)
	}
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("why")
		l := newLimiter(t, Options{Concurrency: 1})
		ended, end := context.WithCancelCause(t.Context())
		end(why)
		if _, err := l.Acquire(ended, small); !errors.Is(err, why) {
			t.Errorf("Acquire with an ended context: %v, want its cause", err)
		}
		p := acquire(t, l, small)
		ctx, cancel := context.WithCancelCause(t.Context())
		errs := make(chan error)
		go func() {
			_, err := l.Acquire(ctx, small)
			errs <- err
		}()
		synctest.Wait()
		cancel(why)
		if err := <-errs; !errors.Is(err, why) {
			t.Errorf("Acquire whose context ends: %v, want its cause", err)
		}
		short, stop := context.WithTimeout(t.Context(), time.Minute)
		defer stop()
		if _, err := l.Acquire(short, small); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire past its deadline: %v", err)
		}
		p.Succeed(served)
		wantIdle(t, l)
	})
}

// Whoever gives up leaves no trace, wherever it stands in the queue.
func TestGivingUpGivesThePlaceBack(t *testing.T) {
	for _, which := range []int{0, 1, 2} {
		t.Run(fmt.Sprint("place ", which), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, start := newLimiter(t, Options{TokensPerMinute: 600}), time.Now()
				acquire(t, l, Cost{Input: 100}).Succeed(Usage{Input: 100})
				ctx, cancel := context.WithCancel(t.Context())
				var got []<-chan Permit
				for i := range 3 {
					if i == which {
						ask(ctx, l, Cost{Input: 550}) // waits for the window to move
					} else {
						got = append(got, ask(t.Context(), l, Cost{Input: 100}))
					}
				}
				cancel()
				for _, g := range got {
					(<-g).Succeed(Usage{Input: 100})
				}
				if d := time.Since(start); d < 20*time.Second || d > 22*time.Second {
					t.Errorf("two requests of 10 s went in %v: the one that gave up was counted", d)
				}
				wantIdle(t, l)
			})
		})
	}
}

// A lateContext ends while Acquire begins to wait for it, and something else happens then too.
type lateContext struct {
	context.Context
	then func()
}

func (c lateContext) Done() <-chan struct{} {
	c.then()
	return c.Context.Done()
}

// The permit and the end of the context come at the same moment: the select takes either.
func TestGivingUpWhileAdmitted(t *testing.T) {
	l := newLimiter(t, Options{Concurrency: 1, TokensPerMinute: 1e12})
	got := 0
	for range 64 {
		first := acquire(t, l, small)
		ctx, cancel := context.WithCancel(t.Context())
		p, err := l.Acquire(lateContext{ctx, func() { first.Succeed(served); cancel() }}, small)
		if err == nil {
			got++
			if p.l == nil {
				t.Fatal("no error, and no permit")
			}
			p.Succeed(served)
		}
		if s := l.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
			t.Fatalf("%+v, want nothing in flight", s)
		}
	}
	if got == 64 {
		t.Error("the context was never taken first in 64 times")
	}
	if n, want := l.core.minute.sum.sent, float64(64+got); n != want {
		t.Errorf("%v requests counted, want %v: those that never left do not count", n, want)
	}
}

// A small request that would fit does not pass a large one that does not.
func TestSmallDoesNotPassLarge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{TokensPerMinute: 600}), time.Now()
		acquire(t, l, Cost{Input: 300}).Succeed(Usage{Input: 300})
		large := ask(t.Context(), l, Cost{Input: 500})
		time.Sleep(45 * time.Second) // the pacer is paid
		got := ask(t.Context(), l, Cost{Input: 10})
		if arrived(got) {
			t.Error("the small one went first")
		}
		(<-large).Succeed(Usage{Input: 500})
		if d := time.Since(start); d < time.Minute {
			t.Errorf("the large one went after %v, want a minute", d)
		}
		(<-got).Succeed(Usage{Input: 10})
	})
}

func TestTenThousandWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{Concurrency: 16})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var wg sync.WaitGroup
		for i := range 10_000 {
			wg.Go(func() {
				if i%10 == 9 {
					if p, err := l.Acquire(ctx, small); err == nil {
						p.Fail(Usage{})
					}
					return
				}
				p := acquire(t, l, small)
				if s := l.Snapshot(); s.InFlight > 16 {
					t.Errorf("%d in flight", s.InFlight)
				}
				time.Sleep(time.Second)
				p.Succeed(served)
			})
		}
		synctest.Wait()
		cancel()
		wg.Wait()
		wantIdle(t, l)
	})
}

// What was never sent is no verdict: the one after it tries alone, too.
func TestUnsentIsNoVerdict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{TokensPerMinute: 1e6, RequestsPerMinute: 1000})
		p, q := acquire(t, l, small), acquire(t, l, small)
		convince(l.core)
		time.Sleep(50 * time.Millisecond)
		p.Throttled(false)
		q.Throttled(false)
		sent := l.core.minute.sum.sent
		acquire(t, l, small).Unsent()
		if n := l.core.minute.sum.sent; n != sent {
			t.Errorf("%v requests count, want the %v that were sent", n, sent)
		}
		acquire(t, l, small)
		if h := &l.core.service; !h.alone {
			t.Error("the next does not go alone: the hold took an answer from what was not sent")
		}
	})
}

func TestRefusalHoldsEverythingBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{TokensPerMinute: 1e6})
		p, other := acquire(t, l, small), acquire(t, l, small)
		convince(l.core)
		time.Sleep(50 * time.Millisecond)
		start := time.Now()
		p.Throttled(false)
		other.Throttled(false) // an echo: one hold for both
		one, two := ask(t.Context(), l, Cost{}), ask(t.Context(), l, Cost{})
		if s := l.Snapshot(); s.Binding != BoundByService || s.HoldUntil.Sub(start) != holdFirst || s.Throttled != 2 {
			t.Errorf("snapshot %+v, want a hold of %v", s, holdFirst)
		}
		p = <-one
		if d := time.Since(start); d != holdFirst {
			t.Errorf("the first went after %v, want %v", d, holdFirst)
		}
		if arrived(two) {
			t.Error("a second went beside the first")
		}
		time.Sleep(50 * time.Millisecond)
		start = time.Now()
		p.Throttled(false)
		p = <-two
		if d := time.Since(start); d != 2*holdFirst {
			t.Errorf("after the second refusal one went after %v, want %v", d, 2*holdFirst)
		}
		p.Succeed(served)
		wantIdle(t, l)
	})
}

func TestDailyRefusalTriesAtGrowingGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{})
		acquire(t, l, small).Throttled(true)
		gap := 5 * time.Second
		for range 15 {
			start := time.Now()
			got := ask(t.Context(), l, small)
			if s := l.Snapshot(); s.Binding != BoundByDay || s.HoldUntil.Sub(start) != gap {
				t.Fatalf("snapshot %+v, want a pause of %v for the day", s, gap)
			}
			p := <-got
			if d := time.Since(start); d != gap {
				t.Errorf("tried again after %v, want %v", d, gap)
			}
			time.Sleep(time.Second)
			if arrived(ask(t.Context(), l, small)) {
				t.Error("a second went beside the try")
			}
			p.Throttled(true)
			gap = min(time.Duration(float64(gap)*1.6), 10*time.Minute)
			// The one that waited beside it is the next to try.
			time.Sleep(gap)
			synctest.Wait()
			if s := l.Snapshot(); s.InFlight != 1 {
				t.Fatalf("%d in flight, want the one that waited", s.InFlight)
			}
			Permit{l, l.core.daily.id, l.core.flights[l.core.daily.id].gen}.Throttled(true)
			gap = min(time.Duration(float64(gap)*1.6), 10*time.Minute)
		}
		acquire(t, l, small).Succeed(served)
		start := time.Now()
		for range 10 {
			acquire(t, l, small).Succeed(served)
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("after a try that was served ten took %v, want none", d)
		}
	})
}

func TestOverloadShrinksAndSuccessGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{Concurrency: 20})
		for range 3 { // turns: by the third it is for sure no accident
			var ps []Permit
			for range 20 {
				ps = append(ps, acquire(t, l, small))
			}
			time.Sleep(10 * time.Second)
			for _, p := range ps {
				p.Overloaded(Usage{})
			}
		}
		fell := l.Snapshot().ConcurrencyLimit
		if fell < 7 || fell > 14 {
			t.Errorf("limit = %d, want between 7 and 14", fell)
		}
		for range 100 {
			acquire(t, l, small).Succeed(served)
		}
		if s := l.Snapshot(); s.ConcurrencyLimit != fell {
			t.Errorf("limit = %d, want %d: it was not in use", s.ConcurrencyLimit, fell)
		}
		for range 60 {
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					p := acquire(t, l, small)
					time.Sleep(time.Second)
					p.Succeed(served)
				})
			}
			wg.Wait()
		}
		if s := l.Snapshot(); s.ConcurrencyLimit != 20 {
			t.Errorf("limit = %d, want 20 again", s.ConcurrencyLimit)
		}
	})
}

// The time is all accounted for.
func TestWaitedSumsToTheAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := newLimiter(t, Options{RequestsPerMinute: 600, TokensPerMinute: 10_000, Concurrency: 2}), time.Now()
		for i := range 50 {
			p := acquire(t, l, small)
			time.Sleep(time.Duration(i%3) * time.Second)
			if i%10 == 9 {
				p.Throttled(false)
			} else {
				p.Succeed(served)
			}
		}
		var sum time.Duration
		var shares float64
		s := l.Snapshot()
		for cause, d := range s.Waited {
			sum += d
			shares += s.Share(cause)
		}
		if age := time.Since(start); sum != age || math.Abs(shares-1) > 1e-9 {
			t.Errorf("waited %v in all, shares %v; want %v and 1", sum, shares, age)
		}
	})
}

// Time in which the caller waits for the service is no lack of requests.
func TestOutageIsNoLackOfInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, Options{})
		time.Sleep(time.Minute)
		l.Out(true)
		if s := l.Snapshot(); s.Binding != BoundByOutage {
			t.Errorf("bound by %q in an outage", s.Binding)
		}
		acquire(t, l, small).Fail(Usage{})
		time.Sleep(3 * time.Minute)
		l.Out(false)
		time.Sleep(time.Minute)
		if s := l.Snapshot(); s.Waited[BoundByOutage] != 3*time.Minute || s.Waited[BoundByInput] != 2*time.Minute {
			t.Errorf("waited %v, want 3 minutes for the service and 2 for requests", s.Waited)
		}
	})
}

// Everything at once, for the race detector.
func TestConcurrentUse(t *testing.T) {
	l, err := New(Options{Concurrency: 8})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*100*time.Microsecond)
				p, err := l.Acquire(ctx, small)
				cancel()
				if err != nil {
					continue
				}
				switch (g + i) % 8 {
				case 0:
					p.Fail(Usage{Input: 1})
				case 1:
					p.Overloaded(Usage{})
				case 2:
					l.Snapshot()
					p.Succeed(served)
				default:
					p.Succeed(served)
				}
				p.Succeed(served)
			}
		})
	}
	wg.Wait()
	if s := l.Snapshot(); s.InFlight != 0 || s.Waiting != 0 {
		t.Errorf("%+v, want nothing left", s)
	}
}
