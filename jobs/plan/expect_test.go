package plan

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/batchrun/batchrun/sinks"
)

func TestParseSpread(t *testing.T) {
	tests := []struct {
		text    string
		tokens  Spread // zero: refused
		latency Spread
	}{
		{text: "200", tokens: Spread{Mean: 200}},
		{text: "200±50", tokens: Spread{Mean: 200, Half: 50}},
		{text: " 200 +- 50 ", tokens: Spread{Mean: 200, Half: 50}},
		{text: "lognormal(200, 0.8)", tokens: Spread{Mean: 200, Sigma: 0.8}},
		{text: "1s±300ms", latency: Spread{Mean: 1, Half: 0.3}},
		{text: "lognormal(1500ms,0.4)", latency: Spread{Mean: 1.5, Sigma: 0.4}},
		{text: "0s"}, // a latency of nothing, which the zero Spread is
		{text: "0.5"},
		{text: "-1"},
		{text: "100±200"},
		{text: "NaN"},
		{text: "1e300"},
		{text: "lognormal(200,9)"},
		{text: "lognormal(200"},
		{text: "lognormal(200,0.8"},
		{text: ""},
	}
	for _, tt := range tests {
		tokens, err := ParseTokens(tt.text)
		if tt.tokens == (Spread{}) && err == nil || tt.tokens != (Spread{}) && (err != nil || tokens != tt.tokens) {
			t.Errorf("ParseTokens(%q) = %+v, %v; want %+v", tt.text, tokens, err, tt.tokens)
		}
		latency, err := ParseLatency(tt.text)
		if tt.latency == (Spread{}) && err == nil && tt.text != "0s" || tt.latency != (Spread{}) && (err != nil || latency != tt.latency) {
			t.Errorf("ParseLatency(%q) = %+v, %v; want %+v", tt.text, latency, err, tt.latency)
		}
	}
}

func FuzzParseSpread(f *testing.F) {
	f.Add("200±50")
	f.Add("lognormal(1s,0.4)")
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (Spread, error){ParseTokens, ParseLatency} {
			s, err := parse(text)
			if err != nil {
				continue
			}
			for _, u := range []float64{1e-9, 0.5, 1 - 1e-9} {
				if v := s.at(u); !(v >= 0) || math.IsInf(v, 0) {
					t.Errorf("%q is %+v, which has %v at %v", text, s, v, u)
				}
			}
		}
	})
}

// TestAnswersHaveTheMeanTheyWereSaidToHave: the sequence fills every distribution, so that few draws do.
func TestAnswersHaveTheMeanTheyWereSaidToHave(t *testing.T) {
	for _, text := range []string{"300", "300±300", "lognormal(300,0.5)", "lognormal(300,1)"} {
		e := Expect{Output: spread(t, text), FirstToken: &Spread{Mean: 2, Half: 1}, Speed: 50}
		const n = 4_000
		var tokens, first, total float64
		for i := range n {
			a := e.answer(i, 1_000_000, 1)
			tokens += float64(a.output)
			first += a.first.Seconds()
			total += a.total.Seconds()
		}
		near(t, text+": the mean length", tokens/n, 300, 0.01)
		near(t, text+": the mean first token", first/n, 2, 0.002)
		near(t, text+": the mean total", total/n, 2+300./50, 0.01)
	}
}

func TestAnswer(t *testing.T) {
	like := &Like{Rows: 2, sample: newReservoir[answer](2)}
	like.sample.add(answer{output: 100, first: time.Second, total: 3 * time.Second})
	tests := map[string]struct {
		e     Expect
		limit int64
		scale float64
		want  answer
	}{
		"nothing known: as long as it may be": {Expect{}, 600, 1, answer{600, time.Second, 11 * time.Second}},
		"what is unknown does not stretch":    {Expect{}, 600, 0.5, answer{600, time.Second, 11 * time.Second}},
		"as a row":                            {Expect{Like: like}, 600, 1, answer{100, time.Second, 3 * time.Second}},
		"as a row, cut at the limit":          {Expect{Like: like}, 50, 1, answer{50, time.Second, 2 * time.Second}},
		"as a row, stretched":                 {Expect{Like: like}, 600, 2, answer{200, time.Second, 5 * time.Second}},
		"a row's latency, a length that is said": {
			Expect{Like: like, Output: &Spread{Mean: 300}}, 600, 1, answer{300, time.Second, 7 * time.Second},
		},
		"a row's length, a latency that is said": {
			Expect{Like: like, FirstToken: &Spread{Mean: 4}, Speed: 100}, 600, 1, answer{100, 4 * time.Second, 5 * time.Second},
		},
		"no answer is empty": {Expect{Output: &Spread{Mean: 1}, Speed: 1}, 0, 0.1, answer{1, time.Second, 2 * time.Second}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tt.e.answer(3, tt.limit, tt.scale); got != tt.want {
				t.Errorf("answer(3, %d, %v) = %+v, want %+v", tt.limit, tt.scale, got, tt.want)
			}
		})
	}
}

const (
	resultRow = `{"recordId":"r%d","source":"in.jsonl","line":%[1]d,"modelId":"m","modelInput":{"p":"eight by"},"modelOutput":{},"text":"","stopReason":"end_turn",` +
		`"usage":{"inputTokens":%[2]d,"outputTokens":%[3]d,"cacheReadInputTokens":6,"cacheWriteInputTokens":2},"timing":{"startedAt":"2026-01-02T03:04:05Z","firstTokenMs":250,"totalMs":%[4]d},"attempts":1}` + "\n"
	errorRow = `{"recordId":"bad","source":"in.jsonl","line":9,"modelId":"m","error":{"errorCode":400,"errorType":"ValidationException","errorMessage":"no","retryable":false},"attempts":1}` + "\n"
)

func rows() string {
	return fmt.Sprintf(resultRow, 1, 12, 400, 4_250) + errorRow + "\n" + fmt.Sprintf(resultRow, 2, 12, 100, 1_250)
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadLike(t *testing.T) {
	estimate := func(body []byte) (int64, bool) { return int64(len(body)) / 2, true } // 8 for the rows above
	parquet := filepath.Join(t.TempDir(), "out.parquet")
	results := strings.ReplaceAll(rows(), errorRow+"\n", "") // a spool has no others
	if _, err := sinks.SealParquet(t.Context(), sinks.SealOptions{
		Path: parquet, Spool: write(t, "spool", results), SpoolSize: int64(len(results)), Rows: 2,
	}); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"JSONL": write(t, "out.jsonl", rows()), "a torn last line": write(t, "out.jsonl", rows()+`{"recordId":"to`), "Parquet": parquet,
	} {
		t.Run(name, func(t *testing.T) {
			l, err := ReadLike(path, estimate)
			if err != nil {
				t.Fatal(err)
			}
			if l.Rows != 2 || l.Output != 500 || l.Input != 24 || l.CacheRead != 12 || l.CacheWrite != 4 {
				t.Errorf("%+v", l)
			}
			if got := l.ratio(); got != 40./16 {
				t.Errorf("%v tokens are counted for one estimated, want 2.5", got)
			}
			if read, wrote := l.cached(); read != 0.3 || wrote != 0.1 {
				t.Errorf("%v of the input read from caches, %v written; want 0.3, 0.1", read, wrote)
			}
			if short, long := l.at(0.1), l.at(0.9); short != (answer{100, 250 * time.Millisecond, 1250 * time.Millisecond}) || long.output != 400 {
				t.Errorf("answers are %+v and %+v", short, long)
			}
		})
	}
	t.Run("inputs that cannot be estimated tell nothing", func(t *testing.T) {
		l, err := ReadLike(parquet, func([]byte) (int64, bool) { return 0, false })
		if err != nil || l.ratio() != 1 {
			t.Errorf("ratio %v, %v; want 1", l.ratio(), err)
		}
	})
	t.Run("rows of other programs", func(t *testing.T) {
		l, err := ReadLike(write(t, "out.jsonl", `{"custom_id":"a","response":{"status_code":200,"body":{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":70}}}}
{"recordId":"b","modelInput":{"inputText":"hi"},"modelOutput":{"inputTextTokenCount":3,"results":[{"tokenCount":30,"outputText":"x","completionReason":"FINISH"}]}}
{"recordId":"c","modelOutput":{"outputs":[{"text":"x","stop_reason":"stop"}]}}
`), estimate)
		if err != nil {
			t.Fatal(err)
		}
		if l.Rows != 2 || l.Input != 8 || l.Output != 100 {
			t.Errorf("%+v; want 8 tokens in and 100 out in the 2 rows that count them", l)
		}
	})
	for name, tt := range map[string]struct{ text, want string }{
		"error rows only":         {errorRow, ErrNoRows.Error()},
		"nothing":                 {"", ErrNoRows.Error()},
		"not rows":                {rows() + "prompt\n", "out.jsonl:5: not a row"},
		"an input and not output": {`{"id":"a","prompt":"b"}` + "\n", ErrNoRows.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadLike(write(t, "out.jsonl", tt.text), estimate); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("ReadLike: %v; want %q", err, tt.want)
			}
		})
	}
	if _, err := ReadLike(filepath.Join(t.TempDir(), "none.jsonl"), estimate); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("ReadLike of nothing: %v", err)
	}
}

// TestReservoir: every item is as likely to be kept, and those kept are in order.
func TestReservoir(t *testing.T) {
	r := newReservoir[int](1_000)
	for i := range 100_000 {
		r.add(i)
	}
	items := r.inOrder()
	var sum float64
	for i, item := range items {
		sum += float64(item)
		if i > 0 && items[i-1] >= item {
			t.Fatalf("item %d is %d, after %d", i, item, items[i-1])
		}
	}
	near(t, "the mean of the items kept", sum/1_000, 50_000, 0.05)
}
