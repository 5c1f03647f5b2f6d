package ratelimit

import (
	"math"
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

// What the input adds is learned where records differ, and a queue that all of them share is not taken for it.
func TestSlopeLearnsWhatTheInputAdds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 5))
	var s, same slope
	for i := range 400 {
		input := float64(500 + 4500*rng.IntN(2))
		queue := 0.0
		if i >= 200 {
			queue = 3
		}
		s.learn(0.2+input*0.001+queue+0.1*rng.NormFloat64(), input)
		same.learn(0.5+0.1*rng.NormFloat64(), input)
	}
	if got := s.each(); math.Abs(got-0.001) > 0.0002 {
		t.Errorf("a token of input adds %v s, want 0.001", got)
	}
	if got := same.each(); got != 0 {
		t.Errorf("a token of input adds %v s, want nothing told from noise", got)
	}
	if got := same.deviation(); math.Abs(got-0.1) > 0.02 {
		t.Errorf("deviation %v s, want 0.1", got)
	}
}

func TestLongInputsAreNotTakenForAQueue(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 6))
	c := newConcurrency(64, 64, epoch)
	for range 400 {
		input := float64(500 + 4500*rng.IntN(2))
		c.slope.learn(0.2+input*0.001+0.1*rng.NormFloat64(), input)
	}
	c.unloaded = level{n: 200, mean: 0.7, input: 500}
	long, queue := level{n: 100, mean: 5.2, input: 5000}, level{n: 100, mean: 1.7, input: 500}
	if got := c.queued(&long, 10); got > c.tolerated(10) {
		t.Errorf("%v streams wait, want none: the inputs are long", got)
	}
	if got := c.queued(&queue, 10); math.Abs(got-10) > 0.1 {
		t.Errorf("%v streams wait, want 10: a second each, 10 a second", got)
	}
}

func TestGainIsToldFromTheSpeedOfAStream(t *testing.T) {
	for name, tt := range map[string]struct {
		now  level
		want float64 // of 100 streams with first tokens after 0.5 s and 50 tokens a second
	}{
		"as fast":             {level{limit: 150, mean: 0.5, speed: 50, out: 175, ends: 99}, 1.5},
		"a shared token rate": {level{limit: 150, mean: 0.5, speed: 50 * 3.5 / 5.5, out: 175, ends: 99}, 1},
		"a queue":             {level{limit: 150, mean: 2.5, speed: 50, out: 175, ends: 99}, 1},
		"too few more":        {level{limit: 110, mean: 0.5, speed: 50, out: 175, ends: 99}, math.Inf(1)},
		"too few have ended":  {level{limit: 150, mean: 0.5, speed: 50, out: 175, ends: 9}, math.Inf(1)},
	} {
		c := newConcurrency(1000, 100, epoch)
		c.paced = level{limit: 100, mean: 0.5, speed: 50, ends: 99}
		c.exposed, c.ended = 400, 100
		if got := c.gain(&tt.now); got != tt.want && !(math.Abs(got-tt.want) < 1e-9) {
			t.Errorf("%s: gain %v, want %v", name, got, tt.want)
		}
	}
}

func TestStreamsBeginWithWhatWasLearned(t *testing.T) {
	for name, tt := range map[string]struct {
		o    Options
		want int
	}{
		"nothing":            {Options{Concurrency: 256}, 32},
		"less than the most": {Options{Concurrency: 256, Start: Learned{Concurrency: 70}}, 70},
		"more than the most": {Options{Concurrency: 50, Start: Learned{Concurrency: 70}}, 50},
		"a small most":       {Options{Concurrency: 5}, 5},
	} {
		if got := int(newCore(tt.o, epoch).streams.limit); got != tt.want {
			t.Errorf("%s: %d streams, want %d", name, got, tt.want)
		}
	}
	s := newCrowd(model{slots: 64}, Options{Concurrency: 256}, 1)
	if got := s.core.learned().Concurrency; got != 0 {
		t.Errorf("learned %d streams of nothing, want 0", got)
	}
	s.run(10 * time.Minute)
	if got := s.core.learned().Concurrency; got < 62 || got > 67 {
		t.Errorf("learned %d streams of a service with 64 slots", got)
	}
	for i, d := range s.told {
		if d.From == d.To || d.Reason == "" || d.At.IsZero() || i > 0 && d.From != s.told[i-1].To {
			t.Errorf("decision %d: %+v, want it to go on from the one before", i, d)
		}
	}
}

// What an outage has taken it gives back at once, but no more than that.
func TestStreamsAreBackAfterAnOutage(t *testing.T) {
	fallen := func() (outcomes, time.Time) {
		o := outcomes{newConcurrency(64, 64, epoch), epoch, rand.New(rand.NewPCG(1, 3))}
		o.turns(30, constant(0.02))
		began := o.now
		o.turns(20, constant(1))
		if o.c.limit > 0.7*64 {
			t.Fatalf("limit %v after 20 turns of overloads, want it to fall", o.c.limit)
		}
		return o, began
	}
	o, began := fallen()
	if s := o.c.recovered(o.now, began); o.c.limit != 64 || s.action != "undo" || s.to != 64 {
		t.Errorf("limit %v after the outage (%+v), want 64", o.c.limit, s)
	}
	o, _ = fallen()
	low := o.c.limit
	if s := o.c.recovered(o.now, o.now); o.c.limit != low || s.action != "" {
		t.Errorf("limit %v after an outage that began later than it fell (%+v), want %v", o.c.limit, s, low)
	}
}
