package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

func TestFamilyOf(t *testing.T) {
	for id, want := range map[string]string{
		"anthropic.claude-3-haiku-20240307-v1:0":                                   "claude",
		"anthropic.claude-3-haiku-20240307-v1:0:48k":                               "claude",
		"us.anthropic.claude-sonnet-4-5-20250929-v1:0":                             "claude",
		"eu.anthropic.claude-3-5-sonnet-20240620-v1:0":                             "claude",
		"apac.amazon.nova-pro-v1:0":                                                "nova",
		"global.anthropic.claude-opus-4-5-20251101-v1:0":                           "claude",
		"jp.anthropic.claude-sonnet-4-5":                                           "claude",
		"us-gov.anthropic.claude-3-haiku-20240307-v1:0":                            "claude",
		"amazon.nova-micro-v1:0":                                                   "nova",
		"us.amazon.nova-2-lite-v1:0":                                               "nova",
		"meta.llama3-70b-instruct-v1:0":                                            "llama",
		"us.meta.llama3-2-1b-instruct-v1:0":                                        "llama",
		"amazon.titan-text-lite-v1":                                                "titan",
		"arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-text-express-v1": "titan",
		"arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0":  "claude",
		"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0":    "llama",
		"arn:aws:bedrock:us-east-1:123456789012:inference-profile/global.anthropic.claude-opus-4-5-v1:0": "claude",
		"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl":                          "",
		"arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0/abcdefghijkl":         "nova",
		"arn:aws:bedrock:us-east-1:123456789012:custom-model/imported/abcdefghijkl":                      "",
		"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abcdefghijkl":              "",
		"arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl":                             "imported",
		"arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/abcdefghijkl":                    "",
		"arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.deepseek.r1-v1:0":                   "deepseek-r1",
		"arn:aws:bedrock:us-east-1:123456789012:default-prompt-router/anthropic.claude:1":                "",
		"arn:aws:sagemaker:us-east-1:123456789012:endpoint/anthropic.claude":                             "",
		"arn:aws:bedrock":              "",
		"amazon.nova-canvas-v1:0":      "",
		"amazon.nova-sonic-v1:0":       "",
		"amazon.titan-embed-text-v2:0": "",
		"stability.sd3-5-large-v1:0":   "",
		"cohere.embed-english-v3":      "",
		"cohere.rerank-v3-5:0":         "",
		"eu.cohere.embed-v4:0":         "",
		"x.anthropic.claude-3":         "",
		"claude":                       "",
		"":                             "",

		"anthropic.claude-v2:1":                       "claude",
		"meta.llama2-13b-chat-v1":                     "llama",
		"us.meta.llama4-scout-17b-instruct-v1:0":      "llama",
		"mistral.mistral-7b-instruct-v0:2":            "mistral-text",
		"mistral.mixtral-8x7b-instruct-v0:1":          "mistral-text",
		"mistral.mistral-large-2402-v1:0":             "mistral-text",
		"mistral.mistral-large-2407-v1:0":             "mistral",
		"us.mistral.pixtral-large-2502-v1:0":          "mistral",
		"mistral.mistral-large-3-675b-instruct":       "mistral",
		"cohere.command-text-v14":                     "command",
		"cohere.command-light-text-v14:7:4k":          "command",
		"cohere.command-r-v1:0":                       "command-r",
		"cohere.command-r-plus-v1:0":                  "command-r",
		"ai21.jamba-1-5-large-v1:0":                   "jamba",
		"ai21.j2-ultra-v1":                            "j2",
		"us.deepseek.r1-v1:0":                         "deepseek-r1",
		"deepseek.v3-v1:0":                            "deepseek",
		"deepseek.v3.2":                               "deepseek",
		"us.deepseek.v3.2":                            "deepseek",
		"openai.gpt-oss-120b-1:0":                     "openai",
		"us-gov.openai.gpt-oss-20b-1:0":               "openai",
		"qwen.qwen3-235b-a22b-2507-v1:0":              "qwen",
		"us.writer.palmyra-x5-v1:0":                   "writer",
		"google.gemma-3-27b-it":                       "chat",
		"moonshotai.kimi-k2.5":                        "chat",
		"zai.glm-4.7":                                 "chat",
		"au.anthropic.claude-haiku-4-5-20251001-v1:0": "claude",
		"newco.wonder-1.5":                            "generic",
		"us.newco.wonder-v1:0":                        "generic",
		"cohere.command-a-03-2025":                    "generic",
	} {
		got, err := FamilyOf(id)
		if got != want || errors.Is(err, ErrUnknownFamily) != (want == "") {
			t.Errorf("FamilyOf(%q) = %q, %v, want %q", id, got, err, want)
		}
	}
	arn := "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl"
	if m := testModel(t, "http://localhost", arn, func(o *Options) { o.Family = "nova" }); m.Family() != "nova" {
		t.Errorf("--family nova gives %q", m.Family())
	}
	_, err := FamilyOf(arn)
	if hint := err.(interface{ Hint() string }).Hint(); !strings.Contains(hint, "--family") || !strings.Contains(hint, "claude, nova, llama, titan, claude-text, mistral-text") {
		t.Errorf("the hint is %q", hint)
	}
	if _, err := resolveFamily(arn, "gpt"); err == nil {
		t.Error("a family that does not exist is taken")
	}
}

// What a record brings itself is sent as it is, be it text, images or documents.
func TestInputIsNeitherCopiedNorAltered(t *testing.T) {
	for name, tt := range familyCases {
		input := []byte(` { "messages" : [ { "content" : [ { "image" : { "bytes" : "iVBO" } , "document" : { } , "n" : 1.0 } ] } ] , "x" : "\u0041" } `)
		req, err := testModel(t, "http://localhost", tt.modelID).Encode(&pipeline.Record{Input: input})
		if err != nil || &req.Body[0] != &input[0] || len(req.Body) != len(input) {
			t.Errorf("%s: %s, %v", name, req.Body, err)
		}
	}
}

// The README says what each family is for.
func TestReadmeNamesEveryFamily(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Models\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, name := range Families() {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("the section Models does not name %s", name)
		}
	}
}

// start is a message_start with content and usage that are easy to read.
const start = `{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"c","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`

func TestAssembly(t *testing.T) {
	delta := func(i int, d string) string {
		return fmt.Sprintf(`{"type":"content_block_delta","index":%d,"delta":%s}`, i, d)
	}
	open := func(i int, b string) string {
		return fmt.Sprintf(`{"type":"content_block_start","index":%d,"content_block":%s}`, i, b)
	}
	end := func(delta, usage string) []string {
		return []string{`{"type":"message_delta","delta":` + delta + `,"usage":` + usage + `}`, `{"type":"message_stop"}`}
	}
	claudeBody := func(content, tail string) string {
		return `{"id":"m","type":"message","role":"assistant","model":"c","content":[` + content + `],` + tail + `}`
	}
	const usage1 = `"usage":{"input_tokens":1,"output_tokens":9}`
	done := end(`{"stop_reason":"end_turn","stop_sequence":null}`, `{"output_tokens":9}`)
	endTurn := `"stop_reason":"end_turn","stop_sequence":null,` + usage1
	novaEnd := func(reason string) []string {
		return []string{`{"messageStop":{"stopReason":"` + reason + `"}}`, `{"metadata":{"usage":{"inputTokens":9,"outputTokens":14}}}`}
	}
	novaBody := func(content, reason string) string {
		return `{"output":{"message":{"content":[` + content + `],"role":"assistant"}},"stopReason":"` + reason + `","usage":{"inputTokens":9,"outputTokens":14}}`
	}
	tests := map[string]struct {
		model  string
		stream []string
		want   string
		text   string
		stop   string
	}{
		"claude: thinking, signature and text": {
			claudeID, slices.Concat([]string{
				start,
				open(0, `{"type":"thinking","thinking":"","signature":""}`), delta(0, `{"type":"thinking_delta","thinking":"Hm. "}`), delta(0, `{"type":"thinking_delta","thinking":"So."}`), delta(0, `{"type":"signature_delta","signature":"c2ln"}`),
				open(1, `{"type":"redacted_thinking","data":"AAAA"}`),
				open(2, `{"type":"text","text":""}`), delta(2, `{"type":"text_delta","text":"Yes"}`),
				open(3, `{"type":"text","text":""}`), delta(3, `{"type":"text_delta","text":"."}`),
			}, done),
			claudeBody(`{"type":"thinking","thinking":"Hm. So.","signature":"c2ln"},{"type":"redacted_thinking","data":"AAAA"},{"type":"text","text":"Yes"},{"type":"text","text":"."}`, endTurn), "Yes.", "end_turn",
		},
		"claude: tools, whole, empty and cut off": {
			claudeID, slices.Concat([]string{
				start,
				open(0, `{"type":"tool_use","id":"a","name":"f","input":{}}`), delta(0, `{"type":"input_json_delta","partial_json":"{\"a\":"}`), delta(0, `{"type":"input_json_delta","partial_json":" [1,\n2]}"}`),
				open(1, `{"type":"tool_use","id":"b","name":"g","input":{}}`), delta(1, `{"type":"input_json_delta","partial_json":""}`),
				open(2, `{"type":"tool_use","id":"c","name":"h","input":{}}`), delta(2, `{"type":"input_json_delta","partial_json":"{\"q\": \"un"}`),
			},
				end(`{"stop_reason":"max_tokens","stop_sequence":null}`, `{"output_tokens":9}`)),
			claudeBody(`{"type":"tool_use","id":"a","name":"f","input":{"a":[1,2]}},{"type":"tool_use","id":"b","name":"g","input":{}},{"type":"tool_use","id":"c","name":"h","input":"{\"q\": \"un"}`, `"stop_reason":"max_tokens","stop_sequence":null,`+usage1), "", "max_tokens",
		},
		"claude: citations": {
			claudeID, slices.Concat([]string{
				start,
				open(0, `{"citations":[],"type":"text","text":""}`), delta(0, `{"type":"citations_delta","citation":{"cited_text":"x"}}`), delta(0, `{"type":"text_delta","text":"A"}`), delta(0, `{"type":"citations_delta","citation":{"cited_text":"y"}}`),
			}, done),
			claudeBody(`{"citations":[{"cited_text":"x"},{"cited_text":"y"}],"type":"text","text":"A"}`, endTurn), "A", "end_turn",
		},
		"claude: a refusal": {
			claudeID, slices.Concat([]string{start, open(0, `{"type":"text","text":""}`), delta(0, `{"type":"text_delta","text":"I"}`)},
				end(`{"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":"x"}}`, `{"output_tokens":9}`)),
			claudeBody(`{"type":"text","text":"I"}`, `"stop_reason":"refusal","stop_sequence":null,"stop_details":{"type":"refusal","category":"x"},`+usage1), "I", "refusal",
		},
		"claude: usage is cumulative, and 3.0 is 3": {
			claudeID, slices.Concat([]string{start, `{"type":"message_delta","delta":{},"usage":{"output_tokens":4.0,"cache_creation":{"ephemeral_5m_input_tokens":2.0}}}`}, end(`{"stop_reason":"end_turn"}`, `{"output_tokens":9.0,"service_tier":"standard"}`)),
			claudeBody(``, `"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":9,"cache_creation":{"ephemeral_5m_input_tokens":2},"service_tier":"standard"}`), "", "end_turn",
		},
		"claude: unknown blocks, deltas and keys": {
			claudeID, slices.Concat([]string{start, open(0, `{"type":"hologram","depth":3}`), delta(0, `{"type":"hologram_delta","angle":1}`), open(1, `{"type":"text","text":"Well"}`), delta(1, `{"type":"text_delta","text":"!","new":{"a":[]}}`)}, done),
			claudeBody(`{"type":"hologram","depth":3},{"type":"text","text":"Well!"}`, endTurn), "Well!", "end_turn",
		},
		"claude: blocks out of order, and one never announced": {
			claudeID, slices.Concat([]string{start, open(1, `{"type":"text","text":""}`), delta(1, `{"type":"text_delta","text":"b"}`), delta(0, `{"type":"text_delta","text":"a"}`), delta(900000000, `{"type":"text_delta","text":"z"}`)}, done),
			claudeBody(`{"type":"text","text":"a"},{"type":"text","text":"b"},{"type":"text","text":"z"}`, endTurn), "abz", "end_turn",
		},
		"claude: other order, spaces and escaped keys": {
			claudeID, slices.Concat([]string{start, open(0, `{"type":"text","text":""}`), "\n{ \"delta\" : { \"text\" : \"\\u0041\\ud83d\" , \"type\" : \"text_delta\" } , \"index\" : 0.0 , \"type\" : \"content_block_delta\" }\n", `{"\u0074ype":"content_block_delta","ind\u0065x":0,"delta":{"type":"text_delta","t\u0065xt":"\ude00"}}`}, done),
			claudeBody(`{"type":"text","text":"\u0041\ud83d\ude00"}`, endTurn), "A😀", "end_turn",
		},
		"claude: a legacy text completion": {
			claudeID,
			[]string{`{"completion":" Two","stop_reason":null,"stop":null}`, `{"completion":" herons","stop_reason":"stop_sequence","stop":"\n\nHuman:",` + metricsJSON + `}`},
			`{"type":"completion","completion":" Two herons","stop_reason":"stop_sequence","stop":"\n\nHuman:"}`, " Two herons", "stop_sequence",
		},
		"nova: pieces, gaps and tools": {
			novaID, slices.Concat([]string{
				`{"messageStart":{"role":"assistant"}}`, `{"contentBlockDelta":{"delta":{"text":"Rain"},"contentBlockIndex":0}}`, `{"contentBlockStop":{"contentBlockIndex":0}}`, `{"contentBlockDelta":{"delta":{"text":" is"},"contentBlockIndex":7}}`,
				`{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"u1","name":"f"}},"contentBlockIndex":22}}`, `{"contentBlockDelta":{"delta":{"toolUse":{"input":"{\"a\":"}},"contentBlockIndex":22}}`, `{"contentBlockDelta":{"delta":{"toolUse":{"input":"1}"}},"contentBlockIndex":22}}`,
				`{"contentBlockStart":{"start":{"toolUse":{"toolUseId":"u2","name":"g"}},"contentBlockIndex":900000024}}`, `{"contentBlockDelta":{"delta":{"text":"!"},"contentBlockIndex":900000025}}`,
			}, novaEnd("tool_use")),
			novaBody(`{"text":"Rain is"},{"toolUse":{"toolUseId":"u1","name":"f","input":{"a":1}}},{"toolUse":{"toolUseId":"u2","name":"g","input":{}}},{"text":"!"}`, "tool_use"), "Rain is!", "tool_use",
		},
		"nova: reasoning in either form": {
			novaID, slices.Concat([]string{`{"contentBlockDelta":{"delta":{"reasoningContent":{"text":"Hm"}},"contentBlockIndex":0}}`, `{"contentBlockDelta":{"delta":{"reasoningContent":{"reasoningText":{"text":"."}}},"contentBlockIndex":0}}`, `{"contentBlockDelta":{"delta":{"reasoningContent":{"signature":"s"}},"contentBlockIndex":0}}`, `{"contentBlockDelta":{"delta":{"text":"Yes"},"contentBlockIndex":1}}`}, novaEnd("end_turn")),
			novaBody(`{"reasoningContent":{"reasoningText":{"text":"Hm.","signature":"s"}}},{"text":"Yes"}`, "end_turn"), "Yes", "end_turn",
		},
		"llama: empty pieces while counts go on": {
			llamaID,
			[]string{`{"generation":"","prompt_token_count":5.0,"generation_token_count":1.0,"stop_reason":null}`, `{"generation":"日","prompt_token_count":null,"generation_token_count":3,"stop_reason":"length"}`},
			`{"generation":"日","prompt_token_count":5,"generation_token_count":3,"stop_reason":"length"}`, "日", "length",
		},
		"titan: two results": {
			titanID,
			[]string{`{"outputText":"b","index":1,"totalOutputTextTokenCount":1,"completionReason":null,"inputTextTokenCount":4}`, `{"outputText":"a","index":0,"totalOutputTextTokenCount":2,"completionReason":"FINISH","inputTextTokenCount":4}`},
			`{"inputTextTokenCount":4,"results":[{"tokenCount":2,"outputText":"a","completionReason":"FINISH"},{"tokenCount":1,"outputText":"b","completionReason":null}]}`, "ab", "FINISH",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := resolveFamily(tt.model, "")
			r, fault := readStream(f, chunks(tt.stream...))
			if fault != nil {
				t.Fatalf("%+v", fault)
			}
			if string(r.Output) != tt.want || r.Text != tt.text || r.StopReason != tt.stop {
				t.Errorf("got  %s %q %q\nwant %s %q %q", r.Output, r.Text, r.StopReason, tt.want, tt.text, tt.stop)
			}
		})
	}
}

func TestSigns(t *testing.T) {
	type set = signs
	tests := []struct {
		model, chunk string
		want         signs
	}{
		{claudeID, start, set{}},
		{claudeID, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`, set{}},
		{claudeID, `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"A"}}`, set{content: true, text: true}},
		{claudeID, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f","input":{}}}`, set{}},
		{claudeID, `{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","name":"f","input":{"a":1}}}`, set{content: true}},
		{claudeID, `{"type":"content_block_start","index":0,"content_block":{"type":"redacted_thinking","data":"x"}}`, set{content: true}},
		{claudeID, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":""}}`, set{}},
		{claudeID, `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}}`, set{content: true}},
		{claudeID, `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}`, set{}},
		{claudeID, `{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"x"}}`, set{content: true}},
		{claudeID, `{"type":"message_stop"}`, set{terminal: true}},
		{novaID, `{"messageStart":{"role":"assistant"}}`, set{}},
		{novaID, `{"contentBlockDelta":{"delta":{"text":""},"contentBlockIndex":0}}`, set{}},
		{novaID, `{"contentBlockDelta":{"delta":{"toolUse":{"input":"{"}},"contentBlockIndex":0}}`, set{content: true}},
		{novaID, `{"contentBlockDelta":{"delta":{"reasoningContent":{"text":"x"}},"contentBlockIndex":0}}`, set{content: true}},
		{novaID, `{"messageStop":{"stopReason":"end_turn"}}`, set{}},
		{novaID, `{"metadata":{}}`, set{terminal: true}},
		{llamaID, `{"generation":"","stop_reason":null}`, set{}},
		{llamaID, `{"generation":"x","stop_reason":"stop"}`, set{content: true, text: true, terminal: true}},
		{titanID, `{"outputText":"","completionReason":"FINISH"}`, set{terminal: true}},
		{qwenID, `{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`, set{}},
		{qwenID, `{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}`, set{content: true, text: true, terminal: true}},
		{deepseekID, `{"choices":[{"index":0,"delta":{"reasoning_content":"A"},"finish_reason":null}]}`, set{content: true}},
		{jambaID, `{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}}]}`, set{content: true}},
		{openaiID, `{"choices":[{"index":0,"delta":{"content":"<reasoning>A"}}]}`, set{content: true}},
		{openaiID, `{"choices":[{"index":0,"delta":{"content":"<reasoning>A</reasoning>"}}]}`, set{content: true}},
		{openaiID, `{"choices":[{"index":0,"delta":{"content":"<reasoning>A</reasoning>B"}}]}`, set{content: true, text: true}},
		{openaiID, `{"choices":[{"index":0,"delta":{"refusal":"No"}}]}`, set{content: true}},
		{mistralTextID, `{"outputs":[{"text":"A","stop_reason":null}]}`, set{content: true, text: true}},
		{deepseekR1ID, `{"choices":[{"text":"","stop_reason":"length"}]}`, set{terminal: true}},
		{writerID, `"[DONE]"`, set{}},
		{commandID, `{"is_finished":false,"text":" A"}`, set{content: true, text: true}},
		{commandID, `{"is_finished":true,"finish_reason":"COMPLETE"}`, set{terminal: true}},
		{commandRID, `{"is_finished":false,"event_type":"stream-start","generation_id":"g"}`, set{}},
		{commandRID, `{"is_finished":false,"event_type":"tool-calls-generation","tool_calls":[{"name":"f"}]}`, set{content: true}},
		{commandRID, `{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"A"}}`, set{content: true, text: true, terminal: true}},
		{j2ID, `{"completions":[{"data":{"text":"A"},"finishReason":{"reason":"length"}}]}`, set{content: true, text: true, terminal: true}},
		{importedID, `{"generation":"A","stop_reason":"stop"}`, set{content: true, text: true, terminal: true}},
		{genericID, `{"output_text":"A","finish_reason":null}`, set{content: true, text: true}},
	}
	for _, tt := range tests {
		f, _ := resolveFamily(tt.model, "")
		st := newStream()
		st.asm = f.assemble(nil)
		if got, err := st.assemble([]byte(tt.chunk)); got != tt.want || err != nil {
			t.Errorf("%s: %+v, %v, want %+v", tt.chunk, got, err, tt.want)
		}
	}
}

// encodings are other ways to write the same JSON, which the fast way may or may not take.
func encodings(t testing.TB, chunk string) []string {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(chunk), "\t", "  "); err != nil {
		return nil
	}
	plain, err := canonical([]byte(chunk))
	if err != nil {
		t.Fatalf("valid, but not canonical: %s", chunk)
	}
	out := []string{indented.String(), string(plain)}
	// Escape the first letter of every key.
	var b strings.Builder
	for i := 0; i < len(chunk); i++ {
		b.WriteByte(chunk[i])
		if c := chunk[i]; c == '"' && i > 0 && (chunk[i-1] == '{' || chunk[i-1] == ',') && i+1 < len(chunk) && chunk[i+1] >= 'a' && chunk[i+1] <= 'z' {
			fmt.Fprintf(&b, `\u%04x`, chunk[i+1])
			i++
		}
	}
	if json.Valid([]byte(b.String())) {
		var x, y any
		if json.Unmarshal([]byte(chunk), &x) == nil && json.Unmarshal([]byte(b.String()), &y) == nil && reflect.DeepEqual(x, y) {
			out = append(out, b.String())
		}
	}
	return out
}

// FuzzFamily feeds two chunks to a family's assembler: nothing panics, what is not JSON is refused, and what is JSON gives a valid
// body, and the same one however it is written.
func FuzzFamily(f *testing.F) {
	for i, fam := range families {
		stream := familyCases[fam.name].stream
		for j, c := range stream {
			f.Add(i, c, stream[(j+1)%len(stream)])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(assemblies)) {
		a := assemblies[name]
		i := slices.IndexFunc(families, func(f *family) bool { return f.name == a.family })
		for j, c := range a.stream {
			f.Add(i, c, a.stream[(j+1)%len(a.stream)])
		}
	}
	f.Add(0, `{"type":"content_block_delta","index":-1e3,"delta":{"type":"text_delta","text":"\ud83d"}}`, `{"type":"content_block_start","content_block":{"type":"x","input":{"a":1},"text":"\u0000"}}`)
	run := func(fam *family, a, b string) (*pipeline.Response, *streamFault, error) {
		st := newStream()
		st.reset(fam, &call{body: []byte(`{"n":2,"num_generations":2}`), response: emptyResponse()})
		for _, c := range []string{a, b} {
			if _, err := st.assemble([]byte(c)); err != nil {
				return nil, nil, err
			}
		}
		r, fault := st.response()
		return r, fault, nil
	}
	f.Fuzz(func(t *testing.T, i int, a, b string) {
		fam := families[uint(i)%uint(len(families))]
		want, fault, err := run(fam, a, b)
		if valid := json.Valid([]byte(a)) && json.Valid([]byte(b)); valid != (err == nil) {
			t.Fatalf("%s: valid JSON: %v, but %v", fam.name, valid, err)
		}
		if err != nil || fault != nil {
			return
		}
		if !json.Valid(want.Output) || bytes.ContainsAny(want.Output, "\r\n") {
			t.Fatalf("%s: output %q", fam.name, want.Output)
		}
		for _, other := range encodings(t, a) {
			got, fault, err := run(fam, other, b)
			if err != nil || fault != nil || got.Text != want.Text || got.StopReason != want.StopReason || got.Usage != want.Usage || !sameJSON(t, got.Output, want.Output) {
				t.Fatalf("%s: %q written as %q: %v %+v\n%+v\n%+v\n%s\n%s", fam.name, a, other, err, fault, got, want, got.Output, want.Output)
			}
		}
	})
}
