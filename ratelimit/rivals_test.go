package ratelimit

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// TestRivalsAreAskedForTogether: whoever weighs refusals, or asks, does so at the same minutes of the clock.
func TestRivalsAreAskedForTogether(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 0, 20, 0, time.UTC)
	tests := []struct {
		name string
		r    rivals
		due  []int // minutes past three
	}{
		{"alone", rivals{}, []int{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}},
		{"asking", rivals{state: asking}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}},
		{"pressed", rivals{state: pressed}, []int{2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24}},
		{"pressed, and told so again", rivals{state: pressed, asked: 1}, []int{12, 24}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, due := test.r, []int(nil)
			for now := start; now.Before(start.Add(24 * time.Minute)); now = now.Add(7 * time.Second) {
				if r.due(now) {
					due = append(due, now.Minute())
				}
			}
			if !slices.Equal(due, test.due) {
				t.Errorf("due at %v, want %v", due, test.due)
			}
		})
	}
}

// TestFindingTheQuotaIsNoRival: a pace that grows for minutes, since nothing is stated but too little, passes the quota by far, and what is
// refused until it has come down says nothing of others.
func TestFindingTheQuotaIsNoRival(t *testing.T) {
	c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
	c.rivals.sent = 1
	p := &c.tokenPace
	p.x, p.cuts = 1, trusted
	for _, tt := range []struct {
		at, binds time.Duration // of a cut, and for how long the pace had held requests back
		after     time.Duration
		want      bool
	}{
		{10 * time.Minute, 4 * time.Minute, 30 * time.Second, true},
		{10 * time.Minute, 4 * time.Minute, askFound - time.Second, true},
		{10 * time.Minute, 4 * time.Minute, askFound, false},
		{20 * time.Minute, time.Minute, time.Second, false},
		{30 * time.Minute, 10 * time.Minute, time.Second, true},
	} {
		p.binds = tt.binds.Seconds()
		p.cut(after(tt.at), 1, 1.0/minute, fill{})
		if got := c.unsure(after(tt.at+tt.after), p); got != tt.want {
			t.Errorf("unsure %v after a cut that followed on %v without: %v, want %v", tt.after, tt.binds, got, tt.want)
		}
	}
}

// TestRefusalsProveARival: so many as runners like this one cause each other never do, however long, those beside a rival do in minutes,
// the fewer requests there are the later, and never in two: a quota that changes is refused much for once.
func TestRefusalsProveARival(t *testing.T) {
	const never = 0
	for _, tt := range []struct {
		sent, refused float64 // in two minutes
		want          int     // times two minutes
	}{
		{480, 7, never}, // five runners at 20 requests a second
		{1200, 6, never},
		{480, 20, 2}, // the same beside a rival
		{1200, 36, 2},
		{1200, 24, 2}, // of ten requests a second less is too much
		{1200, 12, never},
		{60, 4, 3}, // who is left with little
		{30, 2, 5},
		{480, 200, 2},
		{480, 0, never},
	} {
		t.Run(fmt.Sprintf("%v of %v", tt.refused, tt.sent), func(t *testing.T) {
			r, now, got := rivals{}, epoch, never
			r.clear(now)
			for i := range 100 {
				now = now.Add(askEvery)
				r.sent, r.refused = tt.sent, tt.refused
				if r.weigh(now, false); r.proof >= proven {
					got = i + 1
					break
				}
			}
			if got != tt.want {
				t.Errorf("proven after %d times two minutes, want %d", got, tt.want)
			}
		})
	}
	r := rivals{proof: 6, sent: 480, refused: 20, counts: epoch}
	if r.weigh(after(askEvery), true); r.proof != 0 || r.sent != 0 {
		t.Errorf("refusals that tell nothing leave %v of the proof and %v requests, want nothing", r.proof, r.sent)
	}
}

func TestRivalsPressWhereRefusalsGoOn(t *testing.T) {
	tests := []struct {
		name          string
		sent, refused float64 // in a minute
		want          bool
	}{
		{"as many as beside a rival", 200, 9, true},
		{"as many as others like this one cause", 500, 3, false},
		{"none", 200, 0, false},
		{"all: the service is out", 500, 500, false},
		{"few requests, and one of them refused", 70, 1, true},
		{"few requests, none refused", 80, 0, false},
		{"hardly any requests", 10, 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCore(Options{Concurrency: 8}, epoch)
			c.rivals = rivals{state: hearing, counts: epoch, sent: test.sent, refused: test.refused}
			if got := c.presses(after(time.Minute)); got != test.want {
				t.Errorf("presses() = %v, want %v", got, test.want)
			}
		})
	}
}

// TestPressedPacesMeet: beside a rival paces of any size come to be the same, where all see the same share of refusals, and where
// each is refused once a minute.
func TestPressedPacesMeet(t *testing.T) {
	const floor = 500.0 / minute // of requests of 500 tokens
	start := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name    string
		b       bearing
		refused func(sec, x float64) float64 // times in the second that begins then
		want    float64                      // requests a second
	}{
		{"2 % are refused", even, func(_, x float64) float64 { return 0.02 * x }, 0.18 / 0.02},
		{"5 % are refused", even, func(_, x float64) float64 { return 0.05 * x }, 0.18 / 0.05},
		{"once a minute", rushing, func(sec, _ float64) float64 { return math.Floor((sec+1)/60) - math.Floor(sec/60) }, 60 * 0.3 * (1/0.4 - 0.5)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, from := range []float64{1, 40} {
				p := newPace(0, 1)
				p.x, p.top = from*minute*floor, 1
				due, mean := 0.0, 0.0
				for sec := range 60 * 60 {
					p.regain(time.Second, p.x, floor, tt.b)
					if sec >= 59*60 {
						mean += p.x / (minute * floor) / 60
					}
					for due += tt.refused(float64(sec), p.x/(minute*floor)); due >= 1; due-- {
						p.yield(start, floor, tt.b)
					}
				}
				if mean < 0.8*tt.want || mean > 1.15*tt.want {
					t.Errorf("from %v requests a second to %.1f, want about %.1f", from, mean, tt.want)
				}
			}
		})
	}
}

// TestRushingPacesMeetSoon: where minutes are known, ten of them are enough.
func TestRushingPacesMeetSoon(t *testing.T) {
	const floor = 500.0 / minute
	var got [2]float64
	for i, from := range []float64{1, 40} {
		p := newPace(0, 1)
		p.x, p.top = from*minute*floor, 1
		for range 10 {
			for range 20 { // seconds in which there is something left
				p.regain(time.Second, p.x, floor, rushing)
			}
			p.yield(time.Unix(1_800_000_000, 0), floor, rushing)
		}
		got[i] = p.x
	}
	if got[0] < 0.95*got[1] {
		t.Errorf("one is at %.2f of the other, want 0.95 or more", got[0]/got[1])
	}
}

// knowsMinutes is a runner in the middle of one of a quota's minutes.
func knowsMinutes() *core {
	c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
	c.minutes.known = true
	c.tokenPace.x, c.tokenPace.cuts = 1, trusted
	return c
}

// TestMinuteThatWasNotWatched: whoever sends little and is refused late in a minute does not know that there was something left until then. And
// a minute that goes on after a refusal was not used up.
func TestMinuteThatWasNotWatched(t *testing.T) {
	for _, tt := range []struct {
		name  string
		sent  float64 // second of the minute in which the last request was admitted
		first float64 // and in which the next was refused
		spell spell   // of the minute before
		want  int
	}{
		{"used up early", 20, 25, spell{59 * time.Second, 61 * time.Second}, 3},
		{"used up late", 48, 55, spell{59 * time.Second, 61 * time.Second}, 1},
		{"who knows when", 20, 55, spell{59 * time.Second, 61 * time.Second}, 2},
		{"used up early after one that went on, so that was not used up", 20, 25, spell{24 * time.Second, 25 * time.Second}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := knowsMinutes()
			c.minutes.turn(after(59 * time.Second))
			c.rivals.early, c.rivals.spent = 2, c.minutes.index
			c.minutes.spells[0], c.minutes.n = tt.spell, 1
			c.minute.advance(after(60*time.Second + seconds(tt.sent)))
			c.minute.add(c.minute.cur, slot{sent: 1, accepted: 1})
			now := after(60*time.Second + seconds(tt.first))
			c.minute.advance(now)
			if c.exhausts(now); c.rivals.early != tt.want {
				t.Errorf("%d early minutes after 2, want %d", c.rivals.early, tt.want)
			}
		})
	}
}

// TestMinutesAnswerBesideARival: where minutes are known and there are requests all along, it is told from how long minutes last.
func TestMinutesAnswerBesideARival(t *testing.T) {
	for _, tt := range []struct {
		name          string
		sound         int
		sent, refused float64
		rushed, want  bool
	}{
		{"used up early, and not refused in this minute of the clock", minuteTrust, 130, 0, true, true},
		{"used up late", minuteTrust, 130, 1, false, false},
		{"nothing is admitted", minuteTrust, 130, 130, true, false},
		{"few requests, one refused", minuteTrust, 30, 1, false, true},
		{"minutes are not certain, some refused", minuteTrust - 1, 130, 3, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := knowsMinutes()
			c.rivals = rivals{state: hearing, counts: epoch, sent: tt.sent, refused: tt.refused, rushed: tt.rushed, sound: tt.sound}
			if got := c.presses(after(time.Minute)); got != tt.want {
				t.Errorf("presses() = %v, want %v", got, tt.want)
			}
		})
	}
}

// TestPressedIsNotAskedSoon: on the way to the pace that it settles at refusals tell nothing.
func TestPressedIsNotAskedSoon(t *testing.T) {
	for since, want := range map[time.Duration]rivalState{10 * time.Second: pressed, 170 * time.Second: pressed, 4 * time.Minute: asking} {
		c := knowsMinutes()
		now := after(2 * time.Hour).Truncate(askSeldom)
		c.first, c.service.began = after(0), now.Add(-time.Second)
		c.rivals = rivals{state: pressed, asked: 1, since: now.Add(-since), minute: now.Add(-time.Minute), sent: 100, refused: 5}
		if c.listen(now); c.rivals.state != want {
			t.Errorf("pressed for %v: state %v, want %v", since, c.rivals.state, want)
		}
	}
}

// TestAskedByAClockThatIsSetBack: whoever stands back does so for minutes, whatever the clock shows.
func TestAskedByAClockThatIsSetBack(t *testing.T) {
	noon := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		at   time.Duration // after noon, at which it is looked at for a minute and a half
		want int           // times that it is due
	}{
		"as always":             {time.Second, 1},
		"set back by seconds":   {-5 * time.Second, 1},
		"set back by an hour":   {-time.Hour, 1},
		"set back by two days":  {-48 * time.Hour, 1},
		"set forth by an hour":  {time.Hour, 2},
		"by a minute and a bit": {-70 * time.Second, 2},
	} {
		r := rivals{state: asking, minute: noon}
		due := 0
		for s := range 90 {
			if r.due(noon.Add(tt.at + time.Duration(s)*time.Second)) {
				due++
			}
		}
		if due != tt.want {
			t.Errorf("%s: due %d times in a minute and a half, want %d", name, due, tt.want)
		}
	}
}

// TestRivalIsHeardUntilItIsClear: few refusals may be chance in one minute, and are an answer in the fourth.
func TestRivalIsHeardUntilItIsClear(t *testing.T) {
	for _, tt := range []struct {
		name          string
		heard         time.Duration
		sent, refused float64
		silent        time.Duration // since the last refusal
		minutes       bool          // are known
		want          rivalState
	}{
		{"none of 20, for the clock was set", 10 * time.Second, 20, 0, time.Minute, false, hearing},
		{"2 of 20, for the clock was set, minutes are known", 10 * time.Second, 20, 2, time.Second, true, hearing},
		{"none of 200", time.Minute, 200, 0, time.Minute, false, alone},
		{"2 of 120", time.Minute, 120, 2, time.Second, false, hearing},
		{"4 of 120", time.Minute, 120, 4, time.Second, false, hearing},
		{"7 of 120", time.Minute, 120, 7, time.Second, false, pressed},
		{"4 of 240", 2 * time.Minute, 240, 4, time.Second, false, hearing},
		{"4 of 360", 3 * time.Minute, 360, 4, time.Second, false, alone},
		{"8 of 360", 3 * time.Minute, 360, 8, time.Second, false, hearing},
		{"11 of 480", 4 * time.Minute, 480, 11, time.Second, false, pressed},
		{"10 of 480", 4 * time.Minute, 480, 10, time.Second, false, alone},
		{"2 of 50, minutes are known", time.Minute, 50, 2, time.Second, true, pressed},
		{"none of 10, for long", time.Minute, 10, 0, restedFor + time.Second, false, pressed}, // and relents at once
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
			heard := after(time.Hour).Truncate(time.Minute).Add(3 * time.Second)
			now := heard.Add(tt.heard)
			c.tokenPace.x, c.tokenPace.cuts = 1, trusted
			c.service.began, c.minutes.known = now.Add(-tt.silent), tt.minutes
			c.rivals = rivals{state: hearing, asked: 1, counts: heard, minute: now.Add(-time.Minute).Truncate(time.Minute), sent: tt.sent, refused: tt.refused}
			if c.listen(now); c.rivals.state != tt.want {
				t.Errorf("state %v after %v, want %v", c.rivals.state, tt.heard, tt.want)
			}
			if c.rivals.state == hearing && c.rivals.sent != tt.sent {
				t.Errorf("hears on with %v requests counted, want %v", c.rivals.sent, tt.sent)
			}
		})
	}
}

// TestWhoIsLeftWithLittleNotices: whoever rests long after each refusal is refused seldom, and beside a rival all the same. Noise that was
// believed and explains nothing since does not keep it from noticing for longer than it was believed.
func TestWhoIsLeftWithLittleNotices(t *testing.T) {
	for _, tt := range []struct {
		name  string
		last  time.Duration // since the last refusal
		noise time.Duration // since some was known for a minute; 0: never
		want  rivalState
	}{
		{"refused a moment ago", time.Second, 0, pressed},
		{"refused in the minute before", 80 * time.Second, 0, pressed},
		{"not refused for long", 2 * time.Minute, 0, alone},
		{"noise was known a moment ago", time.Second, 50 * time.Second, alone},
		{"noise was known", time.Second, 70 * time.Second, pressed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
			now := after(time.Hour).Truncate(askEvery)
			c.tokenPace.x, c.tokenPace.cuts, c.first = 1, trusted, after(0)
			c.service.began = now.Add(-tt.last)
			if tt.noise > 0 {
				c.noise.lasts, c.noise.until = time.Minute, now.Add(-tt.noise)
			}
			c.rivals = rivals{proof: 5, counts: now.Add(-askEvery), minute: now.Add(-time.Minute), sent: 50, refused: 4}
			if c.listen(now); c.rivals.state != tt.want {
				t.Errorf("state %v, want %v", c.rivals.state, tt.want)
			}
		})
	}
}

// TestPressedPaceIsTheOneThatComesBack: where minutes show the rival nothing was asked, and still it is the pace of requests that bound.
func TestPressedPaceIsTheOneThatComesBack(t *testing.T) {
	c := newCore(Options{Concurrency: 8, Rand: func() float64 { return 0.5 }}, epoch)
	c.minutes.known = true
	c.requestPace.x, c.requestPace.cuts, c.lastPaced = 1, trusted, byRequests
	at := 25 * time.Second
	for ; c.rivals.state == alone && at < 10*time.Minute; at += time.Minute {
		c.lastPacedT = after(at)
		c.exhausts(after(at))
	}
	c.service.began = after(at)
	c.listen(after(at + restedFor + time.Second))
	if c.rivals.state != alone || c.requestPace.binds != silent || c.tokenPace.binds != 0 {
		t.Errorf("state %v, the pace of requests bound for %v s and that of tokens for %v, want %v and 0",
			c.rivals.state, c.requestPace.binds, c.tokenPace.binds, silent)
	}
}

// TestRivalsThatLeave: runners that a rival has pressed go back to refusing little, though each still sees the others press. One may
// take the others for a rival once more, so what holds is held of most seeds.
func TestRivalsThatLeave(t *testing.T) {
	const seeds = 8
	for _, shape := range shapeNames {
		t.Run(shape, func(t *testing.T) {
			noticed, left := 0, 0
			var all []string
			for seed := range uint64(seeds) {
				sc := scenario{job: plainJob, tpm: fast, runners: 4, join: time.Minute, stranger: true, warm: 50, lasts: 10}
				saw := false
				sc.at = func(sec int, l *lab) {
					for _, s := range l.ours {
						saw = saw || s.core.rivals.state == pressed
					}
					if sec == 25*60 {
						l.alien.quit()
					}
				}
				got, _ := sc.play(shape, seed)
				if saw {
					noticed++
				}
				if got.refused <= 0.015 && got.share >= 0.97 {
					left++
				}
				all = append(all, fmt.Sprint(got))
			}
			if noticed < seeds-3 {
				t.Errorf("somebody noticed the rival in %d of %d jobs", noticed, seeds)
			}
			if left < seeds-1 {
				t.Errorf("half an hour after it left %d of %d jobs are as without it: %v", left, seeds, all)
			}
		})
	}
}

// A bursty service has no quota, and refuses everything for a while now and then.
type bursty struct {
	open
	start              time.Time
	first, every, long time.Duration
}

func (s *bursty) admit(now time.Time, reserve float64) bool {
	if at := now.Sub(s.start); at >= s.first && at%s.every < s.long {
		return false
	}
	return s.open.admit(now, reserve)
}

// TestBurstsDoNotSinkAPaceForEver: each burst looks like a quota, and cuts a pace by about what it grows back until the next. What is left is
// a fraction of what could be served, but no less after a quarter of an hour than after a minute.
func TestBurstsDoNotSinkAPaceForEver(t *testing.T) {
	short := job{input: 26, max: 60, out: 20, slow: 10 * time.Millisecond}
	for _, tt := range []struct {
		bursty
		mean, least int // a minute
	}{
		{bursty{first: 12 * time.Second, every: 30 * time.Second, long: 3 * time.Second}, 900, 800},
		{bursty{first: 70 * time.Second, every: time.Minute, long: 3 * time.Second}, 950, 900},
		{bursty{every: 30 * time.Second, long: 3 * time.Second}, 300, 150}, // the job begins in a burst, so with next to nothing
	} {
		t.Run(fmt.Sprintf("%v in %v, from %v on", tt.long, tt.every, tt.first), func(t *testing.T) {
			const seeds = 8
			var mean int
			for seed := range uint64(seeds) {
				svc := tt.bursty
				svc.start = time.Unix(1_800_000_017, 0)
				s := simulate(Options{Concurrency: 32}, &svc, short, seed)
				s.run(15 * time.Minute)
				before := s.served
				s.run(15 * time.Minute)
				perMinute := (s.served - before) / 15
				mean += perMinute / seeds
				if perMinute < tt.least {
					t.Errorf("seed %d: %d a minute in the second quarter of an hour, want at least %d", seed, perMinute, tt.least)
				}
			}
			if mean < tt.mean {
				t.Errorf("%d a minute in the mean, where 2,700 could be served, want %d", mean, tt.mean)
			}
		})
	}
}
