package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// job runs a job of so many records to its end, for half an hour at most, and tells how long it takes.
func (s *crowd) job(records int) time.Duration {
	s.records = records
	for s.served < records && s.now < 30*time.Minute {
		s.run(100 * time.Millisecond)
	}
	return s.now
}

// lasting is a stream of so many seconds with its first token.
func lasting(seconds float64) model { return model{out: (seconds - 0.5) * 60, speed: 60, even: true} }

// Who asks for as many streams as there are records waits for little more than one of them, where the service has room.
func TestShortJobsStartFast(t *testing.T) {
	mixed := lasting(10)
	mixed.input = func(r *rand.Rand, _ int) int64 { return 500 + 4500*r.Int64N(2) }
	mixed.ttft = func(r *rand.Rand, input int64, _ time.Duration) float64 { return 0.3 + float64(input)/2500 }
	for name, tt := range map[string]struct {
		model   model
		bound   int
		records int
		rpm     float64 // stated; 0: nothing is
		within  time.Duration
	}{
		"200 of 10 s":                 {lasting(10), 200, 200, 0, 13 * time.Second},
		"200 of 10 s, a stated quota": {lasting(10), 200, 200, 1e6, 13 * time.Second},
		"200 of inputs mixed tenfold": {mixed, 200, 200, 0, 19 * time.Second}, // half of the first tokens take 2.3 s
		"256 of 30 s":                 {lasting(30), 256, 256, 0, 34 * time.Second},
		"512 of 30 s":                 {lasting(30), 512, 512, 0, 35 * time.Second},
		"2,000 of 10 s in 200":        {lasting(10), 200, 2000, 0, 115 * time.Second}, // of which a look back takes 7
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newCrowd(tt.model, Options{Concurrency: tt.bound, RequestsPerMinute: tt.rpm}, seed)
				if took := s.job(tt.records); took > tt.within {
					t.Errorf("seed %d: took %v, want %v%s", seed, took, tt.within, s.history())
				}
			}
		})
	}
}

// Few more streams meet a knee than are served, and the limit is soon right.
func TestStartDoesNotFlood(t *testing.T) {
	long := func(m model) model { m.out, m.speed, m.even = 19.5*60, 60, true; return m }
	tenth := lasting(10)
	tenth.shared = 64
	wide := noisyFirst(0.5, 0.8)
	for name, tt := range map[string]struct {
		model     model
		bound     int
		queue     int           // at its worst
		right     float64       // streams: a limit of no more is right,
		within    time.Duration // and is for a minute from then on
		overloads int
	}{
		"16 slots":                   {model{slots: 16}, 512, 32, 20, 4 * time.Minute, 0},
		"16 slots, wide noise":       {model{slots: 16, ttft: wide}, 512, 32, 20, 3 * time.Minute, 0},
		"16 slots, 20 s":             {long(model{slots: 16, ttft: steadyFirst}), 512, 32, 20, 3 * time.Minute, 0},
		"16 slots, 20 s, noise":      {long(model{slots: 16}), 512, 32, 20, 3 * time.Minute, 0},
		"16 slots, 20 s, wide noise": {long(model{slots: 16, ttft: wide}), 512, 32, 48, time.Minute, 0}, // it is not found for minutes
		"64 slots":                   {model{slots: 64}, 512, 52, 80, 15 * time.Second, 0},
		"64 slots, 20 s":             {long(model{slots: 64}), 512, 52, 80, 4 * time.Minute, 0},
		"256 slots":                  {model{slots: 256}, 1024, 205, 320, 15 * time.Second, 0},
		"refuses more than 10":       {model{cap: 10}, 512, 0, 12, 2 * time.Second, 350},
		"refuses more than 100":      {model{cap: 100}, 512, 0, 125, 10 * time.Second, 250},
		"refuses more than 100, 20s": {long(model{cap: 100}), 512, 0, 125, 10 * time.Second, 250},
		"a token rate for 16":        {model{shared: 16}, 512, 0, 40, 5 * time.Minute, 0},
		"a token rate for 64":        {model{shared: 64}, 512, 0, 128, time.Minute, 0},
		"a token rate for 64, 10 s":  {tenth, 1024, 0, 128, 4 * time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(3) {
				s := newCrowd(tt.model, Options{Concurrency: tt.bound}, seed)
				queue, highest, wrong := 0, 0.0, time.Duration(0)
				for s.now < 8*time.Minute {
					s.run(100 * time.Millisecond)
					queue, highest = max(queue, len(s.waiting)), max(highest, s.core.streams.limit)
					if s.core.streams.limit > tt.right && s.now < wrong+time.Minute { // later it is a try for more
						wrong = s.now
					}
				}
				t.Logf("seed %d: queue %d, limit at most %v, right from %v on, %d overloads", seed, queue, highest, wrong, s.overloads)
				if queue > tt.queue || wrong > tt.within || s.overloads > tt.overloads {
					t.Errorf("seed %d: want a queue of %d, the limit %v after %v, %d overloads%s", seed, tt.queue, tt.right, tt.within, tt.overloads, s.history())
				}
			}
		})
	}
}

// A knee that was learned is begun with, and passed by turns only.
func TestStartFromWhatWasLearnedDoesNotRise(t *testing.T) {
	s := newCrowd(lasting(10), Options{Concurrency: 512, Start: Learned{Concurrency: 70}}, 1)
	if s.run(8 * time.Second); s.core.streams.limit != 70 {
		t.Errorf("limit %v before a stream has ended, want the 70 that were learned%s", s.core.streams.limit, s.history())
	}
}
