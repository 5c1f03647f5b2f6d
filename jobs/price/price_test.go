package price

import (
	"errors"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const good = `# made-up figures
currency: EUR
per: 1000
prices:
  - model: anthropic.claude-sonnet-4-5-*
    input: 3
    output: 15
    cache_read: 0.3
    cache_write_5m: 3.75
    cache_write_1h: 6
    long_context: {threshold_input_tokens: 200, input: 6, output: 20}
    tier_multiplier: {batch: 0.5, flex: 0.4}
  - {model: anthropic.claude-*, input: 1, output: 2}
  - {model: anthropic.claude-sonnet-4-5-*, scope: [us, eu-west-1], input: 30, output: 150}
  - {model: anthropic.claude-sonnet-4-5-*, scope: us, effective_from: 2026-07-01, input: 31, output: 151}
  - {model: anthropic.claude-sonnet-4-5-*, tier: flex, input: 1.1, output: 2.2}
  - {model: anthropic.claude-sonnet-4-5-*, latency: optimized, input: 9, output: 9}
  - {model: provisioned-model/*, provisioned: {hourly_per_mu: 44, commitment: 1-month}}
`

func table(t *testing.T, text string) *Table {
	t.Helper()
	tab, err := Load("prices.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

func TestFind(t *testing.T) {
	tab := table(t, good)
	june, july := time.Date(2026, 6, 30, 23, 0, 0, 0, time.UTC), time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	const sonnet = "anthropic.claude-sonnet-4-5-20250929-v1:0"
	tests := map[string]struct {
		use    Use
		input  float64 // of the entry found; negative: none has token prices
		factor float64 // 0: nothing is found
	}{
		"the plain id":                       {Use{ModelID: sonnet, Region: "us-west-2", At: june}, 3, 1},
		"its ARN":                            {Use{ModelID: "arn:aws:bedrock:us-west-2::foundation-model/" + sonnet, Region: "us-west-2", At: june}, 3, 1},
		"a shorter pattern for another":      {Use{ModelID: "anthropic.claude-3-haiku-20240307-v1:0", At: june}, 1, 1},
		"the profile's geography":            {Use{ModelID: "us." + sonnet, Region: "us-west-2", At: june}, 30, 1},
		"a profile's ARN":                    {Use{ModelID: "arn:aws:bedrock:us-west-2:123456789012:inference-profile/us." + sonnet, At: june}, 30, 1},
		"a geography without an entry":       {Use{ModelID: "global." + sonnet, Region: "us-west-2", At: june}, 3, 1},
		"the Region of a call":               {Use{ModelID: "global." + sonnet, Region: "eu-west-1", At: june}, 30, 1},
		"a price that has come into force":   {Use{ModelID: "us." + sonnet, At: july}, 31, 1},
		"a tier with its own entry":          {Use{ModelID: sonnet, Tier: "flex", At: june}, 1.1, 1},
		"a tier with a multiplier":           {Use{ModelID: sonnet, Tier: "batch", At: june}, 3, 0.5},
		"a tier that is not there":           {Use{ModelID: sonnet, Tier: "priority", At: june}, 0, 0},
		"another latency":                    {Use{ModelID: sonnet, Latency: "optimized", At: june}, 9, 1},
		"another vendor":                     {Use{ModelID: "amazon.nova-lite-v1:0", At: june}, 0, 0},
		"provisioned throughput":             {Use{ModelID: "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl", At: june}, Absent, 1},
		"no geography: the vendor is no one": {Use{ModelID: "anthropic.claude-v2", At: june}, 1, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e, factor, ok := tab.Find(tt.use)
			if !ok {
				if tt.factor != 0 {
					t.Fatalf("Find(%+v) finds nothing", tt.use)
				}
				return
			}
			if e.Input != tt.input || factor != tt.factor {
				t.Errorf("Find(%+v) = input %v times %v, want %v times %v", tt.use, e.Input, factor, tt.input, tt.factor)
			}
		})
	}
}

// TestExample: the table that the documentation names is one.
func TestExample(t *testing.T) {
	data, err := os.ReadFile("../../examples/prices.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := len(table(t, string(data)).Entries); got != 3 {
		t.Errorf("%d entries, want 3", got)
	}
}

func TestBill(t *testing.T) {
	tab := table(t, good)
	full, short := &tab.Entries[0], &tab.Entries[1]
	tests := map[string]struct {
		e    *Entry
		of   Tokens
		want Amount // for 1,000 tokens
	}{
		"input and output": {full, Tokens{Input: 100, Output: 10}, Amount{Input: 300, Output: 150}},
		"cache": {
			full,
			Tokens{CacheRead: 10, CacheWrite5m: 4, CacheWrite1h: 2},
			Amount{CacheRead: 3, CacheWrite: 4*3.75 + 2*6},
		},
		"the threshold itself is not long": {full, Tokens{Input: 200, Output: 1}, Amount{Input: 600, Output: 15}},
		"a long context is dearer as a whole": {
			full,
			Tokens{Input: 191, CacheRead: 10, Output: 1},
			Amount{Input: 191 * 6, Output: 20, CacheRead: 10 * 0.3 * 2},
		},
		"no cache prices: as input":     {short, Tokens{CacheRead: 5, CacheWrite5m: 5}, Amount{CacheRead: 5, CacheWrite: 5}},
		"provisioned tokens have none":  {&tab.Entries[6], Tokens{Input: 5, Output: 5}, Amount{}},
		"nothing is nothing, not a NaN": {full, Tokens{}, Amount{}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.e.Bill(tt.of)
			near := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) < 1e-9 })
			if diff := cmp.Diff(tt.want.Times(1./1000), got, near); diff != "" {
				t.Errorf("Bill(%+v) (-want +got):\n%s", tt.of, diff)
			}
		})
	}
}

// TestFaults: all faults of a table are told at once, each with its place and field.
func TestFaults(t *testing.T) {
	tests := map[string]struct {
		text string
		want []string // how each begins
	}{
		"nothing":        {"", []string{"p.yaml:1:1: expected a mapping with currency, per, prices, not nothing"}},
		"not YAML":       {"prices: [", []string{"p.yaml:1:9: not YAML: "}},
		"two documents":  {"currency: USD\n---\nper: 1000\n", []string{"p.yaml:3:4: a second document"}},
		"not UTF-8":      {"\xff", []string{"p.yaml:1:1: not UTF-8"}},
		"deep":           {strings.Repeat("[", 100), []string{"p.yaml:1:9: too much"}},
		"nothing in it":  {"prices: []\n", []string{"p.yaml:1:7: currency: required", "p.yaml:1:7: per: required", "p.yaml:1:9: prices: expected a list of entries, not an empty list"}},
		"no list":        {"currency: USD\nper: 1000\nprices: 3\n", []string{`p.yaml:3:9: prices: expected a list of entries, not "3"`}},
		"every one told": {everyFault, everyFaultWant},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tab, err := Load("p.yaml", []byte(tt.text))
			bad, ok := errors.AsType[*TableError](err)
			if !ok || tab != nil {
				t.Fatalf("Load = %v, %v; want a *TableError", tab, err)
			}
			got := strings.Split(bad.Error(), "\n")
			for i := range max(len(got), len(tt.want)) {
				g, w := at(got, i), at(tt.want, i)
				if w == "" || !strings.HasPrefix(g, w) {
					t.Errorf("fault %d: %q\n    want it to begin with %q", i, g, w)
				}
			}
		})
	}
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return ""
}

const everyFault = `currency: dollars
per: 100
price: 3
per: 1000
prices:
  - model: us.anthropic.claude-x
    input: -1
    output: cheap
    cache_read: .inf
    tier: gold
    latency: fast
    scope: []
    effective_from: 2026-02-30
    colour: red
    input: 2
  - output: 1
    long_context: {threshold_input_tokens: 1.5, input: 2}
    tier_multiplier: {reserved: 1, flex: null}
  - model: x
    cache_read: 1
    provisioned: {hourly_per_mu: "3", commitment: 2-weeks}
    reserved: {}
  - {model: y, scope: [us, eu], input: 1, output: 1}
  - {model: y, scope: eu, tier: default, input: 1, output: 1}
  - text
`

var everyFaultWant = []string{
	`p.yaml:1:11: currency: expected three capital letters, such as USD, not "dollars"`,
	`p.yaml:2:6: per: expected 1000 or 1000000`,
	`p.yaml:3:1: price: unknown field; the fields here are currency, per, prices`,
	`p.yaml:4:1: per: given twice`,
	`p.yaml:6:12: prices[0].model: expected a model without us. in front`,
	`p.yaml:7:12: prices[0].input: expected a number of at least 0, not "-1"`,
	`p.yaml:8:13: prices[0].output: expected a number of at least 0, not "cheap"`,
	`p.yaml:9:17: prices[0].cache_read: expected a number of at least 0, not ".inf"`,
	`p.yaml:10:11: prices[0].tier: expected one of default, priority, flex, reserved, not "gold"`,
	`p.yaml:11:14: prices[0].latency: expected one of standard, optimized, not "fast"`,
	`p.yaml:12:12: prices[0].scope: expected Regions or geographies, such as us-east-1 or us, not an empty list`,
	`p.yaml:13:21: prices[0].effective_from: expected a date such as 2026-01-31, not "2026-02-30"`,
	`p.yaml:14:5: prices[0].colour: unknown field`,
	`p.yaml:15:5: prices[0].input: given twice`,
	`p.yaml:16:11: prices[1].model: required`,
	`p.yaml:16:11: prices[1].input: required`,
	`p.yaml:17:19: prices[1].long_context.output: required`,
	`p.yaml:17:44: prices[1].long_context.threshold_input_tokens: expected a whole number of tokens above 0`,
	`p.yaml:18:23: prices[1].tier_multiplier.reserved: unknown field; the fields here are priority, flex, batch`,
	`p.yaml:18:42: prices[1].tier_multiplier.flex: expected a number of at least 0, not nothing`,
	`p.yaml:20:17: prices[2].cache_read: needs input and output beside it`,
	`p.yaml:21:34: prices[2].provisioned.hourly_per_mu: expected a number of at least 0, not "3"`,
	`p.yaml:21:51: prices[2].provisioned.commitment: expected one of none, 1-month, 6-months, not "2-weeks"`,
	`p.yaml:22:15: prices[2].reserved.per_1k_tpm_month: required`,
	`p.yaml:24:5: prices[4]: is for the same model, scope, tier, latency and date as the entry in line 23`,
	`p.yaml:25:5: prices[5]: expected a mapping with model, scope, tier, not "text"`,
}

func FuzzLoad(f *testing.F) {
	f.Add(good)
	f.Add(everyFault)
	f.Fuzz(func(t *testing.T, text string) {
		tab, err := Load("p.yaml", []byte(text))
		if (tab == nil) == (err == nil) {
			t.Fatalf("Load = %v, %v; want one of them", tab, err)
		}
		if err != nil {
			return
		}
		for i := range tab.Entries {
			e := &tab.Entries[i]
			if sum := e.Bill(Tokens{1, 1, 1, 1, 1}).Total(); sum < 0 || math.IsNaN(sum) {
				t.Errorf("entry %d bills %v", i, sum)
			}
		}
	})
}
