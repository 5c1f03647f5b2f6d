package ratelimit

import (
	"math"
	"time"
)

// How a pace is learned. The figures are those of a simulation over five shapes of quota.
const (
	share      = 0.995 // of a stated quota: what is left over covers the way to the service
	beta       = 0.95  // a cut goes to this share of what was admitted
	leastCut   = 0.5   // and never below this share of the pace there was
	cutEvery   = 15 * time.Second
	ceiling    = 1.35 // growth stops at this multiple of what was admitted in the last 60 s,
	ceilingNew = 4    // and at this one until the second cut where a quota is stated
	doubles    = 5    // seconds in which the pace doubles until the second cut where none is: the first estimate may be far too low
	growAfter  = 300  // attempts until the pace is past the old ceiling,
	growMin    = 40   // seconds, but not sooner than this
	growMax    = 600  // seconds, nor later than this
)

// A pace is a rate in units per second, learned from refusals.
type pace struct {
	stated float64 // the rate never passed; +Inf where nothing is stated
	x      float64 // the rate now
	xmax   float64 // the last ceiling
	binds  float64 // seconds for which this pace held requests back since the last cut
	cuts   int
	last   time.Time // the last cut
	before float64   // the rate before it
	ramped bool      // the last cut ended the doubling, so it says nothing of the quota
}

func newPace(perMinute float64) pace {
	p := pace{stated: math.Inf(1)}
	if perMinute > 0 {
		p.stated = share * perMinute / 60
	}
	p.x = p.stated
	return p
}

// learned says that refusals decide the pace, not the user.
func (p *pace) learned() bool { return p.x < p.stated }

// cut lowers the pace after a refusal. s60 is what was admitted per second, on average over the last 60 s, refused
// requests not counted. It is never below the quota when a service refuses, so cutting to it does not collapse.
// Nothing lowers the pace below floor, which is positive.
func (p *pace) cut(now time.Time, s60, floor float64) {
	p.before, p.binds, p.last = p.x, 0, now
	p.cuts++
	p.ramped = p.cuts == 2 && math.IsInf(p.stated, 1)
	p.correct(s60, floor)
}

// correct makes the last cut again, with what is known better.
func (p *pace) correct(s60, floor float64) {
	least := floor
	if !math.IsInf(p.before, 1) && !p.ramped {
		least = max(least, leastCut*p.before)
	}
	p.xmax = min(p.before, max(s60, least))
	p.x = min(p.stated, max(least, beta*p.xmax, 0.85*beta*s60))
}

// undo takes the last cut back.
func (p *pace) undo() {
	p.x = min(p.stated, max(p.x, p.before))
	p.xmax, p.binds = p.x, 0
	p.cuts = min(p.cuts-1, 1) // the last ceiling was none: grow as after the first
}

// echo says that a refusal of a request sent at t belongs to the last cut.
func (p *pace) echo(now, t time.Time) bool {
	return p.cuts > 0 && !t.After(p.last) && now.Sub(p.last) < settled
}

// grow raises the pace after it held requests back for d. s60 and attempts are what was admitted per second
// over the last 60 s, in the units of the pace and in requests.
func (p *pace) grow(d time.Duration, s60, attempts, floor float64) {
	if !p.learned() {
		return
	}
	p.binds += d.Seconds()
	known := !math.IsInf(p.stated, 1)
	if !known && p.cuts <= 1 {
		p.x = max(p.x, floor) * math.Exp2(d.Seconds()/doubles)
		return
	}
	if known {
		attempts *= p.stated / p.x // from far below it shall take no longer
	}
	t, limit := float64(growMin)/2, ceilingNew*s60
	if p.cuts > 1 {
		t, limit = min(growMax, max(growMin, growAfter/attempts)), ceiling*s60 // x/0 is +Inf
	}
	if known && p.binds > minute {
		limit = p.stated // a window of any shape would have refused something by now
	}
	k := t * math.Cbrt(1-beta)
	target := p.xmax * (1 + math.Pow((p.binds-k)/t, 3))
	// The ceiling bounds growth, it does not take away what there is; and a pace that let
	// nothing through for a minute must still be able to rise.
	p.x = min(p.stated, max(p.x, min(target, max(limit, 2*floor))))
}
