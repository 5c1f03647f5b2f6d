package ratelimit

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// Alone on a quota, a limiter reads off how much it is, whatever its shape.
func TestQuotaIsReadOff(t *testing.T) {
	for shape, how := range map[string]func(*quota) *reading{
		"bucket of 60 s":    func(q *quota) *reading { return &q.flow },
		"bucket of 10 s":    func(q *quota) *reading { return &q.flow },
		"minute":            func(q *quota) *reading { return &q.minute },
		"minute, no refund": func(q *quota) *reading { return &q.minute },
		"sliding window":    func(q *quota) *reading { return &q.window },
	} {
		for _, tpm := range []float64{fast, slow} {
			t.Run(fmt.Sprintf("%s of %.0f", shape, tpm), func(t *testing.T) {
				t.Parallel()
				svc := shapes[shape](tpm)
				s := simulate(Options{Concurrency: 400}, svc, plainJob, 1)
				var told []string
				s.core.watch = func(d Decision) {
					if d.Control == ControlTokens && (d.Action == "know" || d.Action == "doubt") {
						told = append(told, d.Action)
					}
				}
				s.run(25 * time.Minute)
				p := &s.core.tokenPace
				// It may be in doubt at one moment, and certain at the next.
				for range 10 {
					if p.exact() == how(&p.quota) {
						break
					}
					s.run(time.Minute)
				}
				r := p.exact()
				if r != how(&p.quota) {
					t.Fatalf("not known in the right way: %+v", p.quota)
				}
				if off := r.rate*minute/tpm - 1; math.Abs(off) > 0.025 {
					t.Errorf("read %.4f of the quota", 1+off)
				}
				if len(told) == 0 || told[0] != "know" {
					t.Errorf("told %v of what it knows", told)
				}

				svc.quota(s.now, tpm/2)
				s.run(12 * time.Minute)
				if used, refused := s.measure(8*time.Minute, tpm/2); used < 0.85 || refused > 0.05 {
					t.Errorf("after the quota halved: used %.1f%%, refused %.2f%%", 100*used, 100*refused)
				}
			})
		}
	}
}

func TestReadingIsSureWhileItAgrees(t *testing.T) {
	const ties = 0.005
	var r reading
	for i, rate := range []float64{100, 100.2, 99.9} {
		if r.read(rate, ties, readings); r.sure {
			t.Fatalf("sure after %d readings", i+1)
		}
	}
	if r.read(100.1, ties, readings); !r.sure || math.Abs(r.rate-100) > 0.2 {
		t.Fatalf("%+v after four that agree, want it sure of 100", r)
	}
	if r.read(50, ties, readings); !r.sure || r.rate != 50 {
		t.Errorf("%+v after one that differs, want it believed: the quota may have halved", r)
	}
	if r.read(80, ties, readings); r.sure {
		t.Error("sure after two that differ: somebody else is there")
	}
	r = reading{rate: 100, agreed: 5, sure: true}
	for _, rate := range []float64{101, 102, 101} {
		r.read(rate, ties, readings)
	}
	if !r.sure {
		t.Error("not sure after readings a percent off")
	}
}

// Who is refused with less than what is known has not used it up.
func TestQuotaIsDoubtedWhereOthersUseIt(t *testing.T) {
	sure := reading{rate: 100, agreed: 5, sure: true}
	full := fill{window: 100, total: 6000, at: 60, held: 100}
	for _, tt := range []struct {
		name  string
		q     quota
		at    fill
		keeps bool
	}{
		{"minute, full", quota{minute: sure, tides: true}, fill{minute: 100, window: 100, at: 60}, true},
		{"minute, not", quota{minute: sure, tides: true}, fill{minute: 90, window: 100, at: 60}, false},
		{"window, full", quota{window: sure}, full, true},
		{"window, not", quota{window: sure}, fill{window: 99, total: 6000, at: 60}, false},
		{"bucket, empty", quota{flow: sure, emptied: fill{at: 1, total: 100}}, full, true},
		{"window, all but a request of the few that it holds", quota{window: sure}, fill{window: 98.5, total: 6000, at: 60, held: 60}, true},
		{"minute, all but a request of the few that it holds", quota{minute: sure, tides: true}, fill{minute: 92, window: 100, at: 60, held: 600}, true},
		{"bucket, empty by as much as readings differ", quota{flow: sure, emptied: fill{at: 1, total: 100}}, fill{window: 99, total: 59800, at: 601, held: 100}, true},
		{"bucket, not", quota{flow: sure, emptied: fill{at: 1, total: 100}}, fill{window: 99, total: 5700, at: 60, held: 100}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.q.exact() == nil {
				t.Fatal("not known to begin with")
			}
			tt.q.read(tt.at, basis{admitted: 100, pace: 100, requests: 1200})
			if got := tt.q.exact() != nil; got != tt.keeps {
				t.Errorf("known after the refusal: %v, want %v", got, tt.keeps)
			}
		})
	}
	q := quota{window: sure}
	for i := range surprises {
		if q.exact() == nil {
			t.Errorf("forgotten after %d refusals", i)
		}
		q.read(full, basis{admitted: 100, pace: 100, requests: 1200})
	}
	if q.exact() != nil {
		t.Error("still known after refusals without having asked for more")
	}
	q = quota{window: sure}
	for range 2 * surprises {
		q.asking = 1
		q.rest()
		q.read(full, basis{admitted: 100, pace: 100, requests: 1200})
	}
	if q.exact() == nil {
		t.Error("forgotten after refusals of what was asked for")
	}
	for range doubts {
		if q.doubt(); q.exact() == nil {
			t.Error("forgotten after refusals soon after a cut")
		}
	}
	if q.doubt(); q.exact() != nil {
		t.Error("still known after many refusals soon after a cut")
	}
}

// Between two refusals of few and large requests as much may be given back as was taken: a flow of nothing is no reading, or the
// pace would be nothing as well, for good.
func TestFlowOfNothingIsNoReading(t *testing.T) {
	for _, total := range []float64{6000, 5000, 6100} {
		q := quota{flow: reading{rate: 100, agreed: 5, sure: true}, emptied: fill{at: 30, total: 6000}}
		q.read(fill{window: 100, total: total, at: 60, held: 6000}, basis{admitted: 100, pace: 100, requests: 1})
		if r := q.exact(); r != nil || q.flow.rate != 0 {
			t.Errorf("%v taken since the last refusal: %+v, want it forgotten", total-6000, q.flow)
		}
	}
}

// A pace that is known never falls below one request a minute.
func TestKnownPaceKeepsItsFloor(t *testing.T) {
	c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
	c.tokenFloor = 10
	p := &c.tokenPace
	p.x, p.cuts, p.last = 12, 5, epoch
	p.flow = reading{rate: 1, agreed: 5, sure: true}
	if now := after(5 * time.Second); !c.expected(now, &flight{began: now}) || p.x != c.tokenFloor {
		t.Errorf("pace after a refusal = %v, want %v", p.x, c.tokenFloor)
	}
}

// A refusal that what is known does not explain is left to the verdicts, and cuts nothing by itself.
func TestForeignRefusalIsNotExpected(t *testing.T) {
	for held, want := range map[float64]bool{1000: true, 900: false} {
		c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
		p := &c.tokenPace
		p.x, p.cuts, p.last = 995, 5, epoch
		p.window = reading{rate: 1000, agreed: 5, sure: true}
		now := after(cutEvery)
		got := c.expected(now, &flight{began: now, fill: fill{window: held, at: 19}})
		if known := p.exact() != nil; got != want || known != want || (p.cuts == 6) != want {
			t.Errorf("refused with %v of 1000: expected %v, known %v, %d cuts", held, got, known, p.cuts)
		}
	}
}

// A quota of few requests is asked for more every two minutes or so, but not at the same second of them: that would look like minutes that end.
func TestAsksAtNoSecondOfTheMinute(t *testing.T) {
	const rate, each = 200.0, 100.0
	var asked []float64
	q, last := quota{window: reading{rate: rate, sure: true}}, 0
	for s := range 3600 {
		q.ask(time.Second, &q.window, fill{window: 0.997 * rate}, rate, each)
		if q.asking > 20 { // and is refused
			if last > 0 && (s-last < 80+20 || s-last > 120+21) {
				t.Errorf("asked and refused %d s after the last time, want 200 requests, give or take a fifth, and 20 s", s-last)
			}
			asked, last = append(asked, float64(s)), s
			q.rest()
		}
	}
	if len(asked) < 25 || len(asked) > 35 {
		t.Errorf("asked %d times in an hour, want about 30", len(asked))
	}
	for i := range len(asked) - 2 {
		early, late := 0.0, 0.0
		for _, s := range asked[i+1 : i+3] {
			off := math.Remainder(s-asked[i], minute)
			early, late = min(early, off), max(late, off)
		}
		if late-early < 3 {
			t.Errorf("three times in a row at the same second of the minute: %v", asked[i:i+3])
		}
	}
}

// A quota that is known is used, and asked for more after so many requests; what is admitted of that is more.
func TestKnownQuotaIsAskedForMore(t *testing.T) {
	const rate, each = 14_000, 700 // 20 requests a second
	q := quota{window: reading{rate: rate, agreed: 5, sure: true}}
	x := keepsExact * rate
	if got := q.limit(); got != keepsWindow*rate {
		t.Errorf("limit = %v, want %v", got, keepsWindow*rate)
	}
	var asked int
	for s := 1; s <= 60; s++ {
		x = q.ask(time.Second, &q.window, fill{window: min(q.limit(), rate)}, x, each)
		if asked == 0 && q.asking > 0 {
			asked = s
		}
	}
	if asked < 9 || asked > 12 {
		t.Errorf("asked for more after %d s, want after 200 requests", asked)
	}
	if got := q.limit(); got <= (1+isMore)*rate || q.more {
		t.Errorf("limit = %v, more %v; want it above what would show that there is more", got, q.more)
	}
	q.ask(time.Second, &q.window, fill{window: 1.02 * rate}, x, each)
	if !q.more || !math.IsInf(q.limit(), 1) {
		t.Errorf("more %v, limit %v after 2 %% more were admitted", q.more, q.limit())
	}
	before := x
	for range moreDoubles {
		x = q.ask(time.Second, &q.window, fill{window: 1.02 * rate}, x, each)
	}
	if math.Abs(x/before-2) > 0.1 {
		t.Errorf("pace after %d s of more = %.2f times, want twice", moreDoubles, x/before)
	}
}

// In its first second a minute is read with the one before, since a refusal may be of either. That both hold more than one is nothing new.
func TestMinuteThatBeginsShowsNoMore(t *testing.T) {
	const rate, each = 14_000, 700
	for left, want := range map[float64]bool{minute - minuteEdge/2.0: false, minute - 2*minuteEdge: true} {
		q := quota{tides: true, minute: reading{rate: rate, agreed: 5, sure: true}}
		q.ask(time.Second, &q.minute, fill{minute: 1.1 * rate, left: left}, rate, each)
		if q.more != want {
			t.Errorf("with %v s left: more %v, want %v", left, q.more, want)
		}
	}
}

// What would show that there is more is one or two requests: of a quota of few requests that is much, and it is asked for all the same.
func TestQuotaOfFewRequestsThatRisesIsNoticed(t *testing.T) {
	even := plainJob
	even.lasts = 3 * time.Second
	for shape, perMinute := range map[string]float64{"bucket of 60 s": 3, "minute": 10, "sliding window": 100} {
		t.Run(shape, func(t *testing.T) {
			t.Parallel()
			tpm := 710 * perMinute
			svc := shapes[shape](tpm)
			s := simulate(Options{Concurrency: 400}, svc, even, 1)
			s.run(40 * time.Minute)
			svc.quota(s.now, 5*tpm)
			s.run(15 * time.Minute)
			if used, _ := s.measure(15*time.Minute, 5*tpm); used < 0.8 {
				t.Errorf("used %.1f%% of five times the quota a quarter of an hour after it rose; known: %+v", 100*used, s.core.tokenPace.quota)
			}
		})
	}
}

// Bound by what is stated, or beside a rival, no window limits anything.
func TestLimitIsThatOfALearnedPace(t *testing.T) {
	p := newPace(6000, 0)
	p.window = reading{rate: 50, agreed: 5, sure: true}
	if !math.IsInf(p.limit(), 1) {
		t.Error("a pace at what is stated is limited by what was once read")
	}
	p.x = 49
	if got := p.limit(); got != keepsWindow*50 {
		t.Errorf("limit = %v", got)
	}
	p.top = 60
	if !math.IsInf(p.limit(), 1) {
		t.Error("a pace beside a rival is limited by what was once read")
	}
}
