package sim

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestParseLatency(t *testing.T) {
	ms := time.Millisecond
	tests := map[string]Latency{
		"200ms":                {Mean: 200 * ms},
		"200ms±50ms":           {Mean: 200 * ms, Spread: 50 * ms},
		"lognormal(200ms,0.4)": {Mean: 200 * ms, Sigma: 0.4},
		"0s":                   {},
	}
	for in, want := range tests {
		got, err := ParseLatency(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParseLatency(%q) = %+v (%s), %v, want %+v", in, got, got, err, want)
		}
	}
	if got, err := ParseLatency(" 1s +- 10ms "); err != nil || got != (Latency{Mean: time.Second, Spread: 10 * ms}) {
		t.Errorf("spaces: %+v, %v", got, err)
	}
	if got, err := ParseLatency(""); err != nil || got != (Latency{}) {
		t.Errorf("empty: %+v, %v", got, err)
	}
	for _, in := range []string{"200", "-1s", "1s±", "1s±-1s", "lognormal(1s)", "lognormal(1s,NaN)", "lognormal(1s,9", "lognormal(1s,9)", "x"} {
		if got, err := ParseLatency(in); err == nil {
			t.Errorf("ParseLatency(%q) = %+v, want an error", in, got)
		}
	}
}

// Draws have the mean they are named by, and are never negative.
func TestLatencyDraws(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, l := range []Latency{{Mean: time.Second}, {Mean: time.Second, Spread: time.Second}, {Mean: time.Second, Sigma: 0.4}, {Mean: time.Second, Sigma: 1}} {
		const n = 100_000
		var sum float64
		for range n {
			d := l.draw(rng)
			if d < 0 {
				t.Fatalf("%v drew %v", l, d)
			}
			sum += d.Seconds()
		}
		if mean := sum / n; math.Abs(mean-1) > 0.03 {
			t.Errorf("%v: mean %v", l, mean)
		}
	}
}
