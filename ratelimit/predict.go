package ratelimit

import (
	"math"
	"time"
)

const (
	remembered  = 50  // requests a mean looks back
	enough      = 100 // requests that tell how long outputs are
	roomy       = 2.5 // times the 99th percentile of outputs cuts hardly any of them
	outputSteps = 8   // of the histogram, for each doubling
	outputSlots = 40 * outputSteps
	outputsMost = 4096 // counts as many, then the old weigh half
)

// A predictor tells what a request will reserve and settle at, from those that did.
type predictor struct {
	burndown float64
	n        float64 // requests seen
	out      float64 // mean output tokens
	in       float64 // mean input tokens that settle, cache writes included
	seen     float64 // mean input tokens of any kind, cache reads too
	estimate float64 // mean input tokens as estimated before
	errors   float64 // mean error of the calibrated estimate, as a share
	used     float64 // mean tokens settled
	idle     float64 // mean tokens reserved and not used, times the share of a minute for which they were
	most     float64 // mean max_tokens,
	mostIdle float64 // the same times that share,
	lasts    float64 // and the share
	outputs  histogram
}

// count keeps a number of tokens within what sums exactly, thousands of times over.
func count(n int64) int64 { return min(max(n, 0), 1e12) }

// reserve is what the service takes at the start, if the input is estimated right.
func reserve(c Cost) float64 { return float64(count(c.Input)) + float64(count(c.MaxTokens)) }

// settle is what the service takes in the end.
func (p *predictor) settle(u Usage) float64 {
	return math.Ceil(min(float64(count(u.Input))+float64(count(u.CacheWrite))+float64(count(u.Output))*p.burndown, 1e13))
}

// reserve is what the service takes at the start, as far as inputs turn out to be as they did: all of the input, cache reads
// too, and max_tokens.
func (p *predictor) reserve(c Cost) float64 {
	return math.Ceil(p.input(c, p.seen)) + float64(count(c.MaxTokens))
}

// input corrects an estimate by what inputs turned out to be on average; the first are not trusted alone.
func (p *predictor) input(c Cost, mean float64) float64 {
	estimate := float64(count(c.Input))
	if p.estimate == 0 {
		return estimate
	}
	return estimate * (2 + p.n*min(mean/p.estimate, 4)) / (2 + p.n)
}

// expect predicts settle. It starts from the reservation: nothing else is known.
func (p *predictor) expect(c Cost) float64 {
	r := reserve(c)
	e := p.input(c, p.in) + min(p.out, float64(count(c.MaxTokens)))*p.burndown
	// The first to end are the short ones: the reservation weighs as much as two of them.
	return math.Ceil((2*r + p.n*e) / (2 + p.n))
}

// learn notes what a request used, and for how long its reservation was held.
func (p *predictor) learn(c Cost, u Usage, d time.Duration) {
	reserved := p.reserve(c)
	seen := float64(count(u.Input)) + float64(count(u.CacheRead)) + float64(count(u.CacheWrite))
	wrong := math.Abs(reserved - float64(count(c.MaxTokens)) - seen)
	p.n++
	w := 1 / min(p.n, remembered)
	if seen > 0 {
		p.errors += w * (min(wrong/seen, 10) - p.errors)
	}
	p.out += w * (float64(count(u.Output)) - p.out)
	p.in += w * (float64(count(u.Input)) + float64(count(u.CacheWrite)) - p.in)
	p.seen += w * (seen - p.seen)
	p.estimate += w * (float64(count(c.Input)) - p.estimate)
	used, lasts, most := p.settle(u), min(1, d.Minutes()), float64(count(c.MaxTokens))
	p.used += w * (used - p.used)
	p.idle += w * (max(0, reserved-used)*lasts - p.idle)
	p.most += w * (most - p.most)
	p.mostIdle += w * (most*lasts - p.mostIdle)
	p.lasts += w * (lasts - p.lasts)
	p.outputs.add(count(u.Output))
}

// reachable is the share of a quota that requests like those seen can settle at in a sliding minute.
func (p *predictor) reachable() float64 { return reachable(p.used, p.idle) }

func reachable(used, idle float64) float64 {
	if used == 0 {
		return 1
	}
	return used / (used + max(0, idle))
}

// advise tells which max_tokens would do for requests like those seen, and what would be reachable then; 0 if there
// is too little to tell by, or nothing to gain.
func (p *predictor) advise() (maxTokens int64, share float64) {
	if p.outputs.n < enough {
		return 0, 0
	}
	maxTokens = nice(roomy * p.outputs.quantile(0.99))
	if float64(maxTokens) >= p.most {
		return 0, 0
	}
	return maxTokens, reachable(p.used, p.idle-(p.mostIdle-float64(maxTokens)*p.lasts))
}

// nice rounds up to a number that people would choose.
func nice(x float64) int64 {
	scale := math.Pow(10, math.Floor(math.Log10(max(x, 10))))
	for _, n := range [...]float64{1, 1.5, 2, 3, 4, 5, 6, 8} {
		if n*scale >= x {
			return int64(n * scale)
		}
	}
	return int64(10 * scale)
}

// A histogram counts outputs in steps of an eighth of a doubling. The old fade: it holds the last few thousand.
type histogram struct {
	n     float64
	slots [outputSlots]float32
}

func (h *histogram) add(tokens int64) {
	if h.n >= outputsMost {
		h.n /= 2
		for i := range h.slots {
			h.slots[i] /= 2
		}
	}
	h.n++
	h.slots[min(outputSlots-1, int(outputSteps*math.Log2(float64(max(tokens, 1)))))]++
}

// quantile is the upper end of the step in which the share p of all is reached, 0 if there is nothing.
func (h *histogram) quantile(p float64) float64 {
	var sum float64
	for i, n := range h.slots {
		if sum += float64(n); sum > 0 && sum >= p*h.n {
			return math.Exp2(float64(i+1) / outputSteps)
		}
	}
	return 0
}
