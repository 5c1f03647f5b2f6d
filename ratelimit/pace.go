package ratelimit

import (
	"math"
	"time"
)

// How a pace is learned. The figures are those of a simulation over five shapes of quota, see TestTable.
const (
	share    = 0.995 // of a stated quota: what is left over covers the way to the service
	leastCut = 0.7   // a cut never goes below this share of the pace there was
	lightCut = 0.965 // is left at least by one that follows a single refusal, after steadyFor without any,
	lightOf  = 300   // and so many requests in the last minute
	cutEvery = 19 * time.Second
	cutAmong = 15 * time.Second // or so long after the last where refusals come among admissions

	swiftest  = 0.012 // of a pace, the most that it grows by in a second at first,
	swiftFew  = 0.008 // and where there are few requests, of which each refusal is much, until so many cuts:
	firstCuts = 8     // who is alone knows the quota by then;
	steadyFor = 45    // seconds without a cut after which it grows faster and faster,
	patiently = 62    // or these until the third: a quota of fixed minutes refuses no sooner, and it may be one, or
	overdue   = 1.2   // times those that it takes to grow back by what was cut, if that is longer
	doubles   = 9     // seconds in which it doubles until the second cut, where nothing is stated,
	tells     = 6     // requests admitted a minute, or more: a cut with fewer tells nothing of the quota, and that goes on;
	doublesOn = 18    // seconds in which it doubles from there to the third, where others had the quota when the job began,
	redoubles = 20    // and in which it doubles when no window of any shape would have been silent for so long:
	silent    = 120   // seconds without a cut,
	silentOf  = 75    // and below what is stated; growth has no ceiling then
	ceiling   = 1.35  // growth stops at this multiple of what was admitted in the last 60 s,
	tidesMost = 1.8   // and at this one where minutes are known, or who has least would not get on,
	spared    = 1.12  // and at this one of the last ceiling, while a bucket may have filled when less was wanted

	growthAt = 20 // requests a second, for which the growth of a manner is given

	tidesSwiftest = 1.5 / minute // of a pace, the most that it grows by in a second where minutes are known:
	earlyEnough   = 6            // seconds before their end they may be used up, and it grows the slower the earlier they are

	// In the first minute after the first cut: a bucket was full when the job began, and what was admitted in the last 60 s still
	// tells of that. What was admitted since the first cut does not, if it is not so little that it is rather a window that has
	// closed.
	opened = 0.7 // of what was admitted in the last 60 s

	// Ceilings that rise make growth faster, and those that do not slow it down again.
	rises        = 1.04 // times the one before
	rising       = 2.5  // times the growth there was,
	riseMost     = 10   // times the growth of its manner at most, and
	riseSwiftest = 0.01
	standing     = 2 // parts of what was gained are left of it when a ceiling is as the one before, and
	falling      = 3 // when it is lower

	fewSent  = 200 // requests a minute: each is half a percent of them
	someSent = 300 // so many, and fewer, are cut to keenly
	manySent = 900 // and so many, and more, to the share of their manner

	sinking  = 5 // ceilings in a row
	trusted  = 3 // ceilings in a row
	credible = 1.3
)

// A manner is how much a pace is cut, and how fast it grows back.
type manner struct {
	keeps  float64 // a cut leaves this share of what was admitted
	growth float64 // of the pace in a second, at growthAt;
	power  float64 // growth in requests goes with this power of the pace
}

// Growth in requests that is the same for all, and cuts in proportion, make runners that share a quota meet: the less a pace is, the larger
// the share of itself by which it grows. More of it for who has less would make many runners press each other: who has little of a quota is
// refused as often as who has much. With less, gaps between cuts that are uneven by chance would leave some with more for long. Where
// minutes are known all that share them are refused together, at their end, and what a cut takes is given back within one. How early minutes are
// used up is seen by all as well: so growth may depend on it, which keeps the growth of many in bounds, and may be the larger the less a pace is.
var (
	keen  = manner{keeps: 0.905, growth: 0.11 / minute, power: 0}
	tidal = manner{keeps: 0.88, growth: 0.17 / minute, power: -0.3}
)

const keenly = 0.87 // is left by keen cuts of few requests

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
	found    time.Time        // the last that ended minutes without one: only then it was found how much there is
	before   float64          // the rate before it
	light    bool             // it followed a single refusal after a long time
	anew     bool             // the rate before it says nothing of the quota: it ended the doubling, or minutes were found just then
	joined   bool             // others had used the quota up when the job began,
	slows    bool             // and it was refused again since: it doubles on, slower
	ceilings [trusted]float64 // what was admitted per second at the last cuts
	first    fill             // of the quota's windows at the first cut
	falls    int              // cuts in a row whose ceiling was below the one before,
	fell     float64          // and the ceiling before them
	requests float64          // a minute at the last cut
	rise     float64          // what growth is multiplied with, at least 1
	minutes  bool             // they were known at the last cut
	early    float64          // seconds that were left of the last minute when it was used up, where minutes are known,
	tide     float64          // and what it held then, per second; 0: not known
	spare    float64          // seconds in which less was wanted since the last cut, as far as a bucket may have saved them

	quota // what is known of it

	top    float64 // the rate before it stood back, where rivals press (rivals.go); else 0
	starts int     // refusals beside them until which it doubles
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
		p.cuts, p.x = trusted, keen.keeps*start/minute
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
// not collapse. Nothing lowers the pace below floor, which is positive; a request is a minute of it.
func (p *pace) cut(now time.Time, s60, floor float64, at fill) {
	if p.binds > silent {
		p.found = now
	}
	p.before, p.binds, p.last = p.x, 0, now
	switch {
	case p.cuts != 1 || !math.IsInf(p.stated, 1):
		p.cuts++
	case s60 < tells*floor: // others have used the quota up, and it goes on doubling
	case p.joined && !p.slows:
		p.slows = true // refused far below its share, it is cut by no more than leastCut, and goes on as well
	default:
		p.cuts++
	}
	p.requests, p.spare = max(1, s60/floor), 0
	p.anew = p.cuts == 2 && math.IsInf(p.stated, 1) || at.minutes && !p.minutes
	p.minutes = at.minutes
	s60 = p.sinceFirst(s60, at)
	p.trend(min(p.before, s60))
	if at.at > 0 {
		p.read(at, basis{admitted: s60, pace: p.before, last: p.ceilings[0], requests: p.requests})
	} else {
		p.forget()
		p.tides = false
	}
	p.tide = 0
	if p.tides {
		p.tide = at.minute
	}
	p.follow(min(p.before, s60))
	copy(p.ceilings[1:], p.ceilings[:])
	p.correct(s60, floor)
}

// sinceFirst is what was admitted per second, in the first minute after the first cut without what was before it. Where others had
// the quota then, that is far less than what was admitted while the pace doubled.
func (p *pace) sinceFirst(s60 float64, at fill) float64 {
	if p.cuts == 1 {
		p.first = at
	}
	d := at.at - p.first.at
	if p.first.at == 0 || d <= 0 || d >= minute {
		return s60
	}
	switch flow := (at.total - p.first.total) / d; {
	case p.joined:
		return max(s60, flow)
	case flow > opened*s60:
		return min(s60, flow)
	}
	return s60
}

// follow counts ceilings that fall and fall.
func (p *pace) follow(ceiling float64) {
	if ceiling >= p.ceilings[0] || p.cuts <= trusted {
		p.falls, p.fell = 0, ceiling
		return
	}
	p.falls++
}

// sinks says that it has lost two thirds in many cuts, and still does: a quota that has fallen is found in a few.
func (p *pace) sinks() bool { return p.falls >= sinking && p.ceilings[0] < p.fell/3 }

// manner is how it goes on, as far as the quota is not known. Few requests are cut deeper.
func (p *pace) manner() manner {
	if p.tides {
		return tidal
	}
	m := keen
	m.keeps -= (keen.keeps - keenly) * min(1, max(0, (manySent-p.requests)/(manySent-someSent)))
	return m
}

// judge says, before a cut, whether it follows a single refusal among so many requests of the last minute. Whoever shares a quota
// with others is refused more often than every steadyFor, so one after that says that little is wrong; but among few
// requests one is much.
func (p *pace) judge(single bool, requests float64) {
	p.light = single && requests >= lightOf && p.binds >= steadyFor
}

// keeps is the share of the pace that the last cut leaves.
func (p *pace) keeps() float64 {
	if p.light {
		return max(lightCut, p.manner().keeps)
	}
	return p.manner().keeps
}

// correct makes the last cut again, with what is known better. Of 60 s that are not one of the quota's minutes a part may be of the one before.
func (p *pace) correct(s60, floor float64) {
	if p.tide > 0 {
		s60 = min(s60, p.tide)
	}
	least := floor
	if !math.IsInf(p.before, 1) && !p.anew {
		least = max(least, leastCut*p.before)
	}
	p.ceilings[0] = min(p.before, max(s60, floor))
	keeps := p.keeps()
	if q := p.exact(); q != nil {
		p.x = min(p.stated, max(floor, keepsExact*q.rate))
		return
	}
	p.x = min(p.stated, max(least, keeps*min(p.before, max(s60, least)), 0.8*keeps*s60))
}

// undo takes the last cut back.
func (p *pace) undo() {
	p.x = min(p.stated, max(p.x, p.before))
	p.binds = 0
	p.forget()
	p.cuts = min(p.cuts-1, 1) // it was none: grow as after the first
}

// echo says that a refusal of a request sent at t belongs to the last cut.
func (p *pace) echo(now, t time.Time) bool {
	return p.cuts > 0 && !t.After(p.last) && now.Sub(p.last) < settled
}

// grow raises the pace after it held requests back for d. s60 is what was admitted per second over the last 60 s. A request is
// a minute of floor.
func (p *pace) grow(d time.Duration, s60, floor float64, at fill) {
	if !p.learned() {
		return
	}
	d = min(d, minute*time.Second) // whatever a machine slept
	p.binds += d.Seconds()
	stated := !math.IsInf(p.stated, 1)
	if !stated && p.cuts <= 1 {
		in := float64(doubles)
		if p.slows {
			in = doublesOn
		}
		p.x = max(p.x, floor) * math.Exp2(d.Seconds()/in)
		return
	}
	if q := p.exact(); q != nil {
		p.x = min(p.stated, p.ask(d, q, at, p.x, minute*floor))
		return
	}
	most := ceiling * s60
	if p.tides && (p.joined || !p.fewAtFirst(floor)) {
		most = tidesMost * s60
	}
	if p.binds > silent || stated && p.binds > minute {
		most = p.stated
	}
	// The ceiling bounds growth, it does not take away what there is; and a pace that let
	// nothing through for a minute must still be able to rise.
	x := min(p.x+p.step(d, stated, floor), max(most, 2*floor))
	if last := p.ceilings[0]; p.spare > 0 && last > 0 && !stated {
		x = min(x, spared*last)
		p.spare = max(0, p.spare-d.Seconds()*max(0, p.x/last-1))
	}
	p.x = min(p.stated, max(p.x, x))
}

// step is the growth in d.
func (p *pace) step(d time.Duration, stated bool, floor float64) float64 {
	if p.binds > silent || stated && p.binds > silentOf {
		return p.x * (math.Exp2(d.Seconds()/redoubles) - 1)
	}
	m := p.manner()
	growth := m.growth * math.Pow(p.x/(minute*floor*growthAt), m.power-1)
	if p.tides {
		if p.binds <= minute { // else the last minute was not used up
			growth *= min(1, earlyEnough/p.early)
		}
		growth = min(tidesSwiftest, growth)
	} else {
		most := swiftest
		if p.fewAtFirst(floor) {
			most = swiftFew
		}
		growth = min(most, growth)
		growth = max(growth, min(growth*p.rise, riseSwiftest))
	}
	steady := float64(steadyFor)
	if p.cuts < trusted {
		steady = patiently
	}
	late := p.binds / max(steady, overdue*(1-p.keeps())/growth)
	return growth * max(1, late*late) * p.x * d.Seconds()
}

// fewAtFirst says that there are so few requests that each is half a percent of a minute's, and so far no sign of others.
func (p *pace) fewAtFirst(floor float64) bool { return p.cuts <= firstCuts && p.x < fewSent*floor }

// trend compares a ceiling with the one before. The first are those of the doubling.
func (p *pace) trend(ceiling float64) {
	last := p.ceilings[0]
	switch {
	case p.cuts <= 2:
		p.rise = 1
	case ceiling > rises*last:
		p.rise = min(riseMost, rising*max(1, p.rise))
	case ceiling*rises < last:
		p.rise = max(1, p.rise/falling)
	default:
		p.rise = max(1, p.rise/standing)
	}
}

// idles notes time in which less was wanted: a bucket may have filled, up to a minute's quota.
func (p *pace) idles(d time.Duration) { p.spare = min(minute, p.spare+d.Seconds()) }

// limit is how many tokens a second the last 60 s may hold.
func (p *pace) limit() float64 {
	if p.top > 0 || !p.learned() {
		return math.Inf(1)
	}
	return p.quota.limit()
}
