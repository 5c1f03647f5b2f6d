package ratelimit

import (
	"fmt"
	"math"
	"time"
)

// throttled ends a flight that the service refused.
func (c *core) throttled(now time.Time, id, gen uint32, day bool) {
	f, ok := c.take(now, id, gen)
	if !ok {
		return
	}
	before := c.knows()
	defer func() { c.tellKnown(now, before) }()
	c.refused++
	clear(c.filled[:])
	f.kept = !day && !c.noise.usual(f.n)
	c.book(now, &f, 0, slot{accepted: -1})
	if day {
		c.service.ended(id, false)
		if c.daily.counts(f.began) {
			going := c.daily.active() && c.daily.id == id
			c.daily.ended(id, false)
			c.daily.refusedDay(now, going, c.rand())
			c.tell(now, ControlDay, "hold", 0, c.daily.until.Sub(now).Seconds(), "the quota of the day is used up")
		}
		return
	}
	c.daily.ended(id, true)
	if took := now.Sub(f.began); c.refusal == 0 {
		c.refusal = took
	} else {
		c.refusal += (took - c.refusal) / 8
	}
	if heads := c.verdicts.refused(f.n, c.noise.weight()); heads != 0 {
		c.minute.add(f.minute, slot{heads: float64(heads)})
		c.noise.refused(f.n, heads)
	}
	c.rivals.refused++
	c.joins(f.n)
	c.tokenPace.rest()
	c.minutes.refused(now, f.began, c.few(now))
	c.full.refused(now, c.minute.sum.held)
	c.exhausts(now)
	if c.rivals.state != alone {
		c.contested(now, &f)
		return
	}
	exhausted := c.verdicts.exhausted(f.n, max(c.verdicts.calm, c.noise.known(now)))
	if last := c.cutPace().last; !last.IsZero() && now.Sub(last) < cutEvery && !c.noise.open && c.noise.known(now) == 0 {
		exhausted = true // still
	}
	if !c.grown(now) && c.noise.open && (c.noise.worse(f.n) || c.clumped()) {
		exhausted = true // others use it up as well, who have only begun: that is no trial of a lower pace
	}
	defer c.emptied(now, f.fill)
	if !c.service.counts(f.began) {
		c.relearn(now, &f)
		return
	}
	var earn time.Duration
	if x := c.tokenPace.x; !math.IsInf(x, 1) {
		earn = seconds(1.5 * f.held / x)
	}
	if c.expected(now, &f) {
		c.hold(now, &f, true, earn)
		return
	}
	switch falsifies := c.falsifies(now, &f); {
	case falsifies && !c.gate.disproved(now):
		if c.gate.refused(now, c.minute.sum.held, exhausted) {
			c.paceTokens(now)
			c.tell(now, ControlService, "strict", 0, 1, "refused with a full minute: what is reserved counts for a minute")
		}
	case falsifies && c.gate.strayed(now) && !exhausted:
	case c.brimful(&f) && c.gate.strays.count(now) <= strayMost && !exhausted:
	case exhausted:
		c.learnExhausted(now, &f)
	case !c.learnSporadic(now, &f) && !c.seldom(now) && !c.spares(now):
		return
	}
	c.hold(now, &f, exhausted, earn)
}

// joins notes, at the refusal of request n, whether most of the first requests of the job are refused: others had used the quota up
// before it began.
func (c *core) joins(n uint64) {
	p := &c.tokenPace
	if n > joinedOf || p.cuts > 1 {
		return
	}
	c.turned++
	p.joined = p.joined || c.turned >= joinedLeast && c.turned >= joinedShare*min(joinedOf, float64(c.verdicts.n))
}

// emptied notes how full the windows of the quota were at a refusal. One that cut nothing is a reading as well.
func (c *core) emptied(now time.Time, at fill) {
	p := &c.tokenPace
	if p.learned() && p.cuts > 1 && p.last.Before(now) && p.exact() == nil && !c.noise.lately(now) {
		p.flowed(at, p.requests)
	}
	p.emptied = at
}

// hold keeps everything back for a while, at least for as long as the pace needs for the request that was refused.
func (c *core) hold(now time.Time, f *flight, exhausted bool, earn time.Duration) {
	c.service.refused(now, earn, c.few(now), c.rand())
	if exhausted || c.seldom(now) {
		if at := c.reopens(now, f); at.After(c.service.until) {
			c.service.until = at
		}
	}
	c.tell(now, ControlService, "hold", 0, c.service.until.Sub(now).Seconds(), "the service refused a request")
	c.verdicts.paused(exhausted)
	c.tokens.pause(now, c.service.until)
	c.gate.pause(now, c.service.until)
	c.drain = true
}

// expected says that a refusal is one that what is known of the quota lets expect, and cuts the pace if it is time. One that
// it does not explain is judged like any other: it may have nothing to do with the quota.
func (c *core) expected(now time.Time, f *flight) bool {
	p := &c.tokenPace
	switch r := p.exact(); {
	case !p.learned() || c.noise.lately(now):
		return false
	case r == nil:
		return c.minutes.spent() && c.seldom(now)
	case p.foreign(r, f.fill):
		p.forget()
		return false
	case now.Sub(p.last) >= cutEvery:
		c.noise.void()
		c.sporadic = false
		c.cut(now, f, minute)
		return true
	}
	p.doubt()
	if r := p.exact(); r != nil {
		p.x = min(p.x, max(c.tokenFloor, keepsExact*r.rate))
		c.paceTokens(now)
		return true
	}
	return false
}

// reopens tells when the quota may admit a refused request, by what is known of its windows; zero: not known. Where the
// quota is stated there is a model of it, which this would only hide.
func (c *core) reopens(now time.Time, f *flight) time.Time {
	p := &c.tokenPace
	if c.tpm > 0 && !p.learned() || c.noise.lately(now) {
		return time.Time{}
	}
	few := c.few(now)
	far := minuteNear
	switch {
	case p.tides && p.minute.sure:
		far = time.Minute
	case few:
		far = minuteNearFew
	}
	if at := c.minutes.wait(now, far, few); !at.IsZero() {
		return at
	}
	if !c.grown(now) {
		return time.Time{}
	}
	at := c.minute.freed(max(0, c.full.held-f.held), heldTokens)
	if most := now.Add(fullMost); at.After(most) {
		return most
	}
	return at
}

// grown says that the last minute can be told from the beginning of the job.
func (c *core) grown(now time.Time) bool { return now.Sub(c.first) >= minute*time.Second }

// few says that there are so few requests that each is half a percent of a minute's, as far as that can be told.
func (c *core) few(now time.Time) bool { return c.grown(now) && c.tokenPace.x < fewSent*c.tokenFloor }

// seldom says that refusals are so few, of what was sent, that a hold for each costs next to nothing, and that they are rather those of
// a quota than of anything else. A share, since holds make what is sent less.
func (c *core) seldom(now time.Time) bool {
	sent, refused := c.since(now.Add(-minute * time.Second))
	return c.grown(now) && refused <= max(seldomMost, seldomShare*sent) && !c.noise.lately(now)
}

// spares says that a refusal is much of what is sent, so that the moment that a request takes is better waited for, unless refusals are
// known to come whatever the pace.
func (c *core) spares(now time.Time) bool { return c.few(now) && !c.noise.lately(now) }

// falsifies says that a refusal speaks against the accounting that a stated quota is taken to have: the strictest would have
// refused as well.
func (c *core) falsifies(now time.Time, f *flight) bool {
	return c.tpm > 0 && !c.gate.strict && !c.tokenPace.learned() && c.minute.sum.held+f.held >= fullLedger*c.tpm && c.noise.known(now) == 0
}

// brimful says that the strict accounting held all that it may at a refusal: what was sent a minute ago took longer on its way to the
// service than the request that was refused, and that says nothing of the pace.
func (c *core) brimful(f *flight) bool {
	return c.tpm > 0 && c.gate.strict && !c.tokenPace.learned() && c.minute.sum.held+f.held >= fullLedger*c.tpm
}

// cutPace is the pace that was cut last.
func (c *core) cutPace() *pace {
	if c.requestPace.last.After(c.tokenPace.last) {
		return &c.requestPace
	}
	return &c.tokenPace
}

// since counts the requests sent after t, as far as a minute ago, and of them the refusals that were not in a row.
func (c *core) since(t time.Time) (sent, refused float64) {
	from := c.minute.number(t) + 1
	return c.minute.between(from, c.minute.cur, sentRequests), c.minute.between(from, c.minute.cur, headRequests)
}

// admittedSince counts the requests that were admitted after t, as far as a minute ago.
func (c *core) admittedSince(t, now time.Time) float64 {
	from, to := c.minute.number(t)+1, c.minute.number(now.Add(-settled))
	return c.minute.between(from, to, acceptedRequests)
}

// learnExhausted cuts the pace that is to blame for a refusal of an exhausted quota, if it is time and the
// refusal says something about the pace.
func (c *core) learnExhausted(now time.Time, f *flight) {
	c.noise.void()
	last := c.cutPace().last
	if c.sporadic && now.Sub(last) < cutEvery {
		// That cut did not know yet how bad it was.
		c.sporadic = false
		if last.Equal(c.requestPace.last) {
			c.requestPace.correct(c.minute.sum.accepted/minute, 1.0/minute)
			c.paceRequests(now)
		} else {
			c.tokenPace.correct(c.minute.sum.use/minute, c.tokenFloor)
			c.paceTokens(now)
		}
		return
	}
	if !last.IsZero() {
		if now.Sub(last) < cutEvery || !f.began.After(last) {
			return
		}
		// A service that has admitted nothing since the last cut would refuse at any pace: an
		// outage, or a window still full. Cutting then would leave nothing to come back to.
		if c.admittedSince(last, now) <= 0 {
			return
		}
	}
	c.sporadic = false
	c.cut(now, f, minute)
}

// learnSporadic cuts the pace that is to blame for a refusal among admissions, unless refusals are known, or
// turn out, to come whatever the pace.
func (c *core) learnSporadic(now time.Time, f *flight) bool {
	last := c.cutPace().last
	if c.noise.judge(now, f.n, &c.minute) {
		c.undo(now)
		return false
	}
	if !last.IsZero() && (now.Sub(last) < cutAmong || !f.began.After(last)) {
		c.temper(now)
		return false
	}
	if c.noise.open {
		if p := c.cutPace(); p.x < p.ceilings[0] {
			return false // still on trial
		}
		c.noise.drop(f.n, &c.minute)
	}
	if n, r := c.since(now.Add(-recent)); c.noise.explains(now, n, r) {
		return false
	}
	age := min(minute, now.Sub(c.first).Seconds())
	if age < historyLeast || age < minute && c.minute.sum.sent < historyRequests {
		return false
	}
	n, r := c.since(now.Add(-minute * time.Second))
	c.noise.try(now, c.verdicts.n, n, r, c.verdicts.calm < quietBelow)
	c.sporadic = true
	c.cut(now, f, age)
	return true
}

// temper makes the first cut again, as if the job had gone on for a minute, where most of what was sent since is refused: a job begins
// fast, and what was admitted in its first seconds was what a bucket had saved.
func (c *core) temper(now time.Time) {
	p := &c.tokenPace
	if p.cuts != 1 || !p.last.Equal(c.cutPace().last) || now.Sub(c.first) >= minute*time.Second {
		return
	}
	if sent, refused := c.allSince(p.last); refused >= temperLeast && refused >= temperShare*sent {
		p.correct(c.minute.sum.use/minute, c.tokenFloor)
		c.paceTokens(now)
	}
}

// allSince counts the requests sent after t, as far as a minute ago, and of them all refusals.
func (c *core) allSince(t time.Time) (sent, refused float64) {
	from := c.minute.number(t) + 1
	sent = c.minute.between(from, c.minute.cur, sentRequests)
	return sent, sent - c.minute.between(from, c.minute.cur, acceptedRequests)
}

// clumped says that much of what was sent since the last cut is refused, and more of it in a row than by chance.
func (c *core) clumped() bool {
	last := c.cutPace().last
	sent, refused := c.allSince(last)
	_, heads := c.since(last)
	p := refused / max(1, sent)
	return refused >= clumpLeast && p >= clumpShare && heads < clumpHeads*p*(1-p)*sent
}

// cut lowers the pace that bound last. Where none did, that of tokens: not every model has a quota of requests.
// over is the time in seconds in which the minute's use was admitted.
func (c *core) cut(now time.Time, f *flight, over float64) {
	if c.lastPaced == byRequests && now.Sub(c.lastPacedT) <= blameFor {
		c.requestPace.judge(c.sporadic && !c.noise.lately(now), c.minute.sum.sent)
		c.requestPace.cut(now, c.minute.sum.accepted/over, 1.0/minute, fill{})
		c.paceRequests(now)
		c.tellPace(now, &c.requestPace, "cut", c.cutReason())
		return
	}
	c.tokenFloor = max(1, f.expect) / minute
	c.tokenPace.judge(c.sporadic && !c.noise.lately(now), c.minute.sum.sent)
	at := f.fill
	if c.noise.lately(now) {
		at = fill{} // what was refused tells nothing of the quota
	}
	at.minutes = c.minutes.known
	c.tokenPace.cut(now, c.minute.sum.use/over, c.tokenFloor, at)
	c.paceTokens(now)
	c.tellPace(now, &c.tokenPace, "cut", c.cutReason())
}

func (c *core) cutReason() string {
	if c.sporadic {
		return "refusals among admissions"
	}
	return "refusals in a row: the quota is used up"
}

// control is the name of a pace for those who watch.
func (c *core) control(p *pace) string {
	if p == &c.requestPace {
		return ControlRequests
	}
	return ControlTokens
}

// tellPace reports what became of a pace since its last cut.
func (c *core) tellPace(now time.Time, p *pace, action, reason string) {
	c.tell(now, c.control(p), action, perMinute(p.before), perMinute(p.x), reason)
}

// undo takes the last cut back.
func (c *core) undo(now time.Time) {
	p := c.cutPace()
	from := p.x
	p.undo()
	c.setPaces(now)
	c.tell(now, c.control(p), "undo", perMinute(from), perMinute(p.x), "refusals come whatever the pace")
}

// relearn corrects a cut by the refusals that arrive just after it: what it took for admitted was not.
func (c *core) relearn(now time.Time, f *flight) {
	if c.sporadic {
		return
	}
	if p := &c.requestPace; p.echo(now, f.began) {
		p.correct(c.minute.sum.accepted/minute, 1.0/minute)
		c.paceRequests(now)
	}
	if p := &c.tokenPace; p.echo(now, f.began) {
		p.correct(c.minute.sum.use/minute, c.tokenFloor)
		c.paceTokens(now)
	}
}

// known is what refusals have shown of the quota's windows.
type known struct {
	minutes bool
	rate    float64 // tokens a second; 0: nothing is certain
	how     string
}

func (c *core) knows() known {
	k := known{minutes: c.minutes.known}
	p := &c.tokenPace
	switch r := p.exact(); {
	case r == nil || !p.learned():
	case r == &p.minute:
		k.rate, k.how = r.rate, "every minute ends with the same"
	case r == &p.window:
		k.rate, k.how = r.rate, "60 seconds hold the same at every refusal"
	default:
		k.rate, k.how = r.rate, "the same flows in between any two refusals"
	}
	return k
}

// tellKnown reports what a refusal has shown, or put in doubt.
func (c *core) tellKnown(now time.Time, before known) {
	switch k := c.knows(); {
	case k.minutes && !before.minutes:
		second := c.minutes.epoch.Add(c.minutes.phase).Round(0).Second()
		c.tell(now, ControlService, "minutes", 0, float64(second), fmt.Sprintf("refusals end at second %d of the minute: the quota's begin there", second))
	case before.minutes && !k.minutes:
		c.tell(now, ControlService, "minutes", 0, 0, "refusals do not end with the minute any more")
	}
	switch k := c.knows(); {
	case k.rate > 0 && before.rate == 0:
		c.tell(now, ControlTokens, "know", 0, minute*k.rate, "nobody else uses the quota: "+k.how)
	case before.rate > 0 && k.rate == 0:
		c.tell(now, ControlTokens, "doubt", minute*before.rate, 0, "refused with less than that: it has changed, or is shared")
	}
}

// fill is how full the windows of the quota are, with so many tokens more, or less where they are negative.
func (c *core) fill(now time.Time, more float64) fill {
	at := fill{window: (c.minute.sum.held + more) / minute, total: c.minutes.total + more, at: now.Sub(c.minutes.epoch).Seconds()}
	if c.minutes.known {
		c.minutes.turn(now)
		at.minute, at.left = max(1, c.minutes.used+more)/minute, c.minutes.left(now)
		if at.left > minute-minuteEdge {
			at.minute += c.minutes.before / minute
		}
	}
	return at
}
