package ratelimit

import (
	"math"
	"time"
)

const (
	askEvery  = 2 * time.Minute   // of the clock, or
	askSeldom = 12 * time.Minute  // beside a rival that is known
	askFirst  = 150 * time.Second // before there are too many refusals of another kind
	askFound  = 90 * time.Second  // after it was found how much there is: a pace that was far above the quota is refused for long
	askAgain  = 3 * time.Minute   // of being pressed: until then refusals tell of the way there
	askAbout  = 40 * time.Second  // since the last refusal: what is left may be had again soon, and to stand back would be to miss it
	restedFor = 100 * time.Second // without a refusal, and whoever caused them is gone
	hearLeast = 30 * time.Second  // for an answer: clocks are set now and then
	hearMost  = 4 * time.Minute   // since it stood back, and then what was heard decides
	standBack = 0.87              // of what was admitted

	// So many refusals runners like this one cause each other:
	likesShare = 0.014 // of up to so many requests
	likesRate  = 4     // a second, of more in inverse proportion to them,
	likesLeast = 0.008 // but so many,
	rivalTimes = 3     // and beside a rival it is so many times as many.

	// What refusals say for a rival is the logarithm of how much likelier they are beside one.
	proven   = 6.5   // is enough, and
	provesAt = 3.3   // of it can come from one time between two questions: what causes them has to go on
	hearsNo  = -4    // since it stood back: there is none
	hearsYes = 3     // or there is one. Between the two it hears on, and
	endsNo   = -2    // when it has heard for long, this is where there is none
	outage   = 0.9   // of the requests: the service is out
	receded  = 0.012 // of the requests, and fewer, in the first minutes beside one: there is none

	rivalEarly = 18 // minutes that are exhausted so many seconds before they end,
	rivalOften = 3  // so many more than others, and there is one

	fewRequests = 60 // in a minute: too few to tell how long the quota's minutes last

	// After a refusal beside a rival.
	restFirst = 500 * time.Millisecond
	restAgain = time.Second // a refusal of what was sent this soon after a rest doubles it, and is of the same spell
	restMost  = 4 * time.Second
	restPart  = 0.5             // of how long spells of refusals last in the mean, if that is longer,
	restLong  = 8 * time.Second // up to this
	spellMean = 8               // spells that the mean is over

	minuteTrust = 2 // minutes that have begun where they seemed to, and the next is waited for without a try

	pressedLeast  = 1.5 // requests a second: no lower, for what lasts then is the rests,
	pressedSparse = 2   // and up to here whatever is admitted
	pressedStarts = 4   // refusals until which a pace that has been pressed doubles
)

// rivals tells refusals that others cause, who do not slow down, from those that go away when everybody slows down a little.
//
// Who backs off beside a client that goes on through refusals is left with nothing: the SDK's adaptive mode regains in two seconds
// what it gave up, and takes every gap. So refusals are weighed: how many runners cause each other that are like this one is known from
// how much it sends, and beside a rival there are several times as many. When that is proven, nobody asks how much is left any more. Whatever
// is not taken the rival takes, and grows until it is refused, so refusals come at any pace, and a pace that flees from them
// ends at nothing. It settles instead where so many are refused as its size warrants (bearing): that share is the same for all
// who share a quota, so they come to the same pace. Refusals do not tell any more then whether the rival is still there: they are what the
// pace asks for. So that is asked: at a full minute of the clock a runner stands back for two or more, as all do that are pressed, at the same time.
// If refusals go away the runners were among themselves. So asks a runner whose pace sinks for no other reason.
//
// Where minutes are known nothing has to be weighed: runners like this one leave a minute at its end only, a rival takes all of it
// long before.
type rivals struct {
	state  rivalState
	minute time.Time // of the clock, the last one that was looked at
	asked  int       // times that it stayed pressed
	proof  float64   // that there is a rival,
	before float64   // and the share of refusals when it was weighed the last time

	requests bool // it is the pace of requests that stands back

	since time.Time // it is pressed, as one that was not before

	rushed bool // a minute was used up long before its end since it was asked, or began to ask

	early int   // minutes that were exhausted long before their end, less those that were not,
	sound int   // minutes in a row that had begun where they seemed to,
	spent int64 // the last one that was exhausted

	counts        time.Time // since the last question, answer or beginning to ask:
	sent, refused float64

	from, to time.Time     // when the first and the last refused request of a spell were sent; zero: no spell yet
	lasts    time.Duration // how long spells last, a running mean
}

type rivalState uint8

const (
	alone   rivalState = iota // or among its like
	asking                    // stands back, and waits for what was used before to leave windows of any shape
	hearing                   // whether refusals go on
	pressed                   // by a rival
)

// due says whether this is the time to ask, or to hear the answer: the first moment of a minute that is one of every so many. The minutes
// are those of the wall clock, for all look at the same, and it may be set.
func (r *rivals) due(now time.Time) bool {
	minute := now.Truncate(time.Minute)
	if !minute.After(r.minute) {
		if r.minute.Sub(minute) > time.Minute { // set back: the next minute is as good as any
			r.minute = minute
		}
		return false
	}
	first := r.minute.IsZero()
	r.minute = minute
	if first || r.state == asking || r.state == hearing {
		return !first
	}
	every := askEvery
	if r.asked > 0 {
		every = askSeldom
	}
	return minute.Equal(minute.Truncate(every))
}

// out says that the service has admitted next to nothing: there is no pace at which it would.
func (r *rivals) out() bool { return r.refused >= outage*r.sent }

// standsBack says that the pace neither falls nor grows for the time being.
func (r *rivals) standsBack() bool { return r.state == asking || r.state == hearing }

// clear begins to count anew.
func (r *rivals) clear(now time.Time) { r.counts, r.sent, r.refused, r.rushed = now, 0, 0, false }

// weigh adds what refusals say since they were weighed the last time, unless they tell nothing of others.
func (r *rivals) weigh(now time.Time, unsure bool) {
	r.proof = max(0, r.proof+min(provesAt, r.evidence(now)))
	if unsure {
		r.proof = 0
	}
	r.before = r.refused / max(1, r.sent)
	r.clear(now)
}

// evidence is what refusals say for a rival since they are counted, or against one where it is negative: the logarithm of how much likelier
// they are beside one.
func (r *rivals) evidence(now time.Time) float64 {
	rate := r.sent / max(1, now.Sub(r.counts).Seconds())
	likes := max(likesLeast, likesShare*min(1, likesRate/max(rate, likesRate)))
	return r.refused*math.Log(rivalTimes) - r.sent*likes*(rivalTimes-1)
}

// hearsOn says that what was heard up to this minute of the clock is no answer yet. Silence is one, if it lasts. Where minutes are known they tell
// of a rival sooner, and would not be looked at meanwhile.
func (c *core) hearsOn(now time.Time) bool {
	r := &c.rivals
	heard := now.Sub(r.counts)
	if heard < hearLeast {
		return true
	}
	if c.minutes.known || r.out() || now.Sub(c.service.began) > restedFor || heard.Round(time.Minute) >= hearMost {
		return false
	}
	e := r.evidence(now)
	return hearsNo < e && e < hearsYes
}

// presses says whether the answer is that a rival presses. Where minutes are known, and there are requests all along, it shows in whether
// they are used up early: whoever sends more than is left is refused once a minute, in a minute of the clock perhaps not at all.
func (c *core) presses(now time.Time) bool {
	r := &c.rivals
	if c.minutes.known && r.sound >= minuteTrust && r.sent >= fewRequests {
		return r.rushed && !r.out()
	}
	return r.evidence(now) > endsNo && !r.out()
}

// listen asks for rivals, or hears the answer, when it is time.
func (c *core) listen(now time.Time) {
	r := &c.rivals
	if r.state == pressed && now.Sub(c.service.began) > restedFor {
		p, admitted, _ := c.paceOf(r.requests)
		c.relent(now, p, admitted, "nothing is refused any more: whoever pressed is gone")
		p.binds = silent
		return
	}
	if !r.due(now) {
		return
	}
	p, admitted, floor := c.bounding(now)
	switch r.state {
	case asking:
		r.state = hearing
		r.clear(now)
		return
	case hearing:
		if !c.hearsOn(now) {
			c.answered(now)
		}
		return
	case pressed:
		if now.Sub(r.since) < askAgain {
			return
		}
		if r.asked == 0 && r.refused < receded*r.sent && !c.minutes.known {
			c.relent(now, p, admitted, "refusals are no more than runners like this one cause each other")
			return
		}
		r.asked++
	case alone:
		unsure := c.unsure(now, p)
		r.weigh(now, unsure)
		switch {
		case unsure || now.Sub(c.service.began) > restedFor:
			return
		case p.sinks() && now.Sub(c.service.began) <= askAbout:
			r.asked = 0
		case r.proof >= proven:
			c.notice(now, p, "more refusals than runners like this one cause each other: somebody else does")
			return
		default:
			return
		}
	}
	r.clear(now)
	r.state, r.requests = asking, p == &c.requestPace
	p.standBack(admitted, floor)
	c.setPaces(now)
	c.tell(now, ControlService, "ask", 0, 0, "a little less for some minutes tells whether refusals go on")
}

// unsure says that refusals tell nothing of others.
func (c *core) unsure(now time.Time, p *pace) bool {
	return c.rivals.out() || now.Sub(c.first) < askFirst || now.Sub(p.found) < askFound || !p.learned() || p.cuts < 2 || c.noise.fresh(now)
}

// answered ends the asking.
func (c *core) answered(now time.Time) {
	r := &c.rivals
	p, admitted, _ := c.paceOf(r.requests)
	presses := c.presses(now)
	if !presses && r.asked == 0 {
		r.state = alone
		r.clear(now)
		p.x, p.top = max(p.x, p.top), 0 // it was nothing
		c.setPaces(now)
		c.tell(now, ControlService, "relent", 0, 0, "refusals went away: runners like this one cause each other's")
		return
	}
	if !presses {
		c.relent(now, p, admitted, "refusals are no more than runners like this one cause each other")
		return
	}
	c.press(now, p, p.top, "refusals go on at a lower pace: somebody else causes them, and takes what is left")
}

// notice goes on as before beside a rival that was not asked for, and need not be soon.
func (c *core) notice(now time.Time, p *pace, reason string) {
	c.rivals.asked = 0
	c.press(now, p, p.x, reason)
	c.rivals.asked = 1
}

// press goes on at some pace as one that a rival presses.
func (c *core) press(now time.Time, p *pace, x float64, reason string) {
	r := &c.rivals
	if r.asked == 0 {
		p.starts, r.since = pressedStarts, now
	}
	r.state, r.proof, r.requests = pressed, 0, p == &c.requestPace
	r.clear(now)
	p.x, p.top = x, x
	c.setPaces(now)
	c.tell(now, ControlService, "press", 0, 0, reason)
}

// relent goes back to the pace of runners among themselves.
func (c *core) relent(now time.Time, p *pace, admitted float64, reason string) {
	r := &c.rivals
	r.state, r.asked = alone, 0
	r.clear(now)
	c.tokenPace.relent()
	c.requestPace.relent()
	if p.learned() {
		p.x = min(p.stated, max(p.x, keen.keeps*admitted))
	}
	c.setPaces(now)
	c.tell(now, ControlService, "relent", 0, 0, reason)
}

// exhausts notes the first refusal in each minute, where minutes are known, and how early it was.
func (c *core) exhausts(now time.Time) {
	m, r := &c.minutes, &c.rivals
	if !m.known {
		r.early, r.sound = 0, 0
		return
	}
	if m.turn(now); m.index == r.spent {
		return
	}
	if minute-m.left(now) < minuteYoung {
		r.sound = 0
		return // it has not begun yet: what it holds is still to come
	}
	p, _, _ := c.bounding(now)
	p.early = m.left(now)
	again := m.index == r.spent+1
	r.spent = m.index
	if p.early < rivalEarly && c.admittedIn(now, rivalEarly-p.early) == 0 {
		return // few requests: it may have been used up before
	}
	r.sound++
	r.rushed = r.rushed || p.early >= rivalEarly
	if p.early < rivalEarly || r.early > 0 && !(again && m.lasted()) || p.minute.agreed > 0 || p.exact() != nil {
		r.early = max(0, r.early-1)
		return
	}
	if r.early++; r.early >= rivalOften && r.state == alone && p.learned() && !c.noise.lately(now) {
		c.notice(now, p, "minutes are used up long before they end: somebody else does it")
	}
}

// admittedIn counts the requests that were sent and not refused in the last so many seconds, less than a minute.
func (c *core) admittedIn(now time.Time, s float64) float64 {
	from := c.minute.number(now.Add(-seconds(s))) + 1
	return c.minute.between(from, c.minute.cur, acceptedRequests)
}

// contested answers a refusal while a rival presses, or may do so. What a spell of refusals costs is one cut.
func (c *core) contested(now time.Time, f *flight) {
	c.noise.void()
	h := &c.service
	if !h.counts(f.began) {
		return
	}
	again := !h.began.IsZero() && f.began.Sub(h.until) <= restAgain
	c.rivals.spell(f.began, h.until, again)
	if c.rivals.state == pressed && !again {
		p, _, floor := c.bounding(now)
		p.yield(now, floor, c.bearing())
		c.setPaces(now)
		c.tellPace(now, p, "cut", "refused beside a rival")
	}
	c.rest(now, again)
}

// spell notes a refusal of what was sent at some time. One that is not of the same spell as the one before ends that: between the last
// request that it refused and the end of the rest after it.
func (r *rivals) spell(sent, rested time.Time, again bool) {
	if !again || r.from.IsZero() {
		if !r.from.IsZero() {
			r.lasts += ((r.to.Sub(r.from)+rested.Sub(r.from))/2 - r.lasts) / spellMean
		}
		r.from = sent
	}
	r.to = sent
}

// rest holds everything back after a refusal: not for long, for whatever is left the rival takes, but until the next minute where it
// is known when that begins. Tries cost less where it is as long as half a spell at once, and as the pace needs for a request.
func (c *core) rest(now time.Time, again bool) {
	h, m := &c.service, &c.minutes
	step := restFirst
	if p, _, floor := c.bounding(now); c.rivals.asked > 0 { // whether there is a rival shows in what is refused until then
		part := time.Duration(restPart * float64(c.rivals.lasts))
		step = max(step, min(restLong, max(part, seconds(minute*floor/p.x))))
	}
	if again {
		step = max(step, min(2*h.step, restMost))
	}
	h.begin(now, step, c.rand())
	m.deny(now)
	if at := m.wait(now, minuteNear, false); at.After(h.until) {
		h.until = at
	}
	if m.known && c.rivals.sound >= minuteTrust {
		h.until = m.next(now)
	}
	c.tell(now, ControlService, "hold", 0, h.until.Sub(now).Seconds(), "the service refused a request")
	c.verdicts.paused(true)
	c.tokens.pause(now, h.until)
	c.gate.pause(now, h.until)
	c.drain = true
}

// bearing is how a pace moves now.
func (c *core) bearing() bearing {
	if c.minutes.known {
		return rushing
	}
	return even
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

// A bearing is how a pace moves beside a rival.
type bearing struct {
	keeps   float64 // of it, at a refusal
	growth  float64 // requests a second that it grows by in a second, at one request a second,
	power   float64 // and with this power of the pace,
	most    float64 // up to this multiple of what was admitted in the last 60 s
	doubles float64 // seconds in which it doubles at first
}

// An even pace of x requests a second settles where a share of 0.18/x is refused: so many refusals a second, whatever the pace. All who see
// the same share come to the same pace. With a power of 2 - 1/m it would be a share of x^(-1/m), and chance would part them further the larger m
// is: what a pace is in the mean of some time varies with m over the root of the refusals in it.
//
// Where minutes are known everybody is refused once in each, when it is used up, whatever the pace. How long that takes is the same for
// all, so growth that is the same leads all to the same pace, in proportion to it, and comes nearer by two fifths in every minute.
var (
	even    = bearing{keeps: 0.9, growth: 0.018, power: 1, most: 2, doubles: 20}
	rushing = bearing{keeps: 0.6, growth: 0.3, power: 0, most: 10, doubles: 20}
)

// yield cuts a pace after a refusal.
func (p *pace) yield(now time.Time, floor float64, b bearing) {
	p.before, p.binds, p.last = p.x, 0, now
	p.cuts++
	p.starts = max(0, p.starts-1)
	p.x = min(p.stated, max(pressedLeast*minute*floor, b.keeps*p.x))
}

// regain raises a pace after it held requests back for d.
func (p *pace) regain(d time.Duration, admitted, floor float64, b bearing) {
	if !p.learned() {
		return
	}
	each, s := minute*floor, min(d, minute*time.Second).Seconds() // whatever a machine slept
	x := p.x + s*each*b.growth*math.Pow(p.x/each, b.power)
	if p.starts > 0 {
		x = max(x, p.x*math.Exp2(s/b.doubles))
	}
	p.x = min(p.stated, max(p.x, min(x, max(b.most*admitted, pressedSparse*each))))
}

// relent forgets all rivals.
func (p *pace) relent() {
	p.top, p.starts, p.binds = 0, 0, 0
	p.forget()
}
