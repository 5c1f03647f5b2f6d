package ratelimit

import "math"

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
