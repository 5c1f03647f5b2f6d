package lab

import (
	"math"
	"slices"
	"time"
)

// Bound is the share of a quota that calls like these can use at most, where what a call reserves and does not use is taken from
// others until the call ends: E over the calls, D their durations, R reserved and U used, in windows of a minute
//
//	1 / (1 + E[min(D, 60 s) (R-U)] / (60 s E[U]))
//
// It is 1 for the shapes that give everything back, and where settlements are above reservations.
func Bound(shape Shape, calls []Call) float64 {
	if !shape.held() {
		return 1
	}
	waste, used := 0.0, 0.0
	for i := range calls {
		if c := &calls[i]; c.Fate == Answered || c.Hung && c.Fate == Cut {
			waste += min((c.End-c.At).Seconds(), window.Seconds()) * (c.Reserved - c.Used)
			used += c.Used
		}
	}
	if used == 0 {
		return 1
	}
	return 1 / (1 + max(0, waste)/(window.Seconds()*used))
}

// Jain is Jain's index of fairness: 1 when all are equal, 1/n when one has everything.
func Jain(values []float64) float64 {
	sum, squares := 0.0, 0.0
	for _, v := range values {
		sum += v
		squares += v * v
	}
	if squares == 0 {
		return 0
	}
	return sum * sum / (float64(len(values)) * squares)
}

// arrived are the calls that arrived in a span.
func arrived(calls []Call, in Span) []Call {
	at := func(t time.Duration) int {
		i, _ := slices.BinarySearchFunc(calls, t, func(c Call, t time.Duration) int { return int(c.At - t) })
		return i
	}
	return calls[at(in.From):max(at(in.From), at(in.To))]
}

// settled are the tokens of calls of a client that ended in a span; of all clients where client is negative.
func settled(calls []Call, in Span, client int) float64 {
	sum := 0.0
	for i := range calls {
		if c := &calls[i]; in.has(c.End) && (client < 0 || c.Client == client) {
			sum += c.Used
		}
	}
	return sum
}

// count is the number of calls with a fate.
func count(calls []Call, fate Fate) int {
	n := 0
	for i := range calls {
		if calls[i].Fate == fate {
			n++
		}
	}
	return n
}

// answeredTwice is the number of calls answered for a record that had been answered before.
func answeredTwice(calls []Call) (twice int64) {
	answered := map[int64]bool{}
	for i := range calls {
		if c := &calls[i]; c.Fate == Answered {
			if answered[c.Record] {
				twice++
			}
			answered[c.Record] = true
		}
	}
	return twice
}

// refusedShare is the part of calls that were refused.
func refusedShare(calls []Call) float64 {
	return float64(count(calls, Refused)) / float64(max(1, len(calls)))
}

// worstMinute is the largest share of refused calls in any minute from a moment on with at least 20 calls. What is left of the last minute is
// judged with what was before it: in part of one, one refusal of few calls would be a storm.
func worstMinute(calls []Call, from time.Duration) float64 {
	worst := 0.0
	if len(calls) == 0 {
		return worst
	}
	for at, end := from, calls[len(calls)-1].At; at <= end; at += time.Minute {
		to := min(at+time.Minute, end+1)
		if in := arrived(calls, Span{max(from, to-time.Minute), to}); len(in) >= 20 {
			worst = max(worst, refusedShare(in))
		}
	}
	return worst
}

// without are the calls of all clients but one.
func without(calls []Call, client int) []Call {
	return slices.DeleteFunc(slices.Clone(calls), func(c Call) bool { return c.Client == client })
}

// attemptsPerAnswer is how many calls that were not refused there were for each that was answered.
func attemptsPerAnswer(calls []Call) float64 {
	return float64(len(calls)-count(calls, Refused)) / float64(max(1, count(calls, Answered)))
}

// meanDuration is how long the answered calls took at the service.
func meanDuration(calls []Call) time.Duration {
	sum, n := time.Duration(0), time.Duration(0)
	for i := range calls {
		if c := &calls[i]; c.Fate == Answered {
			sum += c.End - c.At
			n++
		}
	}
	return sum / max(1, n)
}

// firstTokens is the q-quantile of the times to the first token.
func firstTokens(calls []Call, q float64) time.Duration {
	var all []time.Duration
	for i := range calls {
		if calls[i].FirstToken > 0 {
			all = append(all, calls[i].FirstToken)
		}
	}
	return quantile(all, q)
}

// quantile is the value that a share q of all, at least, does not exceed; 0 where there is none.
func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[int(math.Ceil(q*float64(len(sorted))))-1]
}

// inFlight is the mean number of calls at the service in a span.
func inFlight(calls []Call, in Span) float64 {
	sum := time.Duration(0)
	for i := range calls {
		sum += max(0, min(calls[i].End, in.To)-max(calls[i].At, in.From))
	}
	return sum.Seconds() / (in.To - in.From).Seconds()
}

// back is how long after a moment the first stretch of half a minute begins in which 95 % of the quota are settled;
// negative if there is none.
func back(calls []Call, quota Curve, from time.Duration) time.Duration {
	const stretch = 30 * time.Second
	var seconds []float64
	for i := range calls {
		if s := int((calls[i].End - from) / time.Second); calls[i].End >= from {
			for len(seconds) <= s {
				seconds = append(seconds, 0)
			}
			seconds[s] += calls[i].Used
		}
	}
	for s := range seconds {
		begin, sum := from+time.Duration(s)*time.Second, 0.0
		for _, tokens := range seconds[s:min(len(seconds), s+int(stretch/time.Second))] {
			sum += tokens
		}
		if sum >= 0.95*quota.Area(begin, begin+stretch) {
			return begin - from
		}
	}
	return -1
}
