package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/batchrun/batchrun/jobs/price"
)

const tariffTable = `currency: USD
per: 1000000
prices:
  - {model: "vendor.model-*", input: 1, output: 5, tier_multiplier: {priority: 2, flex: 0.5}}
  - {model: "vendor.model-*", latency: optimized, input: 0.5, output: 9}
  - {model: "vendor.model-*", scope: eu, input: 2, output: 10}
  - {model: "vendor.model-*", effective_from: 2026-07-01, input: 3, output: 15}
  - {model: vendor.hourly, provisioned: {hourly_per_mu: 10, commitment: none}}
  - {model: "provisioned-model/*", input: 1, output: 1}
`

// The dearest price that a call may be billed at holds: the service may answer by its default tier and latency.
func TestTariff(t *testing.T) {
	june := time.Date(2026, 6, 30, 23, 0, 0, 0, time.UTC)
	const profile = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl"
	tests := map[string]struct {
		use           price.Use
		foundation    string
		input, output int64  // of a million tokens, in micro
		fault         string // and a hint
	}{
		"the model":                    {use: price.Use{ModelID: "vendor.model-1"}, input: 1e6, output: 5e6},
		"a profile's geography":        {use: price.Use{ModelID: "eu.vendor.model-1"}, input: 2e6, output: 10e6},
		"a dearer tier":                {use: price.Use{ModelID: "vendor.model-1", Tier: "priority"}, input: 2e6, output: 10e6},
		"a cheaper tier":               {use: price.Use{ModelID: "vendor.model-1", Tier: "flex"}, input: 1e6, output: 5e6},
		"another latency":              {use: price.Use{ModelID: "vendor.model-1", Latency: "optimized"}, input: 1e6, output: 9e6},
		"the model behind an ARN":      {use: price.Use{ModelID: profile}, foundation: "vendor.model-1", input: 1e6, output: 5e6},
		"a tier that is not there":     {use: price.Use{ModelID: "vendor.model-1", Tier: "reserved"}, fault: "has no price for vendor.model-1 in us-east-1, tier reserved"},
		"a model that is not there":    {use: price.Use{ModelID: "vendor.other"}, fault: "has no price for vendor.other"},
		"paid by the hour":             {use: price.Use{ModelID: "vendor.hourly"}, fault: "has no prices by token"},
		"throughput, whatever it says": {use: price.Use{ModelID: "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl"}, fault: "paid for by the hour"},
		"an imported model":            {use: price.Use{ModelID: "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl"}, fault: "paid for by the minutes"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			table, err := price.Load("p.yaml", []byte(tariffTable))
			if err != nil {
				t.Fatal(err)
			}
			tar := &tariff{table: table, file: "p.yaml", use: tt.use}
			err = tar.find("us-east-1", tt.foundation, june)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) || hintOf(err, "") == "" {
					t.Errorf("find = %v, want %q and a hint", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m := tar.at(june)
			if in, out := m.Cost(price.Count{Input: 1}), m.Cost(price.Count{Output: 1}); in != tt.input || out != tt.output {
				t.Errorf("a token costs %d in and %d out, want %d and %d", in, out, tt.input, tt.output)
			}
		})
	}
}

// A price that comes into force in the middle of a run holds from then on.
func TestTariffOverMidnight(t *testing.T) {
	table, err := price.Load("p.yaml", []byte(tariffTable))
	if err != nil {
		t.Fatal(err)
	}
	tar := &tariff{table: table, file: "p.yaml", use: price.Use{ModelID: "vendor.model-1"}}
	evening := time.Date(2026, 6, 30, 23, 59, 59, 0, time.UTC)
	if err := tar.find("us-east-1", "", evening); err != nil {
		t.Fatal(err)
	}
	for at, want := range map[time.Time]int64{evening: 1e6, evening.Add(time.Second): 3e6} {
		m := tar.at(at)
		if got := m.Cost(price.Count{Input: 1}); got != want {
			t.Errorf("at %v a token costs %d, want %d", at, got, want)
		}
	}
}

// No bound is rounded away: 0 stands for none.
func TestPico(t *testing.T) {
	for amount, want := range map[float64]int64{0: 0, 50: 50 * price.Pico, 0.1: price.Pico / 10, 1e-12: 1, 50 - 49.99999999999999: 1, 1e6: 1e6 * price.Pico} {
		if got := pico(amount); got != want {
			t.Errorf("pico(%v) = %d, want %d", amount, got, want)
		}
	}
}
