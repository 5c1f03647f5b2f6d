package sim

import (
	"bytes"
	"encoding/json"
)

// A chatStyle is how a family speaks OpenAI's chat completions (platform.openai.com/docs/api-reference/chat/streaming). AWS
// documents the bodies; where it documents no chunk, the style is the plainest that fits the body.
type chatStyle struct {
	limit      int64  // documented default of the answer's length
	limitKey   string // what the request calls it beside max_tokens
	message    bool   // chunks have a message, not a delta
	reason     string // finish_reason or stop_reason
	head       string // id, object, created, model: which of them chunks and bodies have, in this order
	headLast   bool   // in a chunk they stand behind the choices, in alphabetical order
	tail       string // further members of a chunk and of a body, behind everything
	roleFirst  bool   // the first chunk has a role and no text
	textInLast bool   // the last piece of text comes with the reason
	usage      bool   // the body counts tokens
	usageLast  bool   // and so does the last chunk
	tag        bool   // reasoning stands in front of the content, in a tag
	done       bool   // the last chunk is the string "[DONE]"
}

// chat makes the family of a style.
func (st *chatStyle) family(name string, prefixes ...string) family {
	return family{
		name:     name,
		prefixes: prefixes,
		parse:    st.parse,
		stream:   st.stream,
		body:     st.body,
		blocked:  st.blocked,
		reasons:  true,
		stops: map[stop]string{
			stopEnd: "stop", stopLength: "length", stopSequence: "stop", stopTool: "tool_calls", stopRefusal: "content_filter",
		},
	}
}

var (
	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html
	openaiStyle = chatStyle{
		limit: 128_000, limitKey: "max_completion_tokens", reason: "finish_reason", head: "iocm", headLast: true, tail: `,"service_tier":"auto"`,
		roleFirst: true, usage: true, tag: true,
	}
	openai = openaiStyle.family("openai", "openai.")

	// docs.aws.amazon.com/bedrock/latest/userguide/models-api-compatibility.html
	qwenStyle = chatStyle{limit: 32_768, reason: "finish_reason", head: "iocm", headLast: true, roleFirst: true, textInLast: true, usage: true}
	qwen      = qwenStyle.family("qwen", "qwen.")
	chatPlain = chatStyle{limit: 32_768, limitKey: "max_completion_tokens", reason: "finish_reason", head: "iocm", roleFirst: true, usage: true}
	chat      = chatPlain.family("chat", "google.gemma-", "minimax.", "moonshot.", "moonshotai.", "nvidia.", "zai.")

	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-jamba.html
	jambaStyle = chatStyle{limit: 4096, reason: "finish_reason", head: "i", roleFirst: true, usage: true, usageLast: true}
	jamba      = jambaStyle.family("jamba", "ai21.jamba")

	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-deepseek.html
	deepseekStyle = chatStyle{limit: 32_768, reason: "finish_reason", head: "iocm", usage: true}
	deepseek      = withVariant(deepseekStyle.family("deepseek", "deepseek."), promptVariant(&deepseekR1))

	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-chat-completion.html
	mistralStyle = chatStyle{limit: 8192, message: true, reason: "stop_reason"}
	mistral      = mistralStyle.family("mistral", "mistral.")

	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-palmyra-x5.html
	writerStyle = chatStyle{limit: 16, reason: "finish_reason", head: "iocm", roleFirst: true, usage: true, done: true}
	writer      = withVariant(writerStyle.family("writer", "writer."), promptVariant(&writerText))

	// docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html: messages are answered by a chat completion.
	importedStyle = chatStyle{limit: 4096, reason: "finish_reason", head: "iocm", roleFirst: true, usage: true}
	imported      = withVariant(importedStyle.family("imported"), importedVariant)
)

func withVariant(f family, variant func([]byte) *family) family {
	f.variant = variant
	return f
}

// promptVariant is another format that a request with a prompt is in.
func promptVariant(other *family) func([]byte) *family {
	return func(body []byte) *family {
		if hasMember(body, "prompt") {
			return other
		}
		return nil
	}
}

// importedVariant: a prompt with max_gen_len is answered as by Llama, one with max_tokens by a text completion.
func importedVariant(body []byte) *family {
	switch {
	case !hasMember(body, "prompt"):
		return nil
	case hasMember(body, "max_tokens"):
		return &importedText
	}
	return &llama
}

// hasMember reports whether an object has a member that is not null.
func hasMember(object []byte, name string) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return false
	}
	v, ok := members[name]
	return ok && string(v) != "null"
}

type chatRequest struct {
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	MaxTokens     *int64          `json:"max_tokens"`
	MaxCompletion *int64          `json:"max_completion_tokens"`
	Stop          json.RawMessage `json:"stop"`
	N             *int64          `json:"n"`
	Effort        string          `json:"reasoning_effort"`
	Tools         []struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	} `json:"tools"`
	ToolChoice json.RawMessage `json:"tool_choice"`
	Stream     *bool           `json:"stream"`
}

func (st *chatStyle) parse(body []byte) (*request, *Error) {
	var in chatRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if len(in.Messages) == 0 {
		return nil, missing("messages")
	}
	if in.N != nil && *in.N != 1 {
		return nil, validation("n must be 1 when streaming")
	}
	size, media := 0, int64(0)
	for _, m := range in.Messages {
		s, n := sizeOfContent(m.Content)
		size, media = size+s, media+n
	}
	req := &request{
		inputTokens: countTokens(size) + media*mediaTokens,
		maxTokens:   st.limit,
		stops:       stringOrList(in.Stop),
		thinking:    in.Effort != "" && in.Effort != "none",
	}
	limits := []*int64{in.MaxTokens}
	if st.limitKey != "" {
		limits = append(limits, in.MaxCompletion)
	}
	for _, limit := range limits {
		if limit == nil {
			continue
		}
		if *limit < 1 {
			return nil, malformed("#/max_tokens: must be greater than or equal to 1")
		}
		req.maxTokens = *limit
	}
	for _, t := range in.Tools {
		req.tools = append(req.tools, t.Function.Name)
	}
	var choice string
	var named struct{ Function struct{ Name string } }
	if json.Unmarshal(in.ToolChoice, &choice) == nil {
		req.toolForced = choice == "any" || choice == "required"
	} else if json.Unmarshal(in.ToolChoice, &named) == nil && named.Function.Name != "" {
		req.tools, req.toolForced = []string{named.Function.Name}, true
	}
	return req, nil
}

// stringOrList reads a member that is a string or a list of them.
func stringOrList(raw json.RawMessage) (list []string) {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	_ = json.Unmarshal(raw, &list) // anything else is no stop sequence
	return list
}

// appendHead writes the members in front of or behind the choices, each with a comma before it.
func (st *chatStyle) appendHead(dst []byte, p *plan, object string) []byte {
	return appendChatHead(dst, p, st.head, object, st.headLast)
}

// appendChatHead writes those of id, object, created and model that which names by their first letters.
func appendChatHead(dst []byte, p *plan, which, object string, alphabetical bool) []byte {
	order := "iocm"
	if alphabetical {
		order = "cimo"
	}
	for _, c := range order {
		if !bytes.ContainsRune([]byte(which), c) {
			continue
		}
		switch c {
		case 'i':
			dst = appendQuoted(append(dst, `,"id":`...), "chatcmpl-"+p.id)
		case 'o':
			dst = appendQuoted(append(dst, `,"object":`...), object)
		case 'c':
			dst = append(dst, `,"created":1767323045`...)
		case 'm':
			dst = appendQuoted(append(dst, `,"model":`...), p.model)
		}
	}
	return dst
}

// A chatPiece is what one chunk brings.
type chatPiece struct {
	members []byte // of the delta
	reason  string
	tokens  int
	content bool
	last    bool
}

func (st *chatStyle) stream(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	send := func(c chatPiece) bool {
		buf = st.appendChunk(buf[:0], p, c)
		return emit(event{payload: buf, tokens: c.tokens, content: c.content, metrics: c.last})
	}
	members := make([]byte, 0, 256)
	if st.roleFirst && !send(chatPiece{members: append(members, `"role":"assistant","content":""`...)}) {
		return
	}
	final, ok := st.streamBlocks(p, members, send)
	if !ok {
		return
	}
	if !st.roleFirst && final.members == nil {
		final.members = append(members[:0], `"role":"assistant","content":""`...)
	}
	final.reason, final.last = p.stopReason(), true
	if send(final) && st.done {
		emit(event{payload: []byte(`"[DONE]"`), bare: true})
	}
}

// streamBlocks sends what the answer says, but for what is to come with the reason.
func (st *chatStyle) streamBlocks(p *plan, members []byte, send func(chatPiece) bool) (final chatPiece, ok bool) {
	said := func(key string, piece []byte, tokens int) bool {
		if final.members != nil { // held back for the last chunk
			if !send(final) {
				return false
			}
			final = chatPiece{}
		}
		members = members[:0]
		if !st.roleFirst {
			members = append(members, `"role":"assistant",`...)
		}
		members = append(appendQuoted(members, key), ':')
		members = appendQuoted(members, piece)
		c := chatPiece{members: members, tokens: tokens, content: len(piece) > 0}
		if st.textInLast && key == "content" {
			final = c
			final.members = bytes.Clone(members)
			return true
		}
		return send(c)
	}
	calls := 0
	for i := range p.blocks {
		b := &p.blocks[i]
		switch b.kind {
		case blockText:
			ok = b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool { return said("content", piece, tokens) })
		case blockThinking:
			ok = st.streamReasoning(p, b, said)
		case blockTool:
			if final.members != nil {
				if !send(final) {
					return chatPiece{}, false
				}
				final = chatPiece{}
			}
			ok = st.streamTool(p, b, calls, members, send)
			calls++
		case blockRedacted: // no such thing here
			ok = true
		}
		if !ok {
			return chatPiece{}, false
		}
	}
	return final, true
}

func (st *chatStyle) streamReasoning(p *plan, b *block, said func(string, []byte, int) bool) bool {
	if !st.tag {
		return b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool { return said("reasoning_content", piece, tokens) })
	}
	// The tags are split between chunks, as tokens split them.
	return said("content", []byte("<reas"), 0) && said("content", []byte("oning>"), 0) &&
		b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool { return said("content", piece, tokens) }) &&
		said("content", []byte("</reason"), 0) && said("content", []byte("ing>"), 0)
}

// streamTool announces a call, then sends its arguments piece by piece.
func (st *chatStyle) streamTool(p *plan, b *block, n int, members []byte, send func(chatPiece) bool) bool {
	members = appendInt(append(members[:0], `"tool_calls":[{"index":`...), n)
	members = appendQuoted(append(members, `,"id":`...), "call_"+b.id)
	members = appendQuoted(append(members, `,"type":"function","function":{"name":`...), b.name)
	members = append(members, `,"arguments":""}}]`...)
	if !send(chatPiece{members: members, content: true}) {
		return false
	}
	return b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
		members = appendInt(append(members[:0], `"tool_calls":[{"index":`...), n)
		members = appendQuoted(append(members, `,"function":{"arguments":`...), piece)
		members = append(members, `}}]`...)
		return send(chatPiece{members: members, tokens: tokens, content: true})
	})
}

func (st *chatStyle) appendChunk(dst []byte, p *plan, c chatPiece) []byte {
	dst = append(dst, '{')
	if !st.headLast {
		dst = st.appendHead(dst, p, "chat.completion.chunk")
		if len(dst) > 1 {
			dst = append(append(dst[:0], '{'), dst[2:]...) // without the first comma
			dst = append(dst, ',')
		}
	}
	name := `"delta":{`
	if st.message {
		name = `"message":{`
	}
	dst = append(dst, `"choices":[{"index":0,`...)
	dst = append(append(append(dst, name...), c.members...), '}', ',')
	dst = append(appendQuoted(dst, st.reason), ':')
	if c.reason == "" {
		dst = append(dst, `null`...)
	} else {
		dst = appendQuoted(dst, c.reason)
	}
	dst = append(dst, `}]`...)
	if st.headLast {
		dst = st.appendHead(dst, p, "chat.completion.chunk")
	}
	if st.usageLast && c.last {
		dst = p.appendChatUsage(append(dst, `,"usage":`...))
	}
	return append(append(dst, st.tail...), '}')
}

func (p *plan) appendChatUsage(dst []byte) []byte {
	dst = appendInt(append(dst, `{"prompt_tokens":`...), p.usage.InputTokens)
	dst = appendInt(append(dst, `,"completion_tokens":`...), p.usage.OutputTokens)
	dst = appendInt(append(dst, `,"total_tokens":`...), p.usage.InputTokens+p.usage.OutputTokens)
	return append(dst, '}')
}

func (st *chatStyle) body(p *plan) []byte {
	dst := st.appendHead([]byte{'{'}, p, "chat.completion")
	if st.headLast { // a body has them in the order of the documentation all the same
		dst = appendChatHead([]byte{'{'}, p, st.head, "chat.completion", false)
	}
	if len(dst) > 1 {
		dst = append(append([]byte{'{'}, dst[2:]...), ',')
	}
	dst = append(dst, `"choices":[{"index":0,"message":`...)
	dst = st.appendMessage(dst, p)
	dst = append(append(appendQuoted(append(dst, ','), st.reason), ':'), p.quotedReason()...)
	dst = append(dst, `}]`...)
	if st.usage {
		dst = p.appendChatUsage(append(dst, `,"usage":`...))
	}
	return append(append(dst, st.tail...), '}')
}

// quotedReason is the reason as JSON, null for an input that was blocked.
func (p *plan) quotedReason() []byte {
	if p.guardrail == guardrailBlock {
		return []byte("null")
	}
	return appendQuoted(nil, p.stopReason())
}

func (st *chatStyle) appendMessage(dst []byte, p *plan) []byte {
	var content, reasoning, calls []byte
	for i := range p.blocks {
		switch b := &p.blocks[i]; b.kind {
		case blockText:
			content = append(content, b.text.bytes...)
		case blockThinking:
			if st.tag {
				content = append(append(append(content, "<reasoning>"...), b.text.bytes...), "</reasoning>"...)
			} else {
				reasoning = append(make([]byte, 0, 1), b.text.bytes...)
			}
		case blockTool:
			if calls != nil {
				calls = append(calls, ',')
			}
			calls = appendQuoted(append(calls, `{"id":`...), "call_"+b.id)
			calls = appendQuoted(append(calls, `,"type":"function","function":{"name":`...), b.name)
			calls = appendQuoted(append(calls, `,"arguments":`...), b.text.bytes)
			calls = append(calls, `}}`...)
		case blockRedacted:
		}
	}
	if p.guardrail == guardrailBlock {
		content = []byte(blockedText)
	}
	dst = appendQuoted(append(dst, `{"role":"assistant","content":`...), content)
	if reasoning != nil {
		dst = appendQuoted(append(dst, `,"reasoning_content":`...), reasoning)
	}
	if calls != nil {
		dst = append(append(append(dst, `,"tool_calls":[`...), calls...), ']')
	}
	return append(dst, '}')
}

// blocked has its integer as a float, as the one recording of a blocked input (Titan's) has.
func (st *chatStyle) blocked(*plan) []byte {
	return []byte(`{"choices":[{"index":0.0,"delta":{"role":"assistant","content":"` + blockedText + `"},"` + st.reason + `":null}]}`)
}
