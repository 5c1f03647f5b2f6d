package sim

import (
	"encoding/json"
	"strings"
)

// claudeText is the older format of Claude 2 and Instant, which a request with a prompt is in:
// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-text-completion.html.
var claudeText = family{
	name:   "claude-text",
	parse:  parseClaudeText,
	stream: streamClaudeText,
	body: func(p *plan) []byte {
		dst := appendQuoted([]byte(`{"type":"completion","completion":`), p.answerText())
		return append(p.appendClaudeTextStop(append(dst, ','), true), '}')
	},
	blocked: func(*plan) []byte {
		return []byte(`{"completion":"` + blockedText + `","stop_reason":null,"stop":null,"index":0.0}`)
	},
	stops: map[stop]string{
		stopEnd: "stop_sequence", stopLength: "max_tokens", stopSequence: "stop_sequence", stopTool: "stop_sequence", stopRefusal: "stop_sequence",
	},
}

// claudeTextMaxTokens is the documented default of max_tokens_to_sample.
const claudeTextMaxTokens = 200

func parseClaudeText(body []byte) (*request, *Error) {
	var in struct {
		Prompt *string  `json:"prompt"`
		Max    *int64   `json:"max_tokens_to_sample"`
		Stops  []string `json:"stop_sequences"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Prompt == nil {
		return nil, missing("prompt")
	}
	if !strings.Contains(*in.Prompt, "\n\nHuman:") || !strings.Contains(*in.Prompt, "\n\nAssistant:") {
		return nil, validation(`Invalid prompt: prompt must start with "\n\nHuman:" turn after an optional system prompt`)
	}
	req := &request{inputTokens: countTokens(len(*in.Prompt)), maxTokens: claudeTextMaxTokens, stops: in.Stops}
	return req, limitFrom(req, in.Max)
}

func streamClaudeText(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	p.eachPiece(func(piece []byte, tokens int, last bool) bool {
		buf = appendQuoted(append(buf[:0], `{"type":"completion","completion":`...), piece)
		buf = append(p.appendClaudeTextStop(append(buf, ','), last), '}')
		return emit(event{payload: buf, tokens: tokens, content: len(piece) > 0, metrics: last})
	})
}

// appendClaudeTextStop writes how the answer ended, or that it has not yet.
func (p *plan) appendClaudeTextStop(dst []byte, ended bool) []byte {
	if !ended || p.guardrail == guardrailBlock {
		return append(dst, `"stop_reason":null,"stop":null`...)
	}
	dst = appendQuoted(append(dst, `"stop_reason":`...), p.stopReason())
	switch p.stop {
	case stopLength:
		return append(dst, `,"stop":null`...)
	case stopSequence:
		return appendQuoted(append(dst, `,"stop":`...), p.stopped)
	}
	return appendQuoted(append(dst, `,"stop":`...), "\n\nHuman:")
}
