package convert

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/input"
	"github.com/batchrun/batchrun/sinks"
)

func write(t testing.TB, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// to converts one file and returns where the output is.
func to(t testing.TB, in, kind, name string, more ...func(*Options)) (string, Result) {
	t.Helper()
	opt := Options{Inputs: []string{in}, Output: filepath.Join(filepath.Dir(in), name), To: kind}
	for _, f := range more {
		f(&opt)
	}
	res, err := Run(context.Background(), opt)
	if err != nil {
		t.Fatalf("to %s: %v", kind, err)
	}
	return opt.Output, res
}

const claude = "anthropic.claude-3-haiku-20240307-v1:0"

// TestRoundTrip100k takes 100,000 requests from OpenAI's format to Bedrock's and back, a tenth of them through every other one as well,
// and 100,000 rows through Parquet and back: every byte is what it was.
func TestRoundTrip100k(t *testing.T) {
	n := lines
	if testing.Short() {
		n = 5_000
	}
	all := requests(n)
	roundTrip(t, all, n, Bedrock)
	few := all[:len(requests(n/10))]
	roundTrip(t, few, n/10, Anthropic, Chat, Converse, Bedrock)
	rowsRoundTrip(t, n)
}

// requests are lines of an OpenAI batch.
func requests(n int) string {
	var b bytes.Buffer
	for i := range n {
		more := [...]string{
			``, `,"temperature":0.5,"stop":["END"]`, `,"top_p":0.25`,
			`,"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object"}}}]`,
		}[i%4]
		turns := ""
		if i%5 == 2 {
			turns = `,{"role":"assistant","content":"Hm."},{"role":"user","content":"And?"}`
		}
		fmt.Fprintf(&b, `{"custom_id":"r-%d","method":"POST","url":"/v1/chat/completions","body":{"model":"m","max_tokens":%d,"messages":[`+
			`{"role":"system","content":"Be brief, %d."},{"role":"user","content":"Question %d: \"quotes\", \n, 日本, %s"}%s]%s},"team":%d}`+"\n",
			i, 1+i%4096, i%7, i, strings.Repeat("x", i%50), turns, more, i)
	}
	return b.String()
}

// roundTrip converts requests from one format to the next, and in the end to the first again.
func roundTrip(t *testing.T, in string, n int, kinds ...string) {
	t.Helper()
	at := write(t, t.TempDir(), "in.jsonl", in)
	for i, kind := range append(kinds, OpenAI) {
		var res Result
		use := func(o *Options) { o.Model = "m" }
		if kind == Bedrock {
			use = func(o *Options) { o.Model = claude }
		}
		if at, res = to(t, at, kind, fmt.Sprintf("%d.jsonl", i), use); res != (Result{Read: int64(n), Converted: int64(n)}) {
			t.Fatalf("%s: %+v", kind, res)
		}
	}
	was, is := strings.Split(in, "\n"), strings.Split(read(t, at), "\n")
	if len(was) != len(is) {
		t.Fatalf("%d lines, were %d", len(is), len(was))
	}
	for i := range was {
		if was[i] != is[i] {
			t.Fatalf("line %d was\n%s\nand is\n%s", i+1, was[i], is[i])
		}
	}
}

// rowsRoundTrip takes rows to Parquet and back.
func rowsRoundTrip(t *testing.T, n int) {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		rec := &pipeline.Record{ID: fmt.Sprintf("r%d", i), Source: "in.jsonl", Line: int64(i + 1), Metadata: json.RawMessage(fmt.Sprintf(`{"want": %d}`, i))}
		b.Write(sinks.AppendRow(nil, &pipeline.Result{
			Record: rec, ModelID: claude, Attempts: 1 + i%3, Request: &pipeline.Request{Record: rec, Body: json.RawMessage(`{"max_tokens": 5}`)},
			Response: &pipeline.Response{
				Output: json.RawMessage(fmt.Sprintf(`{"type":"message","content":[{"type":"text","text":"answer %d"}]}`, i)), Text: fmt.Sprintf("answer %d", i),
				StopReason: "end_turn", RequestID: fmt.Sprint("q", i), Usage: pipeline.Usage{InputTokens: int64(i), OutputTokens: 3, CacheReadInputTokens: 1},
			},
			Timing: pipeline.Timing{
				Started: time.Date(2026, 1, 2, 3, 4, 5, i*1000, time.UTC), Queued: time.Duration(i) * time.Microsecond, Connect: 0, FirstToken: 210400 * time.Microsecond,
				FirstText: -1, Total: time.Second + time.Duration(i)*time.Microsecond, Elapsed: time.Hour, InterTokenP50: 1, InterTokenMax: -1, ServerFirstByte: time.Millisecond, ServerTotal: -1,
			},
		}, sinks.Full))
	}
	rows := write(t, t.TempDir(), "rows.jsonl", b.String())
	parquet, _ := to(t, rows, "full", "rows.parquet")
	back, res := to(t, parquet, "full", "back.jsonl")
	if res.Converted != int64(n) || read(t, back) != b.String() {
		t.Errorf("%+v: the rows are not what they were", res)
	}
}

// TestErrorsGoAside keeps what cannot be said, and rows that are errors, in a file of their own.
func TestErrorsGoAside(t *testing.T) {
	dir := t.TempDir()
	in := write(t, dir, "in.jsonl", `{"custom_id":"a","body":{"messages":[{"role":"user","content":"Hi"}]}}`+"\n"+
		`{"custom_id":"b","body":{"messages":[{"role":"user","content":"Hi"}],"seed":7}}`+"\n\nnot json\n"+
		`{"id":"d","prompt":"Hi","body":{}}`+"\n"+`{"id":"e","prompt":"Hi","params":{}}`+"\n")
	out, res := to(t, in, Anthropic, "out.jsonl", func(o *Options) { o.Model = "m" })
	if want := (Result{Read: 5, Converted: 2, Errors: 3, ErrorsPath: filepath.Join(dir, "out.errors.jsonl")}); res != want {
		t.Errorf("%+v, want %+v", res, want)
	}
	want := `{"custom_id":"a","params":{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]}}` + "\n" +
		`{"custom_id":"d","params":{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":"Hi"}]},"body":{}}` + "\n"
	if got := read(t, out); got != want {
		t.Errorf("%s", got)
	}
	errs := read(t, filepath.Join(dir, "out.errors.jsonl"))
	for _, want := range []string{":2:1: body.seed: ", ":4:2: invalid JSON", `\"params\": the field would get a meaning`} {
		if !strings.Contains(errs, want) {
			t.Errorf("no %s in\n%s", want, errs)
		}
	}
}

// TestRows turns the rows of one program into those of another.
func TestRows(t *testing.T) {
	dir := t.TempDir()
	in := write(t, dir, "job.jsonl.out", `{"recordId":"1","modelInput":{"inputText":"a"},"modelOutput":{"inputTextTokenCount":8,"results":[{"tokenCount":3,"outputText":"blue","completionReason":"FINISH"}]}}`+"\n"+
		`{"recordId":"2","modelInput":{"inputText":"b"},"error":{"errorCode":400,"errorMessage":"bad request"}}`+"\n")
	out, res := to(t, in, "openai", "out.jsonl", func(o *Options) { o.Model = "titan" })
	if res.Converted != 1 || res.Errors != 1 || !strings.Contains(read(t, out), `"custom_id":"1","response":{"status_code":200`) ||
		!strings.Contains(read(t, res.ErrorsPath), `"custom_id":"2","response":{"status_code":400`) {
		t.Errorf("%+v\n%s", res, read(t, out))
	}
	table, _ := to(t, in, "full", "out.parquet", func(o *Options) { o.Errors = filepath.Join(dir, "e2") })
	text, _ := to(t, table, "text", "text.jsonl")
	if got := read(t, text); got != `{"recordId":"1","text":"blue"}`+"\n" {
		t.Error(got)
	}
}

// TestParquetTable makes requests of a table that somebody else has written.
func TestParquetTable(t *testing.T) {
	type row struct {
		ID       int64    `parquet:"id"`
		Question *string  `parquet:"question,optional"`
		Choices  []string `parquet:"choices,list"`
	}
	dir := t.TempDir()
	question := "Say \"hi\"?"
	table := filepath.Join(dir, "table.parquet")
	if err := parquet.WriteFile(table, []row{{1, &question, []string{"a", "b"}}, {2, nil, nil}}); err != nil {
		t.Fatal(err)
	}
	template, err := input.ParseTemplate("{{.question}}{{range .choices}} {{.}}{{end}}")
	if err != nil {
		t.Fatal(err)
	}
	out, res := to(t, table, Chat, "out.jsonl", func(o *Options) { o.Template = template })
	want := `{"recordId":"1","messages":[{"role":"user","content":"Say \"hi\"? a b"}],"choices":["a","b"],"question":"Say \"hi\"?"}` + "\n"
	if got := read(t, out); got != want || res.Errors != 1 || !strings.Contains(read(t, res.ErrorsPath), `column \"question\" is missing or null`) {
		t.Errorf("%+v: %s", res, got)
	}
	if _, err := Run(context.Background(), Options{Inputs: []string{table}, Output: filepath.Join(dir, "x.jsonl"), To: "full"}); err == nil {
		t.Error("a table passes as rows")
	}
}

// TestRefused writes nothing where it was asked for what makes no sense, or stops on the way.
func TestRefused(t *testing.T) {
	row, request := `{"recordId":"1","modelOutput":{}}`, `{"prompt":"x"}`
	tests := map[string]struct {
		in   string
		opt  Options
		want string
	}{
		"an unknown kind":         {request, Options{To: "csv", Output: "o.jsonl"}, `--to is "csv", expected one of converse, chat, full`},
		"no output":               {request, Options{To: OpenAI}, "no output"},
		"Parquet of requests":     {request, Options{To: OpenAI, Output: "o.parquet"}, "openai cannot be columns of a Parquet file"},
		"rows to chat":            {row, Options{To: Chat, Output: "o.jsonl"}, "holds rows, and --to chat is for requests"},
		"requests to text":        {request, Options{To: "text", Output: "o.jsonl"}, "holds requests, and --to text is for rows"},
		"Bedrock without a model": {request, Options{To: Bedrock, Output: "o.jsonl"}, "in the format of a model"},
		"an unknown model":        {request, Options{To: Bedrock, Output: "o.jsonl", Model: "x"}, "does not tell its family"},
		"both":                    {request + "\n" + row, Options{To: OpenAI, Output: "o.jsonl", Model: "m"}, "in.jsonl:2: a row, and what came before is not"},
		"a broken row":            {row + "\n{", Options{To: OpenAI, Output: "o.jsonl"}, "in.jsonl:2: not a row"},
		"an output that exists":   {row, Options{To: OpenAI, Output: "in.jsonl"}, "exists already"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Chdir(dir)
			write(t, dir, "in.jsonl", tt.in)
			tt.opt.Inputs = []string{"in.jsonl"}
			_, err := Run(context.Background(), tt.opt)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %s", err, tt.want)
			}
			if left, _ := os.ReadDir(dir); len(left) != 1 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	dir := t.TempDir()
	in := write(t, dir, "in.jsonl", request)
	ctx, cancel := context.WithCancelCause(context.Background())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := Run(ctx, Options{Inputs: []string{in}, Output: filepath.Join(dir, "o.jsonl"), To: OpenAI}); !errors.Is(err, stop) {
		t.Errorf("stopped with %v", err)
	}
}

// FuzzConvert turns any line into every kind: what comes out is JSON, one line each, and nothing goes missing.
func FuzzConvert(f *testing.F) {
	f.Add(`{"custom_id":"a","body":{"messages":[{"role":"user","content":"Hi"}]},"x":1}`)
	f.Add(`{"recordId":"1","modelInput":{"inputText":"a"},"modelOutput":{}}`)
	f.Add(`{"custom_id":"a","result":{"type":"expired"}}`)
	f.Fuzz(func(t *testing.T, line string) {
		if strings.ContainsAny(line, "\n\r") || strings.TrimSpace(line) == "" {
			t.Skip()
		}
		for _, kind := range Kinds() {
			c := &converter{opt: Options{Inputs: []string{"in.jsonl"}, Output: "-", To: kind, Model: claude, MaxTokens: 5}, parser: input.NewParser(nil)}
			var out, errs bytes.Buffer
			c.out, c.errs = &out, &errorFile{w: bufio.NewWriter(&errs)}
			if err := c.line("in.jsonl", 1, []byte(line)); err != nil {
				continue
			}
			c.errs.w.Flush()
			if c.n.Read != 1 || c.n.Converted+c.n.Errors != 1 {
				t.Errorf("%s: %+v", kind, c.n)
			}
			got := out.String() + errs.String()
			if strings.Count(got, "\n") != 1 || !sinks.ValidJSON([]byte(got)) {
				t.Errorf("%s: %s becomes %q", kind, line, got)
			}
			if c.rows || c.n.Converted == 0 || kind == Converse && strings.Contains(line, "modelInput") {
				continue
			}
			if rec := input.NewParser(nil).Record("in.jsonl", 1, bytes.TrimSpace(out.Bytes())); rec.Fault != nil {
				t.Errorf("%s: %s becomes %s: %v", kind, line, got, rec.Fault)
			}
		}
	})
}
