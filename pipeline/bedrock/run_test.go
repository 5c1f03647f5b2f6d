package bedrock

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// A reading is what came of the chunks of a stream.
type reading struct {
	chunks   []chunkReading
	text     string
	response *pipeline.Response
}

// A chunkReading is what came of one of them.
type chunkReading struct {
	signs
	metrics           metrics
	fault, tier       string
	intervened, wrong bool
}

// readChunks reads chunks, of Converse in the short form EVENT PAYLOAD, and makes the answer. With scanned, every one of them is read from its first byte to its last.
func readChunks(f *family, request string, scanned bool, chunks []string) (r reading) {
	st := newStream()
	st.reset(f, &call{body: []byte(request), response: emptyResponse()})
	for _, c := range chunks {
		if scanned {
			st.run.into = nil
		}
		if st.converse {
			st.event, c, _ = strings.Cut(c, " ")
		}
		sg, err := st.assemble([]byte(c))
		r.chunks = append(r.chunks, chunkReading{
			sg, st.env.metrics, st.env.faultType + st.env.faultMessage, st.env.tier + st.env.latency, st.env.intervened, err != nil,
		})
		if err != nil {
			return r
		}
	}
	r.text = st.asm.text()
	r.response, _ = st.response()
	return r
}

// FuzzRun holds chunks read as a run against the same chunks scanned each for itself. Its seeds are the chunks of all families, each with
// every one of its strings replaced in turn.
func FuzzRun(f *testing.F) {
	all := append(slices.Clone(families), &converse)
	add := func(name string, stream []string) {
		i := slices.IndexFunc(all, func(f *family) bool { return f.name == name })
		for _, c := range stream {
			for at := range c {
				if strings.HasPrefix(c[at:], `":"`) {
					f.Add(i, c, c[:at]+`":"x `+c[at+3:])
				}
			}
		}
	}
	for name, tt := range familyCases {
		add(name, tt.stream)
	}
	for _, a := range assemblies {
		add(a.family, a.stream)
	}
	add(converse.name, converseStream)
	// A chunk that goes the slow way ends a run as well: the next piece belongs to the block that it began.
	f.Add(0, claudeStream[2], strings.Replace(claudeStream[1], "type", `typ\u0065`, 1))
	f.Fuzz(func(t *testing.T, i int, a, b string) {
		fam := all[uint(i)%uint(len(all))]
		for _, request := range []string{``, `{"n":2,"num_generations":2}`} {
			chunks := []string{a, b, a, a, b, b, strings.ReplaceAll(b, "x ", `\n\u00e9`), a}
			if got, want := readChunks(fam, request, false, chunks), readChunks(fam, request, true, chunks); !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: %q\nas a run %+v %+v\nscanned  %+v %+v", fam.name, chunks, got, got.response, want, want.response)
			}
		}
	})
}

// Chunks that differ in one piece of text are read as a run; whatever else a chunk says is never taken for a repetition.
func TestRun(t *testing.T) {
	const claudeDelta = `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"PIECE"}}`
	tests := map[string]struct {
		family, chunk, next string // next is the chunk with another piece if it is ""
		run                 bool
	}{
		"claude: text":                        {"claude", claudeDelta, "", true},
		"claude: thinking":                    {"claude", `{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"PIECE"}}`, "", true},
		"claude: a tool's input":              {"claude", `{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"PIECE"}}`, "", true},
		"claude: another index":               {"claude", claudeDelta, strings.Replace(claudeDelta, "0", "1", 1), false},
		"claude: more behind":                 {"claude", claudeDelta, claudeDelta + " ", false},
		"claude: cut off":                     {"claude", claudeDelta, strings.TrimSuffix(claudeDelta, "}"), false},
		"claude: an empty piece":              {"claude", claudeDelta, strings.Replace(claudeDelta, "PIECE", "", 1), false},
		"claude: no piece to begin":           {"claude", strings.Replace(claudeDelta, "PIECE", "", 1), claudeDelta, false},
		"claude: an escape cut off":           {"claude", claudeDelta, strings.Replace(claudeDelta, "PIECE", `\u00e`, 1), false},
		"claude: a guardrail":                 {"claude", strings.Replace(claudeDelta, `}}`, `},"amazon-bedrock-guardrailAction":"INTERVENED"}`, 1), "", false},
		"claude: metrics":                     {"claude", strings.Replace(claudeDelta, `}}`, `},`+metricsJSON+`}`, 1), "", false},
		"claude: signatures":                  {"claude", `{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"PIECE"}}`, "", false},
		"claude-text":                         {"claude-text", `{"completion":"PIECE","stop_reason":null,"stop":null}`, "", true},
		"claude-text: the last":               {"claude-text", `{"completion":"PIECE","stop_reason":"max_tokens","stop":null}`, "", false},
		"titan":                               {"titan", `{"outputText":"PIECE","index":0,"totalOutputTextTokenCount":null,"completionReason":null,"inputTextTokenCount":4}`, "", true},
		"titan: a count":                      {"titan", `{"outputText":"PIECE","index":0,"totalOutputTextTokenCount":3}`, `{"outputText":"PIECE","index":0,"totalOutputTextTokenCount":4}`, false},
		"mistral":                             {"mistral", `{"choices":[{"index":0,"message":{"role":"assistant","content":"PIECE"},"stop_reason":null}]}`, "", true},
		"mistral-text":                        {"mistral-text", `{"outputs":[{"text":"PIECE","stop_reason":null}]}`, "", true},
		"command":                             {"command", `{"is_finished":false,"text":"PIECE"}`, "", true},
		"command: the end of one":             {"command", `{"index":0,"is_finished":true,"text":"PIECE"}`, "", false},
		"command-r":                           {"command-r", `{"is_finished":false,"event_type":"text-generation","text":"PIECE"}`, "", true},
		"command-r: citations":                {"command-r", `{"is_finished":false,"event_type":"text-generation","text":"PIECE","citations":[{"start":1}]}`, "", false},
		"jamba":                               {"jamba", `{"id":"c1","choices":[{"index":0,"delta":{"content":"PIECE"},"finish_reason":null}]}`, "", true},
		"deepseek-r1":                         {"deepseek-r1", `{"choices":[{"text":"PIECE","stop_reason":null}]}`, "", true},
		"deepseek: reasoning":                 {"deepseek", `{"choices":[{"index":0,"delta":{"content":"","reasoning_content":"PIECE"}}]}`, "", true},
		"converse: text":                      {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"}}`, "", true},
		"converse: a tool's input":            {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"toolUse":{"input":"PIECE"}}}`, "", true},
		"converse: reasoning":                 {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"PIECE"}},"p":"abc"}`, "", true},
		"converse: other filler":              {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"},"p":"abc"}`, `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"},"p":"aZ09"}`, true},
		"converse: filler, then none":         {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"},"p":"abc"}`, `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"}`, false},
		"converse: no filler, then it":        {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"}}`, `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"}},"p":"abc"}`, false},
		"converse: another event":             {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE"}}`, `contentBlockStop {"contentBlockIndex":0,"delta":{"text":"PIECE"}}`, false},
		"converse: two in one":                {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE","toolUse":{"input":"a"}}}`, "", false},
		"converse: an image":                  {"converse", `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"PIECE","image":{}}}`, "", false},
		"deepseek: both":                      {"deepseek", `{"choices":[{"index":0,"delta":{"reasoning_content":"Hm","content":"PIECE"}}]}`, "", false},
		"deepseek: both, and reasoning grows": {"deepseek", `{"choices":[{"index":0,"delta":{"reasoning_content":"PIECE","content":"Hm"}}]}`, "", false},
		"openai":                              {"openai", `{"choices":[{"index":0,"delta":{"content":"PIECE"},"finish_reason":null}],"created":1}`, "", true},
		"openai: inside its reasoning":        {"openai", `{"choices":[{"index":0,"delta":{"content":"<reasoning>PIECE"},"finish_reason":null}],"created":1}`, "", false},
		"openai: the reasoning's end":         {"openai", `{"choices":[{"index":0,"delta":{"content":"<reasoning>PIECE</reasoning>"}}]}`, "", false},
		"openai: a beginning of a tag":        {"openai", `{"choices":[{"index":0,"delta":{"content":"<rea"}}]}`, "", false},
		"qwen: two choices":                   {"qwen", `{"choices":[{"index":0,"delta":{"content":"a"}},{"index":1,"delta":{"content":"PIECE"}}]}`, "", false},
		"qwen: a tool call":                   {"qwen", `{"choices":[{"index":0,"delta":{"content":"PIECE","tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"x"}}]}}]}`, "", false},
		"qwen: probabilities":                 {"qwen", `{"choices":[{"index":0,"delta":{"content":"PIECE"},"logprobs":{"content":[{"token":"PIECE"}]}}]}`, "", false},
		"qwen: no probabilities":              {"qwen", `{"choices":[{"index":0,"delta":{"content":"PIECE"},"logprobs":null}]}`, "", true},
		"qwen: the end of one of two":         {"qwen", `{"choices":[{"index":0,"delta":{"content":"PIECE"},"finish_reason":"stop"}]}`, "", false},
		"qwen: blocks":                        {"qwen", `{"choices":[{"index":0,"delta":{"content":[{"type":"text","text":"PIECE"}]}}]}`, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			f, _ := resolveFamily("", tt.family)
			event := func(c string) []byte { return []byte(c) }
			st := newStream()
			if tt.family == converse.name {
				f = &converse
				event = func(c string) []byte {
					kind, payload, _ := strings.Cut(c, " ")
					st.event = kind
					return []byte(payload)
				}
			}
			st.reset(f, &call{body: []byte(`{"n":2,"num_generations":2}`), response: emptyResponse()})
			if _, err := st.assemble(event(tt.chunk)); err != nil {
				t.Fatal(err)
			}
			next := tt.next
			if next == "" {
				next = strings.ReplaceAll(tt.chunk, "PIECE", ` \"another\" \ud83d`)
			}
			body := event(next)
			if got := st.run.take(st.event, body); got != tt.run {
				t.Errorf("after %s\n%s is of one run: %v, want %v", tt.chunk, next, got, tt.run)
			}
		})
	}
}
