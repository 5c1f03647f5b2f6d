package sim

import "encoding/json"

// nova is Amazon Nova: docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html.
var nova = family{
	name:     "nova",
	prefixes: []string{"amazon.nova-"},
	parse:    parseNova,
	stream:   streamNova,
	body:     bodyNova,
	blocked:  blockedNova,
	reasons:  true,
	stops: map[stop]string{
		stopEnd: "end_turn", stopLength: "max_tokens", stopSequence: "stop_sequence", stopTool: "tool_use", stopRefusal: "content_filtered",
	},
}

// novaMaxTokens is what is reserved where the request sets no limit: docs.aws.amazon.com/nova/latest/userguide/complete-request-schema.html.
const novaMaxTokens = 5000

type novaRequest struct {
	System   json.RawMessage `json:"system"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Config struct {
		MaxTokens    *int64   `json:"maxTokens"`
		MaxNewTokens *int64   `json:"max_new_tokens"`
		Stops        []string `json:"stopSequences"`
		Reasoning    struct {
			Type string `json:"type"`
		} `json:"reasoningConfig"`
	} `json:"inferenceConfig"`
	Tools converseTools `json:"toolConfig"`
}

func parseNova(body []byte) (*request, *Error) {
	var in novaRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if len(in.Messages) == 0 {
		return nil, missing("messages")
	}
	size, media := sizeOfContent(in.System)
	for _, m := range in.Messages {
		if len(m.Content) == 0 || m.Content[0] != '[' {
			return nil, malformed("#/messages/0/content: expected type: JSONArray")
		}
		s, n := sizeOfContent(m.Content)
		size, media = size+s, media+n
	}
	req := &request{
		inputTokens: countTokens(size) + media*mediaTokens, maxTokens: novaMaxTokens, stops: in.Config.Stops,
		thinking: in.Config.Reasoning.Type == "enabled",
	}
	for _, limit := range []*int64{in.Config.MaxNewTokens, in.Config.MaxTokens} {
		if limit == nil {
			continue
		}
		if *limit < 1 {
			return nil, malformed("#/inferenceConfig/maxTokens: must be greater than or equal to 1")
		}
		req.maxTokens = *limit
	}
	in.Tools.into(req)
	return req, nil
}

func streamNova(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	send := func(tokens int, content bool) bool {
		return emit(event{payload: buf, tokens: tokens, content: content})
	}
	index := 0
	end := func() bool {
		buf = appendInt(append(buf[:0], `{"contentBlockStop":{"contentBlockIndex":`...), index)
		buf = append(buf, `}}`...)
		index++
		return send(0, false)
	}
	delta := func(member string, piece []byte, tail string, tokens int) bool {
		buf = append(append(buf[:0], `{"contentBlockDelta":{"delta":{`...), member...)
		buf = append(appendQuoted(buf, piece), tail...)
		buf = appendInt(append(buf, `},"contentBlockIndex":`...), index)
		buf = append(buf, `}}`...)
		return send(tokens, len(piece) > 0)
	}

	buf = append(buf, `{"messageStart":{"role":"assistant"}}`...)
	if !send(0, false) {
		return
	}
	for i := range p.blocks {
		b := &p.blocks[i]
		ok := true
		switch b.kind {
		case blockText: // every piece is a block of its own, without a start
			ok = b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
				return len(piece) == 0 || delta(`"text":`, piece, "", tokens) && end()
			})
		case blockTool:
			buf = appendInt(append(buf[:0], `{"contentBlockStart":{"contentBlockIndex":`...), index)
			buf = appendQuoted(append(buf, `,"start":{"toolUse":{"toolUseId":`...), b.id)
			buf = appendQuoted(append(buf, `,"name":`...), b.name)
			buf = append(buf, `}}}}`...)
			ok = send(0, false) && b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
				return delta(`"toolUse":{"input":`, piece, "}", tokens)
			}) && end()
			index++ // a gap, as between the tool calls of the recording
		case blockThinking: // Nova 2; the delta is Converse's, for that of InvokeModel is not documented
			ok = b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
				return len(piece) == 0 || delta(`"reasoningContent":{"text":`, piece, "}", tokens)
			}) && end()
		case blockRedacted: // no such thing here
		}
		if !ok {
			return
		}
	}
	buf = appendQuoted(append(buf[:0], `{"messageStop":{"stopReason":`...), p.stopReason())
	buf = append(buf, `}}`...)
	if !send(0, false) {
		return
	}
	buf = append(buf[:0], `{"metadata":{"usage":`...)
	buf = p.appendNovaUsage(buf)
	buf = append(buf, `,"metrics":{},"trace":{}}}`...)
	emit(event{payload: buf, metrics: true})
}

func (p *plan) appendNovaUsage(dst []byte) []byte {
	dst = appendInt(append(dst, `{"inputTokens":`...), p.usage.InputTokens)
	dst = appendInt(append(dst, `,"outputTokens":`...), p.usage.OutputTokens)
	if p.usage.CacheReadInputTokens > 0 || p.usage.CacheWriteInputTokens > 0 {
		dst = appendInt(append(dst, `,"cacheReadInputTokenCount":`...), p.usage.CacheReadInputTokens)
		dst = appendInt(append(dst, `,"cacheWriteInputTokenCount":`...), p.usage.CacheWriteInputTokens)
	}
	return append(dst, '}')
}

func bodyNova(p *plan) []byte {
	dst := []byte(`{"output":{"message":{"role":"assistant","content":[`)
	reason := appendQuoted(nil, p.stopReason())
	if p.guardrail == guardrailBlock {
		dst = append(dst, `{"text":"`+blockedText+`"}`...)
		reason = []byte(`"guardrail_intervened"`)
	}
	first := true
	for i := range p.blocks {
		b := &p.blocks[i]
		if (b.kind == blockText || b.kind == blockThinking) && len(b.text.bytes) == 0 || b.kind == blockRedacted {
			continue // the stream has no trace of it either
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if b.kind == blockText {
			dst = appendQuoted(append(dst, `{"text":`...), b.text.bytes)
			dst = append(dst, '}')
			continue
		}
		if b.kind == blockThinking {
			dst = appendQuoted(append(dst, `{"reasoningContent":{"reasoningText":{"text":`...), b.text.bytes)
			dst = append(dst, `}}}`...)
			continue
		}
		dst = appendQuoted(append(dst, `{"toolUse":{"toolUseId":`...), b.id)
		dst = appendQuoted(append(dst, `,"name":`...), b.name)
		dst = b.appendTool(append(dst, `,"input":`...))
		dst = append(dst, `}}`...)
	}
	dst = append(append(dst, `]}},"stopReason":`...), reason...)
	dst = p.appendNovaUsage(append(dst, `,"usage":`...))
	return append(dst, '}')
}

func blockedNova(*plan) []byte {
	return []byte(`{"contentBlockDelta":{"delta":{"text":"` + blockedText + `"},"contentBlockIndex":0.0}}`)
}
