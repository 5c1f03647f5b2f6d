package ratelimit

import (
	"cmp"
	"math"
	"time"

	"golang.org/x/time/rate"
)

const (
	minute          = 60 // seconds
	secondSlot      = 250 * time.Millisecond
	daySlot         = 5 * time.Minute
	settled         = 2 * time.Second // after this long a request that was not refused counts as admitted
	blameFor        = 10 * time.Second
	historyLeast    = 5                // seconds, and
	historyRequests = 50               // requests, or a minute, before a sporadic refusal cuts
	temperLeast     = 10               // refusals since the first cut, and
	temperShare     = 0.3              // of what was sent since, are more than chance
	opening         = time.Second      // of a job
	joinedOf        = 64               // requests, the first of a job:
	joinedLeast     = 16               // refusals of them, and
	joinedShare     = 0.7              // of those that were sent, are of a quota that others have used up
	clumpLeast      = 25               // refusals since a cut, and
	clumpShare      = 0.2              // of what was sent since, are a quota's, if so many
	clumpHeads      = 0.6              // times as follow no other by chance, or fewer, do
	filledFor       = 3 * time.Minute  // without a refusal: there may be more
	hungOver        = 200.0            // requests over which their share is a running mean,
	hungMost        = 0.5              // which counts as no more than this
	hungFor         = time.Minute      // without a sign of life, and that nothing is refused says nothing
	recent          = 10 * time.Second // over which refusals are compared with the noise, and
	seldomMost      = 4                // so many in a minute are few,
	seldomShare     = 0.004            // or this share of the requests in it
)

// A cause is what keeps the head of the queue waiting.
type cause uint8

const (
	byInput cause = iota // nobody waits
	byConcurrency
	byRequests
	byTokens
	byDay
	byService
	byStreams // of what is told only, see told
	byOutage  // the same
	causes
)

var causeNames = [causes]string{BoundByInput, BoundByConcurrency, BoundByRequests, BoundByTokens, BoundByDay, BoundByService, BoundByStreams, BoundByOutage}

// A verdict says whether a request may go.
type verdict struct {
	ok    bool
	id    uint32    // of the flight, if ok
	cause cause     // what it waits for, if not
	paced bool      // it waits for a pace, and not for a window to move
	at    time.Time // when to ask again; zero: only an ended flight can help
}

// A flight is a request on its way.
type flight struct {
	gen    uint32 // flights are used again, permits are not
	live   bool
	cost   Cost
	began  time.Time
	first  time.Time // of its answer; zero: not yet
	among  int32     // streams in flight when it began, itself included
	n      uint64    // its number among the verdicts
	minute int64     // its slot in the minute's ledger
	day    int64     // and in the day's
	held   float64   // tokens booked in the ledgers
	fill   fill      // of the quota's windows with it
	expect float64   // tokens it is expected to settle at
	kept   bool      // the pacer does not get them back
	paced  bool      // the pacer was asked and has taken them
}

// A core is the limiter without clock, lock and queue. Its methods take the time, which must not go back.
type core struct {
	rpm, tpm, tpd float64 // 0: not stated
	rand          func() float64
	watch         func(Decision) // nil: nobody

	minute, day ledger
	gate        gate // of a stated quota of tokens
	tokens      bucket
	requests    *rate.Limiter
	minutes     minutes // of the quota, if it has any
	drain       bool    // requests: what was saved is to be forgotten when the hold is over

	tokenPace, requestPace pace
	tokenFloor             float64 // tokens per second: one request a minute
	hung                   float64 // the share of requests that use nothing, times the part of a minute after which it shows
	service, daily         hold
	full                   full
	streams                concurrency
	predict                predictor
	refusal                time.Duration // how long a refusal takes to come back, a running mean
	verdicts               verdicts
	noise                  noise
	rivals                 rivals
	first                  time.Time // the first request; zero: none yet
	sign                   time.Time // of life, the last: an answer that began, a call that ended, or one sent while none was on its way
	heard                  bool      // anything but refusals, or what is known is enough to begin with more
	sporadic               bool      // the last cut followed sporadic refusals

	flights  []flight
	idle     []uint32 // flights not in use
	inFlight int
	talking  int // and of them, those that have their first token
	refused  int64
	turned   float64 // of the first requests, refused

	filled [causes]time.Duration // for how long a stated quota held everything back since the last refusal

	out        bool      // the caller waits for the service, see Limiter.Out
	bound      cause     // what the head of the queue waits for
	boundPaced bool      // see verdict
	asOf       time.Time // waits are counted up to here
	waits      [causes]time.Duration
	lastPaced  cause // byTokens or byRequests, whichever bound last,
	lastPacedT time.Time
}

func newCore(o Options, now time.Time) *core {
	if o.Probe {
		// What is stated is where to begin, and nothing else.
		o.Start.RequestsPerMinute = cmp.Or(o.Start.RequestsPerMinute, o.RequestsPerMinute)
		o.Start.TokensPerMinute = cmp.Or(o.Start.TokensPerMinute, o.TokensPerMinute)
		o.RequestsPerMinute, o.TokensPerMinute = 0, 0
	}
	c := &core{
		rpm: o.RequestsPerMinute, tpm: o.TokensPerMinute, tpd: o.TokensPerDay,
		rand:        o.Rand,
		watch:       o.Watch,
		minute:      newLedger(now, minute*time.Second, secondSlot),
		day:         newLedger(now, 24*time.Hour, daySlot),
		gate:        newGate(now, o.TokensPerMinute, o.Start.Strict),
		tokens:      bucket{last: now},
		minutes:     minutes{epoch: now},
		requests:    rate.NewLimiter(rate.Inf, 1), // it starts full, so with room for one request only
		tokenPace:   newPace(o.TokensPerMinute, o.Start.TokensPerMinute),
		requestPace: newPace(o.RequestsPerMinute, o.Start.RequestsPerMinute),
		tokenFloor:  1.0 / minute,
		streams:     newConcurrency(float64(o.Concurrency), o.Start.Concurrency, now),
		predict:     predictor{burndown: o.Burndown},
		verdicts:    verdicts{calm: calmFirst, over: calmPrior},
		asOf:        now,
	}
	c.heard = c.tokenPace.x < math.Inf(1) || c.requestPace.x < math.Inf(1) || o.Start.Concurrency > 0
	c.paceTokens(now)
	c.paceRequests(now)
	return c
}

// paceTokens makes the pace of tokens that of their bucket. Where the gate decides, the pace may lag behind for a while: what
// is held in flight goes up and down, and the gate follows it.
func (c *core) paceTokens(now time.Time) {
	saves := 1.0
	if c.tpm > 0 && !c.gate.strict && !c.tokenPace.learned() {
		saves = gatedSaves
	}
	if !math.IsInf(c.tokenPace.limit(), 1) {
		saves = exactSaves
	}
	c.tokens.setRate(now, c.tokenPace.x, saves)
}

// paceRequests makes the pace of requests that of the rate limiter, with one second of it as burst.
func (c *core) paceRequests(now time.Time) {
	x := c.requestPace.x
	if math.IsInf(x, 1) {
		c.requests.SetLimitAt(now, rate.Inf)
		c.requests.SetBurstAt(now, 1)
		return
	}
	c.requests.SetLimitAt(now, rate.Limit(x))
	if burst := max(1, int(min(x, 1<<30))); burst != c.requests.Burst() {
		c.requests.SetBurstAt(now, burst)
	}
}

// drainRequests takes what the rate limiter has saved, but for one request.
func (c *core) drainRequests(now time.Time) {
	if n := int(c.requests.TokensAt(now)) - 1; n > 0 {
		c.requests.ReserveN(now, n)
	}
}

// account lets time pass for the statistics and for the growth of paces.
func (c *core) account(now time.Time) {
	d := now.Sub(c.asOf)
	if d <= 0 {
		return
	}
	c.asOf = now
	c.minute.advance(now)
	c.day.advance(now)
	c.waits[c.told()] += d
	if c.bound == byInput || c.bound == byConcurrency {
		c.tokenPace.idles(d)
	}
	c.streams.pass(d, c.inFlight)
	c.filled[c.bound] += d
	c.listen(now)
	if !c.boundPaced || c.rivals.standsBack() || c.inFlight > 0 && now.Sub(c.sign) > hungFor {
		return
	}
	switch c.bound {
	case byTokens:
		if p, served := &c.tokenPace, c.minute.sum.use/minute; p.top > 0 {
			p.regain(d, served, c.tokenFloor, c.bearing())
			c.paceTokens(now)
		} else if p.learned() {
			p.grow(d, served, c.tokenFloor, c.fill(now, 0))
			c.paceTokens(now)
		}
	case byRequests:
		if p := &c.requestPace; p.top > 0 {
			p.regain(d, c.minute.sum.accepted/minute, 1.0/minute, c.bearing())
			c.paceRequests(now)
		} else if p.learned() {
			// This pace gets no refunds, so noise takes its share of what it lets go.
			served := c.minute.sum.accepted / minute / (1 - whole(c.noise.known(now)))
			p.grow(d, served, 1.0/minute, fill{})
			c.paceRequests(now)
		}
	}
}

// told is what holds the head of the queue, as people ask for it. A caller that makes no more calls than may be in flight never waits
// for a stream; and a limit below theirs is none of theirs.
func (c *core) told() cause {
	allInFlight := float64(c.inFlight) >= c.streams.most
	switch {
	case c.bound == byInput && c.out:
		return byOutage
	case c.bound == byInput && allInFlight:
		return byConcurrency
	case c.bound == byConcurrency && !allInFlight:
		return byStreams
	}
	return c.bound
}

// waiting notes what the head of the queue waits for; byInput says that there is none. Account first.
func (c *core) waiting(now time.Time, v verdict) {
	c.bound, c.boundPaced = v.cause, v.paced
	if v.cause == byTokens || v.cause == byRequests {
		c.lastPaced, c.lastPacedT = v.cause, now
	}
}

// admit lets a request go, or says what it waits for.
func (c *core) admit(now time.Time, cost Cost) verdict {
	c.account(now)
	if at := c.daily.ready(now, dayProbe); at.After(now) {
		return verdict{cause: byDay, at: at}
	}
	expect := c.predict.expect(cost)
	held := max(math.Ceil(expect), c.predict.reserve(cost))
	beside := false // of a hold: it takes what was given back meanwhile
	if at := c.service.ready(now, c.verdictAfter()); at.After(now) {
		if beside = c.minutes.gives(now, held); !beside {
			return verdict{cause: byService, at: at}
		}
	}
	if c.drain && !beside {
		c.drain = false
		c.drainRequests(now)
	}
	if c.tpd > 0 && c.day.sum.held > 0 && c.day.sum.held+held > c.tpd {
		return verdict{cause: byDay, at: c.day.freed(max(0, c.tpd-held), heldTokens)}
	}
	if v := c.gated(now, held, expect); !v.at.IsZero() {
		return v
	}
	if at := c.tokens.ready(now); at.After(now) && !beside {
		return verdict{cause: byTokens, paced: true, at: soon(now, at)}
	}
	if c.rpm > 0 && c.minute.sum.sent > 0 && c.minute.sum.sent+1 > c.rpm {
		return verdict{cause: byRequests, at: c.minute.freed(max(0, c.rpm-1), sentRequests)}
	}
	paced := !math.IsInf(c.requestPace.x, 1) && !beside
	if paced {
		// The limiter has the last word below; it takes while it answers, so streams come first.
		if need := 1 - c.requests.TokensAt(now); need > 1e-9 {
			return verdict{cause: byRequests, paced: true, at: soon(now, now.Add(seconds(need/c.requestPace.x)))}
		}
	}
	if !c.streams.fits(c.inFlight) {
		return verdict{cause: byConcurrency}
	}
	if c.opens(now) {
		return verdict{cause: byConcurrency, at: c.first.Add(opening)}
	}
	if paced && !c.requests.AllowN(now, 1) {
		return verdict{cause: byRequests, paced: true, at: now.Add(time.Microsecond)}
	}

	if len(c.idle) == 0 {
		c.idle = append(c.idle, uint32(len(c.flights)))
		c.flights = append(c.flights, flight{})
	}
	id := c.idle[len(c.idle)-1]
	c.idle = c.idle[:len(c.idle)-1]
	if c.inFlight++; c.inFlight == 1 {
		c.sign = now
	}
	if c.first.IsZero() {
		c.first = now
		c.tokenFloor = max(1, expect) / minute
	}
	f := &c.flights[id]
	*f = flight{
		gen: f.gen + 1, live: true, cost: cost, began: now, among: int32(c.inFlight), n: c.verdicts.sent(),
		minute: c.minute.cur, day: c.day.cur, held: held, expect: expect,
		paced: !math.IsInf(c.tokens.rate, 1) && !beside,
	}
	c.gate.admitted(now, c.minute.sum.held)
	c.minute.add(f.minute, slot{held: held, use: expect, sent: 1, accepted: 1})
	c.day.add(f.day, slot{held: held})
	c.minutes.take(now, held)
	f.fill = c.fill(now, -held/2)
	f.fill.held = held
	if !beside {
		c.tokens.take(now, expect)
		c.service.admitted(now, id)
	}
	c.minutes.sent(now)
	c.streams.started(now)
	c.rivals.sent++
	c.gate.take(now, held)
	c.daily.admitted(now, id)
	return verdict{ok: true, id: id}
}

// gated tells what a stated quota of tokens has against a request, or a window that is known to hold only so much.
func (c *core) gated(now time.Time, held, expect float64) verdict {
	switch {
	case c.minute.sum.held > 0 && c.minute.sum.held+held > minute*c.tokenPace.limit():
		at := c.minute.freed(max(0, minute*c.tokenPace.limit()-held), heldTokens)
		return verdict{cause: byTokens, paced: true, at: soon(now, at)}
	case !(c.tpm > 0):
		return verdict{}
	case c.minute.sum.use > 0 && c.minute.sum.use*(1-c.hung)+expect > c.tpm:
		return verdict{cause: byTokens, at: c.minute.freed(max(0, (c.tpm-expect)/(1-c.hung)), usedTokens)}
	case c.gate.retry(now):
		c.paceTokens(now)
		c.tell(now, ControlService, "try", 1, 0, "what is not used may be given back at once after all")
	case !c.gate.strict:
	case c.minute.sum.held > 0 && c.minute.sum.held+held > c.tpm:
		return verdict{cause: byTokens, at: c.minute.freed(max(0, c.tpm-held), heldTokens)}
	}
	if c.gate.strict {
		return verdict{}
	}
	if at := c.gate.ready(now, held); at.After(now) {
		return verdict{cause: byTokens, paced: true, at: soon(now, at)}
	}
	return verdict{}
}

// soon bounds a wait for a pace, which may grow meanwhile.
func soon(now, at time.Time) time.Time {
	if most := now.Add(time.Second); at.After(most) {
		return most
	}
	return at
}

// verdictAfter is how long to wait for a refusal: more than a round trip.
func (c *core) verdictAfter() time.Duration {
	return min(max(probeLeast, c.refusal*3/2), probeMost)
}

// take ends a flight, if the generation is that of the permit.
func (c *core) take(now time.Time, id, gen uint32) (flight, bool) {
	if int(id) >= len(c.flights) {
		return flight{}, false
	}
	f := &c.flights[id]
	if !f.live || f.gen != gen {
		return flight{}, false
	}
	c.account(now)
	f.live, c.sign = false, now
	c.idle = append(c.idle, id)
	c.inFlight--
	if !f.first.IsZero() {
		c.talking--
	}
	return *f, true
}

// book replaces what a flight was thought to cost by what it did. One that is no more in a
// window owes there only what it took above its reservation, and owes it now.
func (c *core) book(now time.Time, f *flight, tokens float64, requests slot) {
	d := requests
	d.held, d.use = tokens-f.held, tokens-f.expect
	take := (*bucket).take
	if !c.minute.add(f.minute, d) {
		take = (*bucket).late
		if d.held > 0 {
			c.minute.add(c.minute.cur, slot{held: d.held})
		}
	}
	if !c.day.add(f.day, slot{held: d.held}) && d.held > 0 {
		c.day.add(c.day.cur, slot{held: d.held})
	}
	take(&c.gate.bucket, now, d.held)
	c.minutes.take(now, d.held)
	if f.paced && !f.kept { // else it would be given back what it never took
		take(&c.tokens, now, d.use)
	}
}

// succeed ends a flight that was served.
func (c *core) succeed(now time.Time, id, gen uint32, u Usage) {
	f, ok := c.take(now, id, gen)
	if !ok {
		return
	}
	c.book(now, &f, c.predict.settle(u), slot{})
	c.verdicts.ended()
	c.heard = true
	c.hung -= c.hung / hungOver
	c.predict.learn(f.cost, u, now.Sub(f.began))
	c.tellStreams(now, c.streams.succeeded(now, &f, u.Output))
	c.service.ended(id, false)
	c.daily.ended(id, false)
}

// opens says that the first streams of a job that knows nothing are on their way. Until anything but refusals is heard of them, whoever is refused is not
// replaced: a quota that is used up would refuse the next as well.
func (c *core) opens(now time.Time) bool {
	return !c.heard && c.inFlight > 0 && c.verdicts.n >= firstLimit && now.Sub(c.first) < opening
}

// firstToken notes that a flight's answer has begun, and tells whether more streams may be in flight for it.
func (c *core) firstToken(now time.Time, id, gen uint32) (room bool) {
	if int(id) >= len(c.flights) {
		return false
	}
	f := &c.flights[id]
	if !f.live || f.gen != gen || !f.first.IsZero() {
		return false
	}
	c.account(now)
	limit, opened := c.streams.limit, c.opens(now)
	f.first, c.sign, c.heard = now, now, true
	c.talking++
	c.tellStreams(now, c.streams.begun(now, f.began, float64(count(f.cost.Input)), f.among, c.talking))
	return opened || c.streams.limit > limit
}

// recovered ends an outage.
func (c *core) recovered(now, from time.Time) {
	c.account(now)
	c.tellStreams(now, c.streams.recovered(now, from))
}

// tellStreams reports a step of the limit of streams.
func (c *core) tellStreams(now time.Time, s step) {
	if s.action != "" {
		c.tell(now, ControlConcurrency, s.action, s.from, s.to, s.reason)
	}
}

// learned is what is worth keeping.
func (c *core) learned() Learned {
	return Learned{
		TokensPerMinute:   minute * c.tokenPace.confirmed(),
		RequestsPerMinute: minute * c.requestPace.confirmed(),
		Strict:            c.gate.strict,
		Concurrency:       c.streams.learned(),
	}
}

// mayBeMore says that a stated quota was filled for long without a refusal.
func (c *core) mayBeMore() bool {
	tokens := c.tpm > 0 && !c.tokenPace.learned() && !c.gate.strict && c.filled[byTokens] >= filledFor
	requests := c.rpm > 0 && !c.requestPace.learned() && c.filled[byRequests] >= filledFor
	return tokens || requests
}

// fail ends a flight that was not served, for reasons that are not the quota's.
func (c *core) fail(now time.Time, id, gen uint32, u Usage, overload bool) {
	f, ok := c.take(now, id, gen)
	if !ok {
		return
	}
	c.book(now, &f, c.predict.settle(u), slot{})
	c.verdicts.ended()
	c.heard = true
	hung := 0.0
	if u == (Usage{}) {
		hung = min(1, now.Sub(f.began).Minutes())
	}
	c.hung = min(c.hung+(hung-c.hung)/hungOver, hungMost)
	if overload {
		c.tellStreams(now, c.streams.overloaded(now, f.began, c.inFlight+1))
	}
	c.service.ended(id, false)
	c.daily.ended(id, true)
}

// unsend ends a flight that never left.
func (c *core) unsend(now time.Time, id, gen uint32) {
	f, ok := c.take(now, id, gen)
	if !ok {
		return
	}
	c.book(now, &f, 0, slot{sent: -1, accepted: -1})
	c.rivals.sent = max(0, c.rivals.sent-1)
	c.service.ended(id, true)
	c.daily.ended(id, true)
}

// restore books what an earlier run sent. It is no evidence of how much may be sent: there may be a gap, or little was wanted.
func (c *core) restore(now time.Time, age time.Duration, requests int64, tokens float64) {
	c.account(now)
	age = max(age, 0)
	tokens = math.Ceil(max(tokens, 0))
	n := float64(max(requests, 0))
	if age <= minute*time.Second {
		at := now.Add(-age)
		c.minute.add(c.minute.number(at), slot{held: tokens, use: tokens, sent: n, accepted: n})
	}
	if age <= 24*time.Hour {
		c.day.add(c.day.number(now.Add(-age)), slot{held: tokens})
	}
}
