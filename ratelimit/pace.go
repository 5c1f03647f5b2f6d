package ratelimit

import (
	"math"
	"time"
)

// How a pace is learned. The figures are those of a simulation over five shapes of quota, see TestTable.
const (
	share     = 0.995 // of a stated quota: what is left over covers the way to the service
	beta      = 0.92  // a cut goes to this share of what was admitted,
	betaAgain = 0.9   // and to this one of that, where the last cut was not enough;
	again     = 20 * time.Second
	leastCut  = 0.7 // it never goes below this share of the pace there was
	cutEvery  = 15 * time.Second

	growth    = 0.15 / minute // of the pace per second, at twenty requests a second,
	growthAt  = 20
	sublinear = 0.7    // and with this power of the pace at others
	steady    = minute // seconds without a cut after which it grows faster and faster,
	doubles   = 5      // seconds in which it doubles until the second cut, where nothing is stated,
	redoubles = 20     // and in which it doubles when no window of any shape would have been silent for so long:
	silent    = 120    // seconds without a cut,
	silentOf  = 75     // and below what is stated
	ceiling   = 1.35   // growth stops at this multiple of what was admitted in the last 60 s

	trusted  = 3 // ceilings in a row
	credible = 1.3
)

// A pace is a rate in units per second, learned from refusals.
//
// Runners that share a quota and do not know of each other shall come to have the same: so a cut takes a share of the pace, and
// growth is the smaller a share the larger the pace is. It does not depend on where the last ceiling was: who remembers a
// ceiling defends it (simulated: two such runners stayed at 14 and 6 requests a second for twenty minutes).
type pace struct {
	stated   float64 // the rate never passed; +Inf where nothing is stated
	x        float64 // the rate now
	binds    float64 // seconds for which this pace held requests back since the last cut
	cuts     int
	last     time.Time        // the last cut
	before   float64          // the rate before it,
	since    float64          // what was admitted per second between it and the one before,
	repeated bool             // which was not long ago
	ramped   bool             // it ended the doubling, so the rate before it says nothing of the quota
	ceilings [trusted]float64 // what was admitted per second at the last cuts
}

// newPace begins at what is stated, else as if start had been what was admitted at the cuts before, else without bounds. Both
// are per minute; 0: nothing.
func newPace(stated, start float64) pace {
	p := pace{stated: math.Inf(1)}
	if stated > 0 {
		p.stated = share * stated / minute
	}
	p.x = p.stated
	if start > 0 && !(stated > 0) {
		p.cuts, p.x = trusted, beta*start/minute
	}
	return p
}

// learned says that refusals decide the pace, not the user.
func (p *pace) learned() bool { return p.x < p.stated }

// confirmed is the rate that the last refusals agree on, more or less; 0 if they do not, or if there were too few.
func (p *pace) confirmed() float64 {
	least, most, sum := p.ceilings[0], p.ceilings[0], 0.0
	for _, c := range p.ceilings {
		least, most, sum = min(least, c), max(most, c), sum+c
	}
	if !p.learned() || most > credible*least {
		return 0
	}
	return sum / trusted
}

// cut lowers the pace after a refusal. s60 is what was admitted per second, on average over the last 60 s, refused
// requests not counted. Where this runner is alone it is never below the quota when a service refuses, so cutting to it does
// not collapse. since is the same since the last cut: it says more where a quota falls, and less where it has windows.
// Nothing lowers the pace below floor, which is positive.
func (p *pace) cut(now time.Time, s60, since, floor float64) {
	p.repeated = !p.last.IsZero() && now.Sub(p.last) < again
	p.before, p.binds, p.last, p.since = p.x, 0, now, since
	p.cuts++
	p.ramped = p.cuts == 2 && math.IsInf(p.stated, 1)
	copy(p.ceilings[1:], p.ceilings[:])
	p.correct(s60, floor)
}

// correct makes the last cut again, with what is known better.
func (p *pace) correct(s60, floor float64) {
	least := floor
	if !math.IsInf(p.before, 1) && !p.ramped {
		least = max(least, leastCut*p.before)
	}
	admitted := min(p.before, max(s60, least))
	p.ceilings[0] = min(p.before, max(s60, floor))
	if p.repeated && !p.ramped {
		admitted = min(admitted, max(p.since, betaAgain*admitted))
	}
	p.x = min(p.stated, max(least, beta*admitted, 0.8*beta*s60))
}

// undo takes the last cut back.
func (p *pace) undo() {
	p.x = min(p.stated, max(p.x, p.before))
	p.binds = 0
	p.cuts = min(p.cuts-1, 1) // it was none: grow as after the first
}

// echo says that a refusal of a request sent at t belongs to the last cut.
func (p *pace) echo(now, t time.Time) bool {
	return p.cuts > 0 && !t.After(p.last) && now.Sub(p.last) < settled
}

// grow raises the pace after it held requests back for d. s60 is what was admitted per second over the last 60 s. A request is
// a minute of floor.
func (p *pace) grow(d time.Duration, s60, floor float64) {
	if !p.learned() {
		return
	}
	p.binds += d.Seconds()
	stated := !math.IsInf(p.stated, 1)
	if !stated && p.cuts <= 1 {
		p.x = max(p.x, floor) * math.Exp2(d.Seconds()/doubles)
		return
	}
	most := ceiling * s60
	if stated && p.binds > minute {
		most = p.stated
	}
	// The ceiling bounds growth, it does not take away what there is; and a pace that let
	// nothing through for a minute must still be able to rise.
	p.x = min(p.stated, max(p.x, min(p.x+p.step(d, stated, minute*floor), max(most, 2*floor))))
}

// step is the growth in d, where a request costs each.
func (p *pace) step(d time.Duration, stated bool, each float64) float64 {
	if p.binds > silent || stated && p.binds > silentOf {
		return p.x * (math.Exp2(d.Seconds()/redoubles) - 1)
	}
	x := growthAt * math.Pow(p.x/each/growthAt, sublinear)
	return growth * max(1, p.binds/steady*(p.binds/steady)) * x * each * d.Seconds()
}
