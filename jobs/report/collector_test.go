package report

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

func answer(ttft, total, connect time.Duration, tokens int64, gaps ...time.Duration) *pipeline.Attempt {
	return &pipeline.Attempt{
		Timing: pipeline.Timing{Connect: connect, FirstToken: ttft, Total: total}, Gaps: gaps,
		Usage: pipeline.Usage{InputTokens: 10, OutputTokens: tokens, CacheReadInputTokens: 3, CacheWriteInputTokens: 2},
	}
}

func failure(kind pipeline.Kind, name string) *pipeline.Attempt {
	return &pipeline.Attempt{Err: &pipeline.InvokeError{Kind: kind, Type: name}, Timing: pipeline.Timing{FirstToken: time.Hour, Total: -1}}
}

func batch(sent, rejected int) []*pipeline.Result {
	var b []*pipeline.Result
	for range sent {
		b = append(b, &pipeline.Result{Record: &pipeline.Record{}, Response: &pipeline.Response{}})
	}
	for range rejected {
		b = append(b, &pipeline.Result{Record: &pipeline.Record{Fault: &pipeline.Fault{}}, Err: &pipeline.RowError{}})
	}
	return b
}

func TestStats(t *testing.T) {
	c := NewCollector()
	c.AttemptStarted()
	c.AttemptDone(answer(100*time.Millisecond, 600*time.Millisecond, 50*time.Millisecond, 25, 10*time.Millisecond, 30*time.Millisecond))
	c.AttemptDone(answer(200*time.Millisecond, 1200*time.Millisecond, 0, 100))
	c.AttemptDone(answer(-1, 500*time.Millisecond, 0, 0)) // no stream: no first token
	c.AttemptDone(failure(pipeline.Throttled, "ThrottlingException"))
	worded := failure(pipeline.Throttled, "ThrottlingException")
	worded.Err.Quota = pipeline.QuotaRequests
	c.AttemptDone(worded)
	c.AttemptDone(failure(pipeline.Overload, "IdleTimeout"))
	c.AttemptDone(failure(pipeline.Interrupted, "ConnectionError"))
	c.AttemptDone(failure(pipeline.Transient, ""))

	got := c.Stats()
	want := Stats{
		Times: Times{
			TTFT:        &Distribution{P50: 100, P90: 200, P99: 200, Max: 200, Mean: 150, Count: 2},
			TTFTReused:  &Distribution{P50: 200, P90: 200, P99: 200, Max: 200, Mean: 200, Count: 1},
			Total:       &Distribution{P50: 600, P90: 1200, P99: 1200, Max: 1200, Mean: 766.667, Count: 3},
			InterToken:  &Distribution{P50: 10, P90: 30, P99: 30, Max: 30, Mean: 20, Count: 2},
			OutputSpeed: &Distribution{P50: 50, P90: 100, P99: 100, Max: 100, Mean: 75, Count: 2},
		},
		Attempts: Attempts{
			Total: 8, Succeeded: 3, Throttled: 2, ThrottledFor: map[string]int64{"requests": 1},
			ByError: map[string]int64{"ThrottlingException": 2, "IdleTimeout": 1, ErrorInterrupted: 1, ErrorOther: 1},
		},
		Tokens: Tokens{Input: 30, Output: 125, CacheRead: 9, CacheWrite: 6}, Connections: 1,
	}
	// Percentiles have three digits.
	near := cmp.Comparer(func(a, b float64) bool { return a == b || math.Abs(a-b) <= 0.001*math.Max(math.Abs(a), math.Abs(b)) })
	if diff := cmp.Diff(want, got, near); diff != "" {
		t.Errorf("Stats (-want +got):\n%s", diff)
	}
	if got.TTFT.Max != 200 || got.TTFT.Mean != 150 {
		t.Errorf("max %v and mean %v are not exact", got.TTFT.Max, got.TTFT.Mean)
	}
}

func TestNothingIsAbsent(t *testing.T) {
	c := NewCollector()
	r := c.Recent()
	if r.TTFTP50 >= 0 || r.TTFTP99 >= 0 || r.Throttled >= 0 || r.Rate != 0 {
		t.Errorf("Recent() = %+v", r)
	}
	if diff := cmp.Diff(Times{}, c.Stats().Times); diff != "" {
		t.Error(diff)
	}
	s := Summary{Session: NewSession(c, ratelimit.Snapshot{}, 0)}
	b, err := s.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"p50", "NaN", "PerSecond", "limitedBy", "null"} {
		if strings.Contains(string(b), word) || strings.Contains(s.Text(), word) {
			t.Errorf("%s in %s\n%s", word, b, s.Text())
		}
	}
}

func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCollector()
		near := func(got, want float64) {
			t.Helper()
			if math.Abs(got-want) > want*0.1 {
				t.Errorf("after %v: rate %v, want %v", time.Since(c.start), got, want)
			}
		}
		time.Sleep(500 * time.Millisecond)
		c.Stored(batch(2, 7))
		near(c.Recent().Rate, 2) // half a second is taken for one
		for range 9 {
			time.Sleep(time.Second)
			c.Stored(batch(2, 0))
			c.AttemptDone(failure(pipeline.Throttled, "ThrottlingException"))
		}
		time.Sleep(500 * time.Millisecond)
		near(c.Recent().Rate, 2)
		if r := c.Recent(); r.Throttled != 1 {
			t.Errorf("throttled %v", r.Throttled)
		}
		for range 60 {
			time.Sleep(time.Second)
			c.Stored(batch(5, 0))
			c.AttemptDone(answer(time.Second, 2*time.Second, 0, 1))
		}
		near(c.Recent().Rate, 5)
		if r := c.Recent(); r.Throttled != 0 || r.TTFTP50 != time.Second {
			t.Errorf("Recent() = %+v", r)
		}
		time.Sleep(15 * time.Second)
		near(c.Recent().Rate, 2.5)
		time.Sleep(20 * time.Second)
		if r := c.Recent(); r.Rate != 0 || r.Throttled >= 0 {
			t.Errorf("Recent() = %+v", r)
		}
	})
}

// The service may make up names without end.
func TestErrorNamesAreBounded(t *testing.T) {
	c := NewCollector()
	for i := range 1000 {
		c.AttemptDone(failure(pipeline.Transient, fmt.Sprint("Made-up", i)))
	}
	a := c.Stats().Attempts
	var sum int64
	for _, n := range a.ByError {
		sum += n
	}
	if len(a.ByError) > maxTypes+1 || sum != 1000 || a.ByError[ErrorOther] != 1000-maxTypes {
		t.Errorf("%d names, %d in all, %d others", len(a.ByError), sum, a.ByError[ErrorOther])
	}
}

// A time beyond the range counts as the longest.
func TestLongTimes(t *testing.T) {
	c := NewCollector()
	c.AttemptDone(answer(0, 1000*time.Hour, 0, 1))
	if got := c.Stats(); got.Total.Max != float64(longest.Milliseconds()) || got.TTFT.P50 != 0 {
		t.Errorf("total %+v, TTFT %+v", got.Total, got.TTFT)
	}
}

func TestConcurrent(t *testing.T) {
	c := NewCollector()
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() {
			for range 500 {
				c.AttemptStarted()
				c.AttemptDone(answer(time.Second, 2*time.Second, 0, 1, time.Millisecond))
				c.AttemptDone(failure(pipeline.Throttled, "T"))
				c.Stored(batch(1, 0))
			}
		})
		g.Go(func() {
			for range 20 {
				c.Recent()
				c.Stats()
			}
		})
	}
	g.Wait()
	s := c.Stats()
	if s.Attempts.Total != 8000 || s.TTFT.Count != 4000 || s.InterToken.Count != 4000 {
		t.Errorf("%+v", s.Attempts)
	}
}

func TestLimitedBy(t *testing.T) {
	snapshot := ratelimit.Snapshot{Waited: map[string]time.Duration{
		ratelimit.BoundByInput: 20 * time.Second, ratelimit.BoundByTokens: 70 * time.Second,
		ratelimit.BoundByDay: 0, ratelimit.BoundByService: 9900 * time.Millisecond, ratelimit.BoundByRequests: 100 * time.Millisecond,
	}}
	want := []Share{{"tokens", 0.7}, {"input", 0.2}, {"service", 0.099}}
	if diff := cmp.Diff(want, LimitedBy(snapshot)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSessionJSON(t *testing.T) {
	s := fullSummary()
	b, err := s.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Summary
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s, &back); diff != "" {
		t.Errorf("JSON changes a summary (-want +got):\n%s", diff)
	}
}

func TestNextSteps(t *testing.T) {
	args := []string{"run", "-o", "a b", "--fresh"}
	tests := map[string]struct {
		counts Counts
		verify []string
		want   []string
	}{
		"interrupted":      {Counts{Left: 1, Failed: 2}, []string{"verify", "a b"}, []string{"batchrun run -o 'a b'"}},
		"some failed":      {Counts{Failed: 2}, []string{"verify", "a b", "-i", "it's"}, []string{"batchrun run -o 'a b' --retry-failed", `batchrun verify 'a b' -i 'it'\''s'`}},
		"only rejected":    {Counts{Rejected: 2}, []string{"verify", "o"}, []string{"batchrun verify o"}},
		"all is well":      {Counts{Succeeded: 2}, []string{"verify", "o", "-i", "x", "-i", "y"}, []string{"batchrun verify o -i x -i y"}},
		"a stream of rows": {Counts{Succeeded: 2}, nil, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, next := range NextSteps(tt.counts, args, tt.verify) {
				got = append(got, next.Command)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func BenchmarkAttemptDone(b *testing.B) {
	gaps := make([]time.Duration, 100)
	for i := range gaps {
		gaps[i] = time.Duration(i) * time.Millisecond
	}
	for name, a := range map[string]*pipeline.Attempt{
		"answer": answer(200*time.Millisecond, time.Second, 0, 100), "100 gaps": answer(200*time.Millisecond, time.Second, 0, 100, gaps...),
		"throttled": failure(pipeline.Throttled, "ThrottlingException"),
	} {
		b.Run(name, func(b *testing.B) {
			c := NewCollector()
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					c.AttemptDone(a)
				}
			})
		})
	}
}

func BenchmarkRecent(b *testing.B) {
	c := NewCollector()
	for i := range 10000 {
		c.AttemptDone(answer(time.Duration(i)*time.Millisecond, time.Second, 0, 100))
	}
	for b.Loop() {
		c.Recent()
	}
}
