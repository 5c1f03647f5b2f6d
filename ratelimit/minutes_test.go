package ratelimit

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// spellAt plays a spell of refusals that begins at a second and ends with the first try after another.
func spellAt(m *minutes, epoch time.Time, from, until, tries float64) (again float64) {
	at := func(s float64) time.Time { return epoch.Add(time.Duration(s * float64(time.Second))) }
	for ; from < until; from += tries {
		m.refused(at(from+0.05), at(from), false)
	}
	m.sent(at(from))
	m.sent(at(from + spellOver.Seconds()))
	return from
}

// minutesAt43 are minutes that are known to begin about 43 seconds after the epoch's.
func minutesAt43() (m minutes, epoch time.Time) {
	epoch = time.Unix(1_800_000_017, 0)
	m = minutes{epoch: epoch}
	for i := range 4 {
		spellAt(&m, epoch, float64(60*i)+38, float64(60*i)+43, 1)
	}
	return m, epoch
}

func TestMinutesAreFoundWhereSpellsEndTogether(t *testing.T) {
	epoch := time.Unix(1_800_000_017, 0)
	for _, tt := range []struct {
		name  string
		ends  []float64 // of spells, in seconds since the epoch
		tries float64   // seconds between two
		few   bool      // requests
		known bool
	}{
		{"no spell", nil, 3, false, false},
		{"two", []float64{43, 103}, 3, false, false},
		{"two of few requests", []float64{43, 103}, 3, true, true},
		{"two of few requests, tried rarely", []float64{43, 103}, 10, true, false},
		{"two of few requests, apart", []float64{43, 115}, 3, true, false},
		{"three in a row", []float64{43, 103, 223}, 3, false, true},
		{"four of six", []float64{43, 131, 163, 223, 311, 343}, 3, false, true},
		{"three of six", []float64{43, 131, 163, 223, 251, 311}, 3, false, false},
		{"at any time", []float64{43, 95, 140, 222, 290, 371}, 3, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := minutes{epoch: epoch}
			for _, end := range tt.ends {
				spellAt(&m, epoch, end-6.5, end, tt.tries)
			}
			now := epoch.Add(400 * time.Second)
			m.learn(now, tt.few)
			if m.known != tt.known {
				t.Fatalf("known: %v, want %v", m.known, tt.known)
			}
			if !m.known {
				return
			}
			if off := m.phase - 43*time.Second; off < -3*time.Second || off > 3*time.Second {
				t.Errorf("a minute begins at second %v, want within a try of 43", m.phase.Seconds())
			}
			if left := m.left(now); left < 0 || left > 60 {
				t.Errorf("%v s are left of the minute", left)
			}
		})
	}
}

// Every spell says more about where the minute begins.
func TestMinutesAreNarrowedDown(t *testing.T) {
	epoch := time.Unix(1_800_000_017, 0)
	rng := rand.New(rand.NewPCG(1, 2))
	m := minutes{epoch: epoch}
	for i := range 12 {
		end := float64(60*i) + 43
		from := end - 10*rng.Float64()
		if m.known { // then it waits for the minute that it knows
			at := epoch.Add(time.Duration(from * float64(time.Second)))
			m.refused(at, at, false)
			until := m.wait(at, time.Minute, false).Sub(epoch).Seconds()
			for until < end { // too early
				next := epoch.Add(time.Duration(until * float64(time.Second)))
				m.refused(next, next, false)
				until += 0.3
			}
			m.until = time.Time{}
			m.sent(epoch.Add(time.Duration(until * float64(time.Second))))
			m.sent(epoch.Add(time.Duration((until + 5) * float64(time.Second))))
			continue
		}
		spellAt(&m, epoch, from, end, 4)
	}
	if off := (m.phase - 43*time.Second).Seconds(); off < -0.3 || off > 0.6 {
		t.Errorf("after twelve spells a minute begins at second %.2f, want 43", m.phase.Seconds())
	}
}

// While the next minute is waited for, what is given back may be used, and nothing else.
func TestMinutesGiveWhatCameBack(t *testing.T) {
	m, epoch := minutesAt43()
	now := epoch.Add(338 * time.Second)
	m.take(now, 1000)
	m.refused(now, now, false)
	if at := m.wait(now, 2*time.Second, false); !at.IsZero() {
		t.Errorf("waits until %v for a minute further off than asked", at.Sub(epoch))
	}
	at := m.wait(now, time.Minute, false)
	if wait := at.Sub(now); wait < 4*time.Second || wait > 6*time.Second {
		t.Errorf("waits %v, want about 5 s until the minute begins", wait)
	}
	if !m.spent() {
		t.Error("the minute is not spent")
	}
	if m.gives(now, 1) {
		t.Error("gives a token where none came back")
	}
	m.take(now, -300)
	if m.gives(now, 301) || !m.gives(now, 300) {
		t.Error("300 tokens came back: 300 may be taken, and no more")
	}
	if m.gives(at, 1) {
		t.Error("the wait is over: what came back is no measure any more")
	}
	if m.take(at.Add(time.Second), 7); m.spent() || m.used != 7 {
		t.Errorf("spent %v, used %v in a new minute, want 7", m.spent(), m.used)
	}
}

// A refusal just after a minute should have begun tells that it has not: the next is not a minute off.
func TestMinutesThatBeginLater(t *testing.T) {
	m, epoch := minutesAt43()
	begun := epoch.Add(300*time.Second + m.phase)
	for _, tt := range []struct {
		name string
		at   time.Duration // after the minute seems to have begun
		few  bool
		want time.Duration // a wait of this; 0: none
	}{
		{"just before", -2 * time.Second, false, 2*time.Second + minuteLate},
		{"long before", -15 * time.Second, false, minuteTry},
		{"just before, few requests", -2 * time.Second, true, 2*time.Second + minuteLateFew},
		{"long before, few requests", -15 * time.Second, true, 15*time.Second + minuteLateFew},
		{"just after", time.Second, false, 0},
		{"well after", 4 * time.Second, false, minuteTry},
	} {
		t.Run(tt.name, func(t *testing.T) {
			now := begun.Add(tt.at)
			until := m.wait(now, time.Minute, tt.few)
			if tt.want == 0 && !until.IsZero() || tt.want > 0 && until.Sub(now) != tt.want {
				t.Errorf("waits until %v, %v from now; want %v", until, until.Sub(now), tt.want)
			}
		})
	}
}

// What is given back while a minute is waited for is no use where requests are used up.
func TestMinutesGiveNoMoreInVain(t *testing.T) {
	m, epoch := minutesAt43()
	now := epoch.Add(338 * time.Second)
	m.take(now, 1000)
	m.refused(now, now, false)
	for range minuteVain {
		m.wait(now, time.Minute, false)
		if m.take(now, -100); !m.gives(now, 100) {
			t.Fatal("gives nothing of what came back")
		}
		m.refused(now, now, false)
	}
	m.wait(now, time.Minute, false)
	if m.take(now, -100); m.gives(now, 100) {
		t.Errorf("gives although %d were refused", minuteVain)
	}
	next := now.Add(30 * time.Second)
	m.refused(next, next, false)
	m.wait(next, time.Minute, false)
	if m.take(next, -100); !m.gives(next, 100) {
		t.Error("gives nothing in the next minute")
	}
}

// A minute that was waited for and is refused some seconds later has not begun then. One that is refused at once begins a little later.
func TestMinutesAreDenied(t *testing.T) {
	for after, want := range map[time.Duration]bool{time.Second: true, 4 * time.Second: false, 9 * time.Second: false, 12 * time.Second: true, 50 * time.Second: true} {
		m, epoch := minutesAt43()
		now := epoch.Add(300 * time.Second)
		m.refused(now, now, false)
		m.deny(now)
		at := m.next(now)
		if wait := at.Sub(now); wait < 42*time.Second || wait > 44*time.Second {
			t.Fatalf("waits %v, want about 43 s until the minute begins", wait)
		}
		late := at.Add(after)
		m.take(late, 1)
		if m.deny(late); m.known != want {
			t.Errorf("refused %v after the beginning that it had waited for: known %v, want %v", after, m.known, want)
		}
	}
}

// What is known of minutes is mended by a refusal at once, not forgotten: few requests tell their beginning to some seconds.
func TestMinutesThatBeginJustAfterTheyShould(t *testing.T) {
	epoch := time.Unix(1_800_000_017, 0)
	m := minutes{epoch: epoch}
	for i := range 4 {
		spellAt(&m, epoch, float64(60*i)+31.2, float64(60*i)+43, 6)
	}
	m.learn(epoch.Add(200*time.Second), false)
	m.take(epoch.Add(280*time.Second), 1)
	at := m.next(epoch.Add(280 * time.Second))
	if off := wrap(at.Sub(epoch)); off < 38*time.Second || off > 42*time.Second {
		t.Fatalf("waits until second %v, want one before 43, at which minutes begin", off.Seconds())
	}
	tried := at.Sub(epoch).Seconds() + 0.1
	spellAt(&m, epoch, tried, 343, 1)
	m.take(at, 1)
	m.deny(epoch.Add(seconds(tried + 0.1)))
	m.learn(epoch.Add(350*time.Second), false)
	if off := 43*time.Second - m.phase; !m.known || off < -time.Second || off > time.Second {
		t.Errorf("known: %v, minutes begin %v before they do, want less than a second", m.known, off)
	}
}

// What a minute holds is known still when it is found out better when it began, on whichever side of the epoch's minute that is.
func TestMinutesKeepTheirBookWhenTheirBeginningMoves(t *testing.T) {
	at := func(s float64) time.Duration { return seconds(s) }
	for name, tt := range map[string]struct {
		seen  spell   // four times,
		then  spell   // and the one after them
		phase float64 // of the epoch's minutes, at which they begin then
		now   float64
		used  float64 // in the minute that goes on then, of 1 token taken in each of its seconds and of those before
	}{
		"back":                      {spell{at(42.8), at(43.8)}, spell{at(42.5), at(43.2)}, 43, 330, 46},
		"on":                        {spell{at(42.2), at(43)}, spell{at(42.8), at(43.6)}, 42.9, 330, 47},
		"back over the full minute": {spell{at(59.9), at(61)}, spell{at(59.5), at(60)}, 59.95, 330, 29},
		"on over the full minute":   {spell{at(59), at(60.4)}, spell{at(60), at(60.6)}, 0.2, 330, 30},
		"not begun yet":             {spell{at(38), at(44)}, spell{at(42), at(43)}, 42.5, 282, 61},
	} {
		t.Run(name, func(t *testing.T) {
			epoch := time.Unix(1_800_000_017, 0)
			m := minutes{epoch: epoch}
			seen := func(s spell) {
				s.after, s.until = s.after+time.Duration(m.n)*time.Minute, s.until+time.Duration(m.n)*time.Minute
				m.spells[m.n%minuteSpells] = s
				m.n++
			}
			for range 4 {
				seen(tt.seen)
			}
			now := epoch.Add(at(tt.now))
			m.learn(epoch.Add(at(200)), false)
			for s := 201.0; s < tt.now; s++ {
				m.take(epoch.Add(at(s)), 1)
			}
			m.turn(now)
			seen(tt.then)
			m.learn(now, false)
			if off := nearest(m.phase - at(tt.phase)); !m.known || off.Abs() > 50*time.Millisecond {
				t.Fatalf("known: %v, minutes begin at %v, want %v s", m.known, m.phase, tt.phase)
			}
			if m.used != tt.used {
				t.Errorf("%v tokens are used of the minute, want %v", m.used, tt.used)
			}
			number := m.index
			if m.turn(now); m.index != number {
				t.Errorf("minute %d is %d now", number, m.index)
			}
		})
	}
}

// All that share a quota see how early its minutes are used up, so growth may go by it; a minute that was not used up says nothing.
func TestGrowthGoesByHowEarlyMinutesAreUsedUp(t *testing.T) {
	const request = 100.0 / minute // a minute of one request, in tokens a second
	grows := func(perSecond, early, binds float64) float64 {
		p := newPace(0, 0)
		p.tides, p.cuts, p.x, p.early, p.binds = true, 10, perSecond*minute*request, early, binds
		return p.step(time.Second, false, request) / p.x * minute
	}
	for _, tt := range []struct {
		name                    string
		perSecond, early, binds float64
		want                    float64 // of itself in a minute
	}{
		{"used up at its end", 20, 1, 10, tidal.growth * minute},
		{"as early as it may be", 20, earlyEnough, 10, tidal.growth * minute},
		{"twice as early", 20, 2 * earlyEnough, 10, tidal.growth * minute / 2},
		{"half of it, twice as early", 10, 2 * earlyEnough, 10, math.Exp2(1.3) * tidal.growth * minute / 2},
		{"few requests", 2, 0, 10, tidesSwiftest * minute},
	} {
		if got := grows(tt.perSecond, tt.early, tt.binds); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%s: grows by %.3f of itself in a minute, want %.3f", tt.name, got, tt.want)
		}
	}
	if late, after := grows(20, 12, minute), grows(20, 12, minute+1); after < 1.9*late {
		t.Errorf("the minute after was not used up: grows by %.3f of itself in a minute, and by %.3f while it may be", after, late)
	}
}

// After a quiet time the last 60 seconds may have had parts of two minutes. The quota is what one of them held.
func TestCutGoesByTheMinute(t *testing.T) {
	const request = 100.0 / minute
	p := newPace(0, 0)
	p.cuts, p.x, p.ceilings = 5, 1700, [trusted]float64{1400, 1400, 1400}
	p.cut(time.Unix(1_800_000_000, 0), 1800, request, fill{minute: 1380, left: 14, window: 1800, at: 1000})
	if want := tidal.keeps * 1380; math.Abs(p.x-want) > 1 {
		t.Errorf("cut to %.0f where the minute held 1380 and the last 60 s 1800 a second, want %.0f", p.x, want)
	}
	p.correct(1750, request)
	if want := tidal.keeps * 1380; math.Abs(p.x-want) > 1 {
		t.Errorf("corrected to %.0f, want %.0f", p.x, want)
	}
}

// While minutes were not known a pace may have been cut to two of them that fell into 60 s. What was admitted in 60 s is believed once they are.
func TestCutWhereMinutesWereJustFound(t *testing.T) {
	const request = 100.0 / minute
	at := fill{window: 800, total: 1e5, at: 120, minutes: true}
	p := newPace(0, 0)
	p.cuts, p.x = 2, 1400
	p.cut(after(2*time.Minute), 800, request, at)
	if want := p.manner().keeps * 800; math.Abs(p.x-want) > 1 {
		t.Errorf("cut to %.0f when minutes were found, want %.0f", p.x, want)
	}
	p.x, at.at = 1400, 180
	p.cut(after(3*time.Minute), 800, request, at)
	if want := leastCut * 1400; math.Abs(p.x-want) > 1 {
		t.Errorf("cut to %.0f a minute later, want no less than %.0f", p.x, want)
	}
}

// Where there are few requests a minute is waited for from further off: each try is much of what is sent.
func TestMinuteIsWaitedForLongerByFew(t *testing.T) {
	for name, tt := range map[string]struct {
		perSecond float64
		before    time.Duration
		want      time.Duration // 0: no more than fullMost
	}{
		"few":                  {2, 15 * time.Second, 15*time.Second + minuteLateFew},
		"few, a while before":  {2, 25 * time.Second, minuteTryFew},
		"few, long before":     {2, 35 * time.Second, 0},
		"many":                 {20, 15 * time.Second, minuteTry},
		"many, a while before": {20, 25 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m, epoch := minutesAt43()
			m.refused(epoch, epoch.Add(281*time.Second), false) // which closes the last spell
			c := newCore(Options{Burndown: 1, Concurrency: 1}, epoch)
			c.minutes, c.first, c.tokenFloor, c.tokenPace.x = m, epoch, 100.0/minute, 100*tt.perSecond
			now := epoch.Add(10*time.Minute + m.phase - tt.before)
			got := c.reopens(now, &flight{held: 100}).Sub(now)
			if tt.want == 0 && got > fullMost || tt.want > 0 && got != tt.want {
				t.Errorf("waits %v, want %v", got, tt.want)
			}
		})
	}
}

// What is known of the second at which minutes begin is no finer than the time between two tries. A refusal just after it is one of the
// minute before, whose use it tells.
func TestRefusalAtTheBeginningIsOfTheMinuteBefore(t *testing.T) {
	m, at := minutesAt43()
	m.refused(at, at.Add(281*time.Second), false) // which closes the last spell
	c := newCore(Options{Burndown: 1, Concurrency: 1}, at)
	c.minutes = m
	began := at.Add(5 * time.Minute).Add(m.phase)
	c.minutes.take(began.Add(-time.Second), 6000)
	c.minutes.take(began.Add(100*time.Millisecond), 120)
	for after, want := range map[time.Duration]float64{800 * time.Millisecond: 6120, 1200 * time.Millisecond: 120} {
		if got := c.fill(began.Add(after), 0).minute * minute; math.Abs(got-want) > 1e-6 {
			t.Errorf("%v after the beginning: %.0f tokens, want %.0f", after, got, want)
		}
	}
}
