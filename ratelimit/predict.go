package ratelimit

import (
	"math"
	"time"
)

// remembered is how many requests a mean looks back.
const remembered = 50

// A predictor tells what a request will settle at, from those that did.
type predictor struct {
	burndown float64
	n        float64 // requests seen
	out      float64 // mean output tokens
	in       float64 // mean input tokens, cache writes included
	estimate float64 // mean input tokens as estimated before
	used     float64 // mean tokens settled
	idle     float64 // mean tokens reserved and not used, times the share of a minute for which they were
}

// reserve is what the service takes at the start.
func reserve(c Cost) float64 { return float64(count(c.Input)) + float64(count(c.MaxTokens)) }

// count keeps a number of tokens within what sums exactly, thousands of times over.
func count(n int64) int64 { return min(max(n, 0), 1e12) }

// settle is what the service takes in the end.
func (p *predictor) settle(u Usage) float64 {
	return math.Ceil(min(float64(count(u.Input))+float64(count(u.CacheWrite))+float64(count(u.Output))*p.burndown, 1e13))
}

// expect predicts settle. It starts from the reservation: nothing else is known.
func (p *predictor) expect(c Cost) float64 {
	r := reserve(c)
	if p.n == 0 {
		return r
	}
	ratio := 1.0
	if p.estimate > 0 {
		ratio = min(p.in/p.estimate, 4) // cache reads lower it, bad estimates move it either way
	}
	e := float64(count(c.Input))*ratio + min(p.out, float64(count(c.MaxTokens)))*p.burndown
	// The first to end are the short ones: the reservation weighs as much as two of them.
	return math.Ceil((2*r + p.n*e) / (2 + p.n))
}

// learn notes what a request used, and for how long its reservation was held.
func (p *predictor) learn(c Cost, u Usage, d time.Duration) {
	p.n++
	w := 1 / min(p.n, remembered)
	p.out += w * (float64(count(u.Output)) - p.out)
	p.in += w * (float64(count(u.Input)) + float64(count(u.CacheWrite)) - p.in)
	p.estimate += w * (float64(count(c.Input)) - p.estimate)
	used := p.settle(u)
	p.used += w * (used - p.used)
	p.idle += w * (max(0, reserve(c)-used)*min(1, d.Minutes()) - p.idle)
}

// reachable is the share of a quota that requests like those seen can settle at in a sliding minute.
func (p *predictor) reachable() float64 {
	if p.used == 0 {
		return 1
	}
	return p.used / (p.used + p.idle)
}
