package pipeline

import (
	"math/rand/v2"
	"testing"
	"time"
)

// However the jitter of single probes falls, twenty minutes see no more than forty of them, and none comes later than the cap after
// the one before.
func TestProbesAreFewAndNeverLate(t *testing.T) {
	for name, random := range map[string]func() float64{
		"as early as can be": func() float64 { return 0 },
		"as late as can be":  func() float64 { return 1 },
		"by chance":          rand.New(rand.NewPCG(1, 1)).Float64,
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(0, 0)
			var g gate
			probes, last := 0, start
			for g.shut(Outage, start, random); g.probeAt.Sub(start) <= 20*time.Minute; g.wait(last, random) {
				if gap := g.probeAt.Sub(last); gap > probeGapCap || gap <= 0 {
					t.Errorf("probe %d comes %v after the one before, want at most %v", probes+1, gap, probeGapCap)
				}
				probes++
				last = g.probeAt
			}
			if probes < 30 || probes > 40 {
				t.Errorf("%d probes in twenty minutes, want 30 to 40", probes)
			}
		})
	}
}

// Runners that meet an outage at the same moment do not probe together.
func TestRunnersProbeApart(t *testing.T) {
	start := time.Unix(0, 0)
	at := map[time.Duration]int{}
	const runners, probes, apart = 20, 20, 10 * time.Millisecond
	for seed := range uint64(runners) {
		random := rand.New(rand.NewPCG(seed, 2)).Float64
		var g gate
		g.shut(Outage, start, random)
		for range probes {
			at[g.probeAt.Sub(start).Truncate(apart)]++
			g.wait(g.probeAt, random)
		}
	}
	for when, n := range at {
		if n > 6 { // four or so of the first, which fall in 400 ms
			t.Errorf("%d of %d runners probe within the same %v, %v after the beginning", n, runners, apart, when)
		}
	}
}
