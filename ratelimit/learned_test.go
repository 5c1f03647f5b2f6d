package ratelimit

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// How many refusals make the strict accounting believed depends on how full its ledger was at each, and on when they came.
func TestRefusalsThatMakeAServiceStrict(t *testing.T) {
	type refusal struct {
		at     time.Duration
		ledger float64 // of the quota
	}
	for name, tt := range map[string]struct {
		refusals []refusal // the last makes it strict, no earlier one does
		strict   bool
	}{
		"two with the ledger just full":              {[]refusal{{0, 0.999}, {time.Minute, 1.004}}, true},
		"one past it, then one just full":            {[]refusal{{0, 1.18}, {3 * time.Second, 1.01}}, true},
		"three past it, close to each other":         {[]refusal{{0, 1.18}, {3 * time.Second, 1.15}, {9 * time.Second, 1.12}}, true},
		"two past it, and two a minute later":        {[]refusal{{0, 1.18}, {3 * time.Second, 1.15}, {time.Minute, 1.18}, {time.Minute + 3*time.Second, 1.15}}, true},
		"four past it, each in a minute of its own":  {[]refusal{{0, 1.18}, {time.Minute, 1.18}, {2 * time.Minute, 1.18}, {3 * time.Minute, 1.18}}, false},
		"five past it, each in a minute of its own":  {[]refusal{{0, 1.18}, {time.Minute, 1.18}, {2 * time.Minute, 1.18}, {3 * time.Minute, 1.18}, {4 * time.Minute, 1.18}}, true},
		"two with the ledger just full, far apart":   {[]refusal{{0, 1}, {falsifyFor + time.Second, 1}}, false},
		"three of which the first was long ago":      {[]refusal{{0, 1.18}, {falsifyFor, 1.18}, {falsifyFor + time.Second, 1.18}}, false},
		"one with the ledger just full, and no more": {[]refusal{{0, 1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(epoch, 600_000, false)
			for i, r := range tt.refusals {
				want := tt.strict && i == len(tt.refusals)-1
				if got := g.refused(after(r.at), r.ledger*600_000, false); got != want || g.strict != want {
					t.Fatalf("refusal %d: strict %v, want %v", i+1, got, want)
				}
			}
		})
	}
	g := newGate(epoch, 600_000, false)
	if !g.refused(epoch, 1.18*600_000, true) {
		t.Error("an exhausted quota was not enough")
	}
}

// What is believed is tried again later; the next refusal ends the trial.
func TestStrictAccountingIsDoubted(t *testing.T) {
	g := newGate(epoch, 600_000, false)
	g.refused(epoch, 600_000, true)
	since := time.Duration(0)
	for _, lasts := range []time.Duration{strictFirst, 2 * strictFirst, 4 * strictFirst} {
		if g.retry(after(since + lasts - 1)) {
			t.Errorf("tried the gentle accounting again before %v", lasts)
		}
		if !g.retry(after(since + lasts)) {
			t.Errorf("did not try the gentle accounting after %v", lasts)
		}
		since += lasts + time.Second
		if !g.refused(after(since), 1.18*600_000, false) {
			t.Error("one refusal did not end the trial")
		}
	}
	g.retry(after(since + 8*strictFirst))
	since += 8*strictFirst + 2*time.Minute
	if !g.strayed(after(since)) || g.refused(after(since+time.Second), 600_000, false) {
		t.Error("a trial in which the strict accounting was disproved went on")
	}
}

// A service that admits what no strict one would is none, for as long as it does.
func TestStrictAccountingIsDisproved(t *testing.T) {
	g := newGate(epoch, 600_000, false)
	for s := range 200 {
		now, ledger := after(time.Duration(s)*time.Second), 1.1*600_000
		if s == 10 {
			ledger = 1.01 * 600_000
		}
		g.admitted(now, ledger)
		if got, want := g.disproved(now), s >= 81; got != want {
			t.Fatalf("disproved after %d s: %v, want %v", s, got, want)
		}
	}
	for i := range strayMost + 1 {
		if got, want := g.strayed(after(200*time.Second)), i < strayMost; got != want {
			t.Errorf("refusal %d is one of few: %v, want %v", i+1, got, want)
		}
	}
	g.admitted(after(201*time.Second), 600_000)
	if g.disproved(after(300 * time.Second)) {
		t.Error("disproved with a ledger that is not past the quota any more")
	}
}

// The shape decides, and nothing else: a service that gives back at once is never taken for strict, and one that is not is
// found out by few refusals.
func TestAccountingIsTold(t *testing.T) {
	for shape, strict := range map[string]bool{
		"bucket of 60 s": false, "bucket of 10 s": false, "minute": false, "minute, no refund": true, "sliding window": true,
	} {
		for name, tt := range map[string]struct {
			job   job
			tpm   float64
			lasts time.Duration
			most  int // refusals of one that is strict
		}{
			"plain":                       {plainJob, 840_000, strictFirst, 4},
			"max_tokens × 10":             {tenfold, 600_000, strictFirst, 4},
			"max_tokens × 10, 2 a second": {tenfold, 60_000, 30 * time.Minute, 5}, // trials included
			"max_tokens × 30":             {thirtyfold, 600_000, 30 * time.Minute, 5},
		} {
			t.Run(name+", "+shape, func(t *testing.T) {
				for seed := range uint64(4) {
					start := time.Unix(1_800_000_000+17*int64(seed), 0)
					s := simulateAt(Options{TokensPerMinute: tt.tpm, Concurrency: 400}, shapes[shape](tt.tpm), tt.job, seed, start)
					s.run(tt.lasts)
					l := s.core.learned()
					if l.Strict != strict || l.TokensPerMinute != 0 {
						t.Errorf("seed %d: learned %+v, want strict %v and no pace", seed, l, strict)
					}
					if strict && s.refused > tt.most {
						t.Errorf("seed %d: %d refused until it was known to be strict, want at most %d", seed, s.refused, tt.most)
					}
					n := s.refused
					again := simulateAt(Options{TokensPerMinute: tt.tpm, Concurrency: 400, Start: l}, shapes[shape](tt.tpm), tt.job, seed, start)
					again.run(5 * time.Minute)
					if shape != "minute" && again.refused != 0 { // a minute refuses now and then as it ends, but see below
						t.Errorf("seed %d: %d refused by who began with what was learned, want none; %d before", seed, again.refused, n)
					}
				}
			})
		}
	}
}

// Where max_tokens is ten times the mean, who begins with what was learned of a service is not refused once in five minutes, whatever its shape.
func TestWhatWasToldOfTheAccountingHolds(t *testing.T) {
	for shape, svc := range shapes {
		s := simulate(Options{TokensPerMinute: 600_000, Concurrency: 400}, svc(600_000), tenfold, 1)
		s.run(5 * time.Minute)
		again := simulate(Options{TokensPerMinute: 600_000, Concurrency: 400, Start: s.core.learned()}, svc(600_000), tenfold, 1)
		if again.run(5 * time.Minute); again.refused != 0 {
			t.Errorf("%s: %d refused, want none; %d before", shape, again.refused, s.refused)
		}
	}
}

// A sliding minute is found out by two refusals: of a small job they are much.
func TestSlidingMinuteIsToldByTwoRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		job job
		tpm float64
	}{
		"plain":           {plainJob, 840_000},
		"max_tokens × 10": {tenfold, 600_000},
	} {
		for seed := range uint64(8) {
			s := simulate(Options{TokensPerMinute: tt.tpm, Concurrency: 400}, shapes["sliding window"](tt.tpm), tt.job, seed)
			s.run(strictFirst)
			if !s.core.gate.strict || s.refused != 2 {
				t.Errorf("%s, seed %d: strict %v after %d refusals, want it after two", name, seed, s.core.gate.strict, s.refused)
			}
		}
	}
}

// An edge refuses one request every so often, as a minute may that takes refunds: those that are on their way when it ends come too late.
type edge struct {
	service
	every time.Duration
	next  time.Time
}

func (e *edge) admit(now time.Time, reserve float64) bool {
	if e.next.IsZero() {
		e.next = now.Add(e.every)
	}
	if now.Before(e.next) {
		return e.service.admit(now, reserve)
	}
	e.next = e.next.Add(e.every)
	return false
}

// A refusal now and then, of a service that admits more than a strict one would, costs the moment for which it is held.
func TestRefusalsNowAndThenDoNotMakeAServiceStrict(t *testing.T) {
	const tpm = 600_000
	for seed := range uint64(3) {
		s := simulate(Options{TokensPerMinute: tpm, Concurrency: 400}, &edge{service: shapes["bucket of 60 s"](tpm), every: 100 * time.Second}, tenfold, seed)
		s.run(time.Minute)
		used, _ := s.measure(20*time.Minute, tpm)
		if l := s.core.learned(); l.Strict || used < 0.96 || s.refused < 10 {
			t.Errorf("seed %d: strict %v, used %.1f%%, %d refused; want not strict, 98%%, a dozen", seed, l.Strict, 100*used, s.refused)
		}
	}
}

// A full window that refuses a request now and then, as it may when what has left it took longer on its way to the service, says nothing of the
// pace. One that goes on doing so holds less than was stated.
func TestRefusalsOfAFullWindowNowAndThenCutNothing(t *testing.T) {
	const tpm = 600_000
	play := func(seed uint64, svc service) (*simulation, float64) {
		s := simulate(Options{TokensPerMinute: tpm, Concurrency: 400, Start: Learned{Strict: true}}, svc, tenfold, seed)
		s.run(time.Minute)
		used, _ := s.measure(strictFirst-2*time.Minute, tpm)
		return s, used
	}
	for seed := range uint64(3) {
		_, most := play(seed, shapes["sliding window"](tpm))
		s, used := play(seed, &edge{service: shapes["sliding window"](tpm), every: 80 * time.Second})
		if s.core.tokenPace.cuts > 0 || used < 0.995*most || s.refused < 5 {
			t.Errorf("seed %d: %d cuts, %d refused, used %.2f%%; want no cut, a refusal every 80 s, nearly %.2f%%", seed, s.core.tokenPace.cuts, s.refused, 100*used, 100*most)
		}
		if s, _ := play(seed, &edge{service: shapes["sliding window"](tpm), every: 20 * time.Second}); s.core.tokenPace.cuts == 0 {
			t.Errorf("seed %d: no cut after %d refusals, one every 20 s", seed, s.refused)
		}
	}
}

func TestMayBeMore(t *testing.T) {
	const tpm = 840_000
	for name, tt := range map[string]struct {
		o     Options
		quota float64
		want  bool
	}{
		"stated half":       {Options{TokensPerMinute: tpm / 2}, tpm, true},
		"stated right":      {Options{TokensPerMinute: tpm}, tpm, false},
		"stated twice":      {Options{TokensPerMinute: 2 * tpm}, tpm, false},
		"few streams":       {Options{TokensPerMinute: tpm / 2, Concurrency: 3}, tpm, false},
		"nothing stated":    {Options{}, tpm, false},
		"half the requests": {Options{RequestsPerMinute: 600}, tpm, true},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.o.Concurrency == 0 {
				tt.o.Concurrency = 400
			}
			s := simulate(tt.o, &slidingService{window: time.Minute, tpm: tt.quota}, plainJob, 1)
			s.run(2 * time.Minute)
			if s.core.mayBeMore() {
				t.Error("there may be more after two minutes; want it said later")
			}
			s.run(4 * time.Minute)
			if got := s.core.mayBeMore(); got != tt.want {
				t.Errorf("after six minutes: there may be more %v, want %v", got, tt.want)
			}
			if tt.want && s.refused != 0 {
				t.Errorf("%d refused below a quota", s.refused)
			}
		})
	}
}

func TestLearnedIsConfirmedByRefusals(t *testing.T) {
	const tpm = 840_000
	s := simulate(Options{Concurrency: 400}, &bucketService{tpm: tpm, seconds: 10}, plainJob, 1)
	s.run(20 * time.Second)
	if l := s.core.learned(); l != (Learned{}) {
		t.Errorf("learned %+v in 20 s, want nothing yet", l)
	}
	s.run(10 * time.Minute)
	if l := s.core.learned(); math.Abs(l.TokensPerMinute/tpm-1) > 0.05 || l.RequestsPerMinute != 0 {
		t.Errorf("learned %+v, want the quota of %v tokens", l, float64(tpm))
	}
	if l := simulate(Options{Start: Learned{TokensPerMinute: tpm}, Concurrency: 1}, open{}, plainJob, 1).core.learned(); l != (Learned{}) {
		t.Errorf("learned %+v without a refusal, want nothing", l)
	}
}

// Refusals that begin in the middle of a job are rather those of a quota; but if they go on whatever the pace, they are not.
func TestRefusalsAtRandomThatBeginLate(t *testing.T) {
	for seed := range uint64(3) {
		svc := refusing(open{}, 0, seed)
		s := simulate(Options{Concurrency: 64}, svc, quick, seed)
		s.run(time.Minute)
		svc.share = 0.1
		s.run(2 * time.Minute)
		n := s.served
		s.run(3 * time.Minute)
		can := 64 / (0.9*0.3 + 0.1*0.05) * 0.9
		if got := float64(s.served-n) / 180 / can; got < 0.6 {
			t.Errorf("seed %d: %.0f%% of what is possible from the third minute on", seed, 100*got)
		}
	}
}

func TestAdviceOnMaxTokens(t *testing.T) {
	p := predictor{burndown: 1}
	rng := rand.New(rand.NewPCG(1, 1))
	if n, _ := p.advise(); n != 0 {
		t.Errorf("advises %d before anything ended", n)
	}
	for range 2000 {
		out := int64(100 + rng.IntN(100)) // p99 is 199
		p.learn(Cost{Input: 300, MaxTokens: 4000}, Usage{Input: 300, Output: out}, 6*time.Second)
	}
	if got := p.outputs.quantile(0.99); got < 199 || got > 199*1.1 {
		t.Errorf("p99 = %v, want 199 and a tenth more at most", got)
	}
	n, then := p.advise()
	// 500 is nice above 2.5 × 199: 800 reserved and 450 used for a tenth of a minute.
	if n != 500 && n != 600 {
		t.Errorf("advises %d, want about 2.5 × 199", n)
	}
	if want := 450 / (450 + 0.1*(300+float64(n)-450)); math.Abs(then-want) > 0.01 || then <= p.reachable() {
		t.Errorf("reachable then = %.3f, want %.3f; now %.3f", then, want, p.reachable())
	}
	for range 2000 {
		p.learn(Cost{Input: 300, MaxTokens: 400}, Usage{Input: 300, Output: 150}, 6*time.Second)
	}
	if n, _ := p.advise(); n != 0 {
		t.Errorf("advises %d where 400 are reserved, want nothing", n)
	}
}

// An estimate that is off by the same factor each time is corrected, and then hardly wrong.
func TestInputEstimatesAreCalibrated(t *testing.T) {
	p := predictor{burndown: 1}
	rng := rand.New(rand.NewPCG(1, 1))
	for range 500 {
		real := 500 + rng.Int64N(1000)
		p.learn(Cost{Input: real / 2}, Usage{Input: real / 4, CacheRead: real - real/4}, time.Second)
	}
	if p.errors <= 0 || p.errors > 0.05 {
		t.Errorf("error of the input = %.3f, want nearly none", p.errors)
	}
	if got := p.reserve(Cost{Input: 400, MaxTokens: 100}); math.Abs(got-900) > 30 {
		t.Errorf("reserve = %v, want about 2 × 400 + 100", got)
	}
	if got := p.expect(Cost{Input: 400}); math.Abs(got-200) > 20 {
		t.Errorf("expect = %v, want about 800 / 4: the rest is read from a cache", got)
	}
}

func TestNice(t *testing.T) {
	for x, want := range map[float64]int64{3: 10, 10: 10, 101: 150, 160: 200, 450: 500, 501: 600, 810: 1000, 2100: 3000} {
		if got := nice(x); got != want {
			t.Errorf("nice(%v) = %d, want %d", x, got, want)
		}
	}
}
