package report

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

// views are a run at its different moments.
func views() []struct {
	name string
	View
} {
	middle := View{
		Elapsed: 3*time.Minute + 4*time.Second, Done: 412, Failed: 3, Rejected: 1, Total: 1319,
		Recent:  Recent{Rate: 12.34, Throttled: 0.021, TTFTP50: 210 * time.Millisecond, TTFTP99: 1430 * time.Millisecond},
		Gauges:  pipeline.Gauges{InFlight: 32, Waiting: 5, Silent: 2, Unbegun: 2, Unstored: 3, Buffered: 123456, Mode: pipeline.Running},
		Binding: ratelimit.BoundByTokens,
	}
	with := func(change func(v *View)) View {
		v := middle
		change(&v)
		return v
	}
	return []struct {
		name string
		View
	}{
		{"at the start", View{Total: 1319, Recent: Recent{Throttled: -1, TTFTP50: -1, TTFTP99: -1}, Gauges: pipeline.Gauges{Mode: pipeline.Running}}},
		{"in the middle", middle},
		{"of unknown length", with(func(v *View) { v.Total = -1 })},
		{"limited by the input", with(func(v *View) { v.Binding = ratelimit.BoundByInput })},
		{"limited by what the user allows", with(func(v *View) { v.Binding = ratelimit.BoundByConcurrency })},
		{"limited by what the service bears", with(func(v *View) { v.Binding = ratelimit.BoundByStreams })},
		{"limited by requests", with(func(v *View) { v.Binding = ratelimit.BoundByRequests })},
		{"limited by the day", with(func(v *View) { v.Binding = ratelimit.BoundByDay })},
		{"after a refusal", with(func(v *View) { v.Binding = ratelimit.BoundByService; v.Throttled = 0.31 })},
		{"outage", with(func(v *View) { v.Mode = pipeline.Outage; v.Rate = 0 })},
		{"not ready", with(func(v *View) { v.Mode = pipeline.Waking; v.Rate = 0; v.InFlight = 0; v.Silent, v.Unbegun = 0, 0 })},
		{"silent in the middle of answers", with(func(v *View) { v.Unbegun = 0 })},
		{"silent before and after the first token", with(func(v *View) { v.Unbegun = 1 })},
		{"confirming", with(func(v *View) { v.Mode = pipeline.Confirm })},
		{"draining", with(func(v *View) { v.Mode = pipeline.Draining })},
		{"cannot write", with(func(v *View) { v.Mode = pipeline.Blocked })},
		{"in a mode without words of its own", with(func(v *View) { v.Mode = "retry budget" })},
		{"slow", with(func(v *View) { v.Rate = 0.004; v.TTFTP50 = 900 * time.Microsecond; v.TTFTP99 = 95 * time.Second })},
		{"one left of many", with(func(v *View) { v.Done, v.Total, v.Rate = 9_999_999, 10_000_000, 1234 })},
		{"with a bound on money", with(func(v *View) {
			v.Spending = &Spending{Currency: "USD", Cost: 12.3456, HeldCost: 0.5, MaxCost: 50, Tokens: 123}
		})},
		{"waiting for room in one on tokens", with(func(v *View) {
			v.Spending = &Spending{Tokens: 998_000, HeldTokens: 1800, UnsureTokens: 70, MaxTokens: 1_000_000}
			v.Broke = true
		})},
		{"with prices alone", with(func(v *View) { v.Spending = &Spending{Currency: "USD", Cost: 12.3456, HeldCost: 0.5, Tokens: 123} })},
		{"at the end", with(func(v *View) { v.Done = 1319; v.Gauges = pipeline.Gauges{Mode: pipeline.Running} })},
		{"of an empty input", View{Recent: Recent{Throttled: -1, TTFTP50: -1, TTFTP99: -1}}},
	}
}

func TestLines(t *testing.T) {
	for style, render := range map[string]func(View) string{
		"plain": Plain, "json": JSON,
		"bar-160": func(v View) string { return Bar(v, 160) },
		"bar-79":  func(v View) string { return Bar(v, 79) },
		"bar-20":  func(v View) string { return Bar(v, 20) },
	} {
		var b strings.Builder
		for _, v := range views() {
			b.WriteString("# " + v.name + "\n" + render(v.View) + "\n")
		}
		golden(t, "progress-"+style+".txt", b.String())
	}
}

func TestBarFits(t *testing.T) {
	for _, v := range views() {
		for width := range 200 {
			if line := Bar(v.View, width); len(line) > width || strings.ContainsAny(line, "\r\n\x1b") {
				t.Fatalf("%s: Bar in %d columns: %q", v.name, width, line)
			}
		}
	}
}

func fullSummary() *Summary {
	s := &Summary{
		Ended: "finished, with errors", Model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
		Records:  Counts{Read: 1319, Succeeded: 1300, Failed: 10, Rejected: 9},
		Spending: &Spending{Currency: "USD", Cost: 12.3456, UnsureCost: 0.25, MaxCost: 50, Tokens: 1_647_005, UnsureTokens: 9000},
		Output:   "out dir/answers.jsonl", Errors: "out dir/answers.errors.jsonl", State: "out dir/answers.jsonl.batchrun/",
		Session: Session{
			StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 678_901_000, time.UTC), WallSeconds: 723.456,
			Stats: Stats{
				Times: Times{
					TTFT:        &Distribution{P50: 210.431, P90: 401.2, P99: 1432.575, Max: 2103.295, Mean: 245.318, Count: 1200},
					TTFTReused:  &Distribution{P50: 207.1, P90: 377.3, P99: 998.4, Max: 1503.2, Mean: 231.049, Count: 1168},
					Total:       &Distribution{P50: 9037.2, P90: 15032.1, P99: 61234.8, Max: 123456.789, Mean: 10321.4, Count: 1200},
					InterToken:  &Distribution{P50: 8.127, P90: 21.9, P99: 99.94, Max: 3207.1, Mean: 11.02, Count: 411_238},
					OutputSpeed: &Distribution{P50: 61.02, P90: 88.8, P99: 101.7, Max: 120.44, Mean: 63.5, Count: 1200},
				},
				Attempts: Attempts{
					Total: 1316, Succeeded: 1200, Throttled: 41, ThrottledFor: map[string]int64{"tokens": 30, "requests": 11},
					ByError: map[string]int64{"ThrottlingException": 41, "ModelStreamErrorException": 36, "ConnectionError": 5, "FirstTokenTimeout": 26, "IdleTimeout": 3, "evil\x1b[31mType": 5},
				},
				Tokens: Tokens{Input: 1_234_567, Output: 412_438, CacheRead: 98_000, CacheWrite: 1200}, Connections: 32,
			},
			OutputPerSecond: 570.1,
			LimitedBy:       []Share{{ratelimit.BoundByTokens, 0.714}, {ratelimit.BoundByConcurrency, 0.196}, {ratelimit.BoundByInput, 0.09}},
			Quota: &Quota{
				TokensPerMinute: 400_000, MayBeMore: true, InputError: 0.123, Learned: &ratelimit.Learned{RequestsPerMinute: 987.6},
				MaxTokens: &Oversize{Reachable: 0.847, MaxTokens: 8192, OutputP99: 412, Enough: 1024, EnoughReachable: 0.97},
			},
			RepeatedIDs: 1003,
		},
	}
	args := []string{"run", "-i", "in put/*.jsonl", "-o", "out dir/answers.jsonl", "--fresh"}
	s.Next = NextSteps(s.Records, args, []string{"verify", s.Output, "-i", "in put/a.jsonl", "-i", "in put/b.jsonl"})
	return s
}

// bareSummary is of a session in which nothing was answered.
func bareSummary() *Summary {
	s := &Summary{
		Ended: "interrupted", Model: "m", Records: Counts{Read: 100, Left: 100}, Spending: &Spending{Tokens: 9000, UnsureTokens: 9000, MaxTokens: 1_000_000}, Output: "a.parquet", State: "a.parquet.batchrun/",
		Session: Session{StartedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), WallSeconds: 1.2},
	}
	s.Next = NextSteps(s.Records, []string{"run", "job.yaml"}, []string{"verify", s.Output, "-i", "a.jsonl"})
	return s
}

func TestSummary(t *testing.T) {
	for name, s := range map[string]*Summary{"full": fullSummary(), "bare": bareSummary()} {
		golden(t, "summary-"+name+".txt", s.Text())
		b, err := s.JSON()
		if err != nil {
			t.Fatal(err)
		}
		golden(t, "summary-"+name+".json", string(b))
		if text := s.Text(); !strings.HasSuffix(text, "\n"+s.Account()+"\n") || text != s.Body()+s.Account()+"\n" {
			t.Errorf("%s: the account is not the last line", name)
		}
	}
	if got, want := (Counts{1319, 1300, 10, 4, 5}).Account(), "1319 read = 1300 succeeded + 10 failed + 4 rejected + 5 left"; got != want {
		t.Errorf("Account() = %s, want %s", got, want)
	}
}
