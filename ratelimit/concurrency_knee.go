package ratelimit

import (
	"math"
	"time"
)

// begun notes the first token of a stream that began at t, with so many tokens of input, as one of so many streams.
func (c *concurrency) begun(now, t time.Time, input float64, among int32) step {
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
	// A queue that a raise of the limit has made need not be watched for long.
	if part := c.need() / 4; c.stepped && c.knee == byQueue && (w.n == math.Ceil(part) || w.n == math.Ceil(2*part)) {
		if l := w.level(c.limit); c.queued(&l, c.good.rate) > 2*c.tolerated(c.good.rate) {
			return c.back(now, byQueue, c.good.limit, "first tokens wait where there are more streams")
		}
	}
	return step{}
}

// succeeded notes the end of a stream that was served.
func (c *concurrency) succeeded(now time.Time, f *flight, output int64) step {
	s := c.note(now, f.began, 0)
	c.ended++
	w := &c.turn
	w.done++
	if !f.began.Before(w.began) {
		w.ends++
		if !f.first.IsZero() {
			w.out += float64(max(0, output))
			w.decode += now.Sub(f.first).Seconds()
		}
	}
	if s.action != "" || c.trial || !c.ready() {
		return s
	}
	return c.judge(now)
}

// ready says that the turn is over: enough was seen, by streams that began and ended in it.
func (c *concurrency) ready() bool {
	w := &c.turn
	n := max(w.n, w.ends)
	return w.span >= c.lasts() && (n >= c.need() || n >= samplesFast && w.span >= longest)
}

// need is how many first tokens, or ends, a judgement takes.
func (c *concurrency) need() float64 {
	switch {
	case c.dipped || c.knee == byQueue:
		return max(samples, faster*c.limit)
	case c.knee == noKnee && c.limit < c.most:
		return max(samplesFast, c.limit/2)
	}
	return max(samplesFast, faster*c.limit)
}

// judge looks at the turn that is over, and moves the limit if there is reason to.
func (c *concurrency) judge(now time.Time) step {
	l := c.turn.level(c.limit)
	if c.unloaded.n == 0 && c.turn.light > 0 {
		c.unloaded = level{n: c.turn.light, mean: c.turn.lightly / c.turn.light, input: l.input}
	}
	if c.dipped {
		return c.surface(now, &l)
	}
	if !l.used {
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
	if gain := c.gain(&l); c.stepped && l.limit >= tell*c.good.limit && gain < math.Pow(l.limit/c.good.limit, elastic) {
		limit := c.good.limit
		if c.knee == noKnee {
			limit = min(l.limit, max(limit, limit*gain*margin))
		}
		return c.back(now, bySpeed, limit, "more streams bring no more")
	}
	if c.knee == bySpeed && !c.stepped && l.ends >= samplesSpeed && l.speed > c.good.speed/slower {
		c.next, c.good.speed = now, l.speed
	}
	c.ease(&l)
	return c.grow(now, &l)
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
	if l.n < samplesFast || c.unloaded.n == 0 {
		return 0
	}
	late := c.excess(l)
	sure := certain
	if c.knee == noKnee {
		sure = certainFirst
	}
	if late < sure*c.slope.deviation()*math.Sqrt(1/l.n+1/c.unloaded.n) {
		return 0
	}
	return late * rate
}

// tolerated is how many may.
func (c *concurrency) tolerated(rate float64) float64 {
	return max(leastQueue, leastWait*c.unloaded.mean*rate)
}

// gain is the throughput of a level over that of the level before the last raise, as far as it is known: from the speed of
// a stream, which is far less noisy than a count of ends.
func (c *concurrency) gain(l *level) float64 {
	g := &c.good
	if l.ends < samplesSpeed || g.ends < samplesSpeed || l.speed == 0 || g.speed == 0 {
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
	from := c.limit
	c.wait(now, c.knee == k, c.turn.overloads)
	c.knee, c.bad, c.stepped = k, from, false
	c.set(now, limit)
	return step{"shrink", reason, from, c.limit}
}

// grow raises the limit after a turn without a sign of the knee.
func (c *concurrency) grow(now time.Time, l *level) step {
	passed := c.stepped
	c.stepped = false
	if passed && c.knee != noKnee {
		c.patience = patienceLeast
		c.growth *= 2
		c.next = now
		if l.limit >= c.bad {
			c.bad = 0
		}
	}
	if c.limit >= c.most || c.knee != noKnee && now.Before(c.next) {
		if c.knee == byQueue && now.Sub(c.measured) > remeasure {
			return c.dive(now, l, 0, "what is an unloaded first token?")
		}
		c.set(now, c.limit)
		return step{}
	}
	c.good, c.stepped = *l, true
	c.set(now, max(c.limit+1, c.target()))
	return step{"grow", "no sign of a knee", l.limit, c.limit}
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
	late := c.excess(h)
	c.unloaded = level{n: min(l.n, baseKeeps), mean: l.mean, input: l.input}
	noise := 2 * c.slope.deviation() * math.Sqrt(1/h.n+1/l.n)
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
	if q > 0.9*(h.limit-l.limit) && l.limit > 1 { // there may be more
		return c.dive(now, l, l.limit/4, "first tokens come sooner with fewer streams")
	}
	from := c.limit
	c.wait(now, false, 0)
	c.set(now, max(l.limit, math.Round(h.limit-q)))
	return step{"grow", "of the streams taken away some had not waited", from, c.limit}
}
