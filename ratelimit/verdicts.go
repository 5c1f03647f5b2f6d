package ratelimit

import (
	"math"
	"time"
)

const (
	remember  = 2048 // requests, in the order in which they were sent,
	weighed   = 256  // and so many of them are weighed
	calmOver  = 300  // requests over which the share of sporadic refusals is a running mean
	calmPrior = 32
	calmFirst = 0.19 // that share, while nothing is known: what is new is not taken for exhausted at once
	calmLeast = 0.001
	calmMost  = 0.35
	tired     = 0.8 // the share an exhausted quota refuses, at least
	convinced = 1e5 // the odds at which a quota counts as exhausted,
	doubtful  = 500 // the same after a pause for a sporadic refusal, times the requests sent since,
	relapsed  = 20  // and after a pause for an exhausted quota
)

// verdicts tells refusals of an exhausted quota, which come in a row, from sporadic ones, which come between
// admissions. In the order of sending, every request refused raises the odds that the quota is exhausted, every
// other lowers them (a CUSUM test), and by how much depends on the share of sporadic refusals seen before.
type verdicts struct {
	n     uint64 // requests sent
	ring  [remember]sending
	over  float64 // requests that ended, and the calmPrior of which calmFirst is the share refused
	calm  float64 // the share of sporadic refusals
	held  uint64  // requests sent until the last pause
	doubt float64 // doubtful or relapsed, for the last pause
}

// A sending is a request sent, and what became of it.
type sending struct {
	refused bool
	head    bool // refused, and the one before not, as far as is known
}

func (v *verdicts) at(n uint64) *sending { return &v.ring[n%remember] }

// sent notes a request and returns its number; the first is 1.
func (v *verdicts) sent() uint64 {
	v.n++
	*v.at(v.n) = sending{}
	return v.n
}

// ended notes the end of a request that was not refused.
func (v *verdicts) ended() {
	v.over = min(v.over+1, calmOver)
	v.calm -= v.calm / v.over
}

// refused notes the refusal of a request. It tells how many more refusals than before follow no other, as nearly all that
// are sporadic do: -1, 0 or 1, since refusals do not come back in order.
func (v *verdicts) refused(n uint64, weight float64) int {
	if n+remember <= v.n+1 { // long ago: a stream refused in the middle
		return 0
	}
	heads := 0
	s := v.at(n)
	s.refused, s.head = true, !v.at(n-1).refused
	if s.head {
		heads++
		v.over = min(v.over+1, calmOver)
		v.calm += weight * (1 - v.calm) / v.over
	}
	if next := v.at(n + 1); n < v.n && next.head {
		next.head = false
		heads--
		v.calm = max(0, v.calm-weight/v.over)
	}
	return heads
}

// exhausted weighs the requests sent up to number n, just refused, where a share p of refusals would be sporadic. One
// before it that has not been refused by now was admitted: refusals come back in order, more or less. What
// was sent after it does not count, since of that only refusals would be known.
func (v *verdicts) exhausted(n uint64, p float64) bool {
	if n+remember <= v.n {
		return false
	}
	p = min(max(whole(p), calmLeast), calmMost)
	up, down := math.Log(tired/p), math.Log((1-p)/(1-tired))
	enough := math.Log(convinced)
	if v.held > 0 {
		enough = min(enough, math.Log(v.doubt*float64(max(1, n-min(n, v.held)))))
	}
	oldest := v.n - min(v.n, remember)
	var odds float64
	for i := max(oldest, n-min(n, weighed)) + 1; i <= n; i++ {
		if v.at(i).refused {
			odds = min(odds+up, enough)
		} else {
			odds = max(0, odds-down)
		}
	}
	return odds >= enough
}

// whole is the share of refusals where heads is that of refusals that do not follow another, if they come at random.
func whole(heads float64) float64 { return (1 - math.Sqrt(max(0, 1-4*heads))) / 2 }

// paused notes a pause after a refusal.
func (v *verdicts) paused(exhausted bool) {
	v.held, v.doubt = v.n, doubtful
	if exhausted {
		v.doubt = relapsed
	}
}

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

// judge, after the refusal of request n, ends the trial if there is enough to judge by.
func (q *noise) judge(now time.Time, n uint64) (useless bool) {
	if !q.open || n <= q.from {
		return false
	}
	sent, refused := float64(n-q.from)+q.n, q.heads+q.r
	if now.Sub(q.began) < trialLeast || sent < trialVerdicts || refused < trialRefused {
		return false
	}
	q.void()
	known := min(q.known(now), q.before)
	share := refused / sent
	if whole(share) >= calmMost || share-known < (q.before-known)/2 || refused > q.most(sent) {
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
func (q *noise) drop(n uint64) {
	if q.open {
		q.open = false
		q.n, q.r = 0.8*(q.n+float64(n-min(n, q.from))), 0.8*(q.r+q.heads)
	}
}

// void forgets a trial.
func (q *noise) void() { q.open, q.n, q.r = false, 0, 0 }
