package report

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/batchrun/batchrun/jobs/limits"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// aNight is a run of three sessions: one that learns a quota, one that was killed after a few seconds, and one without trouble.
func aNight() *limits.History {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first := limits.Session{
		Start: limits.Start{
			At: start, Model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Concurrency: 32, RequestsPerMinute: 1000, Burndown: 5, Probe: true,
			Learned: &ratelimit.Learned{TokensPerMinute: 240_000, Concurrency: 24},
		},
		Ended: "interrupted", Unwritten: 41,
		BoundBy: map[string]float64{"tokens": 0.7, "input": 0.2, "service": 0.098, "day": 0.002},
	}
	for n := 1; n <= 120; n++ { // 20 minutes, of which the machine slept five
		at := start.Add(time.Duration(n) * 10 * time.Second)
		if n > 60 {
			at = at.Add(5 * time.Minute)
		}
		pace := 240_000.0
		if n > 40 {
			pace = 118_000 + float64(n-40)*200
		}
		x := limits.Sample{
			At: at, RequestsPerMinute: math.Round(pace / 400), TokensPerMinute: math.Round(pace * (0.95 + 0.04*math.Sin(float64(n)))), TokenPace: pace,
			RequestPace: 1000, InFlight: 20 + n%3, ConcurrencyLimit: 32, Waiting: 4, Binding: "tokens", Mode: pipeline.Running,
			Throttled: int64(max(0, min(n, 45)-35) * 7),
		}
		if n >= 100 && n < 104 {
			x.Mode = pipeline.Outage
		}
		if n == 119 {
			x.Mode = pipeline.Draining
		}
		first.Samples = append(first.Samples, x)
	}
	decide := func(after time.Duration, control, action string, from, to float64, reason string) {
		first.Decisions = append(first.Decisions, limits.Decision{
			At: start.Add(after), Control: control, Action: action, From: from, To: to, Reason: reason,
			Tokens: 231_234, Requests: 590, Refused: 17, InFlight: 21,
		})
	}
	decide(6*time.Minute, ratelimit.ControlService, "hold", 0, 0.2137, "the service refused a request")
	decide(6*time.Minute+time.Second, ratelimit.ControlService, "hold", 0, 0.4, "the service refused a request")
	decide(6*time.Minute+time.Second, ratelimit.ControlTokens, "cut", 240_000, 118_000, "refusals follow each other\x1b[31m")
	for n := range 80 {
		control := []string{ratelimit.ControlRequests, ratelimit.ControlConcurrency, "weather"}[n%3]
		decide(7*time.Minute+time.Duration(n)*time.Second, control, "shrink", float64(100-n), float64(99-n), "more overloads than usual")
	}
	over := first.Samples[len(first.Samples)-1].At
	first.EndedAt = &over

	killed := limits.Session{Start: limits.Start{At: over.Add(time.Hour), Model: "m", Concurrency: 1, Burndown: 1}}
	calm := limits.Session{
		Start: limits.Start{At: over.Add(90 * time.Minute), Model: "m", Concurrency: 4, TokensPerMinute: 400_000, TokensPerDay: 1e8, Burndown: 1.5},
		Ended: "finished", BoundBy: map[string]float64{"input": 1},
	}
	for n := 1; n <= 3; n++ {
		calm.Samples = append(calm.Samples, limits.Sample{
			At: calm.At.Add(time.Duration(n) * 10 * time.Second), RequestsPerMinute: float64(n), TokensPerMinute: 12, InFlight: n, ConcurrencyLimit: 4,
		})
	}
	end := calm.Samples[2].At
	calm.EndedAt = &end
	return &limits.History{Sessions: []limits.Session{first, killed, calm}, Damaged: []string{"limits.jsonl:7: invalid"}}
}

func TestLimits(t *testing.T) {
	for _, width := range []int{80, 120} {
		golden(t, fmt.Sprintf("limits-%d.txt", width), Limits(aNight(), width))
	}
	b, err := json.MarshalIndent(aNight().Sessions[2], "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "limits-session.json", string(b)+"\n")
}

func TestLimitsFit(t *testing.T) {
	h := aNight()
	for i := range h.Sessions { // the rows of decisions have the words of the limiter, and are as long as those
		h.Sessions[i].Decisions, h.Sessions[i].Model = nil, "m"
		h.Sessions[i].Learned = nil
	}
	for width := 70; width < 250; width++ {
		for line := range strings.Lines(Limits(h, width)) {
			if line = strings.TrimRight(line, "\n"); utf8.RuneCountInString(line) > max(width, 80) {
				t.Fatalf("in %d columns: %d of them: %q", width, utf8.RuneCountInString(line), line)
			}
		}
	}
}

// Any history is drawn, whatever stands in it.
func TestLimitsOfNothing(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, s := range map[string]limits.Session{
		"nothing":          {},
		"one sample":       {Start: limits.Start{At: at}, Samples: []limits.Sample{{At: at.Add(time.Second), TokensPerMinute: 5}}},
		"no time":          {Start: limits.Start{At: at}, Samples: []limits.Sample{{At: at, TokensPerMinute: 5}, {At: at, TokensPerMinute: 6}}},
		"a clock set back": {Start: limits.Start{At: at}, Samples: []limits.Sample{{At: at.Add(-time.Hour), TokensPerMinute: 5}, {At: at.Add(-2 * time.Hour), TokensPerMinute: 6}}},
		"huge":             {Start: limits.Start{At: at}, Samples: []limits.Sample{{At: at.Add(time.Second), TokensPerMinute: 1e300}, {At: at.Add(2 * time.Second), TokensPerMinute: -1e300}}},
		"a year":           {Start: limits.Start{At: at}, Samples: []limits.Sample{{At: at.Add(time.Second), TokensPerMinute: 5}, {At: at.AddDate(1, 0, 0), TokensPerMinute: 5}}},
	} {
		for _, width := range []int{0, 1, 80} {
			if got := Limits(&limits.History{Sessions: []limits.Session{s}}, width); !strings.HasPrefix(got, "session 1 of 1") {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
}

// Whatever a file says, it is read and drawn.
func FuzzLimits(f *testing.F) {
	start := `{"type":"session","at":"2026-01-02T03:04:05Z","model":"m","concurrency":1,"burndown":1}` + "\n"
	sample := `{"type":"sample","at":"2026-01-02T03:04:15Z","tokensPerMinute":5,"tokenPace":7,"inFlight":1,"throttled":2,"waitedSeconds":{"tokens":3,"x":1e308}}` + "\n"
	f.Add([]byte(start + sample + sample))
	f.Add([]byte(start + `{"type":"decision","at":"2026-01-02T03:04:06Z","control":"tokens","action":"cut","from":1e300,"to":-1e300}` + "\n" + `{"type":"end"}` + "\n"))
	f.Add([]byte(start + `{"type":"sample","at":"0001-01-01T00:00:00Z","requestsPerMinute":-1e308,"throttled":-9}` + "\n" + sample))
	f.Add([]byte(start + sample + `{"type":"sample","at":"9999-01-01T00:00:00Z","requestsPerMinute":1e308}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, limits.Name), data, 0o600); err != nil {
			t.Fatal(err)
		}
		h, err := limits.Read(dir)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(Limits(h, 80)) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), unicode.IsControl) {
				t.Errorf("a control character reaches the terminal: %q", line)
			}
		}
	})
}
