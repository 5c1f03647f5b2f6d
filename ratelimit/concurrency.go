package ratelimit

import (
	"math"
	"time"
)

// The law of overloads.
const (
	shrink = 0.7  // of the limit is left by one fall,
	least  = 0.35 // or as little as this

	baseFirst  = 0.1  // the share of overloads that counts as usual, while nothing more is known
	baseOver   = 1000 // outcomes over which that share is a running mean
	baseMost   = 0.75 // a share above it is compared as if this were usual
	aboveUsual = 0.05 // a share so little above the usual is usual too
	deaf       = 0.95 // a share of overloads that says nothing about streams: the service is down
	risen      = 11.5 // ln(100,000), the odds at which the share counts as risen,
	suspect    = 7.0  // and those after the limit was raised
	proof      = 200  // streams that tell whether a smaller limit has helped; four turns where that is less, and a fifth at least
	halved     = 0.5  // it has if the share fell to this part of what it was; see prove for where it was high

	together = 2 * time.Minute // falls so soon one after the other may be one outage's

	tooMany    = 0.2              // a share that is asked about again, though usual
	doubtLeast = 30 * time.Second // so long after the last trial, doubled each time,
	doubtMost  = 10 * time.Minute // up to this
)

// The law of the knee.
const (
	firstLimit = 32.0 // streams to begin with, and
	faster     = 1.5  // times as many for every turn without a sign of the knee, or as those that have their first token
	usedLeast  = 0.25 // the part of a turn in which the limit must have kept streams waiting, to count as in use

	elastic = 0.45 // the power of its own growth that throughput must grow by: a fifth for half as many streams again
	tell    = 1.2  // the least growth for which that can be told
	margin  = 1.2  // times the streams at which throughput stopped growing are held
	bigger  = 1.25 // times as many are a try for more, where throughput has stopped growing
	slower  = 0.75 // times its former speed a stream is news

	leastQueue   = 0.5  // streams waiting in the service that count as a queue,
	leastWait    = 0.1  // and the part of an unloaded first token that they must add,
	certain      = 3.0  // in so many standard errors,
	certainFirst = 4.0  // or so many as long as no knee is known,
	certainEarly = 4.0  // or before the turn is over,
	early        = 8    // which is looked at every so many first tokens
	dip          = 32.0 // a dip takes one of so many streams more than those that wait

	samples      = 100  // first tokens, or one and a half turns, that tell how many wait
	samplesFast  = 16   // the same where only a long queue matters
	samplesSpeed = 16   // streams that tell how fast one is
	longTurn     = 20.0 // seconds, the longest time to wait for streams to end,
	longest      = 60.0 // and for first tokens
	baseKeeps    = 200  // first tokens over which the unloaded one is a running mean

	patienceLeast = 15 * time.Second // between tries for more, doubled each time they fail,
	patienceMost  = 85 * time.Second // up to this
	price         = 0.01             // the share of overloads that such tries may make,
	paidMost      = 10 * time.Minute // unless they would be rarer than this
	remeasure     = 5 * time.Minute  // between dips that ask a queueing service for its unloaded time
)

// A knee is what the limit of streams is held back by.
type knee uint8

const (
	noKnee knee = iota
	byQueue
	bySpeed
	byOverload
)

// A step is a change of the limit worth telling; its zero value is none.
type step struct {
	action, reason string
	from, to       float64
}

// concurrency bounds the streams in flight: see the section "Streams in flight" of the package's documentation.
type concurrency struct {
	most  float64
	limit float64   // whole
	last  time.Time // the last time overloads made it fall

	// Overloads.
	base  float64 // the usual share of overloads; trials raise it
	mean  float64
	odds  float64   // that it has risen, as a logarithm, not below 0
	run   float64   // outcomes since the odds were 0
	over  float64   // and overloads among them
	alarm bool      // it has: so many more are counted before the limit falls,
	asked time.Time // from here on
	from  time.Time // streams that began before say nothing of the limit there is now
	mixed time.Time // before, overloads and successes of those that began since do not end in proportion
	took  float64   // mean seconds of an overload

	trial    bool // the last fall is not yet proved
	before   float64
	at       float64   // the share at the last fall
	ends     float64   // of streams that began after it,
	overload float64   // and how many of them were overloads
	cohort   time.Time // those that begin later do not count; zero: all do
	again    time.Time // when to ask again whether the usual share is
	doubt    time.Duration

	sound *concurrency // as it was before the first of several falls in a row; nil: there was none
	fell  time.Time    // when that was

	// The knee.
	turn     turn
	slope    slope
	unloaded level   // what a first token takes without a queue: n, mean, input
	exposed  float64 // seconds of all streams, forgetting,
	ended    float64 // and successes in them: so mean durations are right while most streams have not ended

	knee     knee
	stepped  bool      // the limit was raised, and that is not yet judged
	good     level     // the last level before it was raised
	climbed  bool      // the limit has been raised with success since the knee was met
	paced    level     // the last level whose speed is known
	held     float64   // that speed when the limit was last set for it; 0: not yet known
	resume   float64   // the limit to try first, after an outage; 0: none
	bad      float64   // the lowest limit known to be too high; 0: none
	growth   float64   // streams of the next try
	next     time.Time // when that may be
	patience time.Duration
	dipped   bool      // the limit was lowered to see what it changes
	high     level     // the level before that
	measured time.Time // the last such time

	// The start.
	starting bool    // no sign of a knee was ever seen: the limit rises with first tokens
	seen     float64 // the highest limit at which streams were seen to their end
	early    turn    // the first streams that ended
	risen    bool    // it has risen, and no level has been seen to the end since
	looking  bool    // the limit was lowered to see whether so many streams bring more, see look; high is what it was
}

func newConcurrency(most float64, start int, now time.Time) concurrency {
	first := firstLimit
	if start > 0 {
		first = float64(start)
	}
	return concurrency{
		starting: start == 0, seen: firstLimit, // what was learned is where a knee was
		most: most, limit: min(most, first), base: baseFirst, mean: baseFirst,
		turn: turn{began: now}, patience: patienceLeast, growth: 1,
	}
}

// fits says that one more stream may begin.
func (c *concurrency) fits(inFlight int) bool { return inFlight < int(c.limit) }

// pass lets time go by with so many streams in flight.
func (c *concurrency) pass(d time.Duration, inFlight int) {
	s := d.Seconds()
	c.turn.span += s
	c.exposed += s * float64(inFlight)
	if !c.fits(inFlight) {
		c.turn.full += s
	}
}

// set moves the limit, and begins a turn.
func (c *concurrency) set(now time.Time, limit float64) {
	c.move(now, limit)
	c.exposed, c.ended = c.exposed/2, c.ended/2
}

// move is set, but forgets nothing of how long streams last.
func (c *concurrency) move(now time.Time, limit float64) {
	if limit = min(c.most, max(1, math.Floor(limit))); limit != c.limit {
		c.from, c.odds, c.alarm = now, 0, false
		c.mixed = now.Add(seconds(2 * c.lasts()))
	}
	c.limit = limit
	c.turn = turn{began: now}
}

// learned is the limit worth keeping; 0: none was found.
func (c *concurrency) learned() int {
	switch {
	case c.knee == noKnee:
		return 0
	case c.dipped, c.looking:
		return int(c.high.limit)
	case c.stepped:
		return int(c.good.limit)
	}
	return int(c.limit)
}

// lasts is the mean time of a stream that succeeds, in seconds, or longTurn if that is longer or not known.
func (c *concurrency) lasts() float64 {
	if c.ended == 0 {
		return longTurn
	}
	return min(c.exposed/c.ended, longTurn)
}

// overloaded notes an overload of a stream that began at t, one of so many in flight.
func (c *concurrency) overloaded(now, t time.Time, inFlight int) step {
	took := now.Sub(t).Seconds()
	c.exposed = max(0, c.exposed-took) // its time says nothing of those that succeed
	if c.took == 0 {
		c.took = took
	} else {
		c.took += (took - c.took) / few
	}
	s := c.note(now, t, 1)
	switch {
	case s.action != "" || c.trial:
	case c.stepped:
		if evidence(c.good.share, c.turn.starts, c.turn.overloads) >= suspect {
			return c.back(now, byOverload, c.good.limit, "more overloads with more streams")
		}
	case now.Before(c.mixed):
		if w := &c.turn; w.starts >= min(proof/2, c.limit) && evidence(c.base, w.starts, w.overloads) >= risen {
			c.run, c.over = w.starts, w.overloads
			return c.fall(now, c.served(inFlight, now.Sub(w.began)), "more overloads than usual")
		}
	case c.alarm && c.run >= min(proof/2, 2*c.limit):
		c.alarm, c.odds = false, 0
		served := c.served(inFlight, now.Sub(c.asked))
		switch {
		case evidence(c.base, c.run, c.over) > 0:
			return c.fall(now, served, "more overloads than usual")
		case c.over <= tooMany*c.run || now.Before(c.again):
		case c.run < min(proof, 4*c.limit): // there is no hurry
			c.alarm = true
		default:
			return c.fall(now, served, "would fewer streams be overloaded as often?")
		}
	case !c.alarm && (c.odds >= risen || c.base > tooMany && now.After(c.again)):
		// What has raised the alarm is no fair sample: from here on it is.
		c.alarm, c.asked, c.run, c.over = true, now, 0, 0
	}
	return s
}

// served is a limit to fall to: the streams of those in flight that are served. The others are on their way to an overload: how many follows from
// their rate and from how long they take (Little's law), and is not known well; so the fall is neither small nor bottomless.
func (c *concurrency) served(inFlight int, in time.Duration) float64 {
	doomed := 0.0
	if c.took > 0 {
		doomed = c.over * c.took / (in.Seconds() + c.took) // they come in bunches that take as long
	}
	return min(max(float64(inFlight)-doomed, least*c.limit), shrink*c.limit)
}

// fall lowers the limit, on trial.
func (c *concurrency) fall(now time.Time, limit float64, reason string) step {
	if c.sound == nil || now.Sub(c.last) > together {
		before := *c
		before.sound = nil
		c.sound, c.fell = &before, now
	}
	c.before, c.at = c.limit, c.over/c.run
	c.trial, c.ends, c.overload, c.cohort = true, 0, 0, time.Time{}
	c.last, c.odds = now, 0
	c.stepped, c.dipped, c.alarm = false, false, false
	c.settled()
	c.set(now, limit)
	return step{"shrink", reason, c.before, c.limit}
}

// recovered takes back what overloads of streams that began at from, or later, have done: the service was out.
func (c *concurrency) recovered(now, from time.Time) step {
	if c.sound == nil || c.fell.Before(from) {
		return step{}
	}
	limit := c.limit
	*c = *c.sound
	c.set(now, c.limit)
	c.from, c.odds, c.alarm = now, 0, false
	if limit == c.limit {
		return step{}
	}
	return step{"undo", "the service was out", limit, c.limit}
}

// note counts an outcome of a stream that began at t: 1 an overload, 0 none.
func (c *concurrency) note(now, t time.Time, overload float64) step {
	c.mean += (overload - c.mean) / baseOver
	if !t.Before(c.turn.began) {
		c.turn.overloads += overload
	}
	if c.base > baseFirst && c.mean < c.base {
		if c.base = max(baseFirst, c.mean); c.base == baseFirst {
			c.doubt = 0
		}
	}
	switch {
	case c.trial:
		return c.try(now, t, overload)
	case !c.stepped && t.After(c.from) && !now.Before(c.mixed):
		if c.odds == 0 && !c.alarm {
			c.run, c.over = 0, 0
		}
		c.run++
		c.over += overload
		c.odds = min(risen, max(0, c.odds+evidence(c.base, 1, overload)))
	}
	return step{}
}

// evidence is the logarithm of the odds that the share of overloads is clearly above the usual, after so many of so many streams.
func evidence(usual, streams, overloads float64) float64 {
	usual = min(usual+aboveUsual, baseMost)
	high := max(0.3, usual+0.2)
	return overloads*math.Log(high/usual) - (streams-overloads)*math.Log((1-usual)/(1-high))
}

// started notes that a stream begins. Overloads of few streams are counted among those that began, not among those that ended: the one may take far
// longer than the other to show.
func (c *concurrency) started(now time.Time) {
	c.turn.starts++
	if !c.trial || !c.cohort.IsZero() {
		return
	}
	c.ends++
	if c.ends >= min(proof, max(proof/5, 4*c.limit)) {
		c.cohort = now
	}
}

// try counts an outcome during a trial, which is over when every stream of the cohort that can be overloaded has been.
func (c *concurrency) try(now, t time.Time, overload float64) step {
	if t.After(c.last) && (c.cohort.IsZero() || !t.After(c.cohort)) {
		c.overload += overload
	}
	if c.cohort.IsZero() || now.Sub(c.cohort).Seconds() < 1.1*c.took {
		return step{}
	}
	return c.prove(now)
}

// prove ends the trial of a fall: either fewer streams have lowered the share of overloads, or that share is usual.
func (c *concurrency) prove(now time.Time) step {
	c.trial = false
	share := c.overload / c.ends
	// A service that can do no more does as much for fewer streams, so of those a larger part: half of that way will do.
	enough := 1 - (1-c.at)*math.Sqrt(c.before/c.limit)
	c.doubt = min(max(2*c.doubt, doubtLeast), doubtMost)
	c.again = now.Add(c.doubt)
	if share <= max(halved*c.at, enough) || share > deaf {
		c.wait(now, c.knee == byOverload, 0)
		c.knee, c.bad = byOverload, c.before
		if share > deaf {
			c.resume = max(c.resume, c.before)
		}
		c.set(now, c.limit)
		return step{}
	}
	c.base, c.mean, c.odds = max(baseFirst, share), share, 0
	from := c.limit
	c.set(now, max(c.limit, c.before))
	return step{"undo", "fewer streams are overloaded as often", from, c.limit}
}
