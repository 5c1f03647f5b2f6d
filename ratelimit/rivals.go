package ratelimit

import (
	"math"
	"time"
)

const (
	askEvery  = 3 * time.Minute  // of the clock, or
	askSeldom = 12 * time.Minute // after an answer that is likely to stay
	askFirst  = 5 * time.Minute  // before there are too many refusals of another kind
	standBack = 0.87             // of what was admitted

	// So many refusals runners like this one do not cause each other:
	rivalShare = 0.03 // of the requests,
	rivalLeast = 4    // of them at least,
	rivalTimes = 2    // and so many times in a row,
	rivalSure  = 0.1  // or once where they are so many;
	rivalStays = 0.6  // times that share: no more rivals below

	unmoved     = 0.4 // of the share of refusals before: standing back has not helped
	unmovedMost = 0.1
	fewRefusals = 3  // expected: too few to tell,
	fewRequests = 60 // and far too few

	// The rate limiter of the SDK's adaptive mode: what it keeps, in requests a second, and how it grows back.
	// https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html,
	// https://github.com/aws/aws-sdk-go-v2/blob/main/aws/retry/adaptive_ratelimit.go
	cubicKeeps = 0.7
	cubicScale = 0.4 // requests a second per cubic second
	cubicLeast = 0.5 // requests a second that it never goes below
	cubicMost  = 2   // times what was admitted in the last 60 s, or
	cubicStart = 2   // requests a second
)

// rivals tells refusals that others cause, who do not slow down, from those that go away when everybody slows down a little.
//
// Who backs off beside a client that goes on through refusals is left with nothing: the SDK's adaptive mode regains in two seconds
// what it gave up, and takes every gap. So when refusals are more than runners like this one cause each other, it asks: at a full
// minute of the clock it stands back for two, as all runners do that see so, at the same time, for they see the same. If
// refusals go away the runners were among themselves. If not, a rival presses, and the pace is one like its own
// from then on: cut often and little, back in seconds. That is asked again, for rivals go as they came.
type rivals struct {
	state  rivalState
	minute time.Time // of the clock, the last one that was looked at
	asked  int       // times that it stayed pressed
	many   int       // times in a row that refusals were too many
	quiet  bool      // the last answer was that there are none

	requests bool // it is the pace of requests that stands back

	sent, refused float64 // since it was asked the last time, or began to ask
	before        float64 // share of refusals until it began to ask
}

type rivalState uint8

const (
	alone   rivalState = iota // or among its like
	asking                    // stands back, and waits for what was used before to leave windows of any shape
	hearing                   // whether refusals go on
	pressed                   // by a rival
)

// due says whether this is the time to ask, or to hear the answer: the first moment of a minute that is one of every so many.
func (r *rivals) due(now time.Time) bool {
	minute := now.Truncate(time.Minute)
	if !minute.After(r.minute) {
		return false
	}
	first := r.minute.IsZero()
	r.minute = minute
	if first || r.state == asking || r.state == hearing {
		return !first
	}
	every := askEvery
	if r.quiet || r.asked > 1 {
		every = askSeldom
	}
	return minute.Equal(minute.Truncate(every))
}

// weigh closes the books on what was refused so far.
func (r *rivals) weigh() {
	r.before = r.refused / max(1, r.sent)
}

// out says that the service has admitted nothing at all: there is no pace at which it would.
func (r *rivals) out() bool { return r.refused >= r.sent }

// standsBack says that the pace neither falls nor grows for the time being.
func (r *rivals) standsBack() bool { return r.state == asking || r.state == hearing }

// clear begins to count anew.
func (r *rivals) clear() { r.sent, r.refused = 0, 0 }

// press says whether the answer is that a rival presses.
func (r *rivals) press() bool {
	if r.out() {
		return false
	}
	expected := min(r.before, unmovedMost) * r.sent
	if expected < fewRefusals {
		return r.refused > 0 || r.sent < fewRequests
	}
	return r.refused >= 2 && r.refused >= unmoved*expected
}

// listen asks for rivals, or hears the answer, when it is time.
func (c *core) listen(now time.Time) {
	r := &c.rivals
	if !r.due(now) {
		return
	}
	p, admitted, floor := c.bounding(now)
	switch r.state {
	case asking:
		r.state = hearing
		r.clear()
		return
	case hearing:
		c.answered(now)
		return
	case pressed:
		r.weigh()
		r.asked++
		if r.before < rivalStays*rivalShare {
			c.relent(now, p, admitted)
			return
		}
	case alone:
		if !c.suspects(now, p) {
			return
		}
		r.asked = 0
	}
	r.clear()
	r.state, r.requests = asking, p == &c.requestPace
	p.standBack(admitted, floor)
	c.setPaces(now)
	c.tell(now, ControlService, "ask", 0, 0, "many refusals: a little less for two minutes tells whether they go on")
}

// suspects says whether refusals were too many for too long, or a pace sinks that nothing else would sink so far.
func (c *core) suspects(now time.Time, p *pace) bool {
	r := &c.rivals
	r.weigh()
	switch {
	case r.out() || now.Sub(c.first) < askFirst || !p.learned() || p.cuts < 2 || c.noise.lately(now):
		r.quiet, r.many = false, 0
	case p.sinks():
		r.many = rivalTimes
	case r.before >= rivalShare && r.refused < rivalLeast:
		return false // too few to tell: it goes on counting
	case r.before < rivalShare:
		r.quiet, r.many = false, 0
	case r.before >= rivalSure:
		r.many = rivalTimes
	default:
		r.many++
	}
	r.clear()
	return r.many >= rivalTimes
}

// answered ends the asking.
func (c *core) answered(now time.Time) {
	r := &c.rivals
	p, admitted, floor := c.paceOf(r.requests)
	if !r.press() && r.asked == 0 {
		r.state, r.quiet = alone, true
		r.clear()
		p.x, p.top = max(p.x, p.top), 0 // it was nothing
		c.setPaces(now)
		c.tell(now, ControlService, "relent", 0, 0, "refusals went away: runners like this one cause each other's")
		return
	}
	if !r.press() {
		c.relent(now, p, admitted)
		r.quiet = true
		return
	}
	r.state, r.quiet = pressed, false
	r.clear()
	p.contend(floor)
	c.setPaces(now)
	c.tell(now, ControlService, "press", 0, 0, "refusals go on at a lower pace: somebody else causes them, and takes what is left")
}

// relent goes back to the pace of runners among themselves.
func (c *core) relent(now time.Time, p *pace, admitted float64) {
	r := &c.rivals
	r.state, r.asked = alone, 0
	r.clear()
	c.tokenPace.relent()
	c.requestPace.relent()
	if p.learned() {
		p.x = min(p.stated, max(p.x, keen.keeps*admitted))
	}
	c.setPaces(now)
	c.tell(now, ControlService, "relent", 0, 0, "refusals are no more than runners like this one cause each other")
}

// contested answers a refusal while a rival presses, or may do so.
func (c *core) contested(now time.Time, f *flight) {
	c.noise.void()
	if !c.service.counts(f.began) {
		return
	}
	p, _, floor := c.bounding(now)
	if c.rivals.state == pressed && c.minute.between(c.minute.number(p.last)+1, c.minute.cur, acceptedRequests) > 0 {
		p.yield(now, floor)
		c.setPaces(now)
		c.tellPace(now, p, "cut", "refused beside a rival")
	}
	c.hold(now, f, true, 0)
}

// bounding is the pace that bound last, or that of tokens where none did, with what was admitted per second in the last 60 s
// in its units, and the pace of one request a minute.
func (c *core) bounding(now time.Time) (p *pace, admitted, floor float64) {
	return c.paceOf(c.lastPaced == byRequests && now.Sub(c.lastPacedT) <= blameFor)
}

func (c *core) paceOf(requests bool) (p *pace, admitted, floor float64) {
	if requests {
		return &c.requestPace, c.minute.sum.accepted / minute, 1.0 / minute
	}
	return &c.tokenPace, c.minute.sum.use / minute, c.tokenFloor
}

// setPaces makes both paces hold from now on.
func (c *core) setPaces(now time.Time) {
	c.paceTokens(now)
	c.paceRequests(now)
}

// standBack lowers a pace for a while, and notes what it was.
func (p *pace) standBack(admitted, floor float64) {
	p.top, p.falls, p.fell = p.x, 0, p.ceilings[0]
	p.x = min(p.stated, max(floor, standBack*admitted))
}

// contend goes on where it was before it stood back, as if it had been cut there and had grown back since.
func (p *pace) contend(floor float64) {
	p.x = p.top
	p.binds = p.regains(floor)
}

// regains is how many seconds a pace takes to grow back to where it was cut.
func (p *pace) regains(floor float64) float64 {
	return math.Cbrt(p.top / (minute * floor) * (1 - cubicKeeps) / cubicScale)
}

// yield cuts a pace as a rival does.
func (p *pace) yield(now time.Time, floor float64) {
	p.before, p.binds, p.last, p.top = p.x, 0, now, p.x
	p.cuts++
	p.x = min(p.stated, max(cubicLeast*minute*floor, cubicKeeps*p.x))
}

// regain raises a pace as a rival does: slower and slower until it is where it was cut, then faster and faster.
func (p *pace) regain(admitted, floor float64) {
	off := p.binds - p.regains(floor)
	x := p.top + minute*floor*cubicScale*off*off*off
	p.x = min(p.stated, max(p.x, min(x, max(cubicMost*admitted, cubicStart*minute*floor))))
}

// relent forgets all rivals.
func (p *pace) relent() {
	p.top, p.binds = 0, 0
	p.forget()
}
