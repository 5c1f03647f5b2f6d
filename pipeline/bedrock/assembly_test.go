package bedrock

import (
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// assembly is a stream with what it is to become.
type assembly struct {
	family  string
	request string // "" for one that asks for nothing unusual
	stream  []string
	want    string // the body; "" for a stream that is no answer
	text    string
	stop    string
	fault   string // the type of what is wrong, where want is ""
}

// assemblies are what the families may do beside what the rehearsal server does, in every shape that is plausible where
// no document says which.
var assemblies = map[string]assembly{
	"chat: reasoning in a member of its own, under either name": {
		family: "deepseek",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"Hm"},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"reasoning_content":".","content":null},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"reasoning":"So","reasoning_content":null},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"content":"Yes"},"finish_reason":"eos_token"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Yes","reasoning_content":"Hm.","reasoning":"So"},"finish_reason":"eos_token"}]}`,
		text: "Yes", stop: "eos_token",
	},
	"chat: tool calls in pieces": {
		family: "qwen",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":null,"function":{"name":null,"arguments":"{\"x\":"}}]},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0.0,"function":{"arguments":" 1}"}}]},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\": 1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`,
		stop: "tool_calls",
	},
	"claude: a later message_delta that has only counts": {
		family: "claude",
		stream: []string{
			`{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}`,
			`{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"X"},"usage":{"output_tokens":4}}`,
			`{"type":"message_delta","delta":{"stop_reason":null,"stop_sequence":null},"usage":{"output_tokens":5}}`,
			`{"type":"message_stop"}`,
		},
		want: `{"id":"m","type":"message","role":"assistant","content":[],"stop_reason":"stop_sequence","stop_sequence":"X","usage":{"input_tokens":3,"output_tokens":5}}`,
		stop: "stop_sequence",
	},
	"chat: members that are repeated, empty": {
		family: "qwen",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":""}]}`,
			`{"choices":[{"index":0,"delta":{"role":"","tool_calls":[{"index":0,"id":"","type":"","function":{"name":"","arguments":"{}"}}]},"finish_reason":""}]}`,
			`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`,
		stop: "tool_calls",
	},
	"chat: tool calls without an index, whole, in a message": {
		family: "mistral",
		stream: []string{
			`{"choices":[{"index":0,"message":{"role":"assistant","content":"","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"f","arguments":{"x":1}}}]},"stop_reason":"tool_calls"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"f","arguments":{"x":1}}}]},"stop_reason":"tool_calls"}]}`,
		stop: "tool_calls",
	},
	"chat: tool calls without an index, in pieces": {
		family: "mistral",
		stream: []string{
			`{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"}"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"1"}}]}}]}`,
			`{"choices":[{"delta":{"tool_calls":[{"id":"a","function":{"arguments":" "}}]}, "finish_reason":"tool_calls"}]}`,
		},
		want: `{"choices":[{"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{} "}},{"id":"b","function":{"name":"g","arguments":"1"}}]},"finish_reason":"tool_calls"}]}`,
		stop: "tool_calls",
	},
	"mistral: deltas, and content as a list of blocks": {
		family: "mistral",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]}]},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"Ti"}]},"finish_reason":null}]}`,
			`{"choices":[{"index":0,"delta":{"content":"de"},"finish_reason":"stop"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Tide","reasoning_content":"Hm"},"finish_reason":"stop"}]}`,
		text: "Tide", stop: "stop",
	},
	"mistral: a whole body as the only chunk": {
		family: "mistral",
		stream: []string{`{"id":"c","object":"chat.completion","created":3,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Tide"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}`},
		want:   `{"id":"c","object":"chat.completion","created":3,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Tide"},"finish_reason":"stop"}],"usage":{"prompt_tokens":2,"completion_tokens":1}}`,
		text:   "Tide", stop: "stop",
	},
	"openai: reasoning in front, its tags split and escaped": {
		family: "openai",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"role":"assistant","content":"<rea"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"soning>I </rea"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"son \u003c/reason"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"ing\u003e"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"Pine </reasoning>"},"finish_reason":"stop"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"<reasoning>I </reason \u003c/reasoning\u003ePine </reasoning>"},"finish_reason":"stop"}]}`,
		text: "Pine </reasoning>", stop: "stop",
	},
	"openai: cut off while it reasons": {
		family: "openai",
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"<reasoning>I"},"finish_reason":"length"}]}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"<reasoning>I"},"finish_reason":"length"}]}`,
		stop:   "length",
	},
	"openai: an answer that only looks like reasoning at first": {
		family: "openai",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"content":"<rea"}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"l>"},"finish_reason":"stop"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"<real>"},"finish_reason":"stop"}]}`,
		text: "<real>", stop: "stop",
	},
	"openai: an answer shorter than the tag": {
		family: "openai",
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"<r"},"finish_reason":"stop"}]}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"<r"},"finish_reason":"stop"}]}`,
		text:   "<r", stop: "stop",
	},
	"openai: a refusal, and counts in a chunk of their own": {
		family: "openai",
		stream: []string{
			`{"id":"c","choices":[{"index":0,"delta":{"role":"assistant","refusal":"I "}}],"usage":null}`,
			`{"id":"c","choices":[{"index":0,"delta":{"refusal":"can't."}}],"usage":null}`,
			`{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}`,
			`{"id":"c","choices":[],"usage":{"prompt_tokens":3.0,"completion_tokens":4.0,"details":{"cached_tokens":1.0}}}`,
		},
		want: `{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":"I can't."},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"details":{"cached_tokens":1}}}`,
		stop: "stop",
	},
	"qwen: tags that the model writes itself stay": {
		family: "qwen",
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"<think>Hm</think><reasoning>a</reasoning>b"},"finish_reason":"stop"}]}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"<think>Hm</think><reasoning>a</reasoning>b"},"finish_reason":"stop"}]}`,
		text:   "<think>Hm</think><reasoning>a</reasoning>b", stop: "stop",
	},
	"chat: two answers, and probabilities": {
		family: "chat", request: `{"messages":[{"n":5}],"n":2}`,
		stream: []string{
			`{"choices":[{"index":1,"delta":{"content":"B"},"logprobs":{"content":[{"token":"B"}],"refusal":null}}]}`,
			`{"choices":[{"index":1,"delta":{},"logprobs":null,"finish_reason":"stop"}]}`,
			`{"choices":[{"index":0,"delta":{"content":"A"},"logprobs":{"content":[{"token":"A"}],"refusal":null}}]}`,
			`{"choices":[{"index":0,"delta":{"content":"a"},"logprobs":{"content":[{"token":"a"}],"refusal":null},"finish_reason":"length"}]}`,
		},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Aa"},"finish_reason":"length","logprobs":{"refusal":null,"content":[{"token":"A"},{"token":"a"}]}},{"index":1,"message":{"role":"assistant","content":"B"},"finish_reason":"stop","logprobs":{"refusal":null,"content":[{"token":"B"}]}}]}`,
		text: "AaB", stop: "length",
	},
	"chat: one of two answers is not all": {
		family: "chat", request: `{"messages":[],"n":2}`,
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"chat: a service that gives one answer of two says so by counting": {
		family: "chat", request: `{"messages":[],"n":2}`,
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}],` + metricsJSON + `}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"A"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":31,"total_tokens":43}}`,
		text:   "A", stop: "stop",
	},
	"chat: and if it counts in a chunk of its own": {
		family: "qwen", request: `{"messages":[],"n":3}`,
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}`, `{` + metricsJSON + `}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"A"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":31,"total_tokens":43}}`,
		text:   "A", stop: "stop",
	},
	"chat: an empty reason is none": {
		family: "chat",
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":""}]}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"chat: a token that stopped it is no reason by itself": {
		family: "chat",
		stream: []string{`{"choices":[{"index":0,"text":"A","finish_reason":null,"stop_reason":128001}]}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"chat: an error in place of a chunk": {
		family: "chat",
		stream: []string{
			`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":null}],"error":null}`,
			`{"error":{"message":"engine died","type":"server_error","code":500}}`,
		},
		fault: "server_error",
	},
	"chat: an error as a reason": {
		family: "qwen",
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"error"}]}`},
		fault:  "ModelStreamErrorException",
	},
	"writer: a conversation": {
		family: "writer",
		stream: []string{
			`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Ced","role":"assistant","tool_calls":[]},"finish_reason":null}],"usage":null}`,
			`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"ar","tool_calls":[]},"finish_reason":"stop"}],"usage":null}`,
		},
		want: `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Cedar","tool_calls":[]},"finish_reason":"stop"}]}`,
		text: "Cedar", stop: "stop",
	},
	"writer: an end mark says that no second answer is to come": {
		family: "writer", request: `{"n":2}`,
		stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}`, `"\u005bDONE]"`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":"A"},"finish_reason":"stop"}]}`,
		text:   "A", stop: "stop",
	},
	"writer: an end mark is no reason for an end": {
		family: "writer", stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":null}]}`, `"[DONE]"`}, fault: pipeline.TypeTruncatedStream,
	},
	"writer: an end mark alone is no answer": {
		family: "writer", stream: []string{`"[DONE]"`}, fault: pipeline.TypeTruncatedStream,
	},
	"jamba: an end mark is none": {
		family: "jamba", stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"}}]}`, `"[DONE]"`}, fault: pipeline.TypeTruncatedStream,
	},
	"command: several generations with one end": {
		family: "command", request: `{"num_generations":2}`,
		stream: []string{
			`{"index":0,"is_finished":false,"text":" A"}`, `{"index":1,"is_finished":false,"text":" B"}`, `{"index":0.0,"is_finished":false,"text":"a"}`,
			`{"finish_reason":"COMPLETE","is_finished":true}`,
		},
		want: `{"generations":[{"finish_reason":"COMPLETE","index":0,"text":" Aa"},{"finish_reason":"COMPLETE","index":1,"text":" B"}]}`,
		text: " Aa B", stop: "COMPLETE",
	},
	"command: an end for each generation": {
		family: "command", request: `{"num_generations":2}`,
		stream: []string{
			`{"index":0,"is_finished":false,"text":" A"}`, `{"index":0,"finish_reason":"COMPLETE","is_finished":true}`,
			`{"index":1,"is_finished":false,"text":" B"}`, `{"index":1,"finish_reason":"MAX_TOKENS","is_finished":true}`,
		},
		want: `{"generations":[{"finish_reason":"COMPLETE","index":0,"text":" A"},{"finish_reason":"MAX_TOKENS","index":1,"text":" B"}]}`,
		text: " A B", stop: "MAX_TOKENS",
	},
	"command: one of two generations is not all": {
		family: "command", request: `{"num_generations":2}`,
		stream: []string{`{"index":0,"is_finished":false,"text":" A"}`, `{"index":0,"finish_reason":"COMPLETE","is_finished":true}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"command: a whole body as the only chunk": {
		family: "command",
		stream: []string{`{"generations":[{"finish_reason":"COMPLETE","id":"g","text":" A"}],"id":"i","prompt":"p","amazon-bedrock-x":1,` + metricsJSON + `}`},
		want:   `{"generations":[{"finish_reason":"COMPLETE","id":"g","text":" A"}],"id":"i","prompt":"p"}`,
		text:   " A", stop: "COMPLETE",
	},
	"command: the last chunk repeats the body": {
		family: "command",
		stream: []string{`{"is_finished":false,"text":" A"}`, `{"is_finished":true,"finish_reason":"COMPLETE","response":{"id":"i","generations":[{"id":"g","text":" A","finish_reason":"COMPLETE"}],"prompt":"p"}}`},
		want:   `{"id":"i","generations":[{"id":"g","text":" A","finish_reason":"COMPLETE"}],"prompt":"p"}`,
		text:   " A", stop: "COMPLETE",
	},
	"command: given up": {
		family: "command", stream: []string{`{"is_finished":false,"text":" A"}`, `{"is_finished":true,"finish_reason":"ERR\u004fR"}`}, fault: "ModelStreamErrorException",
	},
	"command-r: without its response": {
		family: "command-r",
		stream: []string{
			`{"is_finished":false,"event_type":"stream-start","generation_id":"g","response_id":"r"}`,
			`{"is_finished":false,"event_type":"search-results","search_results":[{"a":1}]}`,
			`{"is_finished":false,"event_type":"text-generation","text":"De"}`, `{"is_finished":false,"event_type":"text\u002dgeneration","text":"w"}`,
			`{"is_finished":false,"event_type":"citation-generation","citations":[{"start":0}]}`, `{"is_finished":false,"event_type":"citation-generation","citations":[{"start":1}]}`,
			`{"is_finished":false,"event_type":"tool-calls-chunk","text":"never","tool_call_delta":{"index":0}}`,
			`{"is_finished":false,"event_type":"tool-calls-generation","text":"never","tool_calls":[{"name":"f","parameters":{}}]}`,
			`{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE"}`,
		},
		want: `{"response_id":"r","text":"Dew","generation_id":"g","citations":[{"start":0},{"start":1}],"search_results":[{"a":1}],"tool_calls":[{"name":"f","parameters":{}}],"finish_reason":"COMPLETE"}`,
		text: "Dew", stop: "COMPLETE",
	},
	"command-r: a whole body as the only chunk": {
		family: "command-r",
		stream: []string{`{"response_id":"r","text":"Dew","generation_id":"g","chat_history":[{"role":"USER"}],"finish_reason":"COMPLETE","amazon-bedrock-guardrailAction":"NONE"}`},
		want:   `{"response_id":"r","text":"Dew","generation_id":"g","chat_history":[{"role":"USER"}],"finish_reason":"COMPLETE"}`,
		text:   "Dew", stop: "COMPLETE",
	},
	"command-r: given up": {
		family: "command-r", stream: []string{`{"is_finished":true,"event_type":"stream-end","finish_reason":"ERROR","response":{"text":""}}`}, fault: "ModelStreamErrorException",
	},
	"j2: no reason, no end": {
		family: "j2", stream: []string{`{"completions":[{"data":{"text":"Reeds"},"finishReason":null}]}`}, fault: pipeline.TypeTruncatedStream,
	},
	"imported: as Mistral's text completion": {
		family: "imported",
		stream: []string{`{"outputs":[{"text":"a","stop_reason":null}]}`, `{"outputs":[{"text":"b","stop_reason":"stop"}]}`},
		want:   `{"outputs":[{"text":"ab","stop_reason":"stop"}]}`, text: "ab", stop: "stop",
	},
	"imported: as OpenAI's text completion, after Bedrock's own": {
		family: "imported",
		stream: []string{`{"amazon-bedrock-guardrailAction":"NONE"}`, `{"id":"c","object":"text_completion","choices":[{"index":0,"text":"a","logprobs":{"tokens":["a"],"text_offset":[0]},"finish_reason":null}]}`, `{"id":"c","object":"text_completion","choices":[{"index":0,"text":"b","logprobs":{"tokens":["b"],"text_offset":[1]},"finish_reason":"length"}]}`},
		want:   `{"id":"c","object":"text_completion","choices":[{"index":0,"text":"ab","finish_reason":"length","logprobs":{"tokens":["a","b"],"text_offset":[0,1]}}]}`, text: "ab", stop: "length",
	},
	"generic: a stream of Claude's": {
		family: "generic", stream: claudeStream,
		want: `{"id":"msg_bdrk_x","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"Plums are \"ripe\"."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":31}}`,
		text: `Plums are "ripe".`, stop: "end_turn",
	},
	"generic: a stream of Nova's": {
		family: "generic", stream: novaStream,
		want: `{"output":{"message":{"content":[{"text":"Rain is near"}],"role":"assistant"}},"stopReason":"end_turn","usage":{"inputTokens":9,"outputTokens":14}}`,
		text: "Rain is near", stop: "end_turn",
	},
	"generic: a stream of Command R's": {
		family: "generic",
		stream: []string{`{"is_finished":false,"event_type":"text-generation","text":"Dew"}`, `{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"Dew"}}`},
		want:   `{"text":"Dew","finish_reason":"COMPLETE"}`, text: "Dew", stop: "COMPLETE",
	},
	"generic: a format of nobody's": {
		family: "generic", stream: []string{`{"wind":"north"}`, `{"wind":"east"}`, `{"calm":true}`}, fault: typeUnknownFormat,
	},
	"generic: an end, and a text that is nowhere": {
		family: "generic",
		stream: []string{`{"choices":[{"index":0,"delta":{"spoken":"Moor"},"finish_reason":null}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],` + metricsJSON + `}`},
		fault:  typeUnknownFormat,
	},
	"generic: a reason for the end of nothing": {
		family: "generic", stream: []string{`{"finish_reason":"stop"}`}, fault: typeUnknownFormat,
	},
	"imported: a format of nobody's": {
		family: "imported", stream: []string{`{"wind":"north"}`}, fault: typeUnknownFormat,
	},
	"imported: an end, and a text that is nowhere": {
		family: "imported", stream: []string{`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],` + metricsJSON + `}`}, fault: typeUnknownFormat,
	},
	"generic: a stream of Claude's, cut off before it began": {
		family: "generic", stream: claudeStream[:2], fault: pipeline.TypeTruncatedStream,
	},
	"generic: an answer that is simply empty": {
		family: "generic",
		stream: []string{`{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":1}}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`, stop: "stop",
	},
	"llama, named for a model that is a Claude": {
		family: "llama", stream: claudeStream, fault: typeUnknownFormat,
	},
	"claude, named for a model that takes chat completions": {
		family: "claude", stream: []string{`{"choices":[{"index":0,"delta":{"content":"A"},"finish_reason":"stop"}]}`}, fault: typeUnknownFormat,
	},
	"claude: an end, and nothing before it": {
		family: "claude", stream: []string{`{"type":"message_stop"}`}, fault: pipeline.TypeTruncatedStream,
	},
	"claude: an end without a start": {
		family: "claude", stream: claudeStream[1:], fault: pipeline.TypeTruncatedStream,
	},
	"claude: an end without a reason, after a guardrail has masked": {
		family: "claude",
		stream: []string{start, `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"{NAME}"},"amazon-bedrock-guardrailAction":"INTERVENED"}`, `{"type":"message_stop",` + metricsJSON + `}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"claude: blocked, its reason the model's own": { // as measured in https://github.com/NousResearch/hermes-agent/issues/52179
		family: "claude",
		stream: []string{start, claudeStream[1], `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Sorry."}}`, `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":0}}`, `{"type":"message_stop","amazon-bedrock-guardrailAction":"INTERVENED"}`},
		want:   `{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"text","text":"Sorry."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":0}}`,
		text:   "Sorry.", stop: "end_turn",
	},
	"nova: an end, and nothing before it": {
		family: "nova", stream: novaStream[len(novaStream)-1:], fault: pipeline.TypeTruncatedStream,
	},
	"command: an end without a reason": {
		family: "command", stream: []string{`{"is_finished":false,"text":" A"}`, `{"is_finished":true}`}, fault: pipeline.TypeTruncatedStream,
	},
	"chat: a call without its start": {
		family: "qwen",
		stream: []string{`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"chat: a call of another type than a function's": { // https://platform.openai.com/docs/api-reference/chat/object
		family: "qwen",
		stream: []string{`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","type":"custom","custom":{"name":"f","input":"x"}}]},"finish_reason":"tool_calls"}]}`},
		want:   `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"custom","custom":{"name":"f","input":"x"}}]},"finish_reason":"tool_calls"}]}`,
		stop:   "tool_calls",
	},
	"llama: cut behind a chunk that a guardrail has masked": {
		family: "llama",
		stream: []string{llamaStream[0], `{"generation":" {NAME}","generation_token_count":2,"stop_reason":null,"amazon-bedrock-guardrailAction":"INTERVENED"}`},
		fault:  pipeline.TypeTruncatedStream,
	},
	"claude, cut off before it began": {
		family: "claude", stream: claudeStream[:2], fault: pipeline.TypeTruncatedStream,
	},
	// A blocked call may be answered by the body that InvokeModel returns for it, in one chunk, which has neither reason nor counts.
	"claude: blocked, in the form of a body": {
		family: "claude",
		stream: []string{`{"type":"message","role":"assistant","content":[{"text":"Not \"here\".","type":"text"}],"amazon-bedrock-guardrailAction":"INTERVENED","amazon-bedrock-trace":{"guardrail":{"actionReason":"` + strings.Repeat("long ", 2000) + `"}}}`},
		want:   `{"type":"message","role":"assistant","content":[{"text":"Not \"here\".","type":"text"}]}`,
		text:   `Not "here".`, stop: "guardrail_intervened",
	},
	"claude: blocked, in the form of a body that has a reason": {
		family: "claude",
		stream: []string{`{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"Sorry."}],"stop_reason":"end_turn","usage":{"input_tokens":7.0,"output_tokens":0.0},"amazon-bedrock-guardrailAction":"INTERVENED"}`},
		want:   `{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"Sorry."}],"stop_reason":"end_turn","usage":{"input_tokens":7,"output_tokens":0}}`,
		text:   "Sorry.", stop: "end_turn",
	},
	"claude: a body that no guardrail has blocked": {
		family: "claude", stream: []string{`{"type":"message","role":"assistant","content":[{"type":"text","text":"Sorry."}],"stop_reason":"end_turn","amazon-bedrock-guardrailAction":"NONE"}`},
		fault: pipeline.TypeTruncatedStream,
	},
	"nova: blocked, in the form of a body": {
		family: "nova", stream: []string{`{"output":{"message":{"content":[{"text":"Sorry."}],"role":"assistant"}},"stopReason":"guardrail_intervened","amazon-bedrock-guardrailAction":"INTERVENED"}`},
		want: `{"output":{"message":{"content":[{"text":"Sorry."}],"role":"assistant"}},"stopReason":"guardrail_intervened"}`,
		text: "Sorry.", stop: "guardrail_intervened",
	},
	"titan: blocked, in the form of a body": {
		family: "titan", stream: []string{`{"inputTextTokenCount":4.0,"results":[{"tokenCount":3.0,"outputText":"Sorry.","completionReason":null}],"amazon-bedrock-guardrailAction":"INTERVENED"}`},
		want: `{"inputTextTokenCount":4,"results":[{"tokenCount":3.0,"outputText":"Sorry.","completionReason":null}]}`,
		text: "Sorry.", stop: "guardrail_intervened",
	},
	"chat: blocked, in the form of a body": {
		family: "qwen", stream: []string{`{"choices":[{"index":0.0,"message":{"role":"assistant","content":"Sorry."},"finish_reason":null}],"amazon-bedrock-guardrailAction":"INTERVENED"}`},
		want: `{"choices":[{"index":0,"message":{"role":"assistant","content":"Sorry."},"finish_reason":null}]}`,
		text: "Sorry.", stop: "guardrail_intervened",
	},
	"generic: blocked, in the form of Claude's body": {
		family: "generic", stream: []string{`{"type":"message","role":"assistant","content":[{"type":"text","text":"Sorry."}],"amazon-bedrock-guardrailAction":"INTERVENED"}`},
		want: `{"type":"message","role":"assistant","content":[{"type":"text","text":"Sorry."}]}`,
		text: "Sorry.", stop: "guardrail_intervened",
	},
	"a guardrail's word may be escaped": {
		family: "llama", stream: []string{`{"generation":"Sorry.","prompt_token_count":null,"generation_token_count":null,"stop_reason":null,"amazon-bedrock-guardrailAction":"INTER\u0056ENED"}`},
		want: `{"generation":"Sorry.","prompt_token_count":null,"generation_token_count":null,"stop_reason":null}`,
		text: "Sorry.", stop: "guardrail_intervened",
	},
	"words may be escaped": {
		family: "claude",
		stream: []string{
			start, `{"type":"content_block\u005fstart","index":0,"content_block":{"type":"te\u0078t","text":""}}`,
			`{"type":"content_block\u005fdelta","index":0,"delta":{"type":"text\u005fdelta","text":"A"}}`,
			`{"type":"message\u005fdelta","delta":{"stop_reason":"end\u005fturn"},"usage":{}}`, `{"type":"message\u005fstop"}`,
		},
		want: `{"id":"m","type":"message","role":"assistant","model":"c","content":[{"type":"te\u0078t","text":"A"}],"stop_reason":"end\u005fturn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}`,
		text: "A", stop: "end_turn",
	},
}

func TestAssemblies(t *testing.T) {
	for name, tt := range assemblies {
		t.Run(name, func(t *testing.T) {
			f, err := resolveFamily("", tt.family)
			if err != nil {
				t.Fatal(err)
			}
			r, fault := readAnswer(f, tt.request, chunks(tt.stream...))
			if tt.want == "" {
				if fault == nil || fault.name != tt.fault {
					t.Fatalf("got %+v, %+v; want the fault %s", r, fault, tt.fault)
				}
				return
			}
			if fault != nil {
				t.Fatalf("%+v", fault)
			}
			if string(r.Output) != tt.want || r.Text != tt.text || r.StopReason != tt.stop {
				t.Errorf("got  %s %q %q\nwant %s %q %q", r.Output, r.Text, r.StopReason, tt.want, tt.text, tt.stop)
			}
		})
	}
}

// An answer is whole at its end and at no chunk before, in whatever shape it comes.
func TestNoBeginningOfAnAssemblyIsWhole(t *testing.T) {
	for name, tt := range assemblies {
		f, _ := resolveFamily("", tt.family)
		for n := range tt.stream {
			if strings.Contains(name, "counts in a chunk of their own") && n == 3 {
				continue // whole without them
			}
			if r, _ := readAnswer(f, tt.request, chunks(tt.stream[:n]...)); r != nil {
				t.Errorf("%s: %d chunks of %d are taken for whole: %s", name, n, len(tt.stream), r.Output)
			}
		}
	}
}
