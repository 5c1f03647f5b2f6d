package ratelimit

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// Three refusals that only the strict accounting explains make it believed; it is tried again later, and the next refusal
// ends the trial.
func TestStrictAccountingIsBelievedAndDoubted(t *testing.T) {
	g := newGate(epoch, 600_000, false)
	if g.refused(epoch, false) || g.strict {
		t.Error("one refusal among admissions was enough")
	}
	if g.refused(after(time.Second), false) || g.refused(after(falsifyFor+time.Second), false) {
		t.Error("refusals far apart were enough")
	}
	if g.refused(after(falsifyFor+2*time.Second), false) || !g.refused(after(falsifyFor+3*time.Second), false) || !g.strict {
		t.Error("three refusals were not enough, or two were")
	}
	since := falsifyFor + 3*time.Second
	for _, lasts := range []time.Duration{strictFirst, 2 * strictFirst, 4 * strictFirst} {
		if g.retry(after(since + lasts - 1)) {
			t.Errorf("tried the gentle accounting again before %v", lasts)
		}
		if !g.retry(after(since + lasts)) {
			t.Errorf("did not try the gentle accounting after %v", lasts)
		}
		since += lasts + time.Second
		if !g.refused(after(since), false) {
			t.Error("one refusal did not end the trial")
		}
	}
}

// The shape decides, and nothing else: a service that gives back at once is never taken for strict.
func TestAccountingIsTold(t *testing.T) {
	for shape, strict := range map[string]bool{
		"bucket of 60 s": false, "bucket of 10 s": false, "minute": false, "minute, no refund": true, "sliding window": true,
	} {
		t.Run(shape, func(t *testing.T) {
			s := simulate(Options{TokensPerMinute: 600_000, Concurrency: 400}, shapes[shape](600_000), tenfold, 1)
			s.run(5 * time.Minute)
			l := s.core.learned(s.now)
			if l.Strict != strict || l.TokensPerMinute != 0 {
				t.Errorf("learned %+v, want strict %v and no pace", l, strict)
			}
			n := s.refused
			again := simulate(Options{TokensPerMinute: 600_000, Concurrency: 400, Start: l}, shapes[shape](600_000), tenfold, 1)
			again.run(5 * time.Minute)
			if again.refused != 0 {
				t.Errorf("%d refused by who began with what was learned, want none; %d before", again.refused, n)
			}
		})
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
	if l := s.core.learned(s.now); l != (Learned{}) {
		t.Errorf("learned %+v in 20 s, want nothing yet", l)
	}
	s.run(10 * time.Minute)
	if l := s.core.learned(s.now); math.Abs(l.TokensPerMinute/tpm-1) > 0.05 || l.RequestsPerMinute != 0 {
		t.Errorf("learned %+v, want the quota of %v tokens", l, float64(tpm))
	}
	if l := simulate(Options{Start: Learned{TokensPerMinute: tpm}, Concurrency: 1}, open{}, plainJob, 1).core.learned(epoch); l != (Learned{}) {
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
