package sim

import "encoding/json"

// llama is Meta Llama: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html.
var llama = family{
	name:     "llama",
	prefixes: []string{"meta.llama"},
	parse:    parseLlama,
	stream:   streamLlama,
	body:     bodyLlama,
	blocked:  blockedLlama,
	stops: map[stop]string{
		stopEnd: "stop", stopLength: "length", stopSequence: "stop", stopTool: "stop", stopRefusal: "stop",
	},
}

// The documented default and limit of max_gen_len.
const (
	llamaMaxTokens = 512
	llamaLimit     = 2048
)

func parseLlama(body []byte) (*request, *Error) {
	var in struct {
		Prompt *string           `json:"prompt"`
		Max    *int64            `json:"max_gen_len"`
		Images []json.RawMessage `json:"images"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Prompt == nil {
		return nil, missing("prompt")
	}
	req := &request{inputTokens: countTokens(len(*in.Prompt)) + int64(len(in.Images))*mediaTokens, maxTokens: llamaMaxTokens}
	if limit := in.Max; limit != nil {
		if *limit < 1 || *limit > llamaLimit {
			return nil, malformed("#/max_gen_len: must be from 1 to 2048")
		}
		req.maxTokens = *limit
	}
	return req, nil
}

func streamLlama(p *plan, emit func(event) bool) {
	out, total := p.onlyText(), int(p.usage.OutputTokens)
	buf := make([]byte, 0, 512)
	sent, first := 0, true
	send := func(piece []byte, tokens int) bool {
		sent += tokens
		last := sent == total
		buf = appendQuoted(append(buf[:0], `{"generation":`...), piece)
		buf = append(buf, `,"prompt_token_count":`...)
		if first {
			buf = appendInt(buf, p.usage.InputTokens)
		} else {
			buf = append(buf, `null`...)
		}
		first = false
		buf = appendInt(append(buf, `,"generation_token_count":`...), sent)
		buf = append(buf, `,"stop_reason":`...)
		if last {
			buf = appendQuoted(buf, p.stopReason())
		} else {
			buf = append(buf, `null`...)
		}
		buf = append(buf, '}')
		return emit(event{payload: buf, tokens: tokens, content: len(piece) > 0, metrics: last})
	}
	if total == 0 {
		send(nil, 0)
		return
	}
	out.pieces(p.perChunk, send)
}

func bodyLlama(p *plan) []byte {
	dst := appendQuoted([]byte(`{"generation":`), p.answerText())
	dst = appendInt(append(dst, `,"prompt_token_count":`...), p.usage.InputTokens)
	if p.guardrail == guardrailBlock {
		return append(dst, `,"generation_token_count":3,"stop_reason":null}`...)
	}
	dst = appendInt(append(dst, `,"generation_token_count":`...), p.usage.OutputTokens)
	dst = appendQuoted(append(dst, `,"stop_reason":`...), p.stopReason())
	return append(dst, '}')
}

func blockedLlama(*plan) []byte {
	return []byte(`{"generation":"` + blockedText + `","prompt_token_count":null,"generation_token_count":3.0,"stop_reason":null}`)
}
