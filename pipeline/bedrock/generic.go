package bedrock

import (
	"bytes"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// imported is a model of the user's own. The format of the answer is that of the request, for one imported since November 2025, and
// that of its architecture for one imported before: https://docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html
// Either way the stream tells it.
var imported = family{
	name:         "imported",
	limits:       []string{"max_tokens", "max_gen_len", "max_completion_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: defaultMaxTokens, // no default is documented
	defaultFor:   []string{},
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_tokens"),
	assemble:     sniff,
	guessed:      true,
}

// generic is a model of a provider that is not known. Those that came to Bedrock lately take chat completions, which
// is what a short-form record becomes; the answer may be in the format of any family.
var generic = family{
	name: "generic",
	limits: []string{
		"max_tokens", "max_completion_tokens", "max_gen_len", "max_tokens_to_sample", "maxTokens",
		"inferenceConfig.maxTokens", "textGenerationConfig.maxTokenCount",
	},
	limitKey:     "max_tokens",
	defaultLimit: defaultMaxTokens,
	defaultFor:   []string{},
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_tokens"),
	assemble:     sniff,
	guessed:      true,
}

// A sniffer tells the format of a stream by the first chunk that has a key of some family, and leaves the rest to that family's
// assembler. If none has, it takes the stream for plain text.
type sniffer struct {
	request []byte
	asm     assembler // nil until it is told
	plain   plainAnswer
}

func sniff(request []byte) assembler { return &sniffer{request: request} }

func (a *sniffer) chunk(s *scanner, env *envelope) (signs, bool) {
	if a.asm == nil {
		f, ok := familyByKeys(*s)
		if !ok {
			return signs{}, false
		}
		if f == nil {
			return a.plain.chunk(s, env)
		}
		if f == &chat { // what a model writes itself stays in its text, and no page says that Bedrock adds to it
			a.asm = (&chatDialect{usage: true, done: true}).assemble(a.request)
		} else {
			a.asm = f.assemble(a.request)
		}
		a.request = nil
	}
	return a.asm.chunk(s, env)
}

// familyByKeys is the family that a chunk shows to be of, nil if it shows none. It reports false for a chunk that it cannot
// read as it stands. KEY=WORD stands for a key that must have this value.
func familyByKeys(s scanner) (found *family, ok bool) {
	var k []byte
	rank := len(families)
	for s.key(&k) {
		value := s.raw()
		for i, f := range families[:rank] {
			if slices.ContainsFunc(f.keys, func(key string) bool { return isSign(key, k, value) }) {
				found, rank = f, i
				break
			}
		}
	}
	return found, s.end()
}

func isSign(sign string, key, value []byte) bool {
	want, word, exact := strings.Cut(sign, "=")
	if string(key) != want {
		return false
	}
	return !exact || isWord(value) && string(wordOf(value)) == word
}

func (a *sniffer) word(w string) signs {
	if asm, ok := a.asm.(wordTaker); ok {
		return asm.word(w)
	}
	return signs{}
}

func (a *sniffer) text() string {
	if a.asm != nil {
		return a.asm.text()
	}
	return unescape(a.plain.said)
}

func (a *sniffer) finish(m *metrics) answer {
	if a.asm != nil {
		return a.asm.finish(m)
	}
	return a.plain.finish()
}

// plainAnswer is an answer in no family's format: text under one of the usual names, and in the last chunk
// a reason under one of the usual names.
type plainAnswer struct {
	key    string // where the text was found
	said   []byte
	body   object // every member of its chunks, as it came last
	reason string
	read   []member // of the chunk at hand
}

var (
	plainTexts   = []string{"text", "output_text", "generated_text", "response", "message", "content", "output", "answer"}
	plainReasons = []string{"finish_reason", "stop_reason", "finishReason", "stopReason", "completion_reason", "done_reason"}
)

func (a *plainAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var k []byte
	a.read = a.read[:0]
	for s.key(&k) {
		if isBedrocks(k) {
			env.take(k, s)
			continue
		}
		a.read = append(a.read, member{k, s.raw()})
	}
	if !s.end() {
		return signs{}, false
	}
	known := false
	for _, m := range a.read {
		isText := len(m.value) >= 2 && m.value[0] == '"'
		if isText && a.key == "" && slices.Contains(plainTexts, string(m.key)) {
			a.key = string(m.key)
		}
		switch {
		case isText && string(m.key) == a.key:
			piece := m.value[1 : len(m.value)-1]
			a.said = append(a.said, piece...)
			known, sg.text = true, len(piece) > 0
		case isWord(m.value) && slices.Contains(plainReasons, string(m.key)):
			known, sg.terminal = true, true
			a.reason = unescape(m.value[1 : len(m.value)-1])
		}
	}
	if known {
		a.body.keep(a.read)
	}
	sg.content = sg.text
	sg.terminal = sg.terminal && a.key != "" // the end of nothing that is known is none
	return sg, true
}

func (a *plainAnswer) finish() answer {
	body := slices.Clone(a.body)
	if a.key != "" {
		body.set(a.key, appendRawString(make([]byte, 0, len(a.said)+2), bytes.Clone(a.said)))
	}
	return answer{output: body.append(nil), stopReason: a.reason}
}
