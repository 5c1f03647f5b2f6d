package bedrock

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// This file is the dialect of OpenAI's chat completions, which most families of open models speak, with its two relatives: text
// completions (choices with text) and Mistral's (outputs in place of choices). One assembler reads them
// all, since which of them a stream is in is told by its chunks; what families do differently is in a chatDialect.
//
//	{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Fern"},"finish_reason":null}]}
//	{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{…}}
//
// AWS documents the bodies of these families and no chunk of any. So pieces are taken from delta and from message, the
// reason from finish_reason and from stop_reason, and a whole body that comes as the only chunk is a stream of one piece:
// https://platform.openai.com/docs/api-reference/chat/streaming
type chatDialect struct {
	// usage: the body counts tokens. Where the stream does not, they are those that the service counted.
	usage bool
	// opens and closes are the tags between which Bedrock puts the reasoning in front of the content; "" for none. What
	// stands there is not the answer's text.
	opens, closes string
	// done: the stream ends with the string "[DONE]", which is as good as a reason.
	done bool
}

// encodeChat writes a short-form record as a conversation. The name of the limit differs.
func encodeChat(limitKey string) func(*pipeline.Prompt, int64, string) ([]byte, *pipeline.Fault) {
	return func(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
		b := append(make([]byte, 0, len(p.Text)+len(p.System)+256), `{"messages":[`...)
		if p.System != "" {
			b = append(appendString(append(b, `{"role":"system","content":`...), p.System), `},`...)
		}
		b = append(appendString(append(b, `{"role":"user","content":`...), p.Text), `}],`...)
		b = appendInt(append(appendString(b, limitKey), ':'), maxTokens)
		return appendSampling(b, p, "stop"), nil
	}
}

// encodePrompt writes a short-form record as a text in the model's own template.
func encodePrompt(t *template, limitKey, stopKey string) func(*pipeline.Prompt, int64, string) ([]byte, *pipeline.Fault) {
	return func(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
		text := t.write(p)
		b := appendString(append(make([]byte, 0, len(text)+160), `{"prompt":`...), text)
		b = appendInt(append(appendString(append(b, ','), limitKey), ':'), maxTokens)
		return appendSampling(b, p, stopKey), nil
	}
}

// appendSampling ends a body with what the prompt says about sampling.
func appendSampling(b []byte, p *pipeline.Prompt, stopKey string) []byte {
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(appendString(append(b, ','), stopKey), ':'), p.Stop)
	}
	return append(b, '}')
}

// assemble returns a new assembler for the answer to a request.
func (d *chatDialect) assemble(request []byte) assembler {
	return &chatAnswer{dialect: d, wanted: wanted(request, "n")}
}

// wanted is how many answers a request asks for at once, under a key of its body. A stream in which one of them has
// ended is not at its end before the others have.
func wanted(request []byte, key string) int {
	if !bytes.Contains(request, append(append([]byte{'"'}, key...), '"')) {
		return 1
	}
	s := scanner{b: request, slow: true}
	n := int64(1)
	var k []byte
	for ok := s.open('{'); ok && s.key(&k); {
		if string(k) != key {
			s.skip()
		} else if v, ok := s.number(); ok {
			n = v
		}
	}
	return int(min(max(n, 1), 1024))
}

// chatAnswer assembles choices.
type chatAnswer struct {
	dialect *chatDialect
	wanted  int
	list    string // what the choices are called: choices or outputs
	head    object // every other top-level member, as it came last
	usage   []byte
	choices []*chatChoice
	metrics bool // the service has counted, which it does in the last chunk
	read    chatChunk
}

// chatChoice is one answer as it grows. Pieces are as they stood between their quotes.
type chatChoice struct {
	index    int64
	numbered bool // its index was told
	message  bool // rather than a text
	role     []byte
	text     []byte
	hasText  bool
	grown    [len(chatGrown)][]byte
	isGrown  [len(chatGrown)]bool
	calls    []*chatCall
	noCalls  bool   // an empty list of calls came
	rest     object // further members of the message
	extra    object // further members of the choice, its reason among them
	logprobs logprobs
	tags     tagReader
	ended    bool
}

// chatGrown are the members of a message beside content that come in pieces.
var chatGrown = [...]string{"reasoning_content", "reasoning", "refusal"}

// chatCall is a tool call as it grows.
type chatCall struct {
	index     int64 // -1: not told
	id        []byte
	rest      object // type and the like
	function  object
	arguments []byte
	raw       []byte // arguments that came as JSON, not as text
	hasArgs   bool
}

// A chatChunk is what was read of one chunk: nothing is changed before all of it was. Its buffers are used again.
type chatChunk struct {
	list                string
	head                []member
	usage               []byte
	pieces              []chatPiece
	calls               []callPiece
	members             []member // of messages, choices and calls, which hold ranges of it
	errType, errMessage []byte
	failed              bool
}

type span struct{ from, to int }

type chatPiece struct {
	index        int64
	numbered     bool
	message      bool
	role, text   []byte
	hasText      bool
	parts        []byte // content that is a list of blocks
	grown        [len(chatGrown)][]byte
	calls        span
	noCalls      bool
	rest, extra  span
	logprobs     []byte
	finish, stop []byte
}

type callPiece struct {
	index          int64
	id, arguments  []byte
	raw            []byte
	hasArgs        bool
	rest, function span
}

func (a *chatAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	c := &a.read
	c.reset()
	var k []byte
	for s.key(&k) {
		switch string(k) {
		case "choices":
			c.list = "choices"
			c.choices(s)
		case "outputs":
			c.list = "outputs"
			c.choices(s)
		case "usage":
			c.usage = s.raw()
		case "error":
			c.fault(s)
		default:
			if isBedrocks(k) {
				env.take(k, s)
				continue
			}
			c.head = append(c.head, member{k, s.raw()})
		}
	}
	if !s.end() {
		return signs{}, false
	}
	if c.failed {
		env.faultType, env.faultMessage = unescape(c.errType), unescape(c.errMessage)
		if env.faultType == "" {
			env.faultType = "ModelStreamErrorException"
		}
		return signs{}, true
	}
	a.metrics = a.metrics || env.metrics.came
	if len(c.usage) > 0 && c.usage[0] == '{' {
		a.usage = append(a.usage[:0], c.usage...)
	}
	if c.list == "" { // nothing of the answer: only Bedrock's own, or a stranger
		return signs{terminal: len(c.usage) > 0 && a.ended()}, true
	}
	a.list = c.list
	a.head.keep(c.head)
	for i := range c.pieces {
		p := &c.pieces[i]
		choice := a.choice(p, i)
		choice.take(p, c, a.dialect, &sg)
		if isFailure(p.finish) {
			env.faultType, env.faultMessage = "ModelStreamErrorException", "the model ended its answer with the reason "+unescape(p.finish)
		}
	}
	sg.terminal = a.ended()
	return sg, true
}

// isFailure reports whether a reason says that the answer was given up: no stop of the model's own, but the server's.
func isFailure(reason []byte) bool { return string(reason) == "error" || string(reason) == "abort" }

// ended reports whether every answer that is to come has its reason. A service that gives fewer answers than it was asked
// for says so by counting.
func (a *chatAnswer) ended() bool {
	for _, c := range a.choices {
		if !c.ended {
			return false
		}
	}
	return len(a.choices) > 0 && (len(a.choices) >= a.wanted || a.metrics)
}

// word takes a chunk that is a string: the end mark of a dialect that has one.
func (a *chatAnswer) word(w string) signs {
	return signs{terminal: a.dialect.done && w == "[DONE]" && len(a.choices) > 0}
}

func (c *chatChunk) reset() {
	*c = chatChunk{head: c.head[:0], pieces: c.pieces[:0], calls: c.calls[:0], members: c.members[:0]}
}

// fault reads {"error":{"type":"…","message":"…"}}, which servers of open models send in place of a chunk. An error that
// is null is none.
func (c *chatChunk) fault(s *scanner) {
	switch s.peek() {
	case 'n':
		s.skip()
		return
	case '"':
		c.errMessage = s.str()
		c.failed = true
		return
	}
	c.failed = true
	var k []byte
	for ok := s.object(); ok && s.key(&k); {
		switch string(k) {
		case "type":
			c.errType = s.str()
		case "message":
			c.errMessage = s.str()
		default:
			s.skip()
		}
	}
}

func (c *chatChunk) choices(s *scanner) {
	if !s.open('[') {
		s.skip()
		return
	}
	for s.more(']') {
		c.choice(s)
	}
}

func (c *chatChunk) choice(s *scanner) {
	if !s.open('{') {
		s.skip()
		return
	}
	var (
		p     chatPiece
		k     []byte
		extra [8]member
	)
	others := extra[:0]
	for s.key(&k) {
		switch string(k) {
		case "index":
			if n, ok := s.number(); ok {
				p.index, p.numbered = n, true
			}
		case "delta", "message":
			p.message = true
			c.message(s, &p)
		case "text":
			p.hasText = s.peek() == '"'
			p.text = s.str()
		case "logprobs":
			p.logprobs = s.raw()
		default:
			others = append(others, member{k, s.raw()})
			value := others[len(others)-1].value
			switch {
			case string(k) == "finish_reason" && isWord(value):
				p.finish = wordOf(value)
			case string(k) == "stop_reason" && isWord(value):
				p.stop = wordOf(value)
			}
		}
	}
	p.extra = c.hold(others)
	c.pieces = append(c.pieces, p)
}

// wordOf is the inside of a raw string, with its escapes resolved.
func wordOf(raw []byte) []byte {
	s := scanner{b: raw}
	return s.word()
}

// hold keeps members until the chunk was read.
func (c *chatChunk) hold(list []member) span {
	from := len(c.members)
	c.members = append(c.members, list...)
	return span{from, len(c.members)}
}

func (c *chatChunk) held(at span) []member { return c.members[at.from:at.to] }

func (c *chatChunk) message(s *scanner, p *chatPiece) {
	if !s.open('{') {
		s.skip()
		return
	}
	var (
		k    []byte
		rest [8]member
	)
	others := rest[:0]
members:
	for s.key(&k) {
		switch string(k) {
		case "role":
			p.role = s.str()
			continue
		case "content":
			if s.peek() == '[' {
				p.parts = s.raw()
				continue
			}
			p.hasText = s.peek() == '"'
			p.text = s.str()
			continue
		case "tool_calls":
			c.toolCalls(s, p)
			continue
		}
		for i := range chatGrown {
			if string(k) == chatGrown[i] && s.peek() == '"' {
				p.grown[i] = s.str()
				continue members
			}
		}
		others = append(others, member{k, s.raw()})
	}
	p.rest = c.hold(others)
}

func (c *chatChunk) toolCalls(s *scanner, p *chatPiece) {
	if !s.open('[') {
		s.skip()
		return
	}
	p.calls.from = len(c.calls)
	for s.more(']') {
		c.toolCall(s)
	}
	p.calls.to = len(c.calls)
	p.noCalls = p.calls.from == p.calls.to
}

func (c *chatChunk) toolCall(s *scanner) {
	if !s.open('{') {
		s.skip()
		return
	}
	call := callPiece{index: -1}
	var (
		k                []byte
		rest, ofFunction [6]member
	)
	others, function := rest[:0], ofFunction[:0]
	for s.key(&k) {
		switch string(k) {
		case "index":
			if n, ok := s.number(); ok {
				call.index = n
			}
		case "id":
			call.id = s.word()
		case "function":
			for ok := s.object(); ok && s.key(&k); {
				switch {
				case string(k) != "arguments":
					function = append(function, member{k, s.raw()})
				case s.peek() == '"':
					call.arguments, call.hasArgs = s.str(), true
				default:
					call.raw, call.hasArgs = s.raw(), true
				}
			}
		default:
			others = append(others, member{k, s.raw()})
		}
	}
	call.rest, call.function = c.hold(others), c.hold(function)
	c.calls = append(c.calls, call)
}

// choice is the choice that a piece belongs to: by its index, or by its place in the list where it has none.
func (a *chatAnswer) choice(p *chatPiece, place int) *chatChoice {
	index := int64(place)
	if p.numbered {
		index = p.index
	}
	for _, c := range a.choices {
		if c.index == index {
			return c
		}
	}
	c := &chatChoice{index: index, numbered: p.numbered}
	a.choices = append(a.choices, c)
	slices.SortStableFunc(a.choices, func(x, y *chatChoice) int { return cmp.Compare(x.index, y.index) })
	return c
}

func (c *chatChoice) take(p *chatPiece, chunk *chatChunk, d *chatDialect, sg *signs) {
	c.message = c.message || p.message
	if len(p.role) > 0 && c.role == nil {
		c.role = bytes.Clone(p.role)
	}
	for i, piece := range p.grown {
		if piece != nil {
			c.grown[i], c.isGrown[i] = append(c.grown[i], piece...), true
			sg.content = sg.content || len(piece) > 0
		}
	}
	c.hasText = c.hasText || p.hasText
	c.say(p.text, d, sg)
	if p.parts != nil {
		c.blocks(p.parts, d, sg)
	}
	for i := range chunk.calls[p.calls.from:p.calls.to] {
		c.call(&chunk.calls[p.calls.from+i], chunk, sg)
	}
	c.noCalls = c.noCalls || p.noCalls
	c.rest.keep(chunk.held(p.rest))
	c.extra.keep(chunk.held(p.extra))
	c.logprobs.add(p.logprobs)
	c.ended = c.ended || len(p.finish) > 0 || len(p.stop) > 0
}

// say appends a piece of the content.
func (c *chatChoice) say(piece []byte, d *chatDialect, sg *signs) {
	if len(piece) == 0 {
		return
	}
	if d.opens != "" {
		c.tags.read(piece, len(c.text), d)
	}
	c.text = append(c.text, piece...)
	sg.content = true
	sg.text = sg.text || d.opens == "" || c.tags.state == tagPassed && len(c.text) > c.tags.end
}

// blocks takes content that is a list of blocks, as Mistral's reasoning models write it:
// https://docs.mistral.ai/capabilities/reasoning
// The text of its text blocks is content, that of its thinking blocks is reasoning.
func (c *chatChoice) blocks(list []byte, d *chatDialect, sg *signs) {
	s := scanner{b: list, slow: true}
	c.hasText = true
	for ok := s.open('['); ok && s.more(']'); {
		block := parseObject(s.raw())
		if text := block.get("text"); isWord(text) {
			c.say(text[1:len(text)-1], d, sg)
			continue
		}
		thinking := scanner{b: block.get("thinking"), slow: true}
		for ok := thinking.open('['); ok && thinking.more(']'); {
			if text := parseObject(thinking.raw()).get("text"); isWord(text) {
				c.grown[0], c.isGrown[0] = append(c.grown[0], text[1:len(text)-1]...), true
				sg.content = true
			}
		}
	}
}

// call takes a piece of a tool call: by its index, by its id, or else as a further piece of the last.
func (c *chatChoice) call(p *callPiece, chunk *chatChunk, sg *signs) {
	var call *chatCall
	for _, known := range c.calls {
		if p.index >= 0 && known.index == p.index || p.index < 0 && len(p.id) > 0 && bytes.Equal(known.id, p.id) {
			call = known
		}
	}
	if call == nil && p.index < 0 && len(p.id) == 0 && p.function.from == p.function.to && len(c.calls) > 0 {
		call = c.calls[len(c.calls)-1]
	}
	if call == nil {
		call = &chatCall{index: p.index}
		c.calls = append(c.calls, call)
	}
	if len(p.id) > 0 && call.id == nil {
		call.id = bytes.Clone(p.id)
	}
	call.rest.keep(chunk.held(p.rest))
	call.function.keep(chunk.held(p.function))
	call.arguments = append(call.arguments, p.arguments...)
	if p.raw != nil && string(p.raw) != "null" {
		call.raw = bytes.Clone(p.raw)
	}
	call.hasArgs = call.hasArgs || p.hasArgs
	sg.content = sg.content || len(p.arguments) > 0 || p.raw != nil || len(p.id) > 0
}

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
	ans := answer{output: append(out, '}'), stopReason: a.reason()}
	usage := parseObject(a.usage)
	ans.usage.InputTokens = usage.first("prompt_tokens", "input_tokens")
	ans.usage.OutputTokens = usage.first("completion_tokens", "output_tokens")
	return ans
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
		for _, key := range []string{"finish_reason", "stop_reason"} {
			if r := c.extra.str(key); r != "" {
				return r
			}
		}
	}
	return ""
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
	dst = append(dst, `"function":{`...)
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
	return append(dst, `}}`...)
}

// A tagReader finds where the answer begins in a text that may have reasoning in front, between two tags. It looks at every character
// once, for a tag may be split between chunks and its characters may be escaped.
type tagReader struct {
	state   tagState
	matched int // characters of the tag that is looked for
	end     int // once passed: where the answer begins
}

type tagState uint8

const (
	tagUndecided tagState = iota // too short to tell
	tagInside                    // the reasoning has begun
	tagPassed                    // what comes is the answer
)

// read takes the next piece of the text, of which there are so many bytes before it.
func (r *tagReader) read(piece []byte, before int, d *chatDialect) {
	for i := 0; i < len(piece) && r.state != tagPassed; {
		c, size := charOf(piece[i:])
		i += size
		if r.state == tagUndecided {
			if c != d.opens[r.matched] {
				r.state = tagPassed // an answer without reasoning
			} else if r.matched++; r.matched == len(d.opens) {
				r.state, r.matched = tagInside, 0
			}
			continue
		}
		if c != d.closes[r.matched] {
			r.matched = 0 // a tag has only one <, so that a new one can begin nowhere else
		}
		if c == d.closes[r.matched] {
			r.matched++
		}
		if r.matched == len(d.closes) {
			r.state, r.end = tagPassed, before+i
		}
	}
}

// charOf is the first character of the inside of a JSON string and its size there; 0 for one that is in no tag.
func charOf(raw []byte) (c byte, size int) {
	if raw[0] != '\\' || len(raw) < 2 {
		return raw[0], 1
	}
	switch raw[1] {
	case '/', '"', '\\':
		return raw[1], 2
	case 'u':
		r, ok := hex4(raw)
		if ok && r < 0x80 {
			return byte(r), 6
		}
		return 0, min(6, len(raw))
	}
	return 0, 2
}

// logprobs are lists that grow from chunk to chunk: {"content":[…]} of a chat, {"tokens":[…],"token_logprobs":[…]} of a text.
type logprobs struct {
	came  bool
	lists []logprob
	other object
}

type logprob struct{ key, list []byte }

func (l *logprobs) add(raw []byte) {
	if len(raw) == 0 {
		return
	}
	l.came = true
	if raw[0] != '{' {
		return
	}
	for _, m := range parseObject(raw) {
		if m.value[0] != '[' {
			l.other.keep([]member{m})
			continue
		}
		i := slices.IndexFunc(l.lists, func(p logprob) bool { return bytes.Equal(p.key, m.key) })
		if i < 0 {
			i = len(l.lists)
			l.lists = append(l.lists, logprob{key: m.key})
		}
		inside := bytes.TrimSpace(trimBrackets(m.value))
		if len(l.lists[i].list) > 0 && len(inside) > 0 {
			l.lists[i].list = append(l.lists[i].list, ',')
		}
		l.lists[i].list = append(l.lists[i].list, inside...)
	}
}

// append writes them as the last member of a choice, if there were any.
func (l *logprobs) append(dst []byte) []byte {
	switch {
	case !l.came:
		return dst
	case l.lists == nil && l.other == nil:
		return append(dst, `,"logprobs":null`...)
	}
	o := slices.Clone(l.other)
	for _, p := range l.lists {
		o.set(string(p.key), append(append([]byte{'['}, p.list...), ']'))
	}
	return o.append(append(dst, `,"logprobs":`...))
}
