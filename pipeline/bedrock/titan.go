package bedrock

import (
	"bytes"
	"sort"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// titan is Amazon Titan Text.
var titan = family{
	name:         "titan",
	ids:          []string{"amazon.titan-text", "amazon.titan-tg1"},
	limits:       []string{"textGenerationConfig.maxTokenCount"},
	limitKey:     "textGenerationConfig.maxTokenCount",
	defaultLimit: 512,
	notIDs:       []string{"amazon.titan-text-embed"},
	takes:        pipeline.Features{Turns: true, TopP: true},
	encode:       encodeTitan,
	assemble:     func([]byte) assembler { return &titanAnswer{inputTokens: -1} },
	keys:         []string{"outputText", "completionReason"},
}

// encodeTitan puts the system prompt before the input: this API has no place of its own for it. A conversation is
// written as https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html has it.
func encodeTitan(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
	text := p.Text
	if p.Messages != nil {
		text = titanConversation(p.Messages)
	}
	if p.System != "" {
		text = p.System + "\n\n" + text
	}
	b := appendString(append(make([]byte, 0, len(text)+160), `{"inputText":`...), text)
	b = appendInt(append(b, `,"textGenerationConfig":{"maxTokenCount":`...), maxTokens)
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if p.TopP != nil {
		b = appendFloat(append(b, `,"topP":`...), *p.TopP)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(b, `,"stopSequences":`...), p.Stop)
	}
	return append(b, `}}`...), nil
}

func titanConversation(messages []pipeline.Message) string {
	var text strings.Builder
	for i, m := range messages {
		if i > 0 {
			text.WriteByte('\n')
		}
		name := "User: "
		if m.Role == pipeline.Assistant {
			name = "Bot: "
		}
		text.WriteString(name + m.Text())
	}
	if messages[len(messages)-1].Role != pipeline.Assistant {
		text.WriteString("\nBot:")
	}
	return text.String()
}

// titanAnswer assembles results, one for each index; in practice there is one.
type titanAnswer struct {
	inputTokens int64
	results     []*titanResult
}

type titanResult struct {
	index  int64
	output []byte
	tokens int64
	reason []byte
}

func (a *titanAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var (
		k, text, reason      []byte
		index, input, tokens int64 = 0, -1, -1
	)
	for s.key(&k) {
		switch string(k) {
		case "outputText":
			text = s.str()
		case "index":
			index, _ = s.number()
		case "totalOutputTextTokenCount":
			if n, ok := s.number(); ok {
				tokens = n
			}
		case "inputTextTokenCount":
			if n, ok := s.number(); ok {
				input = n
			}
		case "completionReason":
			reason = s.str()
		default:
			env.take(k, s)
		}
	}
	if !s.end() {
		return signs{}, false
	}
	if input >= 0 {
		a.inputTokens = input
	}
	if text != nil || len(reason) > 0 || tokens >= 0 {
		r := a.result(index)
		r.output = append(r.output, text...)
		env.piece = piece{text, &r.output}
		if tokens >= 0 {
			r.tokens = tokens
		}
		if len(reason) > 0 {
			r.reason = bytes.Clone(reason)
		}
	}
	return signs{content: len(text) > 0, text: len(text) > 0, terminal: len(reason) > 0}, true
}

func (a *titanAnswer) result(index int64) *titanResult {
	for _, r := range a.results {
		if r.index == index {
			return r
		}
	}
	r := &titanResult{index: index, tokens: -1}
	a.results = append(a.results, r)
	sort.SliceStable(a.results, func(i, j int) bool { return a.results[i].index < a.results[j].index })
	return r
}

func (a *titanAnswer) text() string {
	var text strings.Builder
	for _, r := range a.results {
		appendUnescaped(&text, r.output)
	}
	return text.String()
}

func (a *titanAnswer) finish(*metrics) answer {
	var ans answer
	out := appendCount([]byte(`{"inputTextTokenCount":`), a.inputTokens)
	out = append(out, `,"results":[`...)
	for i, r := range a.results {
		if i > 0 {
			out = append(out, ',')
		}
		out = appendCount(append(out, `{"tokenCount":`...), r.tokens)
		out = appendRawString(append(out, `,"outputText":`...), r.output)
		out = append(out, `,"completionReason":`...)
		if r.reason == nil {
			out = append(out, "null"...)
		} else {
			out = appendRawString(out, r.reason)
			ans.stopReason = unescape(r.reason)
		}
		out = append(out, '}')
		ans.usage.OutputTokens += max(0, r.tokens)
	}
	ans.output = append(out, `]}`...)
	ans.usage.InputTokens = max(0, a.inputTokens)
	return ans
}
