package bedrock

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// command is Cohere's Command, the generations of before Command R:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command.html
//
//	{"is_finished":false,"text":" Cold"}
//	{"finish_reason":"MAX_TOKENS","is_finished":true}
//
// A body without "stream":true is answered by one chunk, which is the whole body.
var command = family{
	name:         "command",
	ids:          []string{"cohere.command-text", "cohere.command-light"},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 20, // the page's default
	maxLimit:     4096,
	takes:        pipeline.Features{TopP: true, TopK: true}, // no page says how it is told turns
	encode:       encodeCommand,
	assemble: func(request []byte) assembler {
		return &commandAnswer{wanted: wanted(request, "num_generations")}
	},
	keys: []string{"generations", "is_finished"},
}

// encodeCommand puts the system prompt before the prompt: this API has no place of its own for it.
func encodeCommand(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
	text := p.Text
	if p.System != "" {
		text = p.System + "\n\n" + p.Text
	}
	b := appendString(append(make([]byte, 0, len(text)+160), `{"prompt":`...), text)
	b = appendInt(append(b, `,"stream":true,"max_tokens":`...), maxTokens)
	return appendSampling(b, p, cohereKeys), nil
}

// commandAnswer assembles generations. Their ids are not in the stream, and so not in the body.
type commandAnswer struct {
	wanted  int
	list    []*generation
	reason  []byte
	whole   object // a body that came as one chunk
	ended   bool
	metrics bool
}

type generation struct {
	index    int64
	numbered bool
	text     []byte
	reason   []byte
	ended    bool
}

func (a *commandAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var (
		p              coherePiece
		k, generations []byte
		all            = s.b
		index          int64
		numbered       bool
	)
	for s.key(&k) {
		if p.take(k, s) {
			continue
		}
		switch string(k) {
		case "index":
			index, numbered = s.number()
		case "generations":
			generations = s.raw()
		default:
			env.take(k, s)
		}
	}
	if !s.end() {
		return signs{}, false
	}
	if p.gaveUp(env) {
		return signs{}, true
	}
	a.metrics = a.metrics || env.metrics.came
	switch {
	case generations != nil:
		return a.takeWhole(all, generations), true
	case p.text == nil && p.reason == nil && !p.finished:
		return signs{}, true
	}
	if p.text != nil || numbered {
		g := a.generation(index, numbered)
		g.text = append(g.text, p.text...)
		if !p.finished {
			env.piece = piece{p.text, &g.text}
		}
		if len(p.reason) > 0 {
			g.reason = bytes.Clone(p.reason)
		}
		g.ended = g.ended || p.finished
	}
	if p.finished {
		if len(p.reason) > 0 {
			a.reason = bytes.Clone(p.reason)
		}
		if p.response != nil {
			a.takeResponse(p.response)
		}
		if len(a.list) == 0 {
			a.generation(0, false) // an empty answer is one all the same
		}
		a.ended = !numbered || a.allEnded()
	}
	sg.text = len(p.text) > 0
	sg.content, sg.terminal = sg.text, a.ended
	return sg, true
}

// allEnded reports whether every generation has its end, where each has one of its own.
func (a *commandAnswer) allEnded() bool {
	for _, g := range a.list {
		if !g.ended {
			return false
		}
	}
	return len(a.list) >= a.wanted || a.metrics
}

// takeWhole takes a body that came as the only chunk.
func (a *commandAnswer) takeWhole(chunk, generations []byte) (sg signs) {
	s := scanner{b: generations, slow: true}
	n, ended := 0, 0
	for ok := s.open('['); ok && s.more(']'); {
		n++
		g := parseObject(s.raw())
		if isWord(g.get("finish_reason")) {
			ended++
		}
		sg.text = sg.text || isWord(g.get("text"))
	}
	sg.content, sg.terminal = sg.text, n > 0 && n == ended
	a.whole, a.ended = parseObject(chunk), sg.terminal
	return sg
}

// takeResponse takes the body that Cohere's own API repeats in its last chunk: https://docs.cohere.com/v1/docs/streaming
func (a *commandAnswer) takeResponse(raw []byte) {
	if o := parseObject(raw); o.get("generations") != nil {
		a.whole = o
	}
}

func (a *commandAnswer) generation(index int64, numbered bool) *generation {
	for _, g := range a.list {
		if g.index == index {
			return g
		}
	}
	g := &generation{index: index, numbered: numbered}
	a.list = append(a.list, g)
	slices.SortStableFunc(a.list, func(x, y *generation) int { return cmp.Compare(x.index, y.index) })
	return g
}

func (a *commandAnswer) text() string {
	var text strings.Builder
	if a.whole == nil {
		for _, g := range a.list {
			appendUnescaped(&text, g.text)
		}
		return text.String()
	}
	s := scanner{b: a.whole.get("generations"), slow: true}
	for ok := s.open('['); ok && s.more(']'); {
		text.WriteString(parseObject(s.raw()).str("text"))
	}
	return text.String()
}

func (a *commandAnswer) finish(*metrics) answer {
	if a.whole != nil {
		ans := answer{output: a.whole.unwrapped().append(nil)}
		s := scanner{b: a.whole.get("generations"), slow: true}
		if s.open('[') && s.more(']') {
			ans.stopReason = parseObject(s.raw()).str("finish_reason")
		}
		return ans
	}
	size := 128
	for _, g := range a.list {
		size += len(g.text) + 64
	}
	out := append(make([]byte, 0, size), `{"generations":[`...)
	for i, g := range a.list {
		if i > 0 {
			out = append(out, ',')
		}
		reason := g.reason
		if reason == nil {
			reason = a.reason
		}
		out = appendWordOrNull(append(out, `{"finish_reason":`...), reason)
		if g.numbered {
			out = appendInt(append(out, `,"index":`...), g.index)
		}
		out = append(appendRawString(append(out, `,"text":`...), g.text), '}')
	}
	return answer{output: append(out, `]}`...), stopReason: string(a.reason)}
}
