package ratelimit

import (
	"math"
	"strings"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"pgregory.net/rapid"
)

var epoch = time.Unix(1_800_000_017, 0)

func after(d time.Duration) time.Time { return epoch.Add(d) }

// The worked example of AWS's page on token burndown.
func TestWorkedExample(t *testing.T) {
	p := predictor{burndown: 5}
	u := Usage{Input: 3000, CacheWrite: 1000, Output: 1000}
	for name, tt := range map[string]struct {
		max              int64
		reserve, settled float64
	}{
		"far more reserved than settled": {32_000, 36_000, 9_000},
		"less reserved than settled":     {1_250, 5_250, 9_000},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.reserve(Cost{Input: 4000, MaxTokens: tt.max}); got != tt.reserve {
				t.Errorf("reserve = %v, want %v", got, tt.reserve)
			}
			if got := p.settle(u); got != tt.settled {
				t.Errorf("settle(%+v) = %v, want %v", u, got, tt.settled)
			}
		})
	}
}

func TestCostsAreBoundedAndNotNegative(t *testing.T) {
	p := predictor{burndown: 15}
	if got := p.reserve(Cost{Input: -5, MaxTokens: -1}); got != 0 {
		t.Errorf("reserve of negative numbers = %v, want 0", got)
	}
	if got := p.settle(Usage{Input: -1, CacheWrite: -1, Output: -1}); got != 0 {
		t.Errorf("settle of negative numbers = %v, want 0", got)
	}
	if got := p.settle(Usage{Input: math.MaxInt64, Output: math.MaxInt64}); got > 1e13 {
		t.Errorf("settle of the largest numbers = %v, want at most 1e13", got)
	}
}

func TestPredictorFindsWhatRequestsSettleAt(t *testing.T) {
	p := predictor{burndown: 5}
	c := Cost{Input: 1000, MaxTokens: 4000}
	if got := p.expect(c); got != 5000 {
		t.Errorf("expect before anything ended = %v, want the reservation, 5000", got)
	}
	for range 2000 { // half of the input is read from a cache
		p.learn(c, Usage{Input: 500, CacheRead: 500, Output: 200}, 6*time.Second)
	}
	if got := p.expect(c); math.Abs(got-1500) > 10 {
		t.Errorf("expect = %v, want about 500 + 5×200", got)
	}
	// 5000 reserved, 1500 used: 3500 idle for a tenth of a minute.
	if got, want := p.reachable(), 1500.0/1850; math.Abs(got-want) > 1e-9 {
		t.Errorf("reachable = %v, want %v", got, want)
	}
	if got := p.expect(Cost{Input: 1000, MaxTokens: 10}); math.Abs(got-550) > 10 {
		t.Errorf("expect with 10 output tokens at most = %v, want about 500 + 5×10", got)
	}
}

// A bucket whose costs are known beforehand is x/time's token bucket, but that a
// request goes when what went before it is paid for, and not when it is paid for itself.
func TestBucketPacesLikeRate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.Float64Range(1, 5000).Draw(t, "rate")
		b := bucket{last: epoch}
		b.setRate(epoch, perSecond, 1)
		oracle := rate.NewLimiter(rate.Limit(perSecond), 1<<30)
		oracle.SetLimitAt(epoch, rate.Limit(perSecond))
		oracle.ReserveN(epoch, 1<<30) // starts full
		now, paid := epoch, epoch
		for range rapid.IntRange(1, 100).Draw(t, "requests") {
			cost := rapid.IntRange(1, 10_000).Draw(t, "cost")
			for at := b.ready(now); at.After(now); at = b.ready(now) { // an hour at most
				now = at
			}
			if d := now.Sub(paid).Abs(); d > time.Duration(1+crumb/perSecond*1e9)+time.Microsecond {
				t.Fatalf("goes at %v, rate says %v", now.Sub(epoch), paid.Sub(epoch))
			}
			b.take(now, float64(cost))
			paid = now.Add(oracle.ReserveN(now, cost).DelayFrom(now))
		}
	})
}

// When a network comes back, all that hung in it ends at once. What was reserved for it is long there again, but no more than a quota holds.
func TestWhatHungComesBackAsNoBurst(t *testing.T) {
	for name, o := range map[string]Options{
		"stated":  {TokensPerMinute: 60_000},
		"learned": {Start: Learned{TokensPerMinute: 60_000}},
	} {
		o.Burndown, o.Concurrency, o.Rand = 1, 512, func() float64 { return 0.5 }
		c, cost := newCore(o, epoch), Cost{Input: 100, MaxTokens: 900}
		c.streams.limit = 512
		goes := func(now time.Time) (ids []uint32) {
			for {
				v := c.admit(now, cost)
				c.waiting(now, v)
				if !v.ok {
					return ids
				}
				ids = append(ids, v.id)
			}
		}
		var hung []uint32
		now := epoch
		for ; now.Before(after(9 * time.Minute)); now = now.Add(50 * time.Millisecond) {
			hung = append(hung, goes(now)...)
		}
		if len(hung) < 400 {
			t.Fatalf("%s: only %d hang", name, len(hung))
		}
		for _, id := range hung {
			c.fail(now, id, c.flights[id].gen, Usage{}, false)
		}
		if pace := perMinute(c.tokenPace.x); pace > 120_000 && o.TokensPerMinute == 0 {
			t.Errorf("%s: the pace grew to %.0f while nothing was heard", name, pace)
		}
		// A minute's quota of those sent in the last minute, and ten seconds' of the others.
		most := (minute + lateSaves) * max(60_000, perMinute(c.tokenPace.x)) / minute / 1000
		if got := len(goes(now)); float64(got) > most {
			t.Errorf("%s: %d requests of 1000 tokens go in the moment in which %d end that hung, want at most %.0f", name, got, len(hung), most)
		}
	}
}

func TestBucket(t *testing.T) {
	b := bucket{last: epoch}
	b.setRate(epoch, 100, 1)
	ready := func(at, want time.Duration) {
		t.Helper()
		if got := b.ready(after(at)).Sub(epoch); got != want {
			t.Errorf("ready at %v: %v, want %v (level %v)", at, got, want, b.level)
		}
	}
	ready(0, 0)
	b.take(epoch, 1000) // larger than the burst: goes alone, into debt
	ready(0, 10*time.Second)
	b.take(after(time.Second), -500) // settled for less
	ready(time.Second, 5*time.Second)
	b.take(after(time.Second), 300) // another settled for more
	ready(time.Second, 8*time.Second)
	ready(100*time.Second, 100*time.Second) // idle: one second of burst, no more
	if b.level != 100 {
		t.Errorf("level after a long wait = %v, want 100", b.level)
	}
	b.pause(after(100*time.Second), after(104*time.Second)) // nothing saved before, nor during a hold
	if b.level != 0 {
		t.Errorf("level at the start of a hold = %v, want 0", b.level)
	}
	b.take(after(101*time.Second), -1000)
	ready(101*time.Second, 104*time.Second)
	ready(104*time.Second, 104*time.Second)
	if b.level != 0 {
		t.Errorf("level after a hold = %v, want 0", b.level)
	}
	b.take(after(104*time.Second), -1000) // a refund is not capped
	ready(200*time.Second, 200*time.Second)
	if b.level != 1000 {
		t.Errorf("level after a refund and a long wait = %v, want 1000", b.level)
	}
}

// The ledger against a plain list of everything.
func TestLedgerIsNeverBelowTheStrictWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const window, width = 10 * time.Second, time.Second
		l := newLedger(epoch, window, width)
		type booked struct {
			at     time.Time
			n      int64
			tokens float64
		}
		var all []booked
		now := epoch
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(3*time.Second)).Draw(t, "passes")))
			if rapid.IntRange(0, 20).Draw(t, "idles") == 0 {
				now = now.Add(15 * time.Second)
			}
			l.advance(now)
			if len(all) > 0 && rapid.Bool().Draw(t, "corrects") {
				b := &all[rapid.IntRange(0, len(all)-1).Draw(t, "which")]
				if l.add(b.n, slot{held: -b.tokens / 2}) {
					b.tokens -= b.tokens / 2
				}
			} else {
				b := booked{now, l.cur, float64(2 * rapid.IntRange(0, 500).Draw(t, "tokens"))}
				l.add(b.n, slot{held: b.tokens})
				all = append(all, b)
			}
			least, most := 0.0, 0.0
			for _, b := range all {
				if now.Sub(b.at) < window {
					least += b.tokens
				}
				if now.Sub(b.at) < window+width {
					most += b.tokens
				}
			}
			if l.sum.held < least || l.sum.held > most {
				t.Fatalf("sum = %v, want between %v and %v", l.sum.held, least, most)
			}
			// freed tells the truth, to the slot.
			want := float64(rapid.IntRange(0, 2000).Draw(t, "want"))
			if at := l.freed(want, heldTokens); l.sum.held > want {
				early, late := l, l
				early.slots, late.slots = append([]slot(nil), l.slots...), append([]slot(nil), l.slots...)
				early.advance(at.Add(-1))
				late.advance(at)
				if early.sum.held <= want || late.sum.held > want {
					t.Fatalf("freed(%v) = %v from now: %v just before, %v then", want, at.Sub(now), early.sum.held, late.sum.held)
				}
			}
		}
	})
}

func TestPaceStaysPositiveAndFinite(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newPace(rapid.SampledFrom([]float64{0, 1e-6, 1, 600, 1e12}).Draw(t, "stated"), 0)
		const floor = 1.0 / 60
		now := epoch
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			d := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "passes"))
			now = now.Add(d)
			s60 := rapid.SampledFrom([]float64{0, 1e-9, 0.5, 20, 1e9}).Draw(t, "s60")
			at := fill{
				minute: rapid.SampledFrom([]float64{0, 1e-9, 0.5, 19.9, 20, 1e9}).Draw(t, "minute"),
				left:   rapid.Float64Range(0, 60).Draw(t, "left"),
				window: rapid.SampledFrom([]float64{-1, 0, 0.5, 20, 20.01, 1e9}).Draw(t, "window"),
				total:  rapid.Float64Range(-1e6, 1e9).Draw(t, "total"),
				at:     now.Sub(epoch).Seconds(),
				held:   floor * minute,
			}
			before := p.x
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				p.cut(now, s60, floor, at)
				if !math.IsInf(before, 1) && p.exact() == nil && p.x < min(before*leastCut, floor, p.stated) {
					t.Fatalf("cut from %v to %v", before, p.x)
				}
			case 1:
				p.correct(s60, floor)
			case 2:
				p.grow(d, s60, floor, at)
				if p.x < before && p.exact() == nil {
					t.Fatalf("grew from %v to %v", before, p.x)
				}
			}
			if math.IsNaN(p.x) || p.x < min(floor, p.stated) || p.x > p.stated {
				t.Fatalf("x = %v (stated %v)", p.x, p.stated)
			}
		}
	})
}

func TestPaceIsCutToWhatWasAdmittedAndEndsAtWhatWasStated(t *testing.T) {
	p := newPace(600, 0)
	p.cut(epoch, 4, 1.0/60, fill{})
	if want := leastCut * share * 10; math.Abs(p.x-want) > 1e-9 {
		t.Errorf("pace after a cut to 4 from 10 = %v, want no less than %v", p.x, want)
	}
	p.cut(after(time.Minute), 6, 1.0/60, fill{})
	if want := p.manner().keeps * 6; want > keen.keeps*6 || math.Abs(p.x-want) > 1e-9 {
		t.Errorf("pace after a cut to 6 from 7 = %v, want %v", p.x, want)
	}
	before := p.x
	p.grow(0, 4, 1.0/60, fill{})
	if p.x != before {
		t.Errorf("pace grew without binding")
	}
	for range 1000 {
		p.grow(time.Second, p.x, 1.0/60, fill{})
	}
	if p.learned() || p.x != share*10 {
		t.Errorf("pace after long growth = %v, want the stated one, %v", p.x, share*10)
	}
}

// Whoever has less must gain on whoever has more, or two runners never come to share alike.
func TestSmallPacesGrowFasterInProportion(t *testing.T) {
	grown := func(from float64, cuts int) float64 {
		p := newPace(0, 60*from)
		p.cuts = cuts
		x := p.x
		for range 30 {
			p.grow(time.Second, from, 1.0/60, fill{})
		}
		return p.x / x
	}
	small, large := grown(1, firstCuts+1), grown(20, firstCuts+1)
	if large < 1.05 || large > 1.1 {
		t.Errorf("20 a second grew to %.3f of it in 30 s, want about 0.15 a minute", large)
	}
	if want := math.Exp(30 * swiftest); math.Abs(small-want) > 0.02 {
		t.Errorf("1 a second grew to %.3f of it in 30 s, want %.3f: no pace grows faster", small, want)
	}
	if first, want := grown(2, trusted), math.Exp(30*swiftFew); math.Abs(first-want) > 0.02 {
		t.Errorf("at first, 2 a second grew to %.3f of it in 30 s, want %.3f", first, want)
	}
}

// Every pace grows by the same number of requests, so long as that is not too much of it.
func TestPacesGrowByTheSame(t *testing.T) {
	const request = 1.0 / minute // a minute of one request, in tokens a second
	for _, perSecond := range []float64{4, 16, 64} {
		p := newPace(0, minute*perSecond)
		p.cuts, p.x = firstCuts+1, perSecond
		if got, want := p.step(time.Second, false, request), keen.growth*growthAt; math.Abs(got-want) > 1e-9 {
			t.Errorf("%v requests a second grow by %v in a second, want %v", perSecond, got, want)
		}
	}
}

// A minute refuses once, so before the third cut, when it is not known yet what the quota is, a minute without a refusal is no reason to hurry.
func TestFirstGrowthWaitsForAMinute(t *testing.T) {
	const request = 1.0 / minute
	step := func(cuts int, binds float64) float64 {
		p := newPace(0, minute*8)
		p.cuts, p.x, p.binds = cuts, 8, binds
		return p.step(time.Second, false, request)
	}
	even := step(trusted, 0)
	for _, tt := range []struct {
		cuts   int
		binds  float64
		faster bool
	}{
		{trusted - 1, minute, false},
		{trusted - 1, overdue * minute, true},
		{trusted, minute, true},
	} {
		if got := step(tt.cuts, tt.binds); (got > even) != tt.faster {
			t.Errorf("after %d cuts and %v s a second adds %v, and %v just after a cut; want faster: %v", tt.cuts, tt.binds, got, even, tt.faster)
		}
	}
}

// A refusal among admissions may be answered sooner after the last cut than many in a row, which tell of the same window for longer.
func TestCutAmongAdmissionsMayComeSooner(t *testing.T) {
	for since, want := range map[time.Duration]bool{cutAmong - time.Second: false, cutAmong + time.Second: true} {
		c := newCore(Options{Burndown: 1, Concurrency: 1}, epoch)
		now := after(5 * time.Minute)
		c.first, c.tokenPace.cuts, c.tokenPace.x, c.tokenPace.last = epoch, 4, 100, now.Add(-since)
		c.learnSporadic(now, &flight{began: now.Add(-time.Second), expect: 10})
		if got := c.tokenPace.cuts == 5; got != want {
			t.Errorf("refused %v after a cut: cut again %v, want %v", since, got, want)
		}
	}
}

// A bucket that was full when the job began makes the last 60 s look like more than the quota: in the first minute after the first cut
// what was admitted since it counts, if it is not so little that a window has closed.
func TestSecondCutKnowsWhatFlows(t *testing.T) {
	const floor = 1.0 / 60
	for _, tt := range []struct {
		name  string
		total float64 // taken since the first cut
		after float64 // seconds
		want  float64
	}{
		{"a bucket", 20 * 16, 20, 16},
		{"a closed window", 20 * 5, 20, 22},
		{"more than in the last 60 s", 20 * 25, 20, 22},
		{"a minute later", 60 * 16, 60, 22},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newPace(0, 0)
			p.cut(epoch, 30, floor, fill{at: 20, total: 1000})
			p.x = 100
			p.cut(epoch.Add(seconds(tt.after)), 22, floor, fill{at: 20 + tt.after, total: 1000 + tt.total})
			if got := p.ceilings[0]; math.Abs(got-tt.want) > 1e-9 {
				t.Errorf("the second ceiling is %v, want %v", got, tt.want)
			}
		})
	}
}

// A first refusal comes after any length of time, so what was admitted before it may be far below the quota.
func TestPaceDoublesUntilTheSecondCut(t *testing.T) {
	const floor = 1.0 / 60
	p := newPace(0, 0)
	p.cut(epoch, 4, floor, fill{})
	first := p.x
	for range 2 * doubles {
		p.grow(time.Second, 0.1, floor, fill{})
	}
	if want := 4 * first; math.Abs(p.x-want) > 1e-9 {
		t.Errorf("pace after two doublings from %v = %v, want %v", first, p.x, want)
	}
	p.cut(after(time.Minute), 5, floor, fill{})
	if want := keenly * 5; math.Abs(p.x-want) > 1e-9 {
		t.Errorf("pace after the second cut = %v, want %v, however far it had come", p.x, want)
	}
	for range 2 * doubles {
		p.grow(time.Second, 5, floor, fill{})
	}
	if p.x > 5.5 {
		t.Errorf("pace %v s after the second cut = %v, want it slow around 5", 2*doubles, p.x)
	}
}

func TestPaceIsConfirmedByCutsThatAgree(t *testing.T) {
	p := newPace(0, 0)
	for i, s60 := range []float64{20, 5, 5.2, 4.8} {
		if got := p.confirmed(); got != 0 {
			t.Errorf("confirmed after %d cuts = %v, want nothing yet", i, got)
		}
		p.x = max(6, p.x)
		p.cut(after(time.Duration(i)*time.Minute), s60, 1.0/60, fill{})
	}
	if got := p.confirmed(); math.Abs(got-5) > 1e-9 {
		t.Errorf("confirmed = %v, want the mean of 5, 5.2 and 4.8", got)
	}
}

// What let nothing through for a minute must still be able to rise.
func TestPaceGrowsFromNothing(t *testing.T) {
	const floor = 1.0 / 60
	p := newPace(0, 0)
	p.cut(epoch, 0, floor, fill{})
	p.cut(epoch, 0, floor, fill{})
	if p.x != floor {
		t.Errorf("pace after cuts to nothing = %v, want %v", p.x, floor)
	}
	for range 3600 {
		p.grow(time.Second, 0, floor, fill{})
	}
	if p.x <= floor {
		t.Error("pace is frozen at its floor")
	}
}

func TestHoldDoublesAndIsJittered(t *testing.T) {
	var h hold
	now := epoch
	for i, want := range []time.Duration{200, 400, 800, 1600, 3200, 4000, 4000} {
		jitter := float64(i%3) / 2 // 0.75, 1, 1.25
		h.refused(now, 0, false, jitter)
		want = time.Duration(float64(want*time.Millisecond) * (0.75 + jitter/2))
		if got := h.ready(now, probeLeast).Sub(now); got != want {
			t.Errorf("hold %d lasts %v, want %v", i, got, want)
		}
		sent := h.until
		if got := h.ready(sent, probeLeast); !got.Equal(sent) {
			t.Errorf("after hold %d: nothing may go for %v", i, got.Sub(sent))
		}
		h.admitted(sent, 7)
		if got, want := h.ready(sent, probeLeast), sent.Add(probeLeast); !got.Equal(want) {
			t.Errorf("after hold %d a second request may go after %v, want %v", i, got.Sub(sent), probeLeast)
		}
		if !h.counts(sent) || h.counts(now) {
			t.Error("a refusal counts when it was sent after the hold began, and only then")
		}
		now = sent.Add(50 * time.Millisecond)
	}
	h.refused(h.until.Add(holdAgain+1), 0, false, 0.5)
	if h.step != holdFirst {
		t.Errorf("hold after a quiet time = %v, want %v", h.step, holdFirst)
	}
	h = hold{}
	h.refused(now, time.Minute, false, 0.5)
	if h.step != holdFirst2 {
		t.Errorf("first hold for a request that takes a minute to earn = %v, want %v", h.step, holdFirst2)
	}
}

func TestHoldSendsAnotherWhereTheFirstWasLost(t *testing.T) {
	for _, lost := range []bool{false, true} {
		var h hold
		h.refused(epoch, 0, false, 0.5)
		h.ready(h.until, probeLeast)
		h.admitted(h.until, 3)
		h.ended(4, lost) // another
		if !h.alone {
			t.Error("the end of another request freed the hold")
		}
		h.ended(3, lost)
		h.admitted(h.until, 5)
		if h.alone != lost {
			t.Errorf("lost %v: the next goes alone %v", lost, h.alone)
		}
	}
}

// start makes a core, with a helper that admits what must be admitted.
func start(t *testing.T, o Options) (c *core, admit func(at time.Duration, c Cost) (id, gen uint32)) {
	t.Helper()
	o.Rand = func() float64 { return 0.5 }
	o.Burndown = max(o.Burndown, 1)
	o.Concurrency = 1000
	c = newCore(o, epoch)
	return c, func(at time.Duration, cost Cost) (id, gen uint32) {
		t.Helper()
		v := c.admit(after(at), cost)
		if !v.ok {
			t.Fatalf("at %v: %+v, want it admitted", at, v)
		}
		return v.id, c.flights[v.id].gen
	}
}

// convince makes the next refusal one of an exhausted quota.
func convince(c *core) {
	c.verdicts.calm, c.verdicts.held, c.verdicts.doubt = 0, max(1, c.verdicts.n), 1
}

// A stream may outlive the windows it was admitted in.
func TestLateSettlementIsOwedNow(t *testing.T) {
	c, admit := start(t, Options{TokensPerMinute: 1e6, TokensPerDay: 1e6, Burndown: 5})
	id, gen := admit(0, Cost{Input: 100, MaxTokens: 100})
	less, lessGen := admit(time.Second, Cost{Input: 100, MaxTokens: 100})
	c.succeed(after(2*time.Minute), id, gen, Usage{Input: 100, Output: 100})
	if c.minute.sum.held != 400 || c.day.sum.held != 800 {
		t.Errorf("held %v in the minute, %v in the day; want the 400 above the reservation, and 600 + 200", c.minute.sum.held, c.day.sum.held)
	}
	c.succeed(after(2*time.Minute), less, lessGen, Usage{Input: 100})
	if c.minute.sum.held != 400 || c.day.sum.held != 700 {
		t.Errorf("held %v in the minute, %v in the day; want 400 and 600 + 100", c.minute.sum.held, c.day.sum.held)
	}
	id, gen = admit(3*time.Minute, Cost{Input: 100, MaxTokens: 100})
	held := c.flights[id].held
	c.succeed(after(48*time.Hour), id, gen, Usage{Input: 1000})
	if got, want := c.day.sum.held, 1000-held; got != want {
		t.Errorf("held %v in the day, want the %v above what was reserved two days ago", got, want)
	}
}

func TestRefusedRequestStaysCountedAsSent(t *testing.T) {
	c, admit := start(t, Options{})
	id, gen := admit(0, small)
	c.throttled(after(time.Second), id, gen, false)
	if got, want := c.minute.sum, (slot{sent: 1, heads: 1}); got != want {
		t.Errorf("minute = %+v, want %+v", got, want)
	}
}

// Nothing is stated, so the pacer took nothing: it must not get anything back once it paces.
func TestRequestsFromBeforeThePaceAreNotRefunded(t *testing.T) {
	c, admit := start(t, Options{})
	convince(c)
	refused, gen := admit(0, small)
	before, beforeGen := admit(0, Cost{Input: 1000, MaxTokens: 9000})
	c.throttled(after(time.Second), refused, gen, false)
	c.succeed(after(10*time.Second), before, beforeGen, Usage{Input: 1000})
	if c.tokens.level > c.tokens.burst {
		t.Errorf("level %v, want no more than the burst, %v", c.tokens.level, c.tokens.burst)
	}
}

// When the first refusal arrives, others are still on their way.
func TestFirstPaceCountsOnlyWhatWasAdmitted(t *testing.T) {
	c, admit := start(t, Options{Start: Learned{Concurrency: 600}})
	type permit struct{ id, gen uint32 }
	var ps []permit
	for range 600 {
		id, gen := admit(0, small)
		ps = append(ps, permit{id, gen})
	}
	for i, p := range ps[:480] {
		c.throttled(after(50*time.Millisecond+time.Duration(i)*time.Microsecond), p.id, p.gen, false)
	}
	if got, want := c.tokenPace.x*60, c.tokenPace.manner().keeps*120*200; math.Abs(got-want) > 1e-6 {
		t.Errorf("pace = %v tokens a minute, want %v: 120 of 600 were admitted", got, want)
	}
	if c.tokenPace.cuts != 1 {
		t.Errorf("%d cuts for one storm, want 1", c.tokenPace.cuts)
	}
}

// While a trial of a lower pace goes on, refusals are not held for, or it would not tell. Where requests are few each refusal is much, so there
// they are, unless they come whatever the pace.
func TestFewRequestsAreHeldOnTrial(t *testing.T) {
	for _, tt := range []struct {
		name      string
		perSecond float64
		noise     bool
		want      bool
	}{
		{"many", 20, false, false},
		{"few", 2, false, true},
		{"few, and refused at any pace", 2, true, false},
	} {
		c, admit := start(t, Options{})
		now := 2 * time.Minute
		c.first = epoch
		c.minute.advance(after(now))
		c.minute.add(c.minute.cur-20, slot{sent: 60 * tt.perSecond, accepted: 54 * tt.perSecond, use: 54 * tt.perSecond * 200, heads: 6 * tt.perSecond})
		p := &c.tokenPace
		p.x, p.cuts, p.last, p.ceilings[0] = 200*tt.perSecond, trusted, after(now-cutEvery-time.Second), 220*tt.perSecond
		c.tokenFloor, c.verdicts.n, c.verdicts.calm = 200.0/minute, 1000, 10
		c.noise = noise{open: true, began: p.last, from: 980, before: 0.1}
		if tt.noise {
			c.noise = noise{share: 0.1, until: after(now + time.Minute), lasts: time.Minute}
		}
		id, gen := admit(now, small)
		c.throttled(after(now+25*time.Millisecond), id, gen, false)
		if p.cuts != trusted {
			t.Errorf("%s: cut, want the trial to go on", tt.name)
		}
		if got := !c.service.ready(after(now+30*time.Millisecond), 0).Equal(after(now + 30*time.Millisecond)); got != tt.want {
			t.Errorf("%s: held back after the refusal: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestPredictionsComeFromWhatWasServed(t *testing.T) {
	c, admit := start(t, Options{})
	for i := range 1000 {
		id, gen := admit(time.Duration(i)*time.Second, Cost{Input: 100, MaxTokens: 900})
		c.succeed(after(time.Duration(i)*time.Second), id, gen, Usage{Input: 100, Output: 100})
	}
	if got := c.predict.expect(Cost{Input: 100, MaxTokens: 900}); math.Abs(got-200) > 5 {
		t.Errorf("expect = %v, want about 200", got)
	}
}

func TestHoldForgetsSavedRequests(t *testing.T) {
	c, admit := start(t, Options{RequestsPerMinute: 600})
	id, gen := admit(time.Minute, small)
	if got := c.requests.TokensAt(after(time.Minute)); got < 8 {
		t.Fatalf("%v requests saved in a minute, want nearly the burst", got)
	}
	convince(c)
	c.throttled(after(time.Minute), id, gen, false)
	admit(time.Minute+holdMost, small)
	if got := c.requests.TokensAt(after(time.Minute + holdMost)); got >= 1 {
		t.Errorf("%v requests saved during a hold, want less than one", got)
	}
}

func TestPaceDoesNotGrowWhileSomethingElseBinds(t *testing.T) {
	c, admit := start(t, Options{TokensPerMinute: 60_000})
	id, gen := admit(0, small)
	convince(c)
	c.throttled(after(time.Second), id, gen, false)
	x := c.tokenPace.x
	for i, v := range []verdict{{}, {cause: byConcurrency}, {cause: byService}, {cause: byRequests, paced: true}, {cause: byTokens}} {
		at := time.Duration(2+i) * time.Minute
		c.account(after(at))
		c.minute.add(c.minute.cur, slot{use: 60_000, accepted: 60})
		c.waiting(after(at), v)
		c.account(after(at + 59*time.Second))
		if c.tokenPace.x != x {
			t.Errorf("pace grew from %v to %v while bound by %+v", x, c.tokenPace.x, v)
		}
	}
	c.account(after(time.Hour))
	c.minute.add(c.minute.cur, slot{use: 60_000, accepted: 60})
	c.waiting(after(time.Hour), verdict{cause: byTokens, paced: true})
	c.account(after(time.Hour + 59*time.Second))
	if c.tokenPace.x <= x {
		t.Error("pace did not grow in a minute in which it was what bound")
	}
}

// A pace grows while one waits for it: a wait of minutes must not be waited out.
func TestWaitsForAPaceAreShort(t *testing.T) {
	c, admit := start(t, Options{TokensPerMinute: 60})
	admit(0, Cost{Input: 60})
	if v := c.admit(epoch, Cost{}); v.ok || !v.paced || v.at.Sub(epoch) > time.Second {
		t.Errorf("%+v, want to be asked again within a second", v)
	}
}

// In the order of sending: a dot was admitted, an x refused.
func TestVerdicts(t *testing.T) {
	for name, tt := range map[string]struct {
		sent      string
		exhausted bool
	}{
		"one":                          {"x", false},
		"one of a hundred":             {strings.Repeat(".", 99) + "x", false},
		"every fourth, from the start": {strings.Repeat("x...", 60), false},
		"a quarter, unevenly":          {strings.Repeat("..xx....x....x..x...", 12), false},
		"the last twenty":              {strings.Repeat(".", 12) + strings.Repeat("x", 20), true},
		"all":                          {strings.Repeat("x", 20), true},
		"nearly all of the last":       {strings.Repeat(".", 100) + strings.Repeat("xxxx.", 6), true},
		"all, after many admitted":     {strings.Repeat(".", 500) + "xxxx", true},
		"few, after noise":             {strings.Repeat("..x.", 100) + "xxxx", false},
		"all, after noise":             {strings.Repeat("..x.", 100) + strings.Repeat("x", 16), true},
	} {
		t.Run(name, func(t *testing.T) {
			v := verdicts{calm: calmFirst, over: calmPrior}
			got := false
			for _, r := range tt.sent {
				n := v.sent()
				if r == '.' {
					v.ended()
				} else {
					v.refused(n, 1)
					got = got || v.exhausted(n, v.calm)
				}
			}
			if got != tt.exhausted {
				t.Errorf("exhausted = %v, want %v", got, tt.exhausted)
			}
		})
	}
}

// Whatever the service answers, and whenever: what paces and holds stays finite, and nothing freezes.
func TestAnyVerdictsKeepItGoing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Options{
			RequestsPerMinute: rapid.SampledFrom([]float64{0, 0, 30, 6000}).Draw(t, "rpm"),
			TokensPerMinute:   rapid.SampledFrom([]float64{0, 0, 6000, 1e6}).Draw(t, "tpm"),
			Concurrency:       rapid.SampledFrom([]int{1, 8, 200}).Draw(t, "concurrency"),
			Burndown:          1, Rand: func() float64 { return 0.5 },
		}
		s := simulate(o, open{}, job{input: 100, max: 100, out: 50, lasts: 300 * time.Millisecond}, rapid.Uint64().Draw(t, "seed"))
		for range rapid.IntRange(1, 12).Draw(t, "phases") {
			s.svc = &noisy{open{}, rapid.SampledFrom([]float64{0, 0.01, 0.1, 0.3, 0.7, 1}).Draw(t, "refused"), s.rng}
			s.overload = rapid.SampledFrom([]float64{0, 0.1, 0.5, 1}).Draw(t, "overloads")
			s.rtt = rapid.SampledFrom([]time.Duration{time.Millisecond, 50 * time.Millisecond, 90 * time.Second}).Draw(t, "refusals take")
			s.run(time.Duration(rapid.IntRange(1, 40).Draw(t, "seconds")) * time.Second) // check looks at every step
		}
		for _, x := range []float64{s.core.verdicts.calm, s.core.noise.share, s.core.noise.before, s.core.streams.limit, s.core.streams.base} {
			if math.IsNaN(x) || math.IsInf(x, 0) || x < 0 {
				t.Fatalf("not a finite positive number: %+v", s.core)
			}
		}
		s.svc, s.overload, s.rtt = open{}, 0, 50*time.Millisecond
		s.run(3 * time.Minute) // streams refused late are over
		n := s.served
		s.run(2 * time.Minute)
		if s.served == n {
			t.Fatalf("nothing was served in the last 2 of 5 minutes without a fault: %+v", s.core)
		}
	})
}

// A bucket may have filled while less was wanted, so nothing refused is no sign of a larger quota: growth ends a little above the
// last ceiling until what was saved is gone.
func TestWhatWasSavedIsNotTakenForMore(t *testing.T) {
	const floor = 1.0 / 60
	grown := func(idle time.Duration) (most float64, after time.Duration) {
		p := newPace(0, 0)
		for i := range 3 {
			p.x = 25
			p.cut(epoch.Add(time.Duration(i)*time.Minute), 20+float64(i)/2, floor, fill{})
		}
		p.idles(idle)
		for after < time.Hour && p.x < 2*p.ceilings[0] {
			p.grow(time.Second, p.x, floor, fill{})
			after += time.Second
			if p.spare > 0 {
				most = max(most, p.x/p.ceilings[0])
			}
		}
		return most, after
	}
	_, soon := grown(0)
	most, late := grown(time.Hour)
	if most > spared || most < 1 {
		t.Errorf("grew to %.3f of the last ceiling while something may be saved, want %v at most", most, spared)
	}
	if soon > 4*time.Minute || late < soon+3*time.Minute || late > 20*time.Minute {
		t.Errorf("twice the ceiling after %v, and after an idle hour %v; want some minutes later", soon, late)
	}
}
