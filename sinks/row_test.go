package sinks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/batchrun/batchrun/pipeline"
)

func ms(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }

func result() *pipeline.Result {
	rec := &pipeline.Record{ID: "r1", Source: "prompts.jsonl", Line: 1, Metadata: json.RawMessage(`{"expected":"4","n":1.0}`)}
	return &pipeline.Result{
		Record:  rec,
		ModelID: "anthropic.claude",
		Request: &pipeline.Request{Record: rec, Body: json.RawMessage(`{"b":1,"a":"<&> \u2028"}`)},
		Response: &pipeline.Response{
			Output: json.RawMessage(`{"content":[{"text":"Hi"}]}`), Text: "Hi <b>&\u2028\x01\xff\"\\\n", StopReason: "end_turn", RequestID: "q-1",
			Usage: pipeline.Usage{InputTokens: 12, OutputTokens: 31, CacheReadInputTokens: 1},
		},
		Timing: pipeline.Timing{
			Started: time.Date(2026, 1, 2, 4, 4, 5, 678901999, time.FixedZone("", 3600)),
			Queued:  ms(1.2), FirstToken: ms(210.4), FirstText: ms(210.4), Total: ms(903.7004), Elapsed: time.Hour, InterTokenP50: ms(0.05),
			InterTokenMax: -1, ServerFirstByte: -1, ServerTotal: ms(880.0006),
		},
		Attempts: 1,
	}
}

func TestRows(t *testing.T) {
	const head = `{"recordId":"r1","source":"prompts.jsonl","line":1,"modelId":"anthropic.claude",`
	const input = `"modelInput":{"b":1,"a":"<&> \u2028"},`
	const rest = `"modelOutput":{"content":[{"text":"Hi"}]},` +
		`"text":"Hi <b>&\u2028\u0001` + "\uFFFD" + `\"\\\n","stopReason":"end_turn",` +
		`"usage":{"inputTokens":12,"outputTokens":31,"cacheReadInputTokens":1,"cacheWriteInputTokens":0},` +
		`"timing":{"startedAt":"2026-01-02T03:04:05.678901Z","queuedMs":1.2,"connectMs":0,"firstTokenMs":210.4,"firstTextMs":210.4,` +
		`"totalMs":903.7,"elapsedMs":3600000,"interTokenP50Ms":0.05,"serverTotalMs":880.001},"attempts":1,"requestId":"q-1",` +
		`"metadata":{"expected":"4","n":1.0}}`
	failed := func(change func(r *pipeline.Result)) *pipeline.Result {
		r := result()
		r.Response = nil
		r.Err = &pipeline.RowError{Code: 400, Type: "ValidationException", Message: "no", RequestID: "q-2"}
		change(r)
		return r
	}
	rejected := func(r *pipeline.Result) {
		r.Request, r.Attempts = nil, 0
		r.Record.Metadata = nil
		r.Record.Fault = &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Column: 7, Message: "expected a string"}
		r.Err = &pipeline.RowError{Type: pipeline.TypeInvalidRecord, Message: "expected a string"}
	}
	changed := func(change func(r *pipeline.Result)) *pipeline.Result {
		r := result()
		change(r)
		return r
	}
	tests := map[string]struct {
		rows Rows
		r    *pipeline.Result
		want string
	}{
		"result":     {Full, result(), head + input + rest},
		"by default": {"", result(), head + input + rest},
		"lean":       {Lean, result(), head + rest},
		"newline kept out": {
			Full, changed(func(r *pipeline.Result) { r.Request.Body = json.RawMessage("{\r\n\"b\":1,\n\"a\":\"<&> \\u2028\"}") }),
			head + `"modelInput":{  "b":1, "a":"<&> \u2028"},` + rest,
		},
		"failed": {
			Full, failed(func(r *pipeline.Result) { r.Attempts, r.Partial, r.Err.Retryable = 5, "half", true }),
			head + input + `"error":{"errorCode":400,"errorType":"ValidationException","errorMessage":"no","retryable":true},` +
				`"attempts":5,"requestId":"q-2","partialText":"half","metadata":{"expected":"4","n":1.0}}`,
		},
		"failed without more": {
			Lean, failed(func(r *pipeline.Result) { r.Err.RequestID = ""; r.Record.Metadata = nil }),
			head + `"error":{"errorCode":400,"errorType":"ValidationException","errorMessage":"no","retryable":false},"attempts":1}`,
		},
		"rejected": {
			Full, failed(rejected),
			`{"recordId":"r1","source":"prompts.jsonl","line":1,"modelId":"anthropic.claude","error":{"errorCode":0,"errorType":"InvalidRecord",` +
				`"errorMessage":"prompts.jsonl:1:7: expected a string","retryable":false},"attempts":0}`,
		},
		"rejected without id or column": {
			Full, failed(func(r *pipeline.Result) { rejected(r); r.Record.ID, r.Record.Fault.Column = "", 0 }),
			`{"recordId":null,"source":"prompts.jsonl","line":1,"modelId":"anthropic.claude","error":{"errorCode":0,"errorType":"InvalidRecord",` +
				`"errorMessage":"prompts.jsonl:1:1: expected a string","retryable":false},"attempts":0}`,
		},
		"place said already": {
			Full, failed(func(r *pipeline.Result) { rejected(r); r.Err.Message = "prompts.jsonl:1:7: x" }),
			`{"recordId":"r1","source":"prompts.jsonl","line":1,"modelId":"anthropic.claude","error":{"errorCode":0,"errorType":"InvalidRecord",` +
				`"errorMessage":"prompts.jsonl:1:7: x","retryable":false},"attempts":0}`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := string(AppendRow(nil, tt.r, tt.rows))
			if diff := cmp.Diff(tt.want+"\n", got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if !json.Valid([]byte(got)) {
				t.Error("not JSON")
			}
		})
	}
}

// Strings come out as the standard library would write them without HTML escapes.
func FuzzString(f *testing.F) {
	f.Add("a\u2028\u2029\xff\x00\x7f\"\\\b\f\u00e9\U0001F600\xed\xa0\x80")
	f.Fuzz(func(t *testing.T, s string) {
		got := appendString(nil, s)
		var back string
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatalf("%q: %v", got, err)
		}
		if want := strings.ToValidUTF8(s, "\uFFFD"); utf8.ValidString(s) && back != want {
			t.Errorf("%q came back as %q", s, back)
		}
		if bytes.ContainsAny(got, "\n\r\u2028\u2029") || !utf8.Valid(got) {
			t.Errorf("%q is not one line of UTF-8", got)
		}
	})
}

// A row reads back as what was written.
func TestRowReadsBack(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := result()
		r.Record.ID = rapid.String().Draw(rt, "id")
		r.Record.Source = rapid.String().Draw(rt, "source")
		r.Record.Line = rapid.Int64Min(1).Draw(rt, "line")
		r.Response.Text = rapid.String().Draw(rt, "text")
		body, _ := json.Marshal(map[string]string{rapid.String().Draw(rt, "key"): rapid.String().Draw(rt, "value")})
		r.Request.Body = body
		line := AppendRow(nil, r, Full)
		row, err := ParseRow(line)
		if err != nil {
			rt.Fatal(err)
		}
		source, number, err := RowPlace(line)
		if err != nil || source != r.Record.Source || number != r.Record.Line {
			rt.Errorf("place %s:%d, %v", source, number, err)
		}
		if row.RecordID != r.Record.ID || row.HasID != (r.Record.ID != "") || row.Text != r.Response.Text || !bytes.Equal(row.ModelInput, body) ||
			row.Usage.OutputTokens != 31 || *row.Timing.QueuedMs != 1.2 || row.Timing.InterTokenMaxMs != nil ||
			!row.Timing.StartedAt.Equal(r.Timing.Started.Truncate(time.Microsecond)) || string(row.Metadata) != string(r.Record.Metadata) {
			rt.Errorf("%s reads back as %+v", line, row)
		}
	})
}

// What is not an object is refused, and nothing makes the parser panic; valid JSON objects are split as the
// standard library splits them.
func FuzzParse(f *testing.F) {
	f.Add(AppendRow(nil, result(), Full))
	f.Add([]byte(`{"a":"\\\"","b":[{"]":"}"}],"line":1e3}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		got := map[string]string{}
		err := eachMember(data, func(key string, value []byte) error { got[key] = string(value); return nil })
		_, _ = ParseRow(data)
		var want map[string]json.RawMessage
		if json.Unmarshal(data, &want) != nil || want == nil {
			return
		}
		if err != nil || len(got) != len(want) {
			t.Fatalf("%q: %v, %d members, want %d", data, err, len(got), len(want))
		}
		for k, v := range want {
			if got[k] != string(v) {
				t.Errorf("%q: %q is %q, want %q", data, k, got[k], v)
			}
		}
	})
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0", 1: "0", 499: "0", 500: "0.001", time.Microsecond: "0.001", 10 * time.Microsecond: "0.01", 100 * time.Microsecond: "0.1",
		1010 * time.Microsecond: "1.01", 123456789: "123.457", time.Hour: "3600000", math.MaxInt64: "9223372036854.775",
	} {
		if got := string(appendMillis(nil, d)); got != want {
			t.Errorf("%d ns is %s ms, want %s", d, got, want)
		}
	}
}

// Large inputs are handed to the writer as they are, not copied.
func TestLargeInputIsNotCopied(t *testing.T) {
	r := result()
	big := json.RawMessage(`{"x":"` + strings.Repeat("y", 5<<20) + `"}`)
	r.Request.Body = big
	w := &seen{want: big}
	s := NewStream(w, Full)
	if err := s.Commit(context.Background(), []*pipeline.Result{r, r}); err != nil {
		t.Fatal(err)
	}
	if w.direct != 2 {
		t.Errorf("%d of 2 were written from where they are", w.direct)
	}
	if want := append(AppendRow(nil, r, Full), AppendRow(nil, r, Full)...); !bytes.Equal(w.all, want) {
		t.Error("the rows differ from those encoded in memory")
	}
	if cap(s.enc.buf) > 1<<20 {
		t.Errorf("the buffer grew to %d", cap(s.enc.buf))
	}
}

type seen struct {
	want   []byte
	direct int
	all    []byte
}

func (s *seen) Write(p []byte) (int, error) {
	if len(p) == len(s.want) && &p[0] == &s.want[0] {
		s.direct++
	}
	s.all = append(s.all, p...)
	return len(p), nil
}

func TestStreamWithoutReader(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	defer w.Close()
	s := NewStream(w, Full)
	for range 2 { // and it stays so: part of a row may have been written
		if err := s.Commit(context.Background(), []*pipeline.Result{result()}); !errors.Is(err, ErrReaderGone) {
			t.Errorf("%v", err)
		}
	}
	s = NewStream(&limited{n: 10}, Full)
	for range 2 {
		if err := s.Commit(context.Background(), []*pipeline.Result{result()}); !errors.Is(err, io.ErrShortWrite) {
			t.Errorf("%v", err)
		}
	}
}

type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	n := min(l.n, len(p))
	if l.n -= n; n < len(p) {
		l.n = math.MaxInt // there is room again, but the row is torn
		return n, io.ErrShortWrite
	}
	return n, nil
}

func BenchmarkRow1KB(b *testing.B) {
	r := result()
	r.Request.Body = json.RawMessage(`{"x":"` + strings.Repeat("y", 300) + `"}`)
	r.Response.Text = strings.Repeat("answer ", 20)
	r.Response.Output = json.RawMessage(`{"x":"` + strings.Repeat("y", 300) + `"}`)
	s := NewStream(io.Discard, Full)
	batch := []*pipeline.Result{r}
	b.SetBytes(int64(len(AppendRow(nil, r, Full))))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Commit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
}
