package ratelimit

import (
	"math"
	"time"
)

// What shows that refusals do not come from the pace.
const (
	trialLeast    = 15 * time.Second
	trialVerdicts = 50
	trialRefused  = 20
	quietBelow    = 0.02 // share of sporadic refusals; what comes after that counts
	quietWeight   = 0.2  // so much, since it is rather a quota
	worseLeast    = 5    // refusals more than before a cut, and
	worseTimes    = 5    // standard errors, are no noise
	noiseFirst    = time.Minute
	noiseMost     = 10 * time.Minute
	trialKept     = 0.8 // of what a trial saw that ended without a result counts in the next
	togetherSlots = 2   // of the minute's ledger: what was refused in so many was refused together
)

// noise is the share of refusals that comes whatever the pace. It is found by trial: a cut that does not halve the share of
// refusals has bought nothing.
type noise struct {
	share float64       // 0: none is known
	until time.Time     // until when it is believed
	lasts time.Duration // how long it was believed the last time

	open   bool      // a trial is on
	began  time.Time // the cut it judges
	from   uint64    // requests sent until then
	before float64   // share of refusals until then
	n, r   float64   // requests and refusals of earlier trials that ended without a result
	spread spread    // and when those were sent
	heads  float64   // refusals in this one
	quiet  bool      // hardly any came before it
}

// known is the share to be expected now.
func (q *noise) known(now time.Time) float64 {
	if now.Before(q.until) {
		return q.share
	}
	return 0
}

// lately says that some was known not long ago.
func (q *noise) lately(now time.Time) bool { return q.lasts > 0 && now.Sub(q.until) < noiseMost }

// fresh says that some is known, or was until no longer ago than it had been believed: if there is any, it is found again in that time.
func (q *noise) fresh(now time.Time) bool { return q.lasts > 0 && now.Sub(q.until) < q.lasts }

// explains says whether r refusals of n requests are no more than the noise that is known.
func (q *noise) explains(now time.Time, n, r float64) bool {
	p := q.known(now)
	return p > 0 && r <= n*p+3*math.Sqrt(n*p*(1-p))+2
}

// try begins a trial, before request n. Of the last sent requests refused were refused.
func (q *noise) try(now time.Time, n uint64, sent, refused float64, quiet bool) {
	q.open, q.began, q.from, q.heads = true, now, n, 0
	q.before = refused / max(1, sent)
	q.quiet = quiet
}

// weight is what a sporadic refusal counts for in the share of them that is to be expected. After a time without any, those
// that begin are rather those of a quota.
func (q *noise) weight() float64 {
	if q.open && q.quiet {
		return quietWeight
	}
	return 1
}

// least is how many of n requests may be refused without telling more than the share before.
func (q *noise) least(n float64) float64 { return 1 + n*q.before + 2*math.Sqrt(n*q.before) }

// most is how many of n requests may be refused, if the share before came whatever the pace. What refuses more at a lower pace
// is a quota that falls.
func (q *noise) most(n float64) float64 { return 2 + n*q.before + 3*math.Sqrt(n*q.before) }

// worse says that far more was refused since the cut than before it.
func (q *noise) worse(n uint64) bool {
	if n <= q.from {
		return false
	}
	usual := float64(n-q.from) * q.before
	return q.heads > worseLeast+usual+worseTimes*math.Sqrt(usual)
}

// usual says that no more refusals came since the cut than before it.
func (q *noise) usual(n uint64) bool {
	return !q.open || q.heads <= q.least(float64(n-min(n, q.from)))
}

// refused notes refusals of a request n.
func (q *noise) refused(n uint64, heads int) {
	if q.open && n > q.from {
		q.heads = max(0, q.heads+float64(heads))
	}
}

// judge, after the refusal of request n, ends the trial if there is enough to judge by. The ledger knows when requests were sent.
func (q *noise) judge(now time.Time, n uint64, l *ledger) (useless bool) {
	if !q.open || n <= q.from {
		return false
	}
	sent, refused := float64(n-q.from)+q.n, q.heads+q.r
	if now.Sub(q.began) < trialLeast || sent < trialVerdicts || refused < trialRefused {
		return false
	}
	spread := q.spread.plus(l.spread(q.began))
	q.void()
	known := min(q.known(now), q.before)
	share := refused / sent
	if whole(share) >= calmMost || share-known < (q.before-known)/2 || refused > q.most(sent) || spread.uneven() {
		return false
	}
	if q.lasts == 0 || now.Sub(q.until) > noiseMost {
		q.lasts = noiseFirst
	} else {
		q.lasts = min(2*q.lasts, noiseMost)
	}
	q.share, q.until = share, now.Add(q.lasts)
	return true
}

// drop ends a trial without a result, after n requests. What it saw counts in the next, where it may.
func (q *noise) drop(n uint64, l *ledger) {
	if q.open {
		q.open = false
		q.n, q.r = trialKept*(q.n+float64(n-min(n, q.from))), trialKept*(q.r+q.heads)
		q.spread = q.spread.plus(l.spread(q.began)).times(trialKept)
	}
}

// void forgets a trial.
func (q *noise) void() { q.open, q.n, q.r, q.spread = false, 0, 0, spread{} }

// A spread is how requests, and those of them that were refused, lie in time. Beside a client that takes all that is left a quota looks
// like noise, for it refuses at any pace. But it is used up for a second, and then is not, where noise refuses as often
// just after a refusal as at any other time.
type spread struct {
	sent, refused float64
	together      float64 // pairs of requests that were sent together,
	both          float64 // and of those pairs of which both were refused
}

func (s spread) plus(o spread) spread {
	return spread{s.sent + o.sent, s.refused + o.refused, s.together + o.together, s.both + o.both}
}

func (s spread) times(x float64) spread {
	return spread{x * s.sent, x * s.refused, x * s.together, x * s.both}
}

// uneven says that refusals come together more than by chance, by two standard errors.
func (s spread) uneven() bool {
	share := s.refused / max(1, s.sent)
	usual := s.together * share * share
	return s.both > 1+usual+2*math.Sqrt(usual)
}

// spread tells how what was sent after t, as far as a minute ago, lies in time.
func (l *ledger) spread(t time.Time) (s spread) {
	for n := max(l.number(t)+1, l.oldest()); n+togetherSlots-1 <= l.cur; n += togetherSlots {
		sent := l.between(n, n+togetherSlots-1, sentRequests)
		refused := sent - l.between(n, n+togetherSlots-1, acceptedRequests)
		s = s.plus(spread{sent: sent, refused: refused, together: sent * (sent - 1) / 2, both: refused * (refused - 1) / 2})
	}
	return s
}
