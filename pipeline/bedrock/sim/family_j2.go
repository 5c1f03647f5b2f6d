package sim

import "encoding/json"

// j2 is AI21 Jurassic-2: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-jurassic2.html. It does not stream: the
// only chunk is the body.
var j2 = family{
	name:     "j2",
	prefixes: []string{"ai21.j2-"},
	parse:    parseJ2,
	stream: func(p *plan, emit func(event) bool) {
		emit(event{payload: bodyJ2(p), tokens: int(p.usage.OutputTokens), content: len(p.answerText()) > 0, metrics: true})
	},
	body:    bodyJ2,
	blocked: bodyJ2,
	stops: map[stop]string{
		stopEnd: "endoftext", stopLength: "length", stopSequence: "stop", stopTool: "endoftext", stopRefusal: "endoftext",
	},
}

// j2MaxTokens is the documented default.
const j2MaxTokens = 200

func parseJ2(body []byte) (*request, *Error) {
	var in struct {
		Prompt *string  `json:"prompt"`
		Max    *int64   `json:"maxTokens"`
		Stops  []string `json:"stopSequences"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Prompt == nil {
		return nil, missing("prompt")
	}
	req := &request{inputTokens: countTokens(len(*in.Prompt)), maxTokens: j2MaxTokens, stops: in.Stops, prompt: *in.Prompt}
	return req, limitFrom(req, in.Max)
}

func bodyJ2(p *plan) []byte {
	dst := appendQuoted([]byte(`{"id":1234,"prompt":{"text":`), p.prompt)
	dst = appendQuoted(append(dst, `,"tokens":[]},"completions":[{"data":{"text":`...), p.answerText())
	dst = append(dst, `,"tokens":[]},"finishReason":`...)
	if p.guardrail == guardrailBlock {
		return append(dst, `null,"index":0.0}]}`...)
	}
	dst = appendQuoted(append(dst, `{"reason":`...), p.stopReason())
	return append(dst, `}}]}`...)
}
