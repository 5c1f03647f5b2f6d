package lab

import (
	"math"
	"math/rand/v2"
	"time"
)

// A Workload is a kind of record.
type Workload struct {
	Input, MaxTokens int64
	Mean             float64       // of the output tokens: exponential, at least 1, cut at MaxTokens
	FirstToken       time.Duration // of the service without load, its network not included; the median where it varies
	Spread           float64       // standard deviation of its logarithm; 0: it is always the same
	Token            time.Duration // for each output token after it
}

// The workloads.
var (
	plain      = Workload{Input: 500, MaxTokens: 480, Mean: 210, FirstToken: 500 * time.Millisecond, Token: 17 * time.Millisecond}
	large      = Workload{Input: 6700, MaxTokens: 480, Mean: 210, FirstToken: 500 * time.Millisecond, Token: 17 * time.Millisecond} // settles at ten times plain
	longTailed = Workload{Input: 300, MaxTokens: 2000, Mean: 200, FirstToken: 500 * time.Millisecond, Token: 15 * time.Millisecond}
)

// A demand is what one record asks for and gets.
type demand struct {
	input, maxTokens, output int64
	first, stream            time.Duration // without load: to the first token, and from there to the last
}

func (d demand) reserved() float64 { return float64(d.input + d.maxTokens) }

func (d demand) used(burndown float64) float64 { return float64(d.input) + float64(d.output)*burndown }

// draw makes the demand of a record: always the same for the same seed and number.
func (w Workload) draw(seed uint64, record int64) demand {
	rng := rand.New(rand.NewPCG(seed, uint64(record)))
	out := int64(max(1, min(float64(w.MaxTokens), rng.ExpFloat64()*w.Mean)))
	first := w.FirstToken
	if w.Spread > 0 {
		first = time.Duration(float64(first) * math.Exp(w.Spread*rng.NormFloat64()))
	}
	return demand{
		input: w.Input, maxTokens: w.MaxTokens, output: out,
		first: first, stream: time.Duration(out) * w.Token,
	}
}
