package bedrock

import (
	"bytes"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// jamba is AI21's Jamba, in a dialect of OpenAI's chat completions:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-jamba.html
var jamba = family{
	name:         "jamba",
	ids:          []string{"ai21.jamba"},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 4096,
	takes:        pipeline.Features{Turns: true, TopP: true}, // the page has no tools, and content is text
	encode:       encodeJamba,
	assemble:     (&chatDialect{usage: true}).assemble,
}

// encodeJamba writes a conversation in which the content of a message is always one text.
func encodeJamba(p *pipeline.Prompt, maxTokens int64, modelID string) ([]byte, *pipeline.Fault) {
	plain := *p
	plain.Messages = nil
	for _, m := range p.Conversation() {
		plain.Messages = append(plain.Messages, pipeline.Message{Role: m.Role, Parts: []pipeline.Part{{Text: m.Text()}}})
	}
	return encodeJambaChat(&plain, maxTokens, modelID)
}

var encodeJambaChat = encodeChat("max_tokens")

// j2 is AI21's Jurassic-2: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-jurassic2.html
// It answers in one chunk, which is the body.
var j2 = family{
	name:         "j2",
	ids:          []string{"ai21.j2-"},
	limits:       []string{"maxTokens"},
	limitKey:     "maxTokens",
	defaultLimit: 200,
	maxLimit:     8191,
	takes:        pipeline.Features{TopP: true}, // no page says how it is told turns
	encode:       encodePrompt(&template{systemEnd: "\n\n"}, promptKeys{limit: "maxTokens", topP: "topP", stop: "stopSequences"}),
	assemble:     func([]byte) assembler { return &j2Answer{} },
	keys:         []string{"completions"},
}

// j2Answer keeps the body.
type j2Answer struct {
	body   []byte
	said   string
	reason string
}

func (a *j2Answer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	start := bytes.IndexByte(s.b, '{')
	var k, completions []byte
	for s.key(&k) {
		if string(k) == "completions" {
			completions = s.raw()
		} else {
			env.take(k, s)
		}
	}
	if !s.end() {
		return signs{}, false
	}
	if completions == nil {
		return signs{}, true
	}
	var said strings.Builder
	reason, ended := "", 0
	list := scanner{b: completions, slow: true}
	n := 0
	for ok := list.open('['); ok && list.more(']'); {
		n++
		c := parseObject(list.raw())
		if text := parseObject(c.get("data")).get("text"); isWord(text) {
			appendUnescaped(&said, text[1:len(text)-1])
		}
		why := c.get("finishReason")
		if r := parseObject(why).str("reason"); r != "" {
			reason = r
			ended++
		} else if isWord(why) {
			reason = c.str("finishReason")
			ended++
		}
	}
	a.body, a.said, a.reason = bytes.Clone(s.b[start:]), said.String(), reason
	sg.text = a.said != ""
	sg.content = sg.text
	sg.terminal = n > 0 && ended == n
	return sg, true
}

func (a *j2Answer) text() string { return a.said }

func (a *j2Answer) finish(*metrics) answer {
	if a.body == nil {
		return answer{output: []byte(`{"completions":[]}`)}
	}
	return answer{output: parseObject(a.body).unwrapped().append(nil), stopReason: a.reason}
}
