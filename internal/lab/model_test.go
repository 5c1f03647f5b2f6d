package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

func constant(perSecond float64) Curve { return func(time.Duration) float64 { return perSecond } }

// A step takes from a quota of one a second, or settles what the step took that it names.
type step struct {
	at     float64 // seconds
	take   float64
	refuse bool // the take does not fit
	settle int  // the number of a step, from 1
	used   float64
}

func TestQuotasByHand(t *testing.T) {
	const phase = 30 * time.Second // the full minutes are at 30 s, 90 s, …
	tests := map[string]struct {
		shape Shape
		steps []step
	}{
		"a bucket of 60 s starts full, fills continuously and holds no more than a minute": {Bucket60, []step{
			{at: 0, take: 60},
			{at: 0.5, take: 1, refuse: true},
			{at: 1, take: 1},
			{at: 1000, take: 61, refuse: true},
			{at: 1000, take: 60},
		}},
		"a bucket gives back at once, and may go into debt": {Bucket60, []step{
			{at: 0, take: 40},
			{at: 0, take: 20},
			{at: 0, settle: 1, used: 10},
			{at: 0, take: 31, refuse: true},
			{at: 0, take: 30},
			{at: 0, settle: 2, used: 50}, // 30 more than was there
			{at: 30.5, take: 1, refuse: true},
			{at: 31, take: 1},
		}},
		"a bucket of 10 s holds ten": {Bucket10, []step{
			{at: 0, take: 11, refuse: true},
			{at: 0, take: 10},
			{at: 5, take: 6, refuse: true},
			{at: 5, take: 5},
			{at: 100, take: 11, refuse: true},
			{at: 100, take: 10},
		}},
		"a minute is empty at every full minute, and what comes back late counts there": {Minute, []step{
			{at: 10, take: 60},
			{at: 29.9, take: 1, refuse: true},
			{at: 30, take: 60},
			{at: 31, take: 1, refuse: true},
			{at: 32, settle: 1, used: 10},
			{at: 33, take: 51, refuse: true},
			{at: 33, take: 50},
		}},
		"a strict minute loses what comes back late, not what comes back in time": {StrictMinute, []step{
			{at: 10, take: 60},
			{at: 30, take: 60},
			{at: 32, settle: 1, used: 10},
			{at: 33, take: 1, refuse: true},
			{at: 34, settle: 2, used: 20},
			{at: 35, take: 41, refuse: true},
			{at: 35, take: 40},
		}},
		"a sliding minute counts each for 60 s, what came back no longer": {Sliding, []step{
			{at: 0, take: 60},
			{at: 5, take: 1, refuse: true},
			{at: 10, settle: 1, used: 20},
			{at: 10, take: 41, refuse: true},
			{at: 10, take: 40},
			{at: 59.9, take: 1, refuse: true},
			{at: 60, take: 21, refuse: true},
			{at: 60, take: 20},
			{at: 70, take: 40},
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			q := newQuota(tt.shape, constant(1), phase)
			seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
			for i, s := range tt.steps {
				now := seconds(s.at)
				if s.settle > 0 {
					taken := tt.steps[s.settle-1]
					q.settle(now, seconds(taken.at), taken.take, s.used)
					continue
				}
				if got := q.fits(now, s.take); got == s.refuse {
					t.Fatalf("step %d: %v fits at %v s: %v, want %v", i+1, s.take, s.at, got, !s.refuse)
				}
				if !s.refuse {
					q.take(now, s.take)
				}
			}
		})
	}
}

func TestQuotasFollowTheirCurve(t *testing.T) {
	halves := Curve(func(at time.Duration) float64 {
		if at < 60*time.Second {
			return 2
		}
		return 1
	})
	if got := halves.Area(30*time.Second, 90*time.Second); got != 90 {
		t.Errorf("Area(30 s, 90 s) of 2 a second and 1 from 60 s on = %v, want 90", got)
	}
	for shape, want := range map[Shape]float64{Bucket60: 60, Bucket10: 10, Minute: 60, StrictMinute: 60, Sliding: 60} {
		q := newQuota(shape, halves, 0)
		if !q.fits(120*time.Second, want) || q.fits(120*time.Second, want+1) {
			t.Errorf("%s: does not hold exactly %v after the quota halved to 1 a second", shape, want)
		}
	}
}

func TestBound(t *testing.T) {
	call := func(seconds, reserved, used float64) Call {
		return Call{At: time.Hour, End: time.Hour + time.Duration(seconds*float64(time.Second)), Fate: Answered, Reserved: reserved, Used: used}
	}
	tests := map[string]struct {
		calls []Call
		want  float64
	}{
		"10 s of 200 unused for 100 used":       {[]Call{call(10, 300, 100)}, 0.75},
		"longer than the window: used/reserved": {[]Call{call(120, 200, 100)}, 0.5},
		"the mean of products, not the product of means": {
			[]Call{call(1, 300, 100), call(30, 300, 300)}, 1 / (1 + (1*200.0)/(60*400)),
		},
		"settled above what was reserved": {[]Call{call(10, 100, 180)}, 1},
		"refused calls do not count":      {[]Call{call(10, 300, 100), {Fate: Refused, Reserved: 300}}, 0.75},
		"a call that hung holds and uses nothing": {
			[]Call{call(10, 100, 100), {End: time.Minute, Fate: Cut, Hung: true, Reserved: 100}}, 0.5,
		},
	}
	for name, tt := range tests {
		for _, shape := range Shapes {
			want := 1.0
			if shape == Sliding || shape == StrictMinute {
				want = tt.want
			}
			if got := Bound(shape, tt.calls); math.Abs(got-want) > 1e-12 {
				t.Errorf("%s: Bound on %s = %v, want %v", name, shape, got, want)
			}
		}
	}
}

// The bound is that of the model: calls that come evenly a little below it are all admitted, a little above they are not.
func TestBoundIsThatOfTheService(t *testing.T) {
	for part, clean := range map[float64]bool{0.94: true, 1.04: false} {
		synctest.Test(t, func(t *testing.T) {
			const rate = 20
			mean := meanUse(longTailed, 1)
			svc := NewService(Config{
				Seed: 1, Shape: Sliding, Tokens: constant(rate * mean),
				Workload: func(int64) Workload { return longTailed },
			})
			const closed = 0.84 // of this workload, see below
			var wg sync.WaitGroup
			for i := range int64(5 * 60 * rate) {
				wg.Go(func() {
					if st, e := svc.open(t.Context(), 0, i); e == nil {
						st.rest(t.Context())
					}
				})
				time.Sleep(time.Duration(float64(time.Second) / (rate * closed * part)))
			}
			wg.Wait()
			if got := Bound(Sliding, svc.Calls()); math.Abs(got-closed) > 0.005 {
				t.Errorf("Bound = %.4f, want %.2f", got, closed)
			}
			if refused := count(svc.Calls(), Refused); (refused == 0) != clean {
				t.Errorf("at %v of the bound %d calls were refused", part, refused)
			}
		})
	}
}

func TestJain(t *testing.T) {
	for want, values := range map[float64][]float64{1: {7, 7, 7}, 0.25: {0, 3, 0, 0}, 0.8: {1, 3}, 0: {0, 0}} {
		if got := Jain(values); math.Abs(got-want) > 1e-12 {
			t.Errorf("Jain(%v) = %v, want %v", values, got, want)
		}
	}
}

func TestMeasures(t *testing.T) {
	var calls []Call
	at := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	add := func(from, to float64, fate Fate, used float64) {
		calls = append(calls, Call{At: at(from), End: at(to), Fate: fate, Used: used, FirstToken: at(to-from) / 2})
	}
	for i := range 60 { // one a second; from 40 to 50 s all are refused
		if s := float64(i); i >= 40 && i < 50 {
			add(s, s, Refused, 0)
		} else {
			add(s, s+2, Answered, 10)
		}
	}
	check := func(what string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-9 {
			t.Errorf("%s = %v, want %v", what, got, want)
		}
	}
	check("settled in 2 to 12 s", settled(calls, Span{at(2), at(12)}, -1), 100)
	check("settled of another client", settled(calls, Span{at(2), at(12)}, 3), 0)
	check("refused", refusedShare(calls), 1.0/6)
	check("worst minute", worstMinute(calls, 0), 1.0/6)
	check("worst minute from 30 s on", worstMinute(calls, at(30)), 1.0/3)
	late := slices.Clone(calls) // 25 more calls of the minute after, one of them refused
	for i := range 25 {
		late = append(late, Call{At: at(60 + float64(i)), Fate: Answered})
	}
	late[70].Fate = Refused
	check("worst minute, with one that is not over", worstMinute(late, 0), 11.0/60)
	check("worst minute of less than one", worstMinute(late[50:], at(50)), 1.0/35)
	check("attempts", attemptsPerAnswer(append(slices.Clone(calls), Call{Fate: Failed, At: at(60)})), 51.0/50)
	check("answered twice", float64(answeredTwice(calls)), 49) // all are of record 0
	check("in flight", inFlight(calls, Span{at(10), at(20)}), 2)
	check("p95 of first tokens", firstTokens(calls, 0.95).Seconds(), 1)
	check("mean duration", meanDuration(calls).Seconds(), 2)
	check("arrived", float64(len(arrived(calls, Span{at(5), at(15)}))), 10)
	// Half a minute with 95 % of 10 a second: the calls that end from 2 s on.
	check("back", back(calls, constant(10), 0).Seconds(), 1)
	check("back, never", back(calls, constant(20), 0).Seconds(), time.Duration(-1).Seconds())
}

func TestDemandsRepeatAndAreAsTheWorkloadSays(t *testing.T) {
	if a, b := plain.draw(7, 3), plain.draw(7, 3); a != b {
		t.Errorf("the same record asks for %+v and %+v", a, b)
	}
	// The mean of an exponential cut at 480 is 210 (1 - e^(-480/210)) = 188.6.
	if got := meanUse(plain, 1); math.Abs(got-688.6) > 4 {
		t.Errorf("plain settles at %.1f in the mean, want 688.6", got)
	}
	if ratio := meanUse(large, 1) / meanUse(plain, 1); math.Abs(ratio-10) > 0.05 {
		t.Errorf("large settles at %.2f times plain, want 10", ratio)
	}
}

// even are records that all stream 100 tokens, a second after half a second.
var even = Workload{Input: 100, MaxTokens: 100, Mean: 1e9, FirstToken: 500 * time.Millisecond, Token: 10 * time.Millisecond}

// An asker makes a call of record i and tells when its first token and its end came, or its error.
type asker func(ctx context.Context, i int64) (first, end time.Duration, err error)

// inBubble runs a service in a bubble.
func inBubble(t *testing.T, cfg Config, f func(t *testing.T, svc *Service, ask asker)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		if cfg.Workload == nil {
			cfg.Workload = func(int64) Workload { return even }
		}
		svc := NewService(cfg)
		f(t, svc, func(ctx context.Context, i int64) (first, end time.Duration, err error) {
			for ev, err := range (endpoint{svc, 0}).Invoke(ctx, &pipeline.Request{Record: &pipeline.Record{Pos: i}}) {
				switch {
				case err != nil:
					return first, svc.now(), err
				case ev.Content && first == 0:
					first = svc.now()
				case ev.Terminal:
					end = svc.now()
				}
			}
			return first, end, nil
		})
	})
}

func wantTimes(t *testing.T, what string, first, end, wantFirst, wantEnd time.Duration, err error, kind string) {
	t.Helper()
	got := ""
	if e, ok := errors.AsType[*pipeline.InvokeError](err); ok {
		got = e.Type
	}
	const slack = time.Microsecond // of the decoder's rounding
	if (first-wantFirst).Abs() > slack || (end-wantEnd).Abs() > slack || got != kind {
		t.Errorf("%s: first token %v, end %v, error %q; want %v, %v, %q", what, first, end, got, wantFirst, wantEnd, kind)
	}
}

const ms = time.Millisecond

func TestServiceTakesItsTimes(t *testing.T) {
	inBubble(t, Config{Shape: Bucket60, Tokens: constant(5)}, func(t *testing.T, svc *Service, ask asker) {
		first, end, err := ask(t.Context(), 0) // reserves 200 of 300, uses 200
		wantTimes(t, "admitted", first, end, 550*ms, 1550*ms, err, "")
		_, end, err = ask(t.Context(), 1)
		wantTimes(t, "refused", 0, end-1550*ms, 0, 50*ms, err, "ThrottlingException")
		calls := svc.Calls()
		if c := calls[0]; c.At != 25*ms || c.End != 1525*ms || c.Reserved != 200 || c.Used != 200 || c.Fate != Answered {
			t.Errorf("the service saw %+v", c)
		}
		if c := calls[1]; c.Fate != Refused || c.Used != 0 {
			t.Errorf("the service saw %+v", c)
		}
	})
	inBubble(t, Config{Noise: 1, InStream: 1}, func(t *testing.T, _ *Service, ask asker) {
		_, end, err := ask(t.Context(), 0)
		wantTimes(t, "refused in the stream", 0, end, 0, 550*ms, err, "ThrottlingException")
	})
	inBubble(t, Config{Outages: []Span{{1050 * ms, 2 * time.Second}}}, func(t *testing.T, svc *Service, ask asker) {
		first, end, err := ask(t.Context(), 0)
		wantTimes(t, "broken by an outage", first, end, 550*ms, 1050*ms, err, pipeline.TypeConnectionError)
		first, end, err = ask(t.Context(), 0)
		wantTimes(t, "in an outage", first, end, 0, 1050*ms+70*ms, err, "InternalServerException")
		if c := svc.Calls()[0]; c.Fate != Failed || c.Used != 0 {
			t.Errorf("the service saw %+v", c)
		}
	})
	inBubble(t, Config{Hang: Span{0, time.Second}, Hangs: 1, Shape: Bucket60, Tokens: constant(200.0 / 60)}, func(t *testing.T, svc *Service, ask asker) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, end, err := ask(ctx, 0)
		wantTimes(t, "hung", 0, end, 0, 10*time.Second, err, pipeline.TypeConnectionError)
		if c := svc.Calls()[0]; c.Fate != Cut || !c.Hung || c.Used != 0 {
			t.Errorf("the service saw %+v", c)
		}
		if _, _, err := ask(t.Context(), 0); err != nil {
			t.Errorf("what a hung call had reserved did not come back: %v", err)
		}
	})
}

func TestRequestsAreAQuotaOfTheirOwn(t *testing.T) {
	inBubble(t, Config{Shape: Sliding, Tokens: constant(1e9), Requests: constant(2.0 / 60)}, func(t *testing.T, svc *Service, ask asker) {
		for i := range int64(3) {
			ask(t.Context(), i)
		}
		if got := count(svc.Calls(), Refused); got != 1 {
			t.Errorf("%d of 3 calls refused at 2 a minute, want 1", got)
		}
	})
}

// at once makes n calls at the same time and returns their times in the order of their numbers.
func atOnce(t *testing.T, n int64, ask asker) (firsts, ends []time.Duration) {
	t.Helper()
	firsts, ends = make([]time.Duration, n), make([]time.Duration, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { firsts[i], ends[i], _ = ask(t.Context(), i) })
		time.Sleep(time.Nanosecond) // their order
	}
	wg.Wait()
	return firsts, ends
}

func TestSlotsServeInOrder(t *testing.T) {
	inBubble(t, Config{Slots: 1}, func(t *testing.T, _ *Service, ask asker) {
		firsts, ends := atOnce(t, 3, ask)
		for i := range time.Duration(3) { // each takes 1.5 s of the slot
			wantTimes(t, fmt.Sprint("call ", i), firsts[i], ends[i], 550*ms+i*1500*ms, 1550*ms+i*1500*ms, nil, "")
		}
	})
}

func TestDecodersShareTheirRate(t *testing.T) {
	// 150 tokens a second, of which a stream takes 100 at most.
	cfg := Config{Decode: 150, Workload: func(i int64) Workload {
		w := even
		w.MaxTokens = 100 * (i + 1)
		return w
	}}
	inBubble(t, cfg, func(t *testing.T, _ *Service, ask asker) {
		firsts, ends := atOnce(t, 2, ask)
		// Both get 75 a second until the first has its 100, 1333 ms later; then the second needs 100 more, at 100 a second.
		wantTimes(t, "100 tokens", firsts[0], ends[0], 550*ms, 550*ms+1333333*time.Microsecond+25*ms, nil, "")
		wantTimes(t, "200 tokens", firsts[1], ends[1], 550*ms, 550*ms+2333333*time.Microsecond+25*ms, nil, "")
	})
}

// A pool hands every record out once, one after the other however many ask, and notices one that is stored twice.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 5
		p := newPool(NewService(Config{}), n, func(time.Duration) time.Duration { return time.Second })
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			taken []int64
		)
		for range n {
			wg.Go(func() {
				record, err := p.take(t.Context())
				mu.Lock()
				defer mu.Unlock()
				if taken = append(taken, record); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if slices.Sort(taken); !slices.Equal(taken, []int64{0, 1, 2, 3, 4}) || p.emptied != n*time.Second {
			t.Errorf("took %v, emptied after %v; want 0 to 4 and 5 s of holding back", taken, p.emptied)
		}
		if _, err := p.take(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("take of an empty pool = %v, want io.EOF", err)
		}
		result := func(pos int64, err *pipeline.RowError) *pipeline.Result {
			return &pipeline.Result{Record: &pipeline.Record{Pos: pos}, Err: err}
		}
		p.Commit(t.Context(), []*pipeline.Result{result(0, nil), result(1, &pipeline.RowError{}), result(0, nil)})
		if p.answered != 1 || p.errorRows != 1 || p.again != 1 || p.last != p.svc.now() {
			t.Errorf("answered %d, error rows %d, again %d, last %v; want 1, 1, 1, now", p.answered, p.errorRows, p.again, p.last)
		}
	})
}

// A job is as many records as use up the quota in its time, those of the second kind from the half on.
func TestJobsFillTheirTime(t *testing.T) {
	sc := quotaRow("grows", 0, Target{})
	sc.After = &large
	g := sc.lay(Bucket60, 1)
	uses := func(from, to int64) (sum float64) {
		for i := from; i < to; i++ {
			sum += g.cfg.Workload(i).draw(1, i).used(1)
		}
		return sum
	}
	whole := g.cfg.Tokens.Area(0, sc.Lasts)
	if got := uses(0, g.records) / whole; got < 1 || got > 1.001 {
		t.Errorf("the job uses %.4f of the quota, want 1", got)
	}
	change := int64(0)
	for g.cfg.Workload(change).Input == plain.Input {
		change++
	}
	if got := uses(0, change) / whole; math.Abs(got-0.5) > 0.001 {
		t.Errorf("records grow after %.4f of the quota, want the half", got)
	}
	if got, want := g.cfg.Tokens(0)*60, 20*60*688.6; math.Abs(got-want) > 0.01*want {
		t.Errorf("the quota is %.0f tokens a minute, want %.0f", got, want)
	}
}

// The controller of inspect_ai as its source says.
func TestAIMD(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newAIMD(NewService(Config{}), 0, 128, 1)
		succeed := func(n int) {
			for range n {
				c.succeeded()
			}
		}
		want := func(when string, limit int) {
			t.Helper()
			if c.limit != limit {
				t.Errorf("limit %s = %d, want %d", when, c.limit, limit)
			}
		}
		want("at first", 20)
		succeed(19)
		want("before a round is full", 20)
		succeed(1)
		want("after a clean round", 40)
		c.again(0, false)
		want("after an error that was no throttle", 40)
		c.again(0, true)
		want("after a throttle", 30) // 32, a multiple of 5
		c.again(0, true)
		want("after another within 15 s", 30)
		succeed(100)
		want("after successes within 15 s", 30)
		time.Sleep(aimdCooldown)
		succeed(30)
		want("after a clean round", 35) // 30 + 2, a multiple of 5
		if first, third := c.again(0, true), c.again(2, true); first < 3*time.Second || first > 6*time.Second || third < 12*time.Second || third > 15*time.Second {
			t.Errorf("waits %v and %v, want 3 to 6 s and 12 to 15 s", first, third)
		}
	})
}
