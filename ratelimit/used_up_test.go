package ratelimit

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// A hogged quota is used up by somebody else for a while, who leaves a request every now and then.
type hogged struct {
	service
	from, to, last time.Time
}

func (s *hogged) admit(now time.Time, reserve float64) bool {
	if now.Before(s.from) || !now.Before(s.to) {
		return s.service.admit(now, reserve)
	}
	if now.Sub(s.last) < 23*time.Second {
		return false
	}
	s.last = now
	return true
}

// TestPaceReturnsWhenAQuotaIsFree: what little was admitted of a quota that others had used up says nothing of it once they are gone,
// neither where a job begins so nor later.
func TestPaceReturnsWhenAQuotaIsFree(t *testing.T) {
	const tpm = fast / 2
	for _, from := range []time.Duration{0, 5 * time.Minute} {
		for _, lasts := range []time.Duration{time.Minute, 100 * time.Second, 3 * time.Minute} {
			for shape, service := range shapes {
				t.Run(fmt.Sprintf("%v for %v from %v on", shape, lasts, from), func(t *testing.T) {
					begin := time.Unix(1_800_000_017, 0)
					svc := &hogged{service: service(tpm), from: begin.Add(from), to: begin.Add(from + lasts)}
					s := simulate(Options{Concurrency: 400}, svc, plainJob, 1)
					s.run(from + lasts + 2*time.Minute)
					want := 0.6
					if s.core.rivals.state != alone {
						want = 0.4 // it was right: somebody else used the minutes up. Whether he still does it asks later
					}
					if used, _ := s.measure(2*time.Minute, tpm); used < want {
						t.Errorf("used %.0f%% of the quota in the third and fourth minute after it was free, want %.0f%%", 100*used, 100*want)
					}
				})
			}
		}
	}
}

// TestLargerRecordsOnAQuotaOfRequests: a quota of requests is learned as one of tokens, and so too low once records are larger. Since
// nothing is refused any more the pace finds what there is.
func TestLargerRecordsOnAQuotaOfRequests(t *testing.T) {
	const rpm = 600
	for shape, service := range shapes {
		t.Run(shape, func(t *testing.T) {
			s := simulate(Options{Concurrency: 400, Start: Learned{Concurrency: 400}}, perRequest{service(rpm)}, plainJob, 1)
			s.run(5 * time.Minute)
			s.job.input *= 20
			s.run(4 * time.Minute)
			sent, refused := s.sent, s.refused
			s.run(2 * time.Minute)
			if served := float64(s.sent-sent-(s.refused-refused)) / (2 * rpm); served < 0.8 {
				t.Errorf("served %.0f%% of the quota in the fifth and sixth minute", 100*served)
			}
		})
	}
}

// TestMinutesAreNotEarlyBeforeTheyBegin: a refusal where a minute should have begun is of the one before, and says neither that the one that
// comes was used up early nor that it was not.
func TestMinutesAreNotEarlyBeforeTheyBegin(t *testing.T) {
	for _, tt := range []struct {
		at   time.Duration // after minutes seem to begin
		want int
	}{{time.Second, 0}, {20 * time.Second, 1}, {50 * time.Second, 0}} {
		c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
		c.minutes.known = true
		c.exhausts(after(tt.at))
		if c.rivals.early != tt.want {
			t.Errorf("refused %v after a minute seems to begin: %d early minutes, want %d", tt.at, c.rivals.early, tt.want)
		}
		if c.exhausts(after(30 * time.Second)); tt.at < 10*time.Second && c.rivals.early != 1 {
			t.Errorf("refused %v and 30s after: %d early minutes, want 1", tt.at, c.rivals.early)
		}
	}
}

// TestNoiseIsNoWorseAfterACut: what is refused far more often since a cut, in its first minute, is refused by a quota that others use up too.
func TestNoiseIsNoWorseAfterACut(t *testing.T) {
	for _, tt := range []struct {
		before, sent, heads float64
		want                bool
	}{
		{0.01, 100, 7, false},
		{0.01, 100, 12, true},
		{0.1, 400, 70, false},
		{0.1, 400, 90, true},
		{0.1, 0, 90, false},
	} {
		q := noise{open: true, from: 1000, before: tt.before, heads: tt.heads}
		if got := q.worse(1000 + uint64(tt.sent)); got != tt.want {
			t.Errorf("%v refused before, %v of %v since: worse %v, want %v", tt.before, tt.heads, tt.sent, got, tt.want)
		}
	}
}

// TestRefusalsInClumps: those of a quota come in a row, those at random follow each other by chance only.
func TestRefusalsInClumps(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		sent, refused, heads float64
		want                 bool
	}{
		{"at random", 200, 60, 42, false},
		{"in clumps", 200, 60, 20, true},
		{"few", 60, 20, 4, false},
		{"a small part", 600, 60, 10, false},
	} {
		c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
		c.tokenPace.last = epoch
		c.minute.advance(after(10 * time.Second))
		c.minute.add(c.minute.cur, slot{sent: tt.sent, accepted: tt.sent - tt.refused, heads: tt.heads})
		if got := c.clumped(); got != tt.want {
			t.Errorf("%s: clumped %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestFirstStreamsAreNotReplaced: a quota that is used up when a job begins refuses all of its first streams, and who would replace them too. What
// was answered, or failed in another way, says that there is something to be had.
func TestFirstStreamsAreNotReplaced(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ended func(c *core, p verdict)
		more  int // of ten that end
	}{
		{"refused", func(c *core, p verdict) { c.throttled(after(50*time.Millisecond), p.id, 1, false) }, 0},
		{"answered", func(c *core, p verdict) { c.succeed(after(50*time.Millisecond), p.id, 1, Usage{Input: 1}) }, 10},
		{"overloaded", func(c *core, p verdict) { c.fail(after(50*time.Millisecond), p.id, 1, Usage{}, true) }, 10},
	} {
		c := newCore(Options{Concurrency: 400, Rand: func() float64 { return 0.5 }}, epoch)
		var first []verdict
		begin := func(at time.Duration) (n int) {
			for v := c.admit(after(at), Cost{Input: 1}); v.ok; v = c.admit(after(at), Cost{Input: 1}) {
				first = append(first, v)
				n++
			}
			return n
		}
		if n := begin(0); n != firstLimit {
			t.Fatalf("%d streams begin, want %v", n, firstLimit)
		}
		c.verdicts.calm = calmMost // no few of them are an exhausted quota
		for _, p := range first[:10] {
			tt.ended(c, p)
		}
		if n := begin(60 * time.Millisecond); n != tt.more {
			t.Errorf("%s: %d of 10 are replaced, want %d", tt.name, n, tt.more)
		}
	}
}

// TestFirstCutIsMadeAgain: where a third of what is sent after the first cut is refused, and not of a few requests, of which it is by chance.
func TestFirstCutIsMadeAgain(t *testing.T) {
	for _, tt := range []struct {
		name          string
		sent, refused float64
		want          bool
	}{
		{"a few by chance", 9, 4, false},
		{"many", 30, 12, true},
		{"few of many", 100, 12, false},
	} {
		c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
		c.first, c.tokenFloor = epoch, 1.0/minute
		p := &c.tokenPace
		p.x, p.before, p.cuts, p.last = 1000, math.Inf(1), 1, after(5*time.Second)
		c.minute.advance(after(8 * time.Second))
		c.minute.add(c.minute.number(after(2*time.Second)), slot{use: 6000, sent: 100, accepted: 100})
		c.minute.add(c.minute.cur, slot{sent: tt.sent, accepted: tt.sent - tt.refused})
		c.temper(after(8 * time.Second))
		if got := p.x < 1000; got != tt.want {
			t.Errorf("%s: %v of %v refused: a pace of %v, made again %v, want %v", tt.name, tt.refused, tt.sent, p.x, got, tt.want)
		}
	}
}

// TestJoins: most of the first requests of a job are refused where others had used the quota up before it. Later refusals say nothing of that.
func TestJoins(t *testing.T) {
	for _, tt := range []struct {
		name          string
		sent, refused uint64 // the last ones
		cuts          int
		want          bool
	}{
		{"most of the first", 32, 24, 0, true},
		{"most of the first, and cut since", 32, 24, 1, true},
		{"half of them", 32, 16, 0, false},
		{"too few to tell", 16, 15, 0, false},
		{"among many", 400, 50, 0, false},
		{"the quota is known better", 32, 24, 2, false},
	} {
		c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
		c.verdicts.n, c.tokenPace.cuts = tt.sent, tt.cuts
		for n := tt.sent - tt.refused + 1; n <= tt.sent; n++ {
			c.joins(n)
		}
		if got := c.tokenPace.joined; got != tt.want {
			t.Errorf("%s: joined %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestDoublingBesideOthers: who joins others is refused far below its share, since they are. It goes on doubling after that, slower, and
// the cut after the next is by what was admitted since, and not by the mean of a minute in which it had little.
func TestDoublingBesideOthers(t *testing.T) {
	for _, joined := range []bool{false, true} {
		p := newPace(0, 0)
		at := fill{at: 1, total: 60}
		p.cut(after(time.Second), 1, 0.1, at)
		p.joined = joined
		before := p.x
		p.grow(27*time.Second, 10, 0.1, at)
		if got := p.x / before; math.Abs(got-8) > 0.01 {
			t.Fatalf("joined %v: %.2f times as much after 27 s, want 8", joined, got)
		}

		before = p.x
		at = fill{at: 28, total: 100}
		p.cut(after(28*time.Second), 1.7, 0.1, at)
		if kept := p.x / before; joined != (math.Abs(kept-leastCut) < 0.01) {
			t.Errorf("joined %v: the second cut leaves %.2f", joined, kept)
		}
		if doubling := p.cuts < 2; doubling != joined {
			t.Errorf("joined %v: doubles on after the second cut: %v", joined, doubling)
		}
		if !joined {
			continue
		}

		before = p.x
		p.grow(18*time.Second, 10, 0.1, at)
		if got := p.x / before; math.Abs(got-2) > 0.01 {
			t.Errorf("%.2f times as much 18 s after the second cut, want 2", got)
		}
		at = fill{at: 48, total: 220}
		p.cut(after(48*time.Second), 3, 0.1, at)
		if p.cuts < 2 || p.ceilings[0] != 6 {
			t.Errorf("the third cut, after 120 tokens in 20 s, is of %v a second, number %d; want 6, and the doubling over", p.ceilings[0], p.cuts)
		}
	}
}

// TestWhoJoinsGetsOn: who begins on a quota that another uses up has a good part of its half in the first five minutes.
func TestWhoJoinsGetsOn(t *testing.T) {
	const seeds = 64
	for shape := range shapes {
		t.Run(shape, func(t *testing.T) {
			mean := 0.0
			for seed := range uint64(seeds) {
				late := scenario{job: plainJob, tpm: fast, runners: 2, join: 5 * time.Minute, warm: 9, lasts: 1}
				_, l := late.play(shape, seed+1)
				mean += l.ours[1].used / (5 * fast * seeds)
			}
			if mean < 0.195 {
				t.Errorf("who joins has %.1f%% of the quota in its first five minutes, want 19.5%%", 100*mean)
			}
		})
	}
}
