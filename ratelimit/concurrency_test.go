package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// A row of outcomes: streams of a limit, all in use, a second each.
type outcomes struct {
	c   concurrency
	now time.Time
	rng *rand.Rand
}

func (o *outcomes) turns(n int, share func(limit float64) float64) {
	for range n {
		began, limit := o.now.Add(time.Millisecond), o.c.limit
		o.now = o.now.Add(time.Second)
		o.c.pass(time.Second, int(limit))
		for range int(limit) {
			o.c.started(began)
		}
		for i := range int(limit) {
			if o.rng.Float64() < share(limit) {
				o.c.overloaded(o.now.Add(time.Duration(i)), began, int(limit))
			} else {
				o.c.succeeded(o.now, &flight{began: began}, 0)
			}
		}
	}
}

func constant(share float64) func(float64) float64 {
	return func(float64) float64 { return share }
}

func TestConcurrencyFallsOnlyWhereItHelps(t *testing.T) {
	for seed := range uint64(5) {
		o := outcomes{newConcurrency(64, 64, epoch), epoch, rand.New(rand.NewPCG(seed, 3))}
		for range 20 {
			if o.turns(30, constant(0.1)); o.c.limit < 0.8*64 {
				t.Errorf("seed %d: limit %v at %v, with a tenth of overloads all the time", seed, o.c.limit, o.now.Sub(epoch))
			}
		}
		least, mean := o.c.limit, 0.0
		for range 300 {
			o.turns(1, constant(0.6))
			least = min(least, o.c.limit)
			mean += o.c.limit / 300
		}
		if least > 0.7*64 || mean < 0.8*64 {
			t.Errorf("seed %d: limit %.1f on average in five minutes with 60 %% of overloads, %v at least; want it to fall, and be given back", seed, mean, least)
		}
		if o.turns(120, constant(0.1)); o.c.limit < 0.8*64 {
			t.Errorf("seed %d: limit %v two minutes later, want it back", seed, o.c.limit)
		}
		// A service with 20 places serves no more.
		places := func(limit float64) float64 { return 1 - 20/limit }
		o.turns(60, places)
		var sum float64
		for range 100 {
			o.turns(1, places)
			sum += o.c.limit / 100
		}
		if sum < 15 || sum > 32 {
			t.Errorf("seed %d: limit %.1f on average, want about 20, which the service can serve", seed, sum)
		}
	}
}
