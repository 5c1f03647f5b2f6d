package sim

import "encoding/json"

// command is Cohere Command: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command.html.
var command = family{
	name:     "command",
	prefixes: []string{"cohere.command-text", "cohere.command-light"},
	parse:    parseCommand,
	stream:   streamCommand,
	body:     bodyCommand,
	blocked: func(*plan) []byte {
		return []byte(`{"is_finished":false,"index":0.0,"text":"` + blockedText + `"}`)
	},
	stops: map[stop]string{
		stopEnd: "COMPLETE", stopLength: "MAX_TOKENS", stopSequence: "COMPLETE", stopTool: "COMPLETE", stopRefusal: "ERROR_TOXIC",
	},
}

// commandMaxTokens is the documented default of Command.
const commandMaxTokens = 20

func parseCommand(body []byte) (*request, *Error) {
	var in struct {
		Prompt *string  `json:"prompt"`
		Max    *int64   `json:"max_tokens"`
		Stops  []string `json:"stop_sequences"`
		Stream bool     `json:"stream"`
		N      *int64   `json:"num_generations"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Prompt == nil {
		return nil, missing("prompt")
	}
	req := &request{inputTokens: countTokens(len(*in.Prompt)), maxTokens: commandMaxTokens, stops: in.Stops, streams: in.Stream, prompt: *in.Prompt}
	return req, limitFrom(req, in.Max)
}

// limitFrom takes a request's own limit.
func limitFrom(req *request, limit *int64) *Error {
	if limit == nil {
		return nil
	}
	if *limit < 1 {
		return malformed("#/max_tokens: must be greater than or equal to 1")
	}
	req.maxTokens = *limit
	return nil
}

func streamCommand(p *plan, emit func(event) bool) {
	if !p.streams { // without "stream":true the only chunk is the body
		emit(event{payload: bodyCommand(p), tokens: int(p.usage.OutputTokens), content: len(p.answerText()) > 0, metrics: true})
		return
	}
	buf, ok := make([]byte, 0, 512), true
	p.onlyText().pieces(p.perChunk, func(piece []byte, tokens int) bool {
		if len(piece) == 0 {
			return true
		}
		buf = appendQuoted(append(buf[:0], `{"is_finished":false,"text":`...), piece)
		buf = append(buf, '}')
		ok = emit(event{payload: buf, tokens: tokens, content: true})
		return ok
	})
	if !ok {
		return
	}
	buf = appendQuoted(append(buf[:0], `{"finish_reason":`...), p.stopReason())
	buf = append(buf, `,"is_finished":true}`...)
	emit(event{payload: buf, metrics: true})
}

func bodyCommand(p *plan) []byte {
	dst := append([]byte(`{"generations":[{"finish_reason":`), p.quotedReason()...)
	dst = appendQuoted(append(dst, `,"id":`...), "gen-"+p.id)
	dst = appendQuoted(append(dst, `,"text":`...), p.answerText())
	dst = appendQuoted(append(dst, `}],"id":`...), "cmd-"+p.id)
	dst = appendQuoted(append(dst, `,"prompt":`...), p.prompt)
	return append(dst, '}')
}

// commandR is Cohere Command R and R+: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command-r-plus.html;
// the events of its stream are those of docs.cohere.com/v1/docs/streaming.
var commandR = family{
	name:     "command-r",
	prefixes: []string{"cohere.command-r"},
	parse:    parseCommandR,
	stream:   streamCommandR,
	body:     bodyCommandR,
	blocked: func(*plan) []byte {
		return []byte(`{"is_finished":false,"event_type":"text-generation","text":"` + blockedText + `"}`)
	},
	stops: map[stop]string{
		stopEnd: "COMPLETE", stopLength: "MAX_TOKENS", stopSequence: "COMPLETE", stopTool: "COMPLETE", stopRefusal: "ERROR_TOXIC",
	},
}

// commandRMaxTokens is the longest answer of Command R, which AWS documents no default for.
const commandRMaxTokens = 4096

func parseCommandR(body []byte) (*request, *Error) {
	var in struct {
		Message  *string  `json:"message"`
		Preamble string   `json:"preamble"`
		Max      *int64   `json:"max_tokens"`
		Stops    []string `json:"stop_sequences"`
		History  []struct {
			Message string `json:"message"`
		} `json:"chat_history"`
		Tools []struct {
			Name string `json:"name"`
		} `json:"tools"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Message == nil {
		return nil, missing("message")
	}
	size := len(*in.Message) + len(in.Preamble)
	for _, h := range in.History {
		size += len(h.Message)
	}
	req := &request{inputTokens: countTokens(size), maxTokens: commandRMaxTokens, stops: in.Stops}
	for _, t := range in.Tools {
		req.tools = append(req.tools, t.Name)
	}
	return req, limitFrom(req, in.Max)
}

func streamCommandR(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	send := func(tokens int, content, last bool) bool {
		return emit(event{payload: buf, tokens: tokens, content: content, metrics: last})
	}
	buf = appendQuoted(append(buf, `{"is_finished":false,"event_type":"stream-start","generation_id":`...), "gen-"+p.id)
	buf = append(buf, '}')
	ok := send(0, false, false)
	tokens := 0
	for i := range p.blocks {
		b := &p.blocks[i]
		if b.kind == blockTool {
			tokens += b.text.tokens()
			continue
		}
		ok = ok && b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
			if len(piece) == 0 {
				return true
			}
			buf = appendQuoted(append(buf[:0], `{"is_finished":false,"event_type":"text-generation","text":`...), piece)
			buf = append(buf, '}')
			return send(tokens, true, false)
		})
	}
	if calls := p.appendCohereCalls(nil); ok && calls != nil {
		buf = append(append(buf[:0], `{"is_finished":false,"event_type":"tool-calls-generation","tool_calls":`...), calls...)
		buf = append(buf, '}')
		ok = send(tokens, true, false)
	}
	if !ok {
		return
	}
	buf = appendQuoted(append(buf[:0], `{"is_finished":true,"event_type":"stream-end","finish_reason":`...), p.stopReason())
	buf = append(append(buf, `,"response":`...), bodyCommandR(p)...)
	buf = append(buf, '}')
	send(0, false, true)
}

// appendCohereCalls writes the list of tool calls, nothing if there are none.
func (p *plan) appendCohereCalls(dst []byte) []byte {
	for i := range p.blocks {
		b := &p.blocks[i]
		if b.kind != blockTool {
			continue
		}
		if dst == nil {
			dst = append(dst, '[')
		} else {
			dst = append(dst, ',')
		}
		dst = appendQuoted(append(dst, `{"name":`...), b.name)
		dst = b.appendTool(append(dst, `,"parameters":`...))
		dst = append(dst, '}')
	}
	if dst == nil {
		return nil
	}
	return append(dst, ']')
}

func bodyCommandR(p *plan) []byte {
	dst := appendQuoted([]byte(`{"response_id":`), "res-"+p.id)
	dst = appendQuoted(append(dst, `,"text":`...), p.answerText())
	dst = appendQuoted(append(dst, `,"generation_id":`...), "gen-"+p.id)
	if calls := p.appendCohereCalls(nil); calls != nil {
		dst = append(append(dst, `,"tool_calls":`...), calls...)
	}
	dst = append(append(dst, `,"finish_reason":`...), p.quotedReason()...)
	dst = appendInt(append(dst, `,"meta":{"billed_units":{"input_tokens":`...), p.usage.InputTokens)
	dst = appendInt(append(dst, `,"output_tokens":`...), p.usage.OutputTokens)
	return append(dst, `}}}`...)
}
