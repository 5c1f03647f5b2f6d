package price

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func meter(t *testing.T, e *Entry, multiplier float64) Meter {
	t.Helper()
	m, ok := e.Meter(multiplier)
	if !ok {
		t.Fatalf("line %d has no prices for tokens", e.Line)
	}
	return m
}

// TestMeter: what a meter says is what Bill says, to less than a part of Pico for each token, and never less.
func TestMeter(t *testing.T) {
	tab := table(t, good)
	rapid.Check(t, func(rt *rapid.T) {
		e := &tab.Entries[rapid.SampledFrom([]int{0, 1}).Draw(rt, "entry")]
		m, _ := e.Meter(1)
		n := rapid.Int64Range(0, 500)
		c := Count{n.Draw(rt, "input"), n.Draw(rt, "output"), n.Draw(rt, "read"), n.Draw(rt, "5m"), n.Draw(rt, "1h")}
		bill := e.Bill(Tokens{float64(c.Input), float64(c.Output), float64(c.CacheRead), float64(c.CacheWrite5m), float64(c.CacheWrite1h)}).Total() * Pico
		got := m.Cost(c)
		if float64(got) < bill-1 || float64(got) > bill+float64(c.Input+c.Output+c.CacheRead+c.CacheWrite5m+c.CacheWrite1h)+1 {
			rt.Errorf("Cost(%+v) = %d, Bill says %v", c, got, bill)
		}
		if most := m.Most(c.Input+c.CacheRead+c.CacheWrite5m+c.CacheWrite1h, c.Output, true); most < got {
			rt.Errorf("Most of %+v = %d, less than its Cost of %d", c, most, got)
		}
	})
}

func TestMeterRounding(t *testing.T) {
	per := func(input, output float64) *Entry {
		return &Entry{Rates: Rates{input, output}, CacheRead: Absent, CacheWrite5m: Absent, CacheWrite1h: Absent, per: 1_000_000}
	}
	tests := map[string]struct {
		m    Meter
		of   Count
		want int64
	}{
		"three a million":              {meter(t, per(3, 15), 1), Count{Input: 7, Output: 2}, 7*3_000_000 + 2*15_000_000},
		"decimals stay exact":          {meter(t, per(0.035, 0.1), 1), Count{Input: 1_000_000, Output: 3}, 35_000_000_000 + 3*100_000},
		"less than a part is rounded":  {meter(t, per(1e-9, 0), 1), Count{Input: 5}, 5},
		"a tier has its factor":        {meter(t, per(3, 15), 1.75), Count{Output: 2}, 2 * 26_250_000},
		"the dearer of two":            {meter(t, per(3, 15), 1).Or(meter(t, per(4, 1), 1)), Count{Input: 1, Output: 1}, 19_000_000},
		"too much is a lot, not less":  {meter(t, per(1e9, 1e9), 1), Count{Input: math.MaxInt64, Output: math.MaxInt64}, dearest},
		"the zero Meter bills nothing": {Meter{}, Count{1, 1, 1, 1, 1}, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.m.Cost(tt.of); got != tt.want {
				t.Errorf("Cost(%+v) = %d, want %d", tt.of, got, tt.want)
			}
		})
	}
	if _, ok := (&Entry{Rates: Rates{Absent, Absent}}).Meter(1); ok {
		t.Error("an entry without prices for tokens has a Meter")
	}
}
