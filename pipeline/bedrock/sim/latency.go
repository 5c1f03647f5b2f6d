package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// A Latency is a distribution of times. The zero value is no time at all.
//
// With neither Spread nor Sigma every draw is Mean; with Spread draws are uniform in
// Mean±Spread; with Sigma they are lognormal with this mean, Sigma being the standard deviation
// of the logarithm. No draw is negative.
type Latency struct {
	Mean   time.Duration
	Spread time.Duration
	Sigma  float64
}

// ParseLatency reads a Latency: "200ms" (fixed), "200ms±50ms" or "200ms+-50ms" (uniform), or
// "lognormal(200ms,0.4)". An empty string is the zero Latency.
func ParseLatency(s string) (Latency, error) {
	l, err := parseLatency(strings.TrimSpace(s))
	if err == nil {
		err = l.validate()
	}
	if err != nil {
		return Latency{}, fmt.Errorf("latency %q: %w (want 200ms, 200ms±50ms or lognormal(200ms,0.4))", s, err)
	}
	return l, nil
}

func parseLatency(s string) (l Latency, err error) {
	if s == "" {
		return l, nil
	}
	if args, ok := strings.CutPrefix(s, "lognormal("); ok {
		mean, sigma, found := strings.Cut(strings.TrimSuffix(args, ")"), ",")
		if !found || !strings.HasSuffix(args, ")") {
			return l, fmt.Errorf("lognormal needs a mean and a sigma")
		}
		if l.Mean, err = time.ParseDuration(strings.TrimSpace(mean)); err != nil {
			return l, err
		}
		l.Sigma, err = strconv.ParseFloat(strings.TrimSpace(sigma), 64)
		return l, err
	}
	mean, spread, found := strings.Cut(strings.Replace(s, "+-", "±", 1), "±")
	if l.Mean, err = time.ParseDuration(strings.TrimSpace(mean)); err != nil || !found {
		return l, err
	}
	l.Spread, err = time.ParseDuration(strings.TrimSpace(spread))
	return l, err
}

func (l Latency) validate() error {
	switch {
	case l.Mean < 0, l.Spread < 0:
		return fmt.Errorf("must not be negative")
	case !(l.Sigma >= 0 && l.Sigma <= 5): // refuses NaN as well
		return fmt.Errorf("sigma must be from 0 to 5, not %v", l.Sigma)
	case l.Spread > 0 && l.Sigma > 0:
		return fmt.Errorf("a spread and a sigma exclude each other")
	}
	return nil
}

// String is what [ParseLatency] reads.
func (l Latency) String() string {
	switch {
	case l.Sigma > 0:
		return fmt.Sprintf("lognormal(%v,%v)", l.Mean, l.Sigma)
	case l.Spread > 0:
		return fmt.Sprintf("%v±%v", l.Mean, l.Spread)
	}
	return l.Mean.String()
}

func (l Latency) draw(rng *rand.Rand) time.Duration {
	switch {
	case l.Sigma > 0 && l.Mean > 0:
		mu := math.Log(float64(l.Mean)) - l.Sigma*l.Sigma/2
		return time.Duration(min(math.Exp(mu+l.Sigma*rng.NormFloat64()), float64(24*time.Hour)))
	case l.Spread > 0:
		return max(0, l.Mean-l.Spread+time.Duration(rng.Int64N(int64(2*l.Spread)+1)))
	}
	return l.Mean
}
