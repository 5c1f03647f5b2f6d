package dialect

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/batchrun/batchrun/pipeline"
)

var update = flag.Bool("update", false, "rewrite testdata/*.golden")

// published are the bodies of requests as the documentation of each format shows them.
var published = []struct {
	name    string
	source  string // the page
	dialect pipeline.Dialect
	body    string
}{
	{
		"openai", "https://platform.openai.com/docs/api-reference/batch/request-input", pipeline.OpenAI,
		`{"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 2+2?"}]}`,
	},
	{
		"openai-limit", "https://platform.openai.com/docs/guides/batch", pipeline.OpenAI,
		`{"model": "gpt-3.5-turbo-0125", "messages": [{"role": "system", "content": "You are a helpful assistant."},{"role": "user", "content": "Hello world!"}],"max_tokens": 1000}`,
	},
	{
		"openai-tools", "https://platform.openai.com/docs/api-reference/chat/create (functions)", pipeline.OpenAI,
		`{"model":"gpt-4.1","messages":[{"role":"user","content":"What is the weather like in Boston today?"}],"tools":[{"type":"function","function":{"name":"get_current_weather","description":"Get the current weather in a given location","parameters":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"},"unit":{"type":"string","enum":["celsius","fahrenheit"]}},"required":["location"]}}}],"tool_choice":"auto"}`,
	},
	{
		"anthropic", "https://docs.claude.com/en/api/creating-message-batches", pipeline.Anthropic,
		`{"model": "claude-sonnet-4-5", "max_tokens": 1024, "messages": [{"role": "user", "content": "Hello, world"}]}`,
	},
	{
		"anthropic-turns", "https://docs.claude.com/en/api/messages (examples)", pipeline.Anthropic,
		`{"model": "claude-sonnet-4-5", "max_tokens": 1024, "system": [{"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}], "messages": [{"role": "user", "content": "Hello there."},{"role": "assistant", "content": "Hi, I'm Claude. How can I help you?"},{"role": "user", "content": [{"type":"text","text":"Can you explain LLMs in plain English?"}]}]}`,
	},
	{
		"converse", "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html (examples)", pipeline.Converse,
		`{"messages": [{"role": "user", "content": [{"text": "Write an article about impact of high inflation to GDP of a country"}]}], "system": [{"text" : "You are an economist with access to lots of data"}], "inferenceConfig" : {"maxTokens": 1000, "temperature": 0.5}}`,
	},
	{
		"chat", "https://platform.openai.com/docs/guides/supervised-fine-tuning (a line of messages)", pipeline.Chat,
		`{"messages": [{"role": "system", "content": "Marv is a factual chatbot that is also sarcastic."}, {"role": "user", "content": "What's the capital of France?"}]}`,
	},
}

// TestPublishedRequests writes each published request in every dialect.
func TestPublishedRequests(t *testing.T) {
	for _, p := range published {
		t.Run(p.name, func(t *testing.T) {
			prompt, fault := Read(p.dialect, []byte(p.body))
			if fault != nil {
				t.Fatal(fault)
			}
			var got strings.Builder
			got.WriteString("from " + p.source + "\n")
			for _, d := range []pipeline.Dialect{pipeline.OpenAI, pipeline.Anthropic, pipeline.Converse, pipeline.Chat} {
				body, fault := Append(nil, d, prompt, "the-model", 4096)
				if fault != nil {
					t.Fatal(d, fault)
				}
				got.WriteString(string(d) + " " + string(body) + "\n")
				again, fault := Read(d, body)
				if fault != nil {
					t.Fatal(d, fault)
				}
				if again.MaxTokens == 4096 && prompt.MaxTokens == 0 { // Anthropic wants one
					again.MaxTokens = 0
				}
				if diff := cmp.Diff(prompt, again); diff != "" {
					t.Errorf("%s, read back (-was +is):\n%s", d, diff)
				}
			}
			golden(t, p.name, got.String())
		})
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

// TestRefused holds every field that cannot be translated to an error that names it.
func TestRefused(t *testing.T) {
	const hi = `"messages":[{"role":"user","content":"hi"}]`
	tests := []struct {
		dialect    pipeline.Dialect
		body, want string
	}{
		{pipeline.OpenAI, `{` + hi + `,"logit_bias":{"50256":-100}}`, "body.logit_bias: "},
		{pipeline.OpenAI, `{` + hi + `,"n":2}`, "body.n: "},
		{pipeline.OpenAI, `{` + hi + `,"seed":7}`, "body.seed: "},
		{pipeline.OpenAI, `{` + hi + `,"response_format":{"type":"json_object"}}`, "body.response_format: "},
		{pipeline.OpenAI, `{` + hi + `,"reasoning_effort":"low"}`, "body.reasoning_effort: "},
		{pipeline.OpenAI, `{` + hi + `,"max_tokens":0}`, "body.max_tokens: expected a whole number of at least 1, not 0"},
		{pipeline.OpenAI, `{` + hi + `,"max_tokens":5,"max_completion_tokens":6}`, "body.max_completion_tokens: "},
		{pipeline.OpenAI, `{` + hi + `,"parallel_tool_calls":0}`, "body.parallel_tool_calls: "},
		{pipeline.OpenAI, `{"messages":[]}`, "body.messages: expected at least one message"},
		{pipeline.OpenAI, `{"messages":[{"role":"system","content":"x"}]}`, "body.messages: "},
		{pipeline.OpenAI, `{"messages":[{"role":"user","content":"x"},{"role":"system","content":"x"}]}`, "body.messages[1].role: "},
		{pipeline.OpenAI, `{"messages":[{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}]}`, `body.messages[0].content[0] of type "input_audio": `},
		{pipeline.OpenAI, `{"messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png"}}]}]}`, "body.messages[0].content[0].image_url: expected a data: URL"},
		{pipeline.OpenAI, `{"messages":[{"role":"user","content":""}]}`, "body.messages[0]: the message is empty"},
		{pipeline.OpenAI, `{"messages":[{"role":"robot","content":"x"}]}`, "body.messages[0].role: expected"},
		{pipeline.OpenAI, `{"messages":"x"}`, "body.messages: expected a list"},
		{pipeline.OpenAI, `{"messages":[{"role":"tool","content":"x"}]}`, "body.messages[0].tool_call_id: "},
		{pipeline.OpenAI, `{` + hi + `,` + hi + `}`, "body: not valid JSON, or a name comes twice"},
		{pipeline.OpenAI, `[]`, "body: expected an object"},
		{pipeline.Anthropic, `{` + hi + `,"thinking":{"type":"enabled","budget_tokens":9}}`, "params.thinking: "},
		{pipeline.Anthropic, `{` + hi + `,"mcp_servers":[]}`, "params.mcp_servers: "},
		{pipeline.Anthropic, `{"messages":[{"role":"user","content":[{"type":"document","source":{}}]}]}`, `params.messages[0].content[0] of type "document": `},
		{pipeline.Anthropic, `{"messages":[{"role":"system","content":"x"}]}`, "params.messages[0].role: expected user or assistant"},
		{pipeline.Converse, `{` + `"messages":[{"role":"user","content":[{"video":{}}]}]}`, "modelInput.messages[0].content[0].video: "},
		{pipeline.Converse, `{"messages":[{"role":"user","content":[{"text":"x"}]}],"additionalModelRequestFields":{"thinking":{}}}`, "modelInput.additionalModelRequestFields.thinking: "},
		{pipeline.Converse, `{"messages":[{"role":"user","content":[{"text":"x"}]}],"inferenceConfig":{"maxTokens":"9"}}`, "modelInput.inferenceConfig.maxTokens: expected a whole number"},
		{pipeline.Chat, `{` + hi + `,"frequency_penalty":0.5}`, "line.frequency_penalty: "},
	}
	for _, tt := range tests {
		if _, fault := Read(tt.dialect, []byte(tt.body)); fault == nil || !strings.HasPrefix(fault.Message, tt.want) || fault.Type != pipeline.TypeInvalidRecord {
			t.Errorf("%s %s:\n got %v\nwant %s…", tt.dialect, tt.body, fault, tt.want)
		}
	}
}

// TestHarmless passes over what does not shape the answer.
func TestHarmless(t *testing.T) {
	body := `{"model":"x","stream":true,"stream_options":{"include_usage":true},"user":"u","store":false,"metadata":{"a":"b"},"n":1,` +
		`"frequency_penalty":0,"presence_penalty":0,"logprobs":false,"logit_bias":{},"response_format":{ "type" : "text" },"seed":null,` +
		`"parallel_tool_calls":true,"service_tier":"auto","messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"text","text":"hi"}]}]}`
	got, fault := Read(pipeline.OpenAI, []byte(body))
	if fault != nil {
		t.Fatal(fault)
	}
	if diff := cmp.Diff(&pipeline.Prompt{Text: "hi", System: "s"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestToolTurn carries a call of a tool and its result through every dialect.
func TestToolTurn(t *testing.T) {
	body := `{"messages":[{"role":"user","content":"Weather?"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"w","arguments":"{\"city\": \"Oslo\"}"}},{"id":"c2","type":"function","function":{"name":"w","arguments":""}}]},{"role":"tool","tool_call_id":"c1","content":"rain"},{"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"sun"}]},{"role":"user","content":[{"type":"text","text":"So?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}],"tools":[{"type":"function","function":{"name":"w"}}],"tool_choice":{"type":"function","function":{"name":"w"}}}`
	prompt, fault := Read(pipeline.OpenAI, []byte(body))
	if fault != nil {
		t.Fatal(fault)
	}
	want := map[pipeline.Dialect]string{
		pipeline.Anthropic: `{"max_tokens":9,"messages":[{"role":"user","content":"Weather?"},{"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"w","input":{"city":"Oslo"}},{"type":"tool_use","id":"c2","name":"w","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"rain"},{"type":"tool_result","tool_use_id":"c2","content":"sun"},{"type":"text","text":"So?"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}}]}],"tools":[{"name":"w","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"tool","name":"w"}}`,
		pipeline.Converse:  `{"messages":[{"role":"user","content":[{"text":"Weather?"}]},{"role":"assistant","content":[{"toolUse":{"toolUseId":"c1","name":"w","input":{"city":"Oslo"}}},{"toolUse":{"toolUseId":"c2","name":"w","input":{}}}]},{"role":"user","content":[{"toolResult":{"toolUseId":"c1","content":[{"text":"rain"}]}},{"toolResult":{"toolUseId":"c2","content":[{"text":"sun"}]}},{"text":"So?"},{"image":{"format":"png","source":{"bytes":"aGk="}}}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"w","inputSchema":{"json":{"type":"object","properties":{}}}}}],"toolChoice":{"tool":{"name":"w"}}}}`,
	}
	for d, want := range want {
		got, fault := Append(nil, d, prompt, "", 9)
		if fault != nil || string(got) != want {
			t.Errorf("%s: %v\n got %s\nwant %s", d, fault, got, want)
		}
		again, fault := Read(d, got)
		if fault != nil {
			t.Fatal(fault)
		}
		if diff := cmp.Diff(prompt.Turns(), again.Turns()); diff != "" {
			t.Errorf("%s, read back:\n%s", d, diff)
		}
	}
}

func TestLooksConverse(t *testing.T) {
	tests := map[string]bool{
		`{"messages":[{"role":"user","content":[{"text":"x"}]}]}`:                                          true,
		`{"system":[{"text":"s"}],"messages":[{"role":"user","content":[{"text":"x"}]}]}`:                  true,
		`{"messages":[{"role":"user","content":"x"}],"inferenceConfig":{}}`:                                true,
		`{"inferenceConfig":{},"messages":[{"role":"user","content":[{"image":{}}]}]}`:                     true,
		`{"messages":[{"role":"user","content":[{"type":"text","text":"x"}]}]}`:                            false,
		`{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":[{"text":"x"}]}]}`: false,
		`{"messages":[{"role":"user","content":[{"text":"x"}]}],"max_tokens":5}`:                           false,
		`{"messages":[{"role":"user","content":"x"}]}`:                                                     false,
		`{"inputText":"x"}`: false, `{"prompt":"x","max_gen_len":5}`: false, `{}`: false, `[]`: false, `"x"`: false, ``: false, `{"messages":`: false, `{"messages":[7]}`: false,
	}
	for body, want := range tests {
		if got := LooksConverse([]byte(body)); got != want {
			t.Errorf("LooksConverse(%s) = %v", body, got)
		}
	}
}

// TestRenameLimit leaves all but one name as it was.
func TestRenameLimit(t *testing.T) {
	for in, want := range map[string]string{
		`{ "max_completion_tokens" : 5, "seed":1}`:                     `{ "max_tokens" : 5, "seed":1}`,
		`{"seed":1 ,"max_completion_tokens":5 }`:                       `{"seed":1 ,"max_tokens":5 }`,
		`{"max_completion_tokens":5, "max_tokens":6}`:                  `{ "max_tokens":6}`,
		`{"max_tokens":6 , "max_completion_tokens":5,"a":1}`:           `{"max_tokens":6,"a":1}`,
		`{"max_tokens":6,"a":{"max_completion_tokens":5}}`:             `{"max_tokens":6,"a":{"max_completion_tokens":5}}`,
		`{"messages":[{"content":"max_completion_tokens"}],"x" : [1]}`: `{"messages":[{"content":"max_completion_tokens"}],"x" : [1]}`,
	} {
		got, fault := RenameLimit([]byte(in), "max_completion_tokens", "max_tokens")
		if fault != nil || string(got) != want {
			t.Errorf("RenameLimit(%s) = %s, %v, want %s", in, got, fault, want)
		}
	}
}

// TestNative leaves a body of the family's own dialect alone, but for what the run decides.
func TestNative(t *testing.T) {
	tests := []struct {
		dialect  pipeline.Dialect
		in, want string
	}{
		{pipeline.OpenAI, `{ "model":"gpt","messages" : [ 1,  2 ] ,"stream":true,"seed":7,"stream_options":{}}`, `{"messages" : [ 1,  2 ],"seed":7}`},
		{pipeline.OpenAI, `{ "messages" : [] }`, `{ "messages" : [] }`},
		{pipeline.OpenAI, `{"model":"x"}`, `{}`},
		{pipeline.Anthropic, `{"model":"claude","max_tokens":5,"messages":[{"model":"kept"}],"stream":false}`, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,"messages":[{"model":"kept"}]}`},
		{pipeline.Anthropic, `{"anthropic_version":"own","max_tokens":5}`, `{"anthropic_version":"own","max_tokens":5}`},
	}
	for _, tt := range tests {
		got, fault := Native(tt.dialect, []byte(tt.in))
		if fault != nil || string(got) != tt.want {
			t.Errorf("Native(%s, %s) = %s, %v, want %s", tt.dialect, tt.in, got, fault, tt.want)
		}
	}
	if _, fault := Native(pipeline.OpenAI, []byte(`[1]`)); fault == nil {
		t.Error("a list passes as a body")
	}
}

// answers are bodies in the families' formats, with what they say.
var answers = map[string]string{
	// https://docs.claude.com/en/api/retrieving-message-batch-results
	"anthropic": `{"id":"msg_014VwiXbi91y3JMjcpyGBHX5","type":"message","role":"assistant","model":"claude-sonnet-4-5-20250929","content":[{"type":"text","text":"Hello again! It's nice to see you."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":11,"output_tokens":36}}`,
	// https://platform.openai.com/docs/guides/batch
	"openai": `{"id": "chatcmpl-123", "object": "chat.completion", "created": 1711652795, "model": "gpt-3.5-turbo-0125", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "logprobs": null, "finish_reason": "stop"}], "usage": {"prompt_tokens": 22, "completion_tokens": 2, "total_tokens": 24}, "system_fingerprint": "fp_123"}`,
	// https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html
	"titan": `{"inputTextTokenCount": 8, "results": [{"tokenCount": 3, "outputText": "blue\n", "completionReason": "FINISH"}]}`,
	// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
	"converse": `{"output": {"message": {"content": [{"text": "<text generated by the model>"}], "role": "assistant"}}, "stopReason": "end_turn", "usage": {"inputTokens": 30, "outputTokens": 628, "totalTokens": 658}, "metrics": {"latencyMs": 1275}}`,
	"llama":    `{"generation":"Oak.","prompt_token_count":5,"generation_token_count":3,"stop_reason":"length"}`,
	"tools":    `{"id":"m","type":"message","role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"tool_use","id":"t1","name":"w","input":{"city":"Oslo"}}],"stop_reason":"tool_use","usage":{"input_tokens":5,"cache_read_input_tokens":100,"output_tokens":9}}`,
	"mistral":  `{"choices":[{"index":0,"message":{"role":"assistant","content":"Tide"},"stop_reason":"length"}]}`,
	"refusal":  `{"output":{"message":{"role":"assistant","content":[]}},"stopReason":"guardrail_intervened","usage":{"inputTokens":3.0,"outputTokens":0.0}}`,
	"cohere":   `{"response_id":"r","text":"Dew","finish_reason":"COMPLETE"}`,

	"command":     `{"generations":[{"finish_reason":"MAX_TOKENS","id":"g","text":" Fog"}],"id":"c","prompt":"p"}`,
	"command-r":   `{"response_id":"r","text":"Dew","generation_id":"g","finish_reason":"COMPLETE","tool_calls":[{"name":"w","parameters":{"city":"Oslo"}}],"meta":{"billed_units":{"input_tokens":4,"output_tokens":2}}}`,
	"jamba":       `{"id":"j","choices":[{"index":0,"message":{"role":"assistant","content":"Fern"},"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`,
	"j2":          `{"id":7,"prompt":{"text":"p","tokens":[]},"completions":[{"data":{"text":"Elm","tokens":[]},"finishReason":{"reason":"endoftext"}}]}`,
	"mistral-old": `{"outputs":[{"text":" Salt","stop_reason":"length"}]}`,
	"claude-old":  `{"type":"completion","completion":" Oak","stop_reason":"stop_sequence","stop":"\n\nHuman:"}`,
	"deepseek-r1": `{"choices":[{"text":"Hm.\n</think>\n\nMoss","stop_reason":"stop"}]}`,
	"gpt-oss":     `{"id":"c","object":"chat.completion","created":5,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"<reasoning>Hm.</reasoning>Ivy"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":9,"total_tokens":12}}`,
	"cut-thought": `{"choices":[{"index":0,"message":{"role":"assistant","content":"<reasoning>Hm."},"finish_reason":"length"}]}`,
	"magistral":   `{"choices":[{"index":0,"message":{"role":"assistant","content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm."}]},{"type":"text","text":"Kelp"}],"tool_calls":[{"id":"t","function":{"name":"w","arguments":{"city":"Oslo"}}}]},"stop_reason":"tool_calls"}]}`,
	"two-choices": `{"choices":[{"index":0,"message":{"content":"a"},"stop_reason":"stop"},{"index":1,"message":{"content":"b"},"stop_reason":"length"}]}`,
	"stranger":    `{"output":"Reed","usage":"none","done_reason":"stop"}`,
}

func TestAnswers(t *testing.T) {
	about := About{ID: "req-1", Model: "the-model", Created: time.Unix(1711652795, 0), LatencyMs: 12}
	for name, body := range answers {
		a, ok := ReadAnswer([]byte(body))
		if !ok {
			t.Errorf("%s: not understood", name)
			continue
		}
		got := "in " + body + "\nopenai " + string(a.AppendCompletion(nil, about)) + "\nanthropic " + string(a.AppendMessage(nil, about)) +
			"\nconverse " + string(a.AppendConverse(nil, about)) + "\n"
		for line := range strings.Lines(got) {
			if _, body, _ := strings.Cut(line, " "); !json.Valid([]byte(body)) {
				t.Errorf("%s: not JSON: %s", name, line)
			}
		}
		golden(t, "answer-"+name, got)
	}
	for _, body := range []string{`{}`, `[]`, `"x"`, ``, `{"content":[]}`, `null`} {
		if a, ok := ReadAnswer([]byte(body)); ok {
			t.Errorf("ReadAnswer(%s) = %+v", body, a)
		}
	}
}

// genPrompt draws what every dialect can say.
func genPrompt(t *rapid.T) *pipeline.Prompt {
	text := rapid.StringN(1, 20, -1).Filter(func(s string) bool { return s != "" })
	num := func(label string) *float64 {
		f := float64(rapid.IntRange(0, 100).Draw(t, label)) / 100
		return &f
	}
	p := &pipeline.Prompt{System: rapid.String().Draw(t, "system"), MaxTokens: int64(rapid.IntRange(1, 9999).Draw(t, "max"))}
	if rapid.Bool().Draw(t, "warm") {
		p.Temperature, p.TopP = num("temperature"), num("top_p")
	}
	p.Stop = rapid.SliceOfN(text, 0, 2).Draw(t, "stop")
	if len(p.Stop) == 0 {
		p.Stop = nil
	}
	n := rapid.IntRange(0, 3).Draw(t, "turns")
	if n == 0 {
		p.Text = text.Draw(t, "text")
		return p
	}
	for i := range n {
		p.Messages = append(p.Messages,
			pipeline.Message{Role: pipeline.User, Parts: []pipeline.Part{{Text: text.Draw(t, "user")}, {Kind: pipeline.ImagePart, MediaType: "image/png", Data: "aGk="}}},
			pipeline.Message{Role: pipeline.Assistant, Parts: []pipeline.Part{{Text: text.Draw(t, "assistant")}}})
		if i == 0 && rapid.Bool().Draw(t, "tools") {
			p.Tools = []pipeline.Tool{{Name: "w", Description: "d", Schema: json.RawMessage(`{"type":"object"}`)}}
			p.Messages[1].Parts = append(p.Messages[1].Parts, pipeline.Part{Kind: pipeline.ToolCallPart, ID: "c", Name: "w", Input: json.RawMessage(`{"x":1}`)})
			p.Messages = append(p.Messages, pipeline.Message{Role: pipeline.User, Parts: []pipeline.Part{{Kind: pipeline.ToolResultPart, ID: "c", Text: text.Draw(t, "result")}}},
				pipeline.Message{Role: pipeline.Assistant, Parts: []pipeline.Part{{Text: "ok"}}})
		}
	}
	return p
}

// TestRoundTrip says everything a prompt may have in each dialect, and reads it back.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := genPrompt(t)
		for _, d := range []pipeline.Dialect{pipeline.OpenAI, pipeline.Anthropic, pipeline.Converse, pipeline.Chat} {
			body, fault := Append(nil, d, p, "m", 1)
			if fault != nil {
				t.Fatal(d, fault)
			}
			got, fault := Read(d, body)
			if fault != nil {
				t.Fatalf("%s %s: %v", d, body, fault)
			}
			if diff := cmp.Diff(p, got); diff != "" {
				t.Fatalf("%s %s (-was +is):\n%s", d, body, diff)
			}
		}
	})
}

// FuzzRead reads anything in every dialect: what is understood can be said again, and means the same.
func FuzzRead(f *testing.F) {
	for _, p := range published {
		f.Add(p.body)
	}
	f.Add(`{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:image/png;base64,aGk="}]}],"stop":["a"]}`)
	f.Fuzz(func(t *testing.T, body string) {
		LooksConverse([]byte(body))
		for _, d := range []pipeline.Dialect{pipeline.OpenAI, pipeline.Anthropic, pipeline.Converse, pipeline.Chat} {
			_, _ = Native(d, []byte(body))
			p, fault := Read(d, []byte(body))
			if fault != nil {
				if p != nil || strings.ContainsAny(fault.Message, "\n\r") {
					t.Errorf("%s: %q", d, fault.Message)
				}
				continue
			}
			again, fault := Append(nil, d, p, "", 1)
			if fault != nil {
				continue // a failed tool of chat, and the like
			}
			q, fault := Read(d, again)
			if fault != nil {
				t.Fatalf("%s: %s was read, and then %s: %v", d, body, again, fault)
			}
			if d == pipeline.Anthropic && p.MaxTokens == 0 {
				q.MaxTokens = 0
			}
			if diff := cmp.Diff(p.Turns(), q.Turns()); diff != "" || p.System != q.System || p.MaxTokens != q.MaxTokens {
				t.Fatalf("%s: %s\n%s\n%s", d, body, again, diff)
			}
		}
	})
}

func FuzzReadAnswer(f *testing.F) {
	for _, body := range answers {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		a, ok := ReadAnswer([]byte(body))
		if !ok {
			return
		}
		for _, out := range [][]byte{a.AppendCompletion(nil, About{}), a.AppendMessage(nil, About{}), a.AppendConverse(nil, About{LatencyMs: -1})} {
			if !json.Valid(out) {
				t.Errorf("%s becomes %s", body, out)
			}
		}
	})
}

// One call at most is said in the words of each API that has them. Bedrock takes those of Anthropic:
// https://github.com/vercel/ai/pull/15112
func TestOneCall(t *testing.T) {
	const hi, tools = `"messages":[{"role":"user","content":"Hi"}]`, `,"tools":[{"type":"function","function":{"name":"w"}}]`
	tests := []struct {
		body string // of OpenAI
		want string // of the body of Anthropic, what follows its tools; "" for nothing
	}{
		{tools + `,"parallel_tool_calls":false`, `,"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`},
		{`,"parallel_tool_calls":false,"tool_choice":"required"` + tools, `,"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`},
		{tools + `,"parallel_tool_calls":false,"tool_choice":{"type":"function","function":{"name":"w"}}`, `,"tool_choice":{"type":"tool","name":"w","disable_parallel_tool_use":true}}`},
		{tools + `,"parallel_tool_calls":false,"tool_choice":"none"`, `,"tool_choice":{"type":"none"}}`},
		{tools + `,"parallel_tool_calls":true`, `}`},
		{`,"parallel_tool_calls":false`, `}`},
	}
	for _, tt := range tests {
		p, fault := Read(pipeline.OpenAI, []byte(`{`+hi+tt.body+`}`))
		if fault != nil {
			t.Fatal(fault)
		}
		got, fault := Append(nil, pipeline.Anthropic, p, "", 9)
		_, after, _ := strings.Cut(string(got), `]`)
		if i := strings.LastIndex(after, `]`); i >= 0 {
			after = after[i+1:]
		}
		if fault != nil || after != tt.want {
			t.Errorf("%s becomes %s, %v; want %s", tt.body, got, fault, tt.want)
		}
		for _, d := range []pipeline.Dialect{pipeline.Anthropic, pipeline.OpenAI} {
			body, fault := Append(nil, d, p, "", 9)
			again, bad := Read(d, body)
			if fault != nil || bad != nil || again.OneCall != p.OneCall {
				t.Errorf("%s in %s, read back: %+v, %v, %v", tt.body, d, again, fault, bad)
			}
		}
		if _, fault := Append(nil, pipeline.Converse, p, "", 9); p.OneCall && (fault == nil || !strings.Contains(fault.Message, "one tool call")) {
			t.Errorf("%s in Converse: %v", tt.body, fault)
		}
	}
}

// A choice among no tools is none: services refuse it.
func TestChoiceAmongNoTools(t *testing.T) {
	for choice, want := range map[string]bool{`"none"`: false, `"auto"`: false, `"required"`: true} {
		p, fault := Read(pipeline.OpenAI, []byte(`{"messages":[{"role":"user","content":"Hi"}],"tools":[],"tool_choice":`+choice+`}`))
		if fault != nil || (p.ToolChoice != nil) != want {
			t.Errorf("%s: %+v, %v; want a choice: %v", choice, p, fault, want)
		}
	}
}
