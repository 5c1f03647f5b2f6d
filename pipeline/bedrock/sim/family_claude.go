package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
)

// claude is Anthropic Claude Messages: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html.
var claude = family{
	name:     "claude",
	prefixes: []string{"anthropic."},
	parse:    parseClaude,
	stream:   streamClaude,
	body:     bodyClaude,
	blocked:  blockedClaude,
	reasons:  true,
	variant:  promptVariant(&claudeText),
	stops: map[stop]string{
		stopEnd: "end_turn", stopLength: "max_tokens", stopSequence: "stop_sequence", stopTool: "tool_use", stopRefusal: "refusal",
	},
}

type claudeRequest struct {
	Version   string          `json:"anthropic_version"`
	MaxTokens *int64          `json:"max_tokens"`
	System    json.RawMessage `json:"system"`
	Messages  []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stops []string `json:"stop_sequences"`
	Tools []struct {
		Name string `json:"name"`
	} `json:"tools"`
	ToolChoice struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tool_choice"`
	Thinking struct {
		Type string `json:"type"`
	} `json:"thinking"`
	Model  json.RawMessage `json:"model"`
	Stream json.RawMessage `json:"stream"`
}

func parseClaude(body []byte) (*request, *Error) {
	var in claudeRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	switch {
	case in.Version == "":
		return nil, missing("anthropic_version")
	case in.Version != "bedrock-2023-05-31":
		return nil, validation("Invalid API version")
	case in.MaxTokens == nil:
		return nil, missing("max_tokens")
	case *in.MaxTokens < 1:
		return nil, malformed("#/max_tokens: must be greater than or equal to 1")
	case len(in.Messages) == 0:
		return nil, missing("messages")
	case in.Model != nil:
		return nil, malformed("#: extraneous key [model] is not permitted")
	case in.Stream != nil:
		return nil, malformed("#: extraneous key [stream] is not permitted")
	}
	size, media := sizeOfContent(in.System)
	for _, m := range in.Messages {
		if m.Role != "user" && m.Role != "assistant" && m.Role != "system" {
			return nil, validation("messages: Unexpected role %q. Allowed roles are \"user\" or \"assistant\".", m.Role)
		}
		if len(m.Content) == 0 {
			return nil, missing("content")
		}
		s, n := sizeOfContent(m.Content)
		size, media = size+s, media+n
	}
	req := &request{
		inputTokens: countTokens(size) + media*mediaTokens,
		maxTokens:   *in.MaxTokens,
		stops:       in.Stops,
		thinking:    in.Thinking.Type == "enabled" || in.Thinking.Type == "adaptive",
		toolForced:  in.ToolChoice.Type == "any" || in.ToolChoice.Type == "tool",
	}
	for _, t := range in.Tools {
		req.tools = append(req.tools, t.Name)
	}
	if in.ToolChoice.Type == "tool" {
		req.tools = []string{in.ToolChoice.Name}
	}
	return req, nil
}

// sizeOfContent counts the bytes of text in a string or a list of content blocks, and the blocks
// that hold something else, such as images.
func sizeOfContent(content json.RawMessage) (size int, media int64) {
	content = bytes.TrimSpace(content)
	if len(content) == 0 {
		return 0, 0
	}
	if content[0] == '"' {
		var s string
		_ = json.Unmarshal(content, &s) // it was valid as a part of the whole
		return len(s), 0
	}
	var blocks []struct {
		Text  *string         `json:"text"`
		Inner json.RawMessage `json:"content"` // of a tool's result
	}
	if json.Unmarshal(content, &blocks) != nil {
		return 0, 0
	}
	for _, b := range blocks {
		switch {
		case b.Text != nil:
			size += len(*b.Text)
		case b.Inner != nil:
			s, n := sizeOfContent(b.Inner)
			size, media = size+s, media+n
		default:
			media++
		}
	}
	return size, media
}

func streamClaude(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	send := func(tokens int, content bool) bool {
		return emit(event{payload: buf, tokens: tokens, content: content})
	}

	buf = append(buf, `{"type":"message_start","message":`...)
	buf = p.appendClaudeHead(buf)
	buf = append(buf, `"content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	buf = p.appendClaudeUsage(buf, 1)
	buf = append(buf, `}}`...)
	if !send(0, false) {
		return
	}
	for i := range p.blocks {
		if !p.streamClaudeBlock(i, &buf, send) {
			return
		}
	}
	buf = append(buf[:0], `{"type":"message_delta","delta":{`...)
	buf = p.appendClaudeStop(buf)
	buf = append(buf, `},"usage":{"output_tokens":`...)
	buf = appendInt(buf, p.usage.OutputTokens)
	buf = append(buf, `}}`...)
	if !send(0, false) {
		return
	}
	buf = append(buf[:0], `{"type":"message_stop"}`...)
	emit(event{payload: buf, metrics: true})
}

// streamClaudeBlock sends one content block, from its start to its stop.
func (p *plan) streamClaudeBlock(i int, buf *[]byte, send func(tokens int, content bool) bool) bool {
	b := &p.blocks[i]
	at := func(eventType string) {
		*buf = append(append((*buf)[:0], `{"type":"`...), eventType...)
		*buf = appendInt(append(*buf, `","index":`...), i)
	}
	at("content_block_start")
	*buf = append(*buf, `,"content_block":`...)
	*buf = append(b.appendClaude(*buf, true), '}')
	if !send(0, b.kind == blockRedacted) {
		return false
	}
	delta := func(kind, member string) func([]byte, int) bool {
		return func(piece []byte, tokens int) bool {
			if len(piece) == 0 && kind != "input_json_delta" {
				return true // the service sends no empty text; the next piece carries the glyph
			}
			at("content_block_delta")
			*buf = append(append(append(append(*buf, `,"delta":{"type":"`...), kind...), `","`...), member...)
			*buf = appendQuoted(append(*buf, `":`...), piece)
			*buf = append(*buf, `}}`...)
			return send(tokens, len(piece) > 0)
		}
	}
	ok := true
	switch b.kind {
	case blockText:
		ok = b.text.pieces(p.perChunk, delta("text_delta", "text"))
		if ok && b.cite {
			at("content_block_delta")
			*buf = append(*buf, `,"delta":{"type":"citations_delta","citation":`+claudeCitation+`}}`...)
			ok = send(0, false)
		}
	case blockThinking:
		ok = b.text.pieces(p.perChunk, delta("thinking_delta", "thinking")) &&
			delta("signature_delta", "signature")([]byte(b.signature()), 0)
	case blockTool:
		partial := delta("input_json_delta", "partial_json")
		ok = partial(nil, 0) && b.text.pieces(p.perChunk, partial)
	case blockRedacted: // came whole in its start
	}
	if !ok {
		return false
	}
	at("content_block_stop")
	*buf = append(*buf, '}')
	return send(0, false)
}

const claudeCitation = `{"type":"char_location","cited_text":"The river rises in the hills.","document_index":0,"document_title":"Rivers","start_char_index":0,"end_char_index":29}`

func (b *block) signature() string {
	return base64.StdEncoding.EncodeToString([]byte("simulated signature " + b.id))
}

// appendClaude writes a content block: whole, or as its start announces it.
func (b *block) appendClaude(dst []byte, start bool) []byte {
	content := b.text.bytes
	if start {
		content = nil
	}
	switch b.kind {
	case blockText:
		dst = appendQuoted(append(dst, `{"type":"text","text":`...), content)
		if b.cite && start {
			dst = append(dst, `,"citations":[]`...)
		} else if b.cite {
			dst = append(dst, `,"citations":[`+claudeCitation+`]`...)
		}
	case blockThinking:
		dst = appendQuoted(append(dst, `{"type":"thinking","thinking":`...), content)
		dst = append(dst, `,"signature":`...)
		if start {
			dst = append(dst, `""`...)
		} else {
			dst = appendQuoted(dst, b.signature())
		}
	case blockRedacted:
		dst = appendQuoted(append(dst, `{"type":"redacted_thinking","data":`...), b.signature())
	case blockTool:
		dst = appendQuoted(append(dst, `{"type":"tool_use","id":`...), "toolu_bdrk_"+b.id)
		dst = appendQuoted(append(dst, `,"name":`...), b.name)
		dst = append(dst, `,"input":`...)
		if start {
			dst = append(dst, `{}`...)
		} else {
			dst = b.appendTool(dst)
		}
	}
	return append(dst, '}')
}

// appendClaudeHead opens the message object.
func (p *plan) appendClaudeHead(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"id":`...), "msg_bdrk_"+p.id)
	dst = append(dst, `,"type":"message","role":"assistant","model":`...)
	dst = appendQuoted(dst, shortModel(p.model))
	return append(dst, ',')
}

func (p *plan) appendClaudeStop(dst []byte) []byte {
	dst = appendQuoted(append(dst, `"stop_reason":`...), p.stopReason())
	dst = append(dst, `,"stop_sequence":`...)
	if p.stop == stopSequence {
		dst = appendQuoted(dst, p.stopped)
	} else {
		dst = append(dst, `null`...)
	}
	if p.stop == stopRefusal {
		dst = append(dst, `,"stop_details":{"type":"refusal","category":null,"explanation":"simulated"}`...)
	}
	return dst
}

func (p *plan) appendClaudeUsage(dst []byte, output int64) []byte {
	dst = appendInt(append(dst, `{"input_tokens":`...), p.usage.InputTokens)
	dst = appendInt(append(dst, `,"cache_creation_input_tokens":`...), p.usage.CacheWriteInputTokens)
	dst = appendInt(append(dst, `,"cache_read_input_tokens":`...), p.usage.CacheReadInputTokens)
	dst = appendInt(append(dst, `,"output_tokens":`...), output)
	return append(dst, '}')
}

func bodyClaude(p *plan) []byte {
	dst := append(p.appendClaudeHead(nil), `"content":[`...)
	blocks, reason := p.blocks, p.appendClaudeStop(nil)
	if p.guardrail == guardrailBlock {
		canned := block{kind: blockText}
		canned.text.say(blockedText)
		blocks, reason = []block{canned}, []byte(`"stop_reason":null,"stop_sequence":null`)
	}
	for i := range blocks {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = blocks[i].appendClaude(dst, false)
	}
	dst = append(append(dst, `],`...), reason...)
	dst = append(dst, `,"usage":`...)
	return append(p.appendClaudeUsage(dst, p.usage.OutputTokens), '}')
}

// blockedClaude has its integer as a float, as the one recording of a blocked input (Titan's) has.
func blockedClaude(*plan) []byte {
	return []byte(`{"type":"content_block_delta","index":0.0,"delta":{"type":"text_delta","text":"` + blockedText + `"}}`)
}
