package ratelimit

import (
	"slices"
	"time"
)

const (
	minuteSpells = 6                      // spells of refusals that are remembered,
	minuteAgrees = 4                      // and so many of them have to end at the same second of the minute,
	minuteLast   = 3                      // or these last,
	minuteFirst  = 2                      // or the first two where there are few requests, if both
	spellNarrow  = 9 * time.Second        // ended within no more than this
	spellOver    = 5 * time.Second        // without a refusal, and a spell is over
	spellMost    = 20 * time.Second       // between the last refusal of one and the request after it
	spellSlack   = 300 * time.Millisecond // by which the ends of spells may differ
	minuteLate   = 150 * time.Millisecond // after its beginning a minute is entered
	minuteNear   = 20 * time.Second       // before its beginning it is waited for; where the quota is known, always,
	minuteTry    = 8 * time.Second        // but so long without a try at most

	// Where each try is much of what is sent, and requests so far apart that they tell the beginning less well:
	minuteLateFew = 500 * time.Millisecond
	minuteNearFew = 30 * time.Second
	minuteTryFew  = 21 * time.Second

	minuteVain  = 3               // refusals of what should have been given back are enough
	minuteEarly = 3 * time.Second // after its beginning a refusal tells that it has not begun yet
	minuteYoung = 10              // seconds of a minute in which it cannot have been exhausted: it has not begun where it seemed to
	minuteEdge  = 1               // second by which a minute may have begun later than it seems
)

// minutes learns when the minutes of a quota begin, if it has any, and keeps the book of the one that goes on.
//
// An exhausted quota of a fixed minute refuses until the next begins, whoever uses it. So spells of refusals end at the same
// second of every minute, and spells on a quota of another shape do not. Once four of the last six did, or the last three, a refusal is answered by
// waiting for that second, and not by trying every few seconds; what finishes meanwhile may give back what it did not use, and
// so much may be sent.
type minutes struct {
	epoch  time.Time
	spells [minuteSpells]spell
	n      int // spells seen

	open   bool          // a spell goes on:
	last   time.Duration // when the last refused request was sent,
	passed bool          // one was sent after it that is not refused so far,
	again  time.Duration // and when the first of them was

	known  bool
	phase  time.Duration // after the epoch's minutes, at which the quota's begin; below 0 it is before them
	index  int64         // of the minute that goes on
	full   int64         // the last one that was waited out
	used   float64       // tokens taken in it and not given back
	before float64       // the same of the minute before
	total  float64       // the same ever

	until time.Time // nothing is expected of this minute before,
	room  float64   // but tokens that were given back since,
	vain  int       // which has been refused so often in the minute
}

// A spell of refusals ended after the last refused request, and not later than the next one that was not.
type spell struct{ after, until time.Duration }

// covers says whether a minute that begins at a phase may have ended the spell.
func (s spell) covers(phase time.Duration) bool {
	off := wrap(phase - s.after)
	return off <= s.until-s.after+spellSlack || off >= time.Minute-spellSlack
}

// narrow says that the ends of all spells are known well enough to agree by more than chance.
func narrow(spells []spell) bool {
	return !slices.ContainsFunc(spells, func(s spell) bool { return s.until-s.after >= spellNarrow })
}

// wrap brings a time into its minute.
func wrap(d time.Duration) time.Duration {
	if d %= time.Minute; d < 0 {
		return d + time.Minute
	}
	return d
}

// nearest brings a time between two phases to the shortest way from one to the other.
func nearest(d time.Duration) time.Duration {
	return wrap(d+time.Minute/2) - time.Minute/2
}

// take books tokens, or gives them back where they are negative.
func (m *minutes) take(now time.Time, tokens float64) {
	m.turn(now)
	m.used += tokens
	m.room -= tokens
	m.total += tokens
}

// turn begins a minute if it is time.
func (m *minutes) turn(now time.Time) {
	if !m.known {
		return
	}
	i := int64((now.Sub(m.epoch) - m.phase + time.Minute) / time.Minute)
	switch i {
	case m.index:
		return
	case m.index + 1:
		m.before, m.used = m.used, 0
	case m.index - 1: // minutes begin later than it seemed, and this is the one before
		m.before, m.used = 0, m.before+m.used
	default:
		m.before, m.used = 0, 0
	}
	m.index, m.vain = i, 0
}

// left tells how many seconds of the minute are left.
func (m *minutes) left(now time.Time) float64 {
	return (time.Minute - wrap(now.Sub(m.epoch)-m.phase)).Seconds()
}

// sent notes a request. What goes while the next minute is waited for says nothing about its beginning.
func (m *minutes) sent(now time.Time) {
	if !m.open || now.Before(m.until) {
		return
	}
	at := now.Sub(m.epoch)
	if !m.passed {
		m.passed, m.again = true, at
	}
	m.close(at)
}

// close ends a spell that has been over for long enough.
func (m *minutes) close(at time.Duration) {
	if m.open && m.passed && at-m.again >= spellOver {
		m.open, m.passed = false, false
		if m.again-m.last > spellMost {
			return // it may have ended at any second
		}
		m.spells[m.n%minuteSpells] = spell{m.last, m.again}
		m.n++
	}
}

// refused notes the refusal of a request sent at some time, and learns from all of them when minutes begin.
func (m *minutes) refused(now, sent time.Time, few bool) {
	at := sent.Sub(m.epoch)
	m.close(at)
	if !m.open || at > m.last {
		m.last = at
	}
	m.open, m.passed = true, m.passed && m.again > m.last
	if sent.Before(m.until) {
		m.vain++
	}
	m.room = 0
	m.learn(now, few)
}

// learn looks for the phase at which most spells ended, and narrows it down to what they have in common.
func (m *minutes) learn(now time.Time, few bool) {
	spells := m.spells[:min(m.n, minuteSpells)]
	var phase time.Duration
	most := minuteAgrees - 1
	for _, s := range spells {
		for _, p := range [...]time.Duration{s.until, (s.after + s.until) / 2} {
			n, last := 0, 0
			for i, o := range spells {
				if !o.covers(p) {
					continue
				}
				n++
				if (m.n-1-i)%minuteSpells < minuteLast {
					last++
				}
			}
			if last == minuteLast || few && m.n == minuteFirst && n == minuteFirst && narrow(spells) {
				n = max(n, minuteAgrees)
			}
			if n > most {
				most, phase = n, p
			}
		}
	}
	if most < minuteAgrees {
		m.known = false
		return
	}
	early, late := -time.Minute, time.Minute
	for _, s := range spells {
		if s.covers(phase) {
			off := wrap(phase - s.after)
			if off >= time.Minute-spellSlack {
				off -= time.Minute
			}
			early, late = max(early, -off), min(late, s.until-s.after-off)
		}
	}
	phase = wrap(phase + (early+late)/2)
	if !m.known {
		m.known, m.index, m.full, m.phase = true, -1, -2, phase
	}
	m.phase += nearest(phase - m.phase) // not into the epoch's minute: all that go on would change their numbers
	m.turn(now)
}

// wait, after a refusal, tells until when to wait for the next minute, with tries if there are many requests; zero if that is not
// known, or far off, or should have been now.
func (m *minutes) wait(now time.Time, far time.Duration, few bool) time.Time {
	m.until = time.Time{}
	if !m.known {
		return m.until
	}
	late, try := minuteLate, minuteTry
	if few {
		late, try = minuteLateFew, minuteTryFew
	}
	left := time.Minute - wrap(now.Sub(m.epoch)-m.phase)
	if left < far && left <= time.Minute-minuteEarly {
		m.until, m.full = now.Add(min(left+late, try)), m.index
	}
	return m.until
}

// next waits for the next minute, and tries nothing before.
func (m *minutes) next(now time.Time) time.Time {
	m.until, m.full = now.Add(seconds(m.left(now))+minuteLate), m.index
	return m.until
}

// deny forgets when minutes begin, after a refusal so soon after a beginning that was waited for that it cannot have been one. One just
// after it tells that they begin a little later, as the spell will show that it ends.
func (m *minutes) deny(now time.Time) {
	begun := minute - m.left(now)
	if m.known && m.full >= 0 && m.full == m.index-1 && begun < minuteYoung && begun >= minuteEarly.Seconds() {
		m.n, m.known, m.open, m.passed = 0, false, false, false
	}
}

// lasted says that the last spell went on until a minute began: what refused was used up.
func (m *minutes) lasted() bool { return m.n == 0 || m.spells[(m.n-1)%minuteSpells].covers(m.phase) }

// spent says that the minute that goes on was refused more before.
func (m *minutes) spent() bool { return m.known && m.full == m.index }

// gives says that so many tokens were given back while the next minute is waited for. That is of no use where requests are what
// is used up.
func (m *minutes) gives(now time.Time, tokens float64) bool {
	return m.vain < minuteVain && now.Before(m.until) && tokens <= m.room
}
