package bedrock

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// threeTurns is one conversation as lines of three formats have it.
var threeTurns = map[pipeline.Dialect]string{
	pipeline.OpenAI:    `{"model":"gpt","stream":true,"max_tokens":9,"top_p":0.5,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"And?"}],"stream_options":{"include_usage":true}}`,
	pipeline.Anthropic: `{"model":"claude","stream":false,"max_tokens":9,"top_p":0.5,"system":"Be brief.","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":[{"type":"text","text":"And?"}]}]}`,
	pipeline.Invoke:    `{"system":[{"text":"Be brief."}],"messages":[{"role":"user","content":[{"text":"Hi"}]},{"role":"assistant","content":[{"text":"Hello."}]},{"role":"user","content":[{"text":"And?"}]}],"inferenceConfig":{"maxTokens":9,"topP":0.5}}`,
}

// ownWords are what each family is asked for it; "" for those that have no words for turns.
var ownWords = map[string]string{
	"claude":       `{"anthropic_version":"bedrock-2023-05-31","max_tokens":9,"system":"Be brief.","messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"And?"}],"top_p":0.5}`,
	"nova":         `{"schemaVersion":"messages-v1","system":[{"text":"Be brief."}],"messages":[{"role":"user","content":[{"text":"Hi"}]},{"role":"assistant","content":[{"text":"Hello."}]},{"role":"user","content":[{"text":"And?"}]}],"inferenceConfig":{"maxTokens":9,"topP":0.5}}`,
	"llama":        `{"prompt":"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n","max_gen_len":9,"top_p":0.5}`,
	"titan":        `{"inputText":"Be brief.\n\nUser: Hi\nBot: Hello.\nUser: And?\nBot:","textGenerationConfig":{"maxTokenCount":9,"topP":0.5}}`,
	"claude-text":  `{"prompt":"Be brief.\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: And?\n\nAssistant:","max_tokens_to_sample":9,"top_p":0.5}`,
	"mistral-text": `{"prompt":"<s>[INST] Be brief.\n\nHi [/INST] Hello.</s>[INST] And? [/INST]","max_tokens":9,"top_p":0.5}`,
	"command-r":    `{"preamble":"Be brief.","chat_history":[{"role":"USER","message":"Hi"},{"role":"CHATBOT","message":"Hello."}],"message":"And?","max_tokens":9,"p":0.5}`,
	"command":      "",
	"j2":           "",
	"deepseek-r1":  `{"prompt":"<｜begin▁of▁sentence｜>Be brief.<｜User｜>Hi<｜Assistant｜>Hello.<｜end▁of▁sentence｜><｜User｜>And?<｜Assistant｜><think>\n","max_tokens":9,"top_p":0.5}`,
	"openai":       strings.Replace(chatTurns, "max_tokens", "max_completion_tokens", 1),
	"mistral":      chatTurns, "jamba": chatTurns, "deepseek": chatTurns, "qwen": chatTurns, "writer": chatTurns, "chat": chatTurns,
	"imported": chatTurns, "generic": chatTurns,
}

const (
	chatTurns = `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"And?"}],"max_tokens":9,"top_p":0.5}`
	// asItCame is the line of OpenAI's without what the run decides.
	asItCame = `{"max_tokens":9,"top_p":0.5,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},{"role":"user","content":"And?"}]}`
)

// By ConverseStream a conversation of any format is a Converse request, whatever the model, and one that is a Converse request goes
// as it is.
func TestThreeTurnsByConverse(t *testing.T) {
	opts := simOptions(sim.Options{Seed: 5, OutputTokens: 12})
	s := startSim(t, opts)
	m := testModel(t, s.URL(), claudeID, converseAPI)
	for d, line := range threeTurns {
		req, err := m.Encode(&pipeline.Record{Dialect: d, Input: []byte(line)})
		if err != nil {
			t.Errorf("%q: %v", d, err)
			continue
		}
		if d == pipeline.Invoke && string(req.Body) != line {
			t.Errorf("%q: %s, want it as it came", d, req.Body)
		}
		if req.MaxTokens != 9 || strings.Count(string(req.Body), `"role"`) != 3 || !strings.Contains(string(req.Body), `"inferenceConfig"`) {
			t.Errorf("%q: %s with %d reserved, want a Converse request of three turns and 9 tokens", d, req.Body, req.MaxTokens)
		}
		if out := invokeRequest(t, m, req); out.err != nil || out.response.Text == "" {
			t.Errorf("%q: %v", d, out.err)
		}
	}
}

// TestThreeTurnsInEveryFamily asks every family the same, from lines of three formats, and is answered.
func TestThreeTurnsInEveryFamily(t *testing.T) {
	opts := simOptions(sim.Options{Seed: 5, OutputTokens: 12})
	s := startSim(t, opts)
	for _, f := range families {
		modelID := familyCases[f.name].modelID
		want, known := ownWords[f.name]
		if !known {
			t.Errorf("%s: no row says what it is asked", f.name)
			continue
		}
		m := testModel(t, s.URL(), modelID, func(o *Options) { o.Family = f.name })
		for d, line := range threeTurns {
			req, err := m.Encode(&pipeline.Record{Dialect: d, Input: []byte(line)})
			if want == "" {
				if fault, ok := errors.AsType[*pipeline.Fault](err); !ok || !strings.Contains(fault.Message, "more than one message: the "+f.name+" family has no counterpart") {
					t.Errorf("%s %q: %v, %v; it has no words for turns", f.name, d, req, err)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s %q: %v", f.name, d, err)
				continue
			}
			expected := want
			switch {
			case d == pipeline.OpenAI && f.speaks == d:
				expected = asItCame
			case d == pipeline.Anthropic && f.speaks == d:
				expected = `{"anthropic_version":"bedrock-2023-05-31",` + line[strings.Index(line, `"max_tokens"`):]
			case d == pipeline.Invoke && f.speaks == pipeline.Converse:
				expected = line
			}
			if string(req.Body) != expected || req.MaxTokens != 9 || req.DefaultLimit {
				t.Errorf("%s %q, %d reserved:\n got %s\nwant %s", f.name, d, req.MaxTokens, req.Body, expected)
			}
			truth, err := sim.Truth(opts, modelID, req.Body)
			if err != nil {
				t.Errorf("%s %q: the service refuses it: %v", f.name, d, err)
				continue
			}
			if out := invokeRequest(t, m, req); out.err != nil || out.response.Text != truth.Text || truth.Text == "" {
				t.Errorf("%s %q: %+v, want %q", f.name, d, out, truth.Text)
			}
		}
	}
}

// What cannot be said in a family is told, and what it says in words of its own is translated.
func TestFamilysOwnWords(t *testing.T) {
	const (
		hi      = `"messages":[{"role":"user","content":"Hi"}]`
		tool    = `"tools":[{"type":"function","function":{"name":"w"}}]`
		begun   = `{"max_tokens":9,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Hel"}]}`
		twice   = `{"max_tokens":9,"messages":[{"role":"user","content":"Hi"},{"role":"user","content":"there"}]}`
		first   = `{"max_tokens":9,"system":"Be brief.","messages":[{"role":"assistant","content":"Yes?"},{"role":"user","content":"Hi"}]}`
		failed  = `{"max_tokens":9,"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use","id":"c","name":"w","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c","content":"x","is_error":true}]}]}`
		twoText = `{"max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"Hi "},{"type":"text","text":"there"}]}]}`
	)
	tests := []struct {
		model   string
		dialect pipeline.Dialect
		body    string
		want    string // a part of the body, or of the fault
	}{
		{mistralID, pipeline.OpenAI, `{"max_completion_tokens":9,` + hi + `,` + tool + `,"tool_choice":"required"}`, `"max_tokens":9,"tools":[{"type":"function","function":{"name":"w","parameters":{"type":"object","properties":{}}}}],"tool_choice":"any"}`},
		{mistralID, pipeline.OpenAI, `{"max_tokens":9,` + hi + `,` + tool + `,"tool_choice":{"type":"function","function":{"name":"w"}}}`, "tool_choice: the mistral family cannot be told to use w"},
		{mistralID, pipeline.OpenAI, `{` + hi + `,` + tool + `,"parallel_tool_calls":false}`, "the limit of one tool call: the mistral family has no counterpart"},
		{novaID, pipeline.OpenAI, `{` + hi + `,` + tool + `,"parallel_tool_calls":false}`, "the limit of one tool call: the nova family has no counterpart"},
		{claudeID, pipeline.OpenAI, `{"max_tokens":9,"user":"u",` + hi + `,` + tool + `,"parallel_tool_calls":false}`, `"tools":[{"name":"w","input_schema":{"type":"object","properties":{}}}],"tool_choice":{"type":"auto","disable_parallel_tool_use":true}}`},
		{qwenID, pipeline.Anthropic, `{"max_tokens":9,` + hi + `,"tools":[{"name":"w"}],"tool_choice":{"type":"any","disable_parallel_tool_use":true}}`, `,"parallel_tool_calls":false,"tool_choice":"required"}`},
		{mistralID, pipeline.OpenAI, `{"seed":1,` + hi + `}`, "body.seed: has no counterpart"},
		{deepseekID, pipeline.OpenAI, `{"max_completion_tokens":9,"seed":1,` + hi + `}`, `{"max_tokens":9,"seed":1,` + hi + `}`},
		{openaiID, pipeline.OpenAI, `{"max_completion_tokens":9,"seed":1,` + hi + `}`, `{"max_completion_tokens":9,"seed":1,` + hi + `}`},
		{qwenID, pipeline.Chat, `{"max_tokens":9,` + hi + `,"system":"s"}`, `{"messages":[{"role":"system","content":"s"},{"role":"user","content":"Hi"}],"max_tokens":9}`},
		{qwenID, pipeline.Anthropic, `{"max_tokens":9,"top_k":3,` + hi + `}`, "top_k: the qwen family"},
		{qwenID, pipeline.Anthropic, failed, "messages[2]: OpenAI chat completions cannot say that a tool failed"},
		{jambaID, pipeline.OpenAI, `{"max_tokens":9,` + hi + `,` + tool + `}`, "tools: the jamba family"},
		{jambaID, pipeline.Anthropic, twoText, `{"messages":[{"role":"user","content":"Hi there"}],"max_tokens":9}`},
		{commandRID, pipeline.Anthropic, begun, "messages: the command-r family cannot go on"},
		{commandRID, pipeline.Anthropic, `{"max_tokens":9,"top_k":3,` + hi + `}`, `{"message":"Hi","max_tokens":9,"k":3}`},
		{commandID, pipeline.Anthropic, `{"max_tokens":9,"top_k":3,"top_p":0.5,` + hi + `}`, `{"prompt":"Hi","stream":true,"max_tokens":9,"p":0.5,"k":3}`},
		{j2ID, pipeline.OpenAI, `{"max_tokens":9,"top_p":0.5,"stop":["X"],` + hi + `}`, `{"prompt":"Hi","maxTokens":9,"topP":0.5,"stopSequences":["X"]}`},
		{mistralTextID, pipeline.Anthropic, begun, `"prompt":"<s>[INST] Hi [/INST] Hel","max_tokens":9`},
		{mistralTextID, pipeline.Anthropic, twice, `"prompt":"<s>[INST] Hi\n\nthere [/INST]"`},
		{mistralTextID, pipeline.Anthropic, first, `"prompt":"<s>[INST] Be brief.\n\n [/INST] Yes?</s>[INST] Hi [/INST]"`},
		{deepseekR1ID, pipeline.Anthropic, begun, `"prompt":"<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>Hel","max_tokens":9`},
		{"meta.llama2-13b-chat-v1", pipeline.OpenAI, threeTurns[pipeline.OpenAI], `"prompt":"<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] And? [/INST]"`},
		{"meta.llama4-scout-17b-instruct-v1:0", pipeline.OpenAI, threeTurns[pipeline.OpenAI], `<|header_start|>assistant<|header_end|>\n\nHello.<|eot|><|header_start|>user<|header_end|>\n\nAnd?<|eot|><|header_start|>assistant<|header_end|>\n\n"`},
	}
	for _, tt := range tests {
		req, err := testModel(t, "http://localhost", tt.model).Encode(&pipeline.Record{Dialect: tt.dialect, Input: []byte(tt.body)})
		fault, refused := errors.AsType[*pipeline.Fault](err)
		switch {
		case refused && strings.HasPrefix(fault.Message, tt.want) && fault.Type == pipeline.TypeInvalidRecord:
		case err != nil:
			t.Errorf("%s %s: %v\nwant %s", tt.model, tt.body, err, tt.want)
		case !strings.Contains(string(req.Body), tt.want), !json.Valid(req.Body):
			t.Errorf("%s %s:\n got %s\nwant %s", tt.model, tt.body, req.Body, tt.want)
		case req.MaxTokens != 9:
			t.Errorf("%s: %d tokens are reserved", tt.model, req.MaxTokens)
		}
	}
}

// An encoder knows the limits of a model as a model does.
func TestEncoderIsAModelThatSendsNothing(t *testing.T) {
	for name, tt := range familyCases {
		e, err := NewEncoder(Options{ModelID: tt.modelID})
		if err != nil {
			t.Fatal(err)
		}
		if m := testModel(t, "http://localhost", tt.modelID); e.model.family.maxLimit != m.family.maxLimit || e.model.family.defaultLimit != m.family.defaultLimit {
			t.Errorf("%s: %+v, want %+v", name, e.model.family, m.family)
		}
	}
}
