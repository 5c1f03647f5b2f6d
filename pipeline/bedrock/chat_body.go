package bedrock

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// This file is what becomes of a chat completion at its end: its text and its body.

func (a *chatAnswer) text() string {
	var text strings.Builder
	for _, c := range a.choices {
		c.writeText(&text, a.dialect)
	}
	return text.String()
}

// writeText is the answer's text: what follows the reasoning where that stands in front.
func (c *chatChoice) writeText(dst *strings.Builder, d *chatDialect) {
	switch {
	case d.opens == "" || c.tags.state == tagPassed:
		appendUnescaped(dst, c.text[c.tags.end:])
	case c.tags.state == tagUndecided && c.ended: // an answer shorter than the tag
		appendUnescaped(dst, c.text)
	}
}

func (a *chatAnswer) finish(m *metrics) answer {
	out := append(make([]byte, 0, a.size()), '{')
	first := true
	comma := func() {
		if !first {
			out = append(out, ',')
		}
		first = false
	}
	put := func(m member) {
		comma()
		out = append(appendRawString(out, m.key), ':')
		out = appendHead(out, m)
	}
	front := []string{"id", "object", "created", "model"}
	for _, key := range front {
		if v := a.head.get(key); v != nil {
			put(member{[]byte(key), v})
		}
	}
	comma()
	list := a.list
	if list == "" {
		list = "choices"
	}
	out = append(appendString(out, list), `:[`...)
	for i, c := range a.choices {
		if i > 0 {
			out = append(out, ',')
		}
		out = c.append(out)
	}
	out = append(out, ']')
	if usage := a.counted(m); usage != nil {
		put(member{[]byte("usage"), usage})
	}
	for _, h := range a.head {
		if !slices.Contains(front, string(h.key)) {
			put(h)
		}
	}
	ans := answer{output: append(out, '}'), stopReason: a.reason(), lost: a.lost()}
	usage := parseObject(a.usage)
	ans.usage.InputTokens = usage.first("prompt_tokens", "input_tokens")
	ans.usage.OutputTokens = usage.first("completion_tokens", "output_tokens")
	return ans
}

func (a *chatAnswer) lost() string {
	for _, c := range a.choices {
		switch {
		case slices.ContainsFunc(c.calls, (*chatCall).nameless):
			return lostCall
		case len(c.calls) == 0 && c.reason() == "tool_calls":
			return lostAllCalls
		}
	}
	return ""
}

// nameless reports whether it is not told what is called: by a function's name, or in the words of a call of another type.
func (c *chatCall) nameless() bool {
	return c.function.str("name") == "" && (len(c.function) > 0 || c.hasArgs || c.rest.get("type") == nil)
}

func (a *chatAnswer) size() int {
	n := 256
	for _, c := range a.choices {
		n += len(c.text) + 128
		for i := range c.grown {
			n += len(c.grown[i])
		}
		for _, call := range c.calls {
			n += len(call.arguments) + 128
		}
	}
	return n
}

// counted is the usage of the body.
func (a *chatAnswer) counted(m *metrics) []byte {
	if a.usage != nil {
		return appendCounts(nil, a.usage)
	}
	input, output, ok := m.counts()
	if !ok || !a.dialect.usage {
		return nil
	}
	b := appendInt([]byte(`{"prompt_tokens":`), input)
	b = appendInt(append(b, `,"completion_tokens":`...), output)
	b = appendInt(append(b, `,"total_tokens":`...), input+output)
	return append(b, '}')
}

// reason is the first choice's.
func (a *chatAnswer) reason() string {
	for _, c := range a.choices {
		if r := c.reason(); r != "" {
			return r
		}
	}
	return ""
}

// reason is why the choice has ended, "" if it has not.
func (c *chatChoice) reason() string {
	return cmp.Or(c.extra.str("finish_reason"), c.extra.str("stop_reason"))
}

// appendHead writes a top-level member: a whole object where the stream had a chunk, and whole numbers as integers.
func appendHead(dst []byte, m member) []byte {
	if string(m.key) == "object" && isWord(m.value) {
		return appendString(dst, strings.TrimSuffix(unescape(m.value[1:len(m.value)-1]), ".chunk"))
	}
	return appendCounts(dst, m.value)
}

func (c *chatChoice) append(dst []byte) []byte {
	dst = append(dst, '{')
	if c.numbered {
		dst = append(appendInt(append(dst, `"index":`...), c.index), ',')
	}
	if c.message {
		dst = c.appendMessage(append(dst, `"message":`...))
	} else {
		dst = appendRawString(append(dst, `"text":`...), c.text)
	}
	for _, m := range c.extra {
		dst = append(append(appendRawString(append(dst, ','), m.key), ':'), m.value...)
	}
	dst = c.logprobs.append(dst)
	return append(dst, '}')
}

func (c *chatChoice) appendMessage(dst []byte) []byte {
	role := c.role
	if role == nil {
		role = []byte("assistant")
	}
	dst = appendRawString(append(dst, `{"role":`...), role)
	dst = append(dst, `,"content":`...)
	if c.hasText || len(c.text) > 0 {
		dst = appendRawString(dst, c.text)
	} else {
		dst = append(dst, "null"...)
	}
	for i, name := range chatGrown {
		if c.isGrown[i] {
			dst = appendRawString(append(appendString(append(dst, ','), name), ':'), c.grown[i])
		}
	}
	for _, m := range c.rest {
		if i := slices.Index(chatGrown[:], string(m.key)); i >= 0 && c.isGrown[i] {
			continue // the null of a chunk that had no piece of it
		}
		dst = append(append(appendRawString(append(dst, ','), m.key), ':'), m.value...)
	}
	if len(c.calls) > 0 || c.noCalls {
		dst = append(dst, `,"tool_calls":[`...)
		for i, call := range c.calls {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = call.append(dst)
		}
		dst = append(dst, ']')
	}
	return append(dst, '}')
}

// append writes a call as a body has it: without the index of the stream.
func (c *chatCall) append(dst []byte) []byte {
	dst = append(dst, '{')
	if c.id != nil {
		dst = append(appendString(append(dst, `"id":`...), string(c.id)), ',')
	}
	for _, m := range c.rest {
		dst = append(append(append(appendRawString(dst, m.key), ':'), m.value...), ',')
	}
	if len(c.function) > 0 || c.hasArgs { // rather than a call of another type
		dst = c.appendFunction(append(dst, `"function":`...))
	}
	return append(bytes.TrimSuffix(dst, []byte{','}), '}')
}

func (c *chatCall) appendFunction(dst []byte) []byte {
	dst = append(dst, '{')
	for _, m := range c.function {
		dst = append(append(append(appendRawString(dst, m.key), ':'), m.value...), ',')
	}
	switch {
	case c.raw != nil:
		dst = append(append(dst, `"arguments":`...), c.raw...)
	case c.hasArgs:
		dst = appendRawString(append(dst, `"arguments":`...), c.arguments)
	default:
		dst = bytes.TrimSuffix(dst, []byte{','})
	}
	return append(dst, '}')
}
