package jobs

import (
	"testing"
	"time"

	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// An answer in one piece has no first token, and must not pass for one that came at once.
func TestMetricsOfAbsentFirstTokens(t *testing.T) {
	m := newMetrics(func() state.Counts { return state.Counts{} }, func() pipeline.Gauges { return pipeline.Gauges{} },
		func() ratelimit.Snapshot { return ratelimit.Snapshot{} })
	for _, first := range []time.Duration{-1, time.Second, -1} {
		m.AttemptDone(&pipeline.Attempt{Timing: pipeline.Timing{FirstToken: first}})
	}
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "batchrun_first_token_seconds" {
			continue
		}
		if h := f.GetMetric()[0].GetHistogram(); h.GetSampleCount() != 1 || h.GetSampleSum() != 1 {
			t.Errorf("%d first tokens of %v s, want 1 of 1 s", h.GetSampleCount(), h.GetSampleSum())
		}
		return
	}
	t.Error("no first tokens are shown")
}

// A run whose spending is counted shows where it stands.
func TestMetricsOfSpending(t *testing.T) {
	m := newMetrics(func() state.Counts { return state.Counts{} }, func() pipeline.Gauges { return pipeline.Gauges{} },
		func() ratelimit.Snapshot { return ratelimit.Snapshot{} })
	m.spends(func() *report.Spending {
		return &report.Spending{Cost: 3, UnsureCost: 1, HeldCost: 2, MaxCost: 10, Tokens: 7, MaxTokens: 9}
	})
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
	}
	for name, want := range map[string]float64{
		"batchrun_cost_spent": 3, "batchrun_cost_unsure": 1, "batchrun_cost_held": 2, "batchrun_cost_bound": 10,
		"batchrun_tokens_spent": 7, "batchrun_tokens_bound": 9,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}
