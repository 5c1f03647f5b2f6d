package sinks

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/batchrun/batchrun/pipeline"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// published are lines of results as the documentation of each format shows them.
var published = []struct {
	name, source string
	kind         Rows
	lines        string
}{
	{
		"openai", "https://platform.openai.com/docs/guides/batch", OpenAI,
		`{"id": "batch_req_123", "custom_id": "request-2", "response": {"status_code": 200, "request_id": "req_123", "body": {"id": "chatcmpl-123", "object": "chat.completion", "created": 1711652795, "model": "gpt-3.5-turbo-0125", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "logprobs": null, "finish_reason": "stop"}], "usage": {"prompt_tokens": 22, "completion_tokens": 2, "total_tokens": 24}, "system_fingerprint": "fp_123"}}, "error": null}
{"id": "batch_req_123", "custom_id": "request-3", "response": null, "error": {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."}}
{"id": "batch_req_124", "custom_id": "request-4", "response": {"status_code": 400, "request_id": "req_124", "body": {"error": {"message": "Invalid value", "type": "invalid_request_error", "param": "messages", "code": null}}}, "error": null}`,
	},
	{
		"anthropic", "https://docs.claude.com/en/api/retrieving-message-batch-results", Anthropic,
		`{"custom_id":"my-second-request","result":{"type":"succeeded","message":{"id":"msg_014VwiXbi91y3JMjcpyGBHX5","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"Hello again! It's nice to see you. How can I assist you today? Is there anything specific you'd like to chat about or any questions you have?"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":11,"output_tokens":36}}}}
{"custom_id":"my-third-request","result":{"type":"errored","error":{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: Field required"}}}}
{"custom_id":"my-fourth-request","result":{"type":"expired"}}`,
	},
	{
		"bedrock", "https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html", Bedrock,
		`{ "recordId" : "3223593EFGH", "modelInput" : {"inputText": "Roses are red, violets are"}, "modelOutput" : {"inputTextTokenCount": 8, "results": [{"tokenCount": 3, "outputText": "blue\n", "completionReason": "FINISH"}]}}
{ "recordId" : "1223213ABCD", "modelInput" : {"inputText": "Hello world"}, "error" : {"errorCode" : 400, "errorMessage" : "bad request" }}`,
	},
}

// TestPublishedRows reads each published row and writes it as every kind of row there is.
func TestPublishedRows(t *testing.T) {
	for _, p := range published {
		var got strings.Builder
		got.WriteString("from " + p.source + "\n")
		for line := range strings.Lines(p.lines) {
			row, kind, err := ParseAnyRow([]byte(line))
			if err != nil || kind != p.kind {
				t.Fatalf("%s is %s, %v", line, kind, err)
			}
			res := row.Result()
			res.Record.Source, res.Record.Line, res.ModelID = "in.jsonl", 1, "the-model"
			for _, k := range Kinds() {
				out := AppendRow(nil, res, Rows(k))
				if !json.Valid(out) {
					t.Errorf("%s: not JSON: %s", k, out)
				}
				got.WriteString(k + " " + string(out))
			}
			// Its own kind is what it was, but for spaces and what only the sender knows.
			again, kind, err := ParseAnyRow(AppendRow(nil, res, p.kind))
			if err != nil || kind != p.kind {
				t.Fatal(kind, err)
			}
			compact(t, row)
			compact(t, again)
			if diff := cmp.Diff(row, again); diff != "" && !strings.Contains(line, "expired") && !strings.Contains(line, `"code": null`) {
				t.Errorf("%s: read back (-was +is):\n%s", p.name, diff)
			}
		}
		golden(t, p.name, got.String())
	}
}

func compact(t *testing.T, r *Row) {
	t.Helper()
	for _, raw := range []*[]byte{&r.ModelInput, &r.ModelOutput} {
		var v any
		if *raw == nil {
			continue
		}
		if err := json.Unmarshal(*raw, &v); err != nil {
			t.Fatal(err)
		}
		*raw, _ = json.Marshal(v)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
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

// TestConverseRow answers in the form of Converse what came in it.
func TestConverseRow(t *testing.T) {
	r := result()
	r.Record.Input = json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"x"}]}]}`)
	r.Response.Output = json.RawMessage(`{"type":"message","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn"}`)
	got := string(AppendRow(nil, r, Bedrock))
	want := `{"recordId":"r1","modelInput":{"messages":[{"role":"user","content":[{"text":"x"}]}]},"modelOutput":{"output":{"message":{"role":"assistant","content":[{"text":"Hi"}]}},"stopReason":"end_turn","usage":{"inputTokens":12,"outputTokens":31,"totalTokens":44,"cacheReadInputTokens":1,"cacheWriteInputTokens":0},"metrics":{"latencyMs":903}}}` + "\n"
	if got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

// TestForeignRowsReadBack draws results of every kind: what is written is told for what it is, with its id, answer and error.
func TestForeignRowsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		out, _ := json.Marshal(map[string]any{"type": "message", "content": []any{map[string]string{"type": "text", "text": text}}, "stop_reason": "end_turn"})
		rec := &pipeline.Record{ID: rapid.String().Draw(t, "id"), Source: "s", Line: 1}
		res := &pipeline.Result{
			Record: rec, ModelID: "m", Request: &pipeline.Request{Record: rec, Body: json.RawMessage(`{"a":1}`)}, Attempts: 1,
			Response: &pipeline.Response{Output: out, Text: text, StopReason: "end_turn", Usage: pipeline.Usage{InputTokens: 3, OutputTokens: 4}, RequestID: "q"},
		}
		code := rapid.SampledFrom([]int{-1, 0, 400, 429, 503}).Draw(t, "code")
		if code >= 0 {
			res.Response = nil
			res.Err = &pipeline.RowError{Code: code, Type: "SomethingException", Message: text, RequestID: "q"}
		}
		for _, k := range Kinds() {
			line := AppendRow(nil, res, Rows(k))
			row, kind, err := ParseAnyRow(line)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			want := Rows(k)
			if want == Lean {
				want = Full
			}
			if kind != want && !(want == Text && kind == Text) {
				t.Fatalf("%s is %s, not %s", line, kind, want)
			}
			if row.HasID != (rec.ID != "") || row.RecordID != rec.ID {
				t.Fatalf("id %q of %s", row.RecordID, line)
			}
			if code < 0 {
				if row.Error != nil || !row.HasText || row.Text != text {
					t.Fatalf("text %q of %s", row.Text, line)
				}
				continue
			}
			if row.Error == nil || row.ModelOutput != nil {
				t.Fatalf("no error in %s", line)
			}
			if want == Anthropic { // it has no code, and names of its own
				if !strings.HasSuffix(row.Error.ErrorMessage, text) {
					t.Fatalf("%+v of %s", row.Error, line)
				}
				continue
			}
			if int(row.Error.ErrorCode) != code || row.Error.ErrorType != "SomethingException" || row.Error.ErrorMessage != text {
				t.Fatalf("%+v of %s", row.Error, line)
			}
		}
	})
}

// TestPlausibleErrors reads errors of Bedrock batch in the shapes that its documentation leaves open.
func TestPlausibleErrors(t *testing.T) {
	tests := map[string]RowError{
		`{"errorCode":400,"errorMessage":"bad request"}`:                    {400, "ValidationException", "bad request", false},
		`{"errorCode":"429","errorMessage":"slow"}`:                         {429, "ThrottlingException", "slow", true},
		`{"errorCode":500.0,"errorMessage":"x"}`:                            {500, "InternalServerException", "x", true},
		`{"errorCode":"ModelTimeout","errorMessage":"x"}`:                   {0, "ModelTimeout", "x", false},
		`{"errorCode":503,"errorMessage":"x","retryable":true}`:             {503, "ServiceUnavailableException", "x", true},
		`{"errorCode":408,"errorMessage":"x","expired":true}`:               {408, "Expired", "x", true},
		`{"errorMessage":"x"}`:                                              {0, "InternalServerException", "x", true},
		`{"errorCode":null,"errorMessage":null}`:                            {0, "InternalServerException", "", true},
		`{"message":"x","errorCode":403}`:                                   {403, "AccessDeniedException", "x", false},
		`"it failed"`:                                                       {0, "InternalServerException", "it failed", true},
		`{"errorCode":400,"errorMessage":"ValidationException: bad stuff"}`: {400, "ValidationException", "bad stuff", false},
	}
	for raw, want := range tests {
		row, kind, err := ParseAnyRow([]byte(`{"recordId":7,"modelInput":{},"error":` + raw + `}`))
		if err != nil || kind != Bedrock || row.RecordID != "7" || row.Error == nil || *row.Error != want {
			t.Errorf("%s: %v, %s, %v", raw, row, kind, err)
		}
	}
}

func TestNoRow(t *testing.T) {
	for _, line := range []string{
		``, `{}`, `[]`, `{"custom_id":"c"}`, `{"custom_id":"c","body":{}}`, `{"recordId":"r"}`, `{"recordId":"r","modelInput":{}}`, `{"recordId":"r","modelInput":{},"modelOutput":null}`, `{"recordId":"r","modelOutput":null,"error":null}`,
		`{"recordId":"r","modelInput":{},"error":{"errorCode":true}}`, `{"recordId":[],"modelOutput":{}}`, `{"prompt":"x"}`,
		`{"custom_id":"c","response":null,"error":null}`, `{"custom_id":"c","response":{"status_code":200}}`, `{"custom_id":"c","response":{"status_code":"200"}}`,
		`{"custom_id":"c","result":{"type":"succeeded"}}`, `{"custom_id":"c","result":{"type":"odd"}}`, `{"custom_id":"c","result":7}`, `{"custom_id":7,"result":{}}`,
	} {
		if row, kind, err := ParseAnyRow([]byte(line)); err == nil {
			t.Errorf("%s is %s: %+v", line, kind, row)
		}
	}
}

func FuzzParseAnyRow(f *testing.F) {
	for _, p := range published {
		for line := range strings.Lines(p.lines) {
			f.Add([]byte(line))
		}
	}
	f.Add([]byte(`{"recordId":"r","text":"x"}`))
	f.Add(AppendRow(nil, result(), Full))
	f.Fuzz(func(t *testing.T, line []byte) {
		if !ValidJSON(line) { // rows are parsed without looking into their values
			_, _, _ = ParseAnyRow(line)
			return
		}
		row, _, err := ParseAnyRow(line)
		if err != nil {
			return
		}
		for _, k := range Kinds() {
			out := AppendRow(nil, row.Result(), Rows(k))
			if !ValidJSON(out) || strings.Count(string(out), "\n") != 1 {
				t.Errorf("%s becomes %s: %s", line, k, out)
			}
		}
	})
}
