package ratelimit

import (
	"math"
	"time"
)

// The law of the start.
const (
	ahead     = 1.8   // times the streams that have their first token are let begin,
	riseLeast = 1.125 // where that is so much more than the limit,
	unseen    = 16.0  // and at most so many times those of which streams were seen to their end
	unlooked  = 2.0   // times the first limit are not looked back from
	asMuch    = 1.1   // times the throughput is not more of it
	deeper    = 2.0   // times fewer streams are tried then
)

// rise raises the limit at the start, where so many streams have their first token: it takes some first tokens, and not some streams, to be what
// was asked for. A stream that waits in a queue has none, so a service that queues stops the rise itself, however early or late its first
// tokens come; one that refuses does too.
func (c *concurrency) rise(now time.Time, talking float64) step {
	top := min(c.most, unseen*c.seen)
	limit := min(top, math.Floor(ahead*talking))
	if !c.starting || c.trial || c.dipped || c.looking || limit <= c.limit || limit < min(top, riseLeast*c.limit) {
		return step{}
	}
	l := c.turn.level(c.limit)
	if l.overloads(c.base) {
		return step{}
	}
	c.compare(&l)
	c.risen = true
	c.move(now, limit)
	return step{"grow", "streams get their first tokens", l.limit, c.limit}
}

// compare takes the first tokens of the first streams for unloaded ones.
func (c *concurrency) compare(l *level) {
	if c.unloaded.n == 0 && c.turn.light > 0 {
		c.unloaded = level{n: c.turn.light, mean: c.turn.lightly / c.turn.light, input: l.input}
	}
}

// settled ends the start: from now on there is a sign to go by.
func (c *concurrency) settled() { c.starting, c.risen, c.looking = false, false, false }

// soonEnded notes how fast one of the first streams was, in so many seconds after its first token. Where not all streams last long, this is a level to
// compare more streams with, before a turn could tell.
func (c *concurrency) soonEnded(wait, output, decode float64) {
	e := &c.early
	if !c.starting || c.paced.speed > 0 || decode <= 0 || output <= 0 {
		return
	}
	e.n++
	e.wait += wait
	e.ends++
	e.out += output
	e.decode += decode
	if e.ends >= samplesSpeed {
		c.paced = e.level(c.limit)
	}
}

// blind says of a level that first tokens alone have led to that no smaller one is known to compare it with.
func (c *concurrency) blind(l *level) bool {
	return c.risen && l.limit > unlooked*firstLimit && (c.paced.speed == 0 || l.limit < tell*c.paced.limit)
}

// look lowers the limit for a turn. A shared token rate gives first tokens to many streams as soon as to few, and shows in the speed of
// streams, compared with that of fewer.
func (c *concurrency) look(now time.Time, l *level) step {
	c.ease(l)
	c.looking, c.high = true, *l
	c.set(now, l.limit/faster)
	return step{"shrink", "do so many streams bring more?", l.limit, c.limit}
}

// deepen lowers it further, from a limit that brings no less than more did: the knee is there or below.
func (c *concurrency) deepen(now time.Time, limit float64) step {
	from := c.limit
	c.settled()
	c.looking, c.knee, c.held = true, bySpeed, 0
	if c.bad == 0 {
		c.bad = c.high.limit
	}
	c.set(now, limit/deeper)
	return step{"shrink", "fewer streams bring as much", from, c.limit}
}

// looked ends a turn with a limit so lowered.
func (c *concurrency) looked(now time.Time, l *level) step {
	h, from := &c.high, c.limit
	if !l.used { // that cannot be judged
		c.looking = false
		c.set(now, h.limit)
		return step{"undo", "fewer streams are enough", from, c.limit}
	}
	if l.ends < samplesSpeed {
		return step{} // the turn goes on
	}
	c.looking = false
	c.ease(l)
	if l.speed > 0 {
		c.paced = *l
	}
	gain := c.gain(h)
	switch {
	case c.knee == noKnee && gain >= math.Pow(h.limit/from, elastic):
		c.risen, c.paced, c.seen = false, *h, max(c.seen, h.limit)
		c.set(now, h.limit)
		return step{"undo", "fewer streams bring less", from, c.limit}
	case gain < asMuch && from >= deeper:
		c.high = *l // streams of all lengths have ended since
		return c.deepen(now, from)
	}
	c.knee, c.held = bySpeed, 0
	if c.bad == 0 {
		c.bad = h.limit
	}
	c.settled()
	c.wait(now, false, 0)
	c.set(now, min(h.limit, max(from, from*gain*margin)))
	if c.limit == from {
		return step{}
	}
	return step{"grow", "of the streams taken away some had brought more", from, c.limit}
}
