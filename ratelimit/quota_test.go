package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// An oracle is a service that counts everything in strict windows, to the nanosecond, and faults a limiter
// that passes them: of tokens what was used, as far as that is known, and where strict also what is reserved. It refuses
// some requests for no reason.
type oracle struct {
	strict      bool
	t           *rapid.T
	sim         *simulation
	rpm, tpm    float64
	tpd         float64
	refuses     float64
	requests    []time.Time
	settled     []entry
	minute, day slidingService
}

func (o *oracle) admit(now time.Time, r float64) bool {
	for len(o.requests) > 0 && now.Sub(o.requests[0]) >= time.Minute {
		o.requests = o.requests[1:]
	}
	o.requests = append(o.requests, now)
	if n := float64(len(o.requests)); o.rpm > 0 && n > max(1, o.rpm) {
		o.t.Fatalf("%v requests in the last 60 s at %v, quota %v", n, now.Sub(o.sim.start), o.rpm)
	}
	if used, n := o.used(now); o.tpm > 0 && n > 1 && used > o.tpm {
		o.t.Fatalf("at %v %v tokens of the last 60 s were used or are expected to be, quota %v", now.Sub(o.sim.start), used, o.tpm)
	}
	if sum := o.minute.sum(now); o.strict && o.tpm > 0 && sum > 0 && sum+r > o.tpm {
		o.t.Fatalf("at %v %v tokens were admitted in the last 60 s, and now %v, quota %v", now.Sub(o.sim.start), sum, r, o.tpm)
	}
	if sum := o.day.sum(now); o.tpd > 0 && sum > 0 && sum+r > o.tpd {
		o.t.Fatalf("at %v %v tokens were admitted in the last 24 h, and now %v, quota %v", now.Sub(o.sim.start), sum, r, o.tpd)
	}
	if o.sim.rng.Float64() < o.refuses {
		return false
	}
	o.settled = append(o.settled, entry{at: now})
	o.minute.add(now, r)
	if o.tpd > 0 {
		o.day.add(now, r)
	}
	return true
}

// used is what the requests of the last 60 s have used, and are expected to where they go on, the newest too. n counts them.
func (o *oracle) used(now time.Time) (sum float64, n int) {
	for len(o.settled) > 0 && now.Sub(o.settled[0].at) >= time.Minute {
		o.settled = o.settled[1:]
	}
	for _, e := range o.settled {
		sum += e.tokens
		if e.tokens > 0 {
			n++
		}
	}
	for _, f := range o.sim.core.flights {
		if f.live && now.Sub(f.began) < time.Minute {
			sum += f.expect
			n++
		}
	}
	return sum, n
}

func (o *oracle) settle(now, began time.Time, r, used float64) {
	for i := range o.settled {
		if o.settled[i].at.Equal(began) && o.settled[i].tokens == 0 {
			o.settled[i].tokens = used
			break
		}
	}
	o.minute.settle(now, began, r, used)
	o.day.settle(now, began, r, used)
}

func (o *oracle) quota(time.Time, float64) {}

func drawJob(t *rapid.T) job {
	return rapid.SampledFrom([]job{plainJob, tenfold, burnJob, slowJob, {input: 10, max: 20, out: 10, slow: time.Second}}).Draw(t, "job")
}

// Promise 5: whatever the job and the quota, no window ever holds more than was stated, as far as it is known; and where
// reservations are known to count for a minute, none holds more of them.
func TestStatedQuotasAreNeverPassed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			RequestsPerMinute: rapid.SampledFrom([]float64{0, 0.5, 1, 7, 60, 1000}).Draw(t, "rpm"),
			TokensPerMinute:   rapid.SampledFrom([]float64{0, 100, 3000, 60_000, 1_000_000}).Draw(t, "tpm"),
			Burndown:          rapid.SampledFrom([]float64{1, 1.5, 5, 15}).Draw(t, "burndown"),
			Concurrency:       rapid.SampledFrom([]int{1, 8, 300}).Draw(t, "concurrency"),
			Start:             Learned{Strict: rapid.Bool().Draw(t, "strict")},
		}
		if o.RequestsPerMinute+o.TokensPerMinute == 0 {
			o.RequestsPerMinute = 7
		}
		svc := &oracle{
			t: t, rpm: o.RequestsPerMinute, tpm: o.TokensPerMinute, strict: o.Start.Strict,
			refuses: rapid.SampledFrom([]float64{0, 0.01, 0.3}).Draw(t, "refuses"),
			minute:  slidingService{window: time.Minute}, day: slidingService{window: 24 * time.Hour},
		}
		s := simulate(o, svc, drawJob(t), rapid.Uint64().Draw(t, "seed"))
		svc.sim = s
		s.run(strictFirst - time.Second)
		if s.sent == 0 {
			t.Fatal("nothing was sent in ten minutes")
		}
	})
}

func TestTheDayIsNeverPassed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			RequestsPerMinute: 0.2,
			TokensPerDay:      rapid.SampledFrom([]float64{500, 20_000, 100_000}).Draw(t, "tpd"),
			Burndown:          rapid.SampledFrom([]float64{1, 5}).Draw(t, "burndown"),
			Concurrency:       8,
		}
		svc := &oracle{
			t: t, rpm: o.RequestsPerMinute, tpd: o.TokensPerDay,
			minute: slidingService{window: time.Minute}, day: slidingService{window: 24 * time.Hour},
		}
		s := simulate(o, svc, drawJob(t), rapid.Uint64().Draw(t, "seed"))
		svc.sim = s
		s.run(60 * time.Hour)
		if s.sent < 2 {
			t.Fatalf("%d requests in 60 hours", s.sent)
		}
	})
}

// What the accounting itself allows on a service with a sliding window, by a long run of the job.
func bound(j job, burndown float64) float64 {
	rng := simulate(Options{Concurrency: 1}, nil, j, 9).rng
	p := predictor{burndown: burndown}
	var waste, used float64
	for range 50_000 {
		c, u, d := j.next(rng)
		waste += min(1, d.Minutes()) * max(0, reserve(c)-p.settle(u))
		used += p.settle(u)
	}
	return 1 / (1 + waste/used)
}

var shapes = map[string]func(tpm float64) service{
	"sliding window":    func(q float64) service { return &slidingService{window: time.Minute, tpm: q} },
	"bucket of 60 s":    func(q float64) service { return &bucketService{tpm: q, seconds: 60} },
	"bucket of 10 s":    func(q float64) service { return &bucketService{tpm: q, seconds: 10} },
	"minute":            func(q float64) service { return &minuteService{tpm: q} },
	"minute, no refund": func(q float64) service { return &minuteService{tpm: q, strict: true} },
}

func TestStatedQuotaIsUsed(t *testing.T) {
	for name, tt := range map[string]struct {
		job      job
		burndown float64
		tpm      float64
	}{
		"plain":            {plainJob, 1, 840_000},
		"max_tokens × 10":  {tenfold, 1, 600_000},
		"settles above":    {burnJob, 5, 1_020_000},
		"streams a minute": {slowJob, 1, 1_000_000},
	} {
		most := min(bound(tt.job, tt.burndown), share)
		for shape, svc := range shapes {
			t.Run(name+", "+shape, func(t *testing.T) {
				s := simulate(Options{TokensPerMinute: tt.tpm, Burndown: tt.burndown, Concurrency: 1000}, svc(tt.tpm), tt.job, 1)
				// A small bucket refuses some of the first one-minute streams; the pace is back ten minutes later.
				s.run(10 * time.Minute)
				used, refused := s.measure(20*time.Minute, tt.tpm)
				t.Logf("used %.1f%% of a possible %.1f%%, refused %.2f%%", 100*used, 100*most, 100*refused)
				if used < 0.97*most {
					t.Errorf("used %.1f%%, want nearly %.1f%%", 100*used, 100*most)
				}
				if got := s.core.predict.reachable(); got > 1 || got < bound(tt.job, tt.burndown)-0.15 {
					t.Errorf("reachable = %.1f%%, want about %.1f%%", 100*got, 100*bound(tt.job, tt.burndown))
				}
				if refused > 0.001 {
					t.Errorf("refused %.2f%%, want at most 0.1%%", 100*refused)
				}
			})
		}
	}
}

func TestUnknownQuotaIsLearned(t *testing.T) {
	for name, tt := range map[string]struct {
		o             Options
		tpm           float64
		used, refused float64 // after three minutes
		early         float64 // refused in the first five
	}{
		"20 a second":       {Options{}, 840_000, 0.965, 0.008, 0.05},
		"2 a second":        {Options{}, 84_000, 0.94, 0.02, 0.12},
		"stated 2 × higher": {Options{TokensPerMinute: 2 * 840_000}, 840_000, 0.965, 0.008, 0.05},
		"stated 3 × higher": {Options{TokensPerMinute: 840_000}, 280_000, 0.95, 0.015, 0.07},
	} {
		for shape, svc := range shapes {
			t.Run(name+", "+shape, func(t *testing.T) {
				tt.o.Concurrency = 400
				s := simulate(tt.o, svc(tt.tpm), plainJob, 1)
				first, r3 := s.measure(3*time.Minute, tt.tpm)
				n := s.sent
				second, r5 := s.measure(2*time.Minute, tt.tpm)
				early := (r3*float64(n) + r5*float64(s.sent-n)) / float64(s.sent)
				used, refused := s.measure(25*time.Minute, tt.tpm)
				t.Logf("used %.1f%%, refused %.2f%%; first five minutes %.1f%%, %.2f%%", 100*used, 100*refused, 60*first+40*second, 100*early)
				if used < tt.used || refused > tt.refused {
					t.Errorf("used %.1f%%, refused %.2f%%; want at least %.1f%% and at most %.2f%%", 100*used, 100*refused, 100*tt.used, 100*tt.refused)
				}
				if 0.6*first+0.4*second < 0.85 || early > tt.early {
					t.Errorf("first five minutes: used %.1f%%, refused %.2f%%; want at least 85%% and at most %.0f%%", 60*first+40*second, 100*early, 100*tt.early)
				}
			})
		}
	}
}

var quick = job{input: 100, max: 100, out: 50, lasts: 300 * time.Millisecond}

// refusing makes a service refuse a share of what comes, whatever the rate.
func refusing(svc service, share float64, seed uint64) *noisy {
	return &noisy{svc, share, rand.New(rand.NewPCG(seed, 7))}
}

// Refusals that come whatever the rate cost what they refuse, and hardly more.
func TestRefusalsAtRandomDoNotSlowAJobDown(t *testing.T) {
	for _, o := range []Options{{}, {RequestsPerMinute: 20_000, TokensPerMinute: 1e7}} {
		for _, p := range []float64{0.01, 0.1, 0.25} {
			o.Concurrency, o.Start.Concurrency = 64, 64 // only refusals slow it down
			can := 64 / ((1-p)*0.3 + p*0.05) * (1 - p)  // served a second, at 0.3 s a call and 0.05 s a refusal
			var all float64
			const seeds = 4
			for seed := range uint64(seeds) {
				s := simulate(o, refusing(open{}, p, seed), quick, seed)
				s.run(20 * time.Second)
				n := s.served
				s.run(3 * time.Minute)
				got := float64(s.served-n) / 180 / can
				all += got / seeds
				if first := float64(n) / 20 / can; got < 0.85 || first < 0.75 {
					t.Errorf("%+v, %v refused, seed %d: %.0f%% of what is possible, %.0f%% in the first 20 s", o, p, seed, 100*got, 100*first)
				}
			}
			if all < 0.93 {
				t.Errorf("%+v, %v refused: %.0f%% of what is possible on average", o, p, 100*all)
			}
		}
	}
}

// Refusals overtake one another, and come later than some answers begin.
func TestRefusalsAtRandomThatComeLate(t *testing.T) {
	const p = 0.2
	for _, late := range []time.Duration{400 * time.Millisecond, 2 * time.Second} {
		j := quick
		j.lasts = 3 * time.Second
		s := simulate(Options{Concurrency: 64}, refusing(open{}, p, 1), j, 1)
		s.rtt, s.jitter = 20*time.Millisecond, late
		s.run(3 * time.Minute)
		can := 64 / ((1-p)*3 + p*(0.02+late.Seconds()/2)) * (1 - p)
		if got := float64(s.served) / 180 / can; got < 0.9 {
			t.Errorf("refused within %v: %.0f%% of what is possible", late, 100*got)
		}
	}
}

// finish runs a job of so many records, and tells how long it took.
func (s *simulation) finish(records int) time.Duration {
	for s.left = records; s.served < records && s.now.Sub(s.start) < time.Hour; {
		s.run(50 * time.Millisecond)
	}
	return s.now.Sub(s.start)
}

func TestRefusalsAtRandomDoNotSlowASmallJobDown(t *testing.T) {
	const ideal = 1800 * time.Millisecond // 20 records, 8 at a time
	for _, p := range []float64{0.1, 0.25} {
		for seed := range uint64(50) {
			j := quick
			j.lasts = 600 * time.Millisecond
			if d := simulate(Options{Concurrency: 8}, refusing(open{}, p, seed), j, seed).finish(20); d > 3*ideal {
				t.Errorf("%v refused, seed %d: took %v, want at most three times %v", p, seed, d, ideal)
			}
		}
	}
}

func TestStormOfTenThousand(t *testing.T) {
	for seed := range uint64(3) {
		s := simulate(Options{Concurrency: 64}, refusing(open{}, 0.1, seed), quick, seed)
		s.overload = 0.05
		if d := s.finish(10_000); d > 75*time.Second {
			t.Errorf("seed %d: 10,000 records took %v, want little more than the 50 s they need", seed, d)
		}
	}
}

func TestQuotaIsLearnedAmongRefusalsAtRandom(t *testing.T) {
	const tpm = 840_000
	for shape, svc := range shapes {
		t.Run(shape, func(t *testing.T) {
			for name, o := range map[string]Options{"nothing stated": {}, "stated": {TokensPerMinute: tpm}} {
				o.Concurrency = 400
				s := simulate(o, refusing(svc(tpm), 0.1, 1), plainJob, 1)
				s.run(5 * time.Minute)
				used, refused := s.measure(10*time.Minute, tpm)
				t.Logf("%s: used %.1f%%, refused %.1f%%", name, 100*used, 100*refused)
				if used < 0.9 || refused > 0.16 {
					t.Errorf("%s: used %.1f%%, refused %.1f%%; want 90%%, and a tenth refused or little more", name, 100*used, 100*refused)
				}
			}
		})
	}
}

func TestStatedQuotaReturnsAfterRefusalsAtTheStart(t *testing.T) {
	const tpm = 840_000
	for _, share := range []float64{0.3, 0.6, 1} {
		for seed := range uint64(3) {
			svc := refusing(&bucketService{tpm: tpm, seconds: 60}, 0, seed)
			s := simulate(Options{TokensPerMinute: tpm, Concurrency: 400}, svc, plainJob, seed)
			s.run(5 * time.Second)
			svc.share = share
			s.run(50 * time.Second)
			svc.share = 0
			s.run(2 * time.Minute)
			if used, _ := s.measure(time.Minute, tpm); used < 0.95 {
				t.Errorf("%v refused, seed %d: used %.1f%% two minutes later, want 95%%; pace %.0f", share, seed, 100*used, s.core.tokenPace.x*60)
			}
		}
	}
}

// A switch is a service that refuses everything while it is off.
type switched struct {
	service
	off bool
}

func (s *switched) admit(now time.Time, r float64) bool { return !s.off && s.service.admit(now, r) }

func TestPaceReturnsAfterTheServiceRecovers(t *testing.T) {
	const tpm = 840_000
	for name, o := range map[string]Options{
		"stated":  {TokensPerMinute: tpm, Concurrency: 400},
		"learned": {Concurrency: 400},
	} {
		t.Run(name, func(t *testing.T) {
			svc := &switched{service: &bucketService{tpm: tpm, seconds: 10}}
			s := simulate(o, svc, plainJob, 1)
			s.run(10 * time.Minute)
			svc.off = true
			_, refused := s.measure(20*time.Minute, tpm)
			if refused != 1 {
				t.Fatalf("refused %v of a service that is off", refused)
			}
			n := s.sent
			svc.off = false
			s.run(10 * time.Second)
			if s.sent == n {
				t.Fatal("nothing was sent in 10 s after the service came back: frozen")
			}
			s.run(50 * time.Second)
			used, _ := s.measure(2*time.Minute, tpm)
			if used < 0.85 {
				t.Errorf("used %.1f%% of the quota in the second and third minute, want 85%%; pace %v", 100*used, s.core.tokenPace.x*60)
			}
		})
	}
}

// Two thirds of the quota go to somebody else for a while.
func TestStatedQuotaSharedForAWhile(t *testing.T) {
	const tpm = 840_000
	svc := &bucketService{tpm: tpm, seconds: 10}
	s := simulate(Options{TokensPerMinute: tpm, Concurrency: 400}, svc, plainJob, 1)
	s.run(5 * time.Minute)
	svc.tpm = tpm / 3
	s.run(3 * time.Minute)
	used, refused := s.measure(10*time.Minute, tpm/3)
	if used < 0.9 || refused > 0.03 {
		t.Errorf("while shared: used %.1f%% of what was left, refused %.2f%%", 100*used, 100*refused)
	}
	if !s.core.tokenPace.learned() {
		t.Errorf("pace while shared = %v, want it below the stated %v", s.core.tokenPace.x*60, float64(tpm))
	}
	svc.tpm = tpm
	s.run(10 * time.Minute)
	if s.core.tokenPace.learned() {
		t.Errorf("pace ten minutes after = %v, want the stated %v", s.core.tokenPace.x*60, float64(tpm))
	}
	if used, _ := s.measure(5*time.Minute, tpm); used < 0.95 {
		t.Errorf("used after: %.1f%%, want 95%%", 100*used)
	}
}

// A quota of requests that nobody stated, met by a service that counts requests.
func TestTooHighRequestsPerMinuteAreLearned(t *testing.T) {
	const rpm = 600
	svc := perRequest{&bucketService{tpm: rpm, seconds: 10}}
	s := simulate(Options{RequestsPerMinute: 3 * rpm, Concurrency: 400, Start: Learned{Concurrency: 400}}, svc, plainJob, 1)
	s.run(5 * time.Minute)
	n, r := s.sent, s.refused
	s.run(20 * time.Minute)
	served := float64(s.sent-n-(s.refused-r)) / (20 * rpm)
	if served < 0.93 || float64(s.refused-r)/float64(s.sent-n) > 0.02 {
		t.Errorf("served %.1f%%, refused %d of %d", 100*served, s.refused-r, s.sent-n)
	}
	if s.core.tokenPace.cuts > 0 || s.core.requestPace.cuts == 0 {
		t.Errorf("%d cuts of tokens, %d of requests; want requests to blame", s.core.tokenPace.cuts, s.core.requestPace.cuts)
	}
}

type perRequest struct{ service }

func (s perRequest) admit(now time.Time, _ float64) bool { return s.service.admit(now, 1) }
func (s perRequest) settle(_, _ time.Time, _, _ float64) {}

// A refusal before anything was settled once stopped everything, or nothing: no mean is known yet.
func TestFirstRequestRefused(t *testing.T) {
	for name, j := range map[string]job{"plain": plainJob, "without cost": {}} {
		t.Run(name, func(t *testing.T) {
			svc := &switched{service: &bucketService{tpm: 840_000, seconds: 60}, off: true}
			s := simulate(Options{Concurrency: 32}, svc, j, 1)
			s.run(time.Minute)
			if s.sent > 32+60*10 {
				t.Errorf("%d requests in the first minute, none admitted: a storm", s.sent)
			}
			svc.off = false
			s.run(5 * time.Minute)
			n := s.sent
			s.run(time.Minute)
			if got := s.sent - n; got < 300 {
				t.Errorf("%d requests a minute five minutes after the service came to life, want 300", got)
			}
		})
	}
}
