package jobs_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// TestPlanIsABound: a run whose bound is what its plan says at most ends under it, whatever its answers are, while a bound that is a
// millionth lower is told to be one that may stop it.
func TestPlanIsABound(t *testing.T) {
	server, err := sim.Start(sim.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	dir := t.TempDir()
	var lines strings.Builder
	for i := range 5 { // inputs of which four bytes are no token, and answers as long as they may be
		fmt.Fprintf(&lines, "{\"id\":\"r%d\",\"prompt\":\"[[tokens:100]] %s\"}\n", i, strings.Repeat("\u65e5\u672c", 40*i))
	}
	input, prices := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "prices.yaml")
	table := "currency: USD\nper: 1000000\nprices:\n  - {model: \"anthropic.*\", input: 40, output: 15}\n"
	for path, text := range map[string]string{input: lines.String(), prices: table} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spec := jobs.Defaults()
	spec.Input, spec.Output, spec.Model = []string{input}, filepath.Join(dir, "out.jsonl"), claudeID
	spec.Prices, spec.MaxTokens, spec.Concurrency, spec.Progress = prices, 100, 1, "none"
	spec.MaxCost = 1000
	env := isolated(server.URL())
	rep, err := jobs.Plan(t.Context(), spec, jobs.PlanSpec{ExpectOutput: "50"}, env)
	if err != nil {
		t.Fatal(err)
	}
	c := rep.Cost
	if !(c.Total < c.Longest && c.Longest < c.AtMost) {
		t.Errorf("cost %v, %v with the longest answers, %v at most: each should be more than the one before", c.Total, c.Longest, c.AtMost)
	}

	stops := func(w string) bool { return strings.Contains(w, "stop the run before its end") }
	for bound, want := range map[float64]bool{c.AtMost: false, c.AtMost - 1e-6: true} {
		spec.MaxCost = bound
		rep, err := jobs.Plan(t.Context(), spec, jobs.PlanSpec{ExpectOutput: "50"}, env)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(rep.Warnings, stops) != want {
			t.Errorf("with a bound of %v and %v at most: warnings %q", bound, c.AtMost, rep.Warnings)
		}
	}

	spec.MaxCost = c.AtMost
	outcome, err := jobs.Run(context.WithoutCancel(t.Context()), spec, env)
	if want := "5 read = 5 succeeded + 0 failed + 0 rejected + 0 left"; err != nil || outcome.Account != want {
		t.Errorf("with %v, what the plan says at most, as its bound: %v, %q", c.AtMost, err, outcome.Account)
	}
}

// TestPlanWithoutACeiling: where nobody can tell the most of a record, the plan tells none, and what a bound would do there.
func TestPlanWithoutACeiling(t *testing.T) {
	dir := t.TempDir()
	input := filepath.Join(dir, "in.jsonl")
	lines := `{"recordId":"r1","modelInput":{"max_tokens":50,"messages":[{"role":"user","content":"hi"}]}}
{"recordId":"r2","modelInput":{"messages":[{"role":"user","content":"hi"}]}}
`
	if err := os.WriteFile(input, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	spec := jobs.Defaults()
	spec.Input, spec.Output, spec.Model = []string{input}, filepath.Join(dir, "out.jsonl"), "acme.model-v1:0"
	spec.Family = "generic"
	spec.MaxTokensTotal = 1_000_000
	rep, err := jobs.Plan(t.Context(), spec, jobs.PlanSpec{}, isolated("http://127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	want := input + ":2: max_tokens is not set, and what the model answers at most is not known: no bound on spending can be kept; " +
		"so it is with 1 of 2 records: how much the run costs at most is not known, and its bound stops it there"
	if !slices.Contains(rep.Warnings, want) {
		t.Errorf("warnings %q\n   want %q", rep.Warnings, want)
	}
}
