package sim

import "encoding/json"

// titan is Amazon Titan Text: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-text.html.
var titan = family{
	name:     "titan",
	prefixes: []string{"amazon.titan-text", "amazon.titan-tg1"},
	parse:    parseTitan,
	stream:   streamTitan,
	body:     bodyTitan,
	blocked:  blockedTitan,
	stops: map[stop]string{
		stopEnd: "FINISH", stopLength: "LENGTH", stopSequence: "STOP_CRITERIA_MET", stopTool: "FINISH", stopRefusal: "CONTENT_FILTERED",
	},
}

const (
	titanMaxTokens = 512 // the documented default
	titanShort     = 8   // tokens of an answer that comes as one chunk
)

func parseTitan(body []byte) (*request, *Error) {
	var in struct {
		Input  *string `json:"inputText"`
		Config struct {
			MaxTokens *int64   `json:"maxTokenCount"`
			Stops     []string `json:"stopSequences"`
		} `json:"textGenerationConfig"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Input == nil {
		return nil, missing("inputText")
	}
	req := &request{inputTokens: countTokens(len(*in.Input)), maxTokens: titanMaxTokens, stops: in.Config.Stops}
	if limit := in.Config.MaxTokens; limit != nil {
		if *limit < 1 {
			return nil, malformed("#/textGenerationConfig/maxTokenCount: must be greater than or equal to 1")
		}
		req.maxTokens = *limit
	}
	return req, nil
}

func streamTitan(p *plan, emit func(event) bool) {
	out, total := p.onlyText(), int(p.usage.OutputTokens)
	perChunk := p.perChunk
	if total <= titanShort {
		perChunk = titanShort
	}
	buf := make([]byte, 0, 512)
	sent := 0
	send := func(piece []byte, tokens int) bool {
		sent += tokens
		last := sent == total
		if len(piece) == 0 && !last {
			return true
		}
		buf = appendQuoted(append(buf[:0], `{"outputText":`...), piece)
		buf = append(buf, `,"index":0,"totalOutputTextTokenCount":`...)
		if last {
			buf = appendInt(buf, total)
			buf = appendQuoted(append(buf, `,"completionReason":`...), p.stopReason())
		} else {
			buf = append(buf, `null,"completionReason":null`...)
		}
		buf = appendInt(append(buf, `,"inputTextTokenCount":`...), p.usage.InputTokens)
		buf = append(buf, '}')
		return emit(event{payload: buf, tokens: tokens, content: len(piece) > 0, metrics: last})
	}
	if total == 0 {
		send(nil, 0)
		return
	}
	out.pieces(perChunk, send)
}

// onlyText is the text of a family that answers with nothing else.
func (p *plan) onlyText() *text {
	if len(p.blocks) == 0 {
		return &text{}
	}
	return &p.blocks[len(p.blocks)-1].text
}

func bodyTitan(p *plan) []byte {
	reason, out, tokens := p.stopReason(), p.answerText(), p.usage.OutputTokens
	if p.guardrail == guardrailBlock {
		reason, tokens = "CONTENT_FILTERED", 3
	}
	dst := appendInt([]byte(`{"inputTextTokenCount":`), p.usage.InputTokens)
	dst = appendInt(append(dst, `,"results":[{"tokenCount":`...), tokens)
	dst = appendQuoted(append(dst, `,"outputText":`...), out)
	dst = appendQuoted(append(dst, `,"completionReason":`...), reason)
	return append(dst, `}]}`...)
}

func blockedTitan(*plan) []byte {
	return []byte(`{"outputText":"` + blockedText + `","index":0.0,"totalOutputTextTokenCount":3.0}`)
}
