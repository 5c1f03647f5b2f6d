package ratelimit

import (
	"math"
	"time"
)

const (
	shrink      = 0.7
	shrinkEvery = 5 * time.Second
	regrow      = 0.05 // of the limit, for each full turn of successes; at least one stream

	baseFirst = 0.1  // the share of overloads that counts as usual, while nothing is known
	baseOver  = 1000 // outcomes over which that share is a running mean
	baseMost  = 0.4
	risen     = 11.5 // ln(100,000), the odds at which the share counts as risen
	proof     = 100  // outcomes that tell whether a smaller limit has helped; four turns where that is less, and a fifth at least
	helped    = 0.8  // it has if the share fell below this part of what it was
)

// concurrency bounds the streams in flight. It falls when the share of overloads rises above what is usual, and
// grows with successes. Where fewer streams do not lower the share it has nothing to do with them: then the share
// is usual, and the limit what it was.
type concurrency struct {
	most  float64
	limit float64
	last  time.Time // the last time it fell

	base float64 // the usual share of overloads: it falls with the mean, and rises by trial only
	mean float64
	odds float64 // that it has risen, as a logarithm, not below 0
	run  float64 // outcomes since the odds were 0
	over float64 // and overloads among them

	trial    bool // the last fall is not yet proved
	before   float64
	at       float64 // the share at the last fall
	ends     float64 // of streams that began after it,
	overload float64 // and how many of them were overloads
}

func newConcurrency(most float64) concurrency {
	return concurrency{most: most, limit: most, base: baseFirst, mean: baseFirst}
}

// fits says that one more stream may begin.
func (c *concurrency) fits(inFlight int) bool { return inFlight < int(c.limit) }

// overloaded notes an overload of a stream that began at t. Those that began before the limit fell say nothing new.
func (c *concurrency) overloaded(now, t time.Time) {
	if !c.news(t) {
		return
	}
	c.note(1)
	if c.odds < risen || !c.last.IsZero() && now.Sub(c.last) < shrinkEvery {
		return
	}
	c.before, c.at = c.limit, c.over/c.run
	c.limit = max(1, c.limit*shrink)
	c.last, c.odds = now, 0
	c.trial, c.ends, c.overload = true, 0, 0
}

// succeeded notes the end of a stream that began at t while inFlight, itself included, were running. A limit not in
// use does not rise, nor one that may have to fall.
func (c *concurrency) succeeded(t time.Time, inFlight int) {
	if c.news(t) {
		c.note(0)
	}
	if inFlight >= int(c.limit) && c.odds < risen/2 && !c.trial {
		c.limit = min(c.most, c.limit+max(1/c.limit, regrow))
	}
}

// news says that a stream began after the limit fell.
func (c *concurrency) news(t time.Time) bool { return c.last.IsZero() || t.After(c.last) }

// note counts an outcome: 1 an overload, 0 none.
func (c *concurrency) note(overload float64) {
	usual := min(c.base+0.03, baseMost)
	high := max(0.3, usual+0.2)
	if c.odds == 0 {
		c.run, c.over = 0, 0
	}
	c.run++
	c.over += overload
	if overload > 0 {
		c.odds = min(risen, c.odds+math.Log(high/usual))
	} else {
		c.odds = max(0, c.odds-math.Log((1-usual)/(1-high)))
	}
	c.mean += (overload - c.mean) / baseOver
	c.base = min(c.base, c.mean)
	if !c.trial {
		return
	}
	c.ends++
	c.overload += overload
	if c.ends < min(proof, max(proof/5, 4*c.limit)) {
		return
	}
	c.trial = false
	if share := c.overload / c.ends; share > helped*c.at && share < baseMost {
		c.base, c.mean, c.odds = share, share, 0
		c.limit = max(c.limit, c.before)
	}
}
