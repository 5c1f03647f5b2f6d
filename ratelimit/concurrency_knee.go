package ratelimit

import (
	"math"
	"time"
)

// begun notes the first token of a stream that began at t, with so many tokens of input, as one of so many streams; now so many have theirs.
func (c *concurrency) begun(now, t time.Time, input float64, among int32, talking int) step {
	wait := c.slope.learn(now.Sub(t).Seconds(), input)
	w := &c.turn
	if t.Before(w.began) {
		return step{}
	}
	w.n++
	w.wait += wait
	w.input += input
	if among <= few {
		w.light++
		w.lightly += wait
	}
	if !c.trial && !c.dipped && !c.looking && w.n < c.need() && math.Mod(w.n, early) == 0 {
		if s := c.foresee(now); s.action != "" {
			return s
		}
	}
	return c.rise(now, float64(talking))
}

// foresee ends a turn early that shows a queue beyond doubt: a small service gives few first tokens to go by.
func (c *concurrency) foresee(now time.Time) step {
	l := c.turn.level(c.limit)
	rate := l.rate
	if c.stepped {
		rate = c.good.rate
	}
	q := c.late(&l, certainEarly) * rate
	switch {
	case q <= 1.5*c.tolerated(rate):
		return step{}
	case c.stepped && c.knee == byQueue:
		return c.back(now, byQueue, c.good.limit, "first tokens wait where there are more streams")
	case !c.stepped && l.used && c.turn.span >= c.lasts():
		return c.dive(now, &l, q, "first tokens come later than unloaded")
	}
	return step{}
}

// succeeded notes the end of a stream that was served.
func (c *concurrency) succeeded(now time.Time, f *flight, output int64) step {
	s := c.note(now, f.began, 0)
	c.ended++
	if !f.first.IsZero() {
		c.soonEnded(f.first.Sub(f.began).Seconds(), float64(output), now.Sub(f.first).Seconds())
	}
	w := &c.turn
	w.done++
	if !f.began.Before(w.began) {
		w.ends++
		if !f.first.IsZero() {
			w.out += float64(max(0, output))
			w.decode += now.Sub(f.first).Seconds()
		}
	}
	switch {
	case s.action != "" || c.trial:
		return s
	case c.resume > c.limit && !c.stepped && w.overloads == 0 && w.ends >= max(few, c.limit):
		l := w.level(c.limit)
		return c.raise(now, &l, c.resume, "the service answers again")
	case c.ready():
		return c.judge(now)
	}
	return s
}

// ready says that the turn is over: enough was seen, by streams that began and ended in it.
func (c *concurrency) ready() bool {
	w := &c.turn
	n := max(w.n, w.ends)
	switch {
	case w.span < c.lasts() || n < samplesFast:
		return false
	case n >= c.need() || w.span >= longest:
		return true
	}
	// A dip tells its tale when what it would change stands out.
	return c.dipped && w.n > 0 && c.noise(w.n, c.high.n) < c.excess(&c.high)/8
}

// need is how many first tokens, or ends, a judgement takes.
func (c *concurrency) need() float64 {
	switch {
	case c.dipped || c.knee == byQueue:
		return max(samples, faster*c.limit)
	case c.looking, c.knee == noKnee && c.limit < c.most:
		return max(samplesFast, c.limit/2)
	}
	return max(samplesFast, faster*c.limit)
}

// judge looks at the turn that is over, and moves the limit if there is reason to.
func (c *concurrency) judge(now time.Time) step {
	l := c.turn.level(c.limit)
	c.compare(&l)
	if c.dipped {
		return c.surface(now, &l)
	}
	if c.looking {
		return c.looked(now, &l)
	}
	if !l.used {
		c.stepped = false // that cannot be judged
		c.ease(&l)
		c.set(now, c.limit)
		return step{}
	}
	if q := c.queued(&l, l.rate); q > c.tolerated(l.rate) {
		if c.stepped {
			return c.back(now, byQueue, max(c.good.limit, l.limit-q), "first tokens wait where there are more streams")
		}
		return c.dive(now, &l, q, "first tokens come later than unloaded")
	}
	if c.knee == noKnee || c.stepped {
		if gain := c.gain(&l); gain < math.Pow(l.limit/c.paced.limit, elastic) {
			limit := c.paced.limit
			if c.risen && gain < asMuch {
				c.ease(&l)
				c.high = l
				return c.deepen(now, limit)
			}
			if c.knee == noKnee || c.climbed {
				limit = min(l.limit, max(limit, limit*gain*margin))
			}
			return c.back(now, bySpeed, limit, "more streams bring no more")
		}
	}
	if c.risen && l.ends < samplesSpeed {
		return step{} // first tokens alone tell nothing of a shared token rate: the turn goes on
	}
	if l.ends >= samplesSpeed && l.speed > 0 {
		if c.blind(&l) {
			return c.look(now, &l)
		}
		c.paced = l
		if c.knee == bySpeed && !c.stepped {
			if s := c.news(now, &l); s.action != "" {
				return s
			}
		}
	}
	c.risen, c.seen = false, max(c.seen, l.limit)
	c.ease(&l)
	return c.grow(now, &l)
}

// news looks for a change of what a service does whose token rate is the knee: it shows in the speed of a stream. Lowering the limit too far is
// mended by the next try for more, which is due at once.
func (c *concurrency) news(now time.Time, l *level) step {
	change := l.speed / c.held
	switch {
	case c.held == 0:
		c.held = l.speed
	case change > 1/slower:
		c.next, c.held = now, l.speed
	case change < slower:
		// So fast they are then; if they are not, the change had only begun.
		c.next, c.patience, c.held = now, patienceLeast, c.held/margin
		c.set(now, max(1, l.limit*change*margin))
		return step{"shrink", "every stream is slower", l.limit, c.limit}
	}
	return step{}
}

// ease lets the unloaded first token follow one that came without a queue: near the knee, downwards only.
func (c *concurrency) ease(l *level) {
	u := &c.unloaded
	if l.n == 0 {
		return
	}
	near := l.used && c.knee != noKnee
	if near && c.excess(l) >= 0 {
		return
	}
	w := l.n / (u.n + l.n)
	if near {
		w = min(w, 0.1)
	}
	u.mean += w * (l.mean - u.mean)
	u.input += w * (l.input - u.input)
	u.n = min(u.n+l.n, baseKeeps)
}

// excess is how much later first tokens came than unloaded ones with such an input, in seconds.
func (c *concurrency) excess(l *level) float64 {
	return l.mean - c.unloaded.mean - c.slope.each()*(l.input-c.unloaded.input)
}

// queued is how many streams wait in the service at a rate of so many a second (Little's law); 0 where that is not certain.
func (c *concurrency) queued(l *level, rate float64) float64 {
	if c.knee == noKnee {
		return c.late(l, certainFirst) * rate
	}
	return c.late(l, certain) * rate
}

// late is the excess, or 0 if it is less than so many standard errors.
func (c *concurrency) late(l *level, sure float64) float64 {
	if l.n < samplesFast || c.unloaded.n == 0 {
		return 0
	}
	late := c.excess(l)
	if late < sure*c.noise(l.n, c.unloaded.n) {
		return 0
	}
	return late
}

// noise is the standard error of the difference of two mean first tokens, of so many each.
func (c *concurrency) noise(n, m float64) float64 {
	return c.slope.deviation() * math.Sqrt(1/n+1/m)
}

// tolerated is how many may.
func (c *concurrency) tolerated(rate float64) float64 {
	return max(leastQueue, leastWait*c.unloaded.mean*rate)
}

// gain is the throughput of a level over that of the last with fewer streams, infinite if it cannot be told: from the speed of a stream,
// which is far less noisy than a count of ends.
func (c *concurrency) gain(l *level) float64 {
	g := &c.paced
	if l.ends < samplesSpeed || l.speed == 0 || g.speed == 0 || l.limit < tell*g.limit {
		return math.Inf(1)
	}
	output := max(l.out, (c.exposed/c.ended-l.mean)*l.speed)
	return l.limit / (l.mean + output/l.speed) * (g.mean + output/g.speed) / g.limit
}

// wait sets when the next try for more may be; one that failed makes them rarer, and so do the overloads it has cost.
func (c *concurrency) wait(now time.Time, failed bool, overloads float64) {
	if failed {
		c.patience = min(2*c.patience, patienceMost)
	}
	paid := seconds(overloads / price * c.lasts() / c.limit)
	c.next = now.Add(max(c.patience, min(paid, paidMost)))
	c.growth = 1
}

// back ends a raise of the limit that has shown a knee.
func (c *concurrency) back(now time.Time, k knee, limit float64, reason string) step {
	from, cost := c.limit, c.turn.overloads
	if c.resume > 0 {
		c.resume, cost = 0, 0
	}
	c.wait(now, c.knee == k, cost)
	if c.bad <= limit || c.bad > from {
		c.bad = from
	}
	c.knee, c.stepped, c.climbed, c.held = k, false, false, 0
	c.settled()
	c.set(now, limit)
	return step{"shrink", reason, from, c.limit}
}

// grow raises the limit after a turn without a sign of the knee.
func (c *concurrency) grow(now time.Time, l *level) step {
	passed := c.stepped
	c.stepped, c.climbed = false, c.climbed || passed
	if passed && c.limit >= c.resume {
		c.resume = 0
	}
	if passed && c.knee != noKnee {
		c.patience = patienceLeast
		c.growth *= 2
		c.next = now
		if l.limit >= c.bad {
			c.bad = 0
		}
	}
	if c.limit >= c.most || l.overloads(c.base) || c.knee != noKnee && now.Before(c.next) {
		if c.knee == byQueue && now.Sub(c.measured) > remeasure {
			return c.dive(now, l, 0, "what is an unloaded first token?")
		}
		c.set(now, c.limit)
		return step{}
	}
	return c.raise(now, l, max(c.limit+1, c.target()), "no sign of a knee")
}

// raise raises the limit, to be judged by what it was.
func (c *concurrency) raise(now time.Time, l *level, limit float64, reason string) step {
	c.good, c.stepped = *l, true
	c.set(now, limit)
	return step{"grow", reason, l.limit, c.limit}
}

// target is the next limit to try.
func (c *concurrency) target() float64 {
	most := c.limit * faster
	switch {
	case c.knee == noKnee:
		return most
	case c.knee == bySpeed:
		return c.limit * bigger
	case c.knee == byOverload && c.bad > c.limit:
		return min(most, c.limit+max(1, (c.bad-c.limit)/2))
	}
	if c.growth*2 > c.limit {
		c.knee, c.bad = noKnee, 0 // far from what it was
	}
	return min(most, c.limit+max(c.growth, c.limit/64))
}

// dive lowers the limit by q streams that seem to wait, and a few more, to see what changes.
func (c *concurrency) dive(now time.Time, l *level, q float64, reason string) step {
	c.dipped, c.high, c.stepped, c.measured = true, *l, false, now
	c.set(now, l.limit-q-max(1, l.limit/dip))
	return step{"shrink", reason, l.limit, c.limit}
}

// surface ends a dip. What fewer streams have taken off the time to the first token was a queue, and what is left is unloaded.
func (c *concurrency) surface(now time.Time, l *level) step {
	h := &c.high
	c.dipped, c.measured = false, now
	fell := h.mean - l.mean - c.slope.each()*(h.input-l.input)
	late, noise := c.excess(h), 2*c.noise(h.n, l.n)
	if rises := c.late(l, certain) * h.rate; l.n > 0 && fell < -noise && rises > c.tolerated(h.rate) && l.limit > 1 {
		return c.dive(now, l, min(rises, l.limit/2), "first tokens come ever later") // it had only begun
	}
	if l.n > 0 {
		c.unloaded = level{n: min(l.n, baseKeeps), mean: l.mean, input: l.input}
	}
	q := fell * h.rate
	if l.n == 0 || fell < max(noise, late/2) || q < c.tolerated(h.rate) {
		from := c.limit
		c.set(now, h.limit)
		return step{"undo", "first tokens come no sooner with fewer streams", from, c.limit}
	}
	if c.bad == 0 || h.limit < c.bad {
		c.bad = h.limit
	}
	c.knee = byQueue
	c.settled()
	if q > 0.9*(h.limit-l.limit) && l.limit > 1 { // there may be more
		return c.dive(now, l, l.limit/4, "first tokens come sooner with fewer streams")
	}
	from := c.limit
	c.wait(now, false, 0)
	c.set(now, max(l.limit, math.Round(h.limit-q)))
	return step{"grow", "of the streams taken away some had not waited", from, c.limit}
}
