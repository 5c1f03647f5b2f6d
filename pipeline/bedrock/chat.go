package bedrock

import (
	"bytes"
	"cmp"
	"slices"
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
	// done: the stream ends with the string "[DONE]".
	done bool
}

// assemble returns a new assembler for the answer to a request.
func (d *chatDialect) assemble(request []byte) assembler {
	return &chatAnswer{dialect: d, wanted: wanted(request, "n")}
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
		return signs{terminal: (len(c.usage) > 0 || env.metrics.came) && a.ended()}, true
	}
	a.list = c.list
	a.head.keep(c.head)
	for i := range c.pieces {
		p := &c.pieces[i]
		choice := a.choice(p, i)
		choice.take(p, c, a.dialect, &sg)
		if len(c.pieces) == 1 {
			env.piece = choice.only(p, a.dialect)
		}
		if isFailure(p.finish) {
			env.gaveUp(p.finish)
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
	return a.reasoned() && (len(a.choices) >= a.wanted || a.metrics)
}

// reasoned reports whether every answer that has come has its reason.
func (a *chatAnswer) reasoned() bool {
	return len(a.choices) > 0 && !slices.ContainsFunc(a.choices, func(c *chatChoice) bool { return !c.ended })
}

// word takes a chunk that is a string: the end mark of a dialect that has one. It says that no further answer is to come, and
// is no reason for the end of one.
func (a *chatAnswer) word(w string) signs {
	return signs{terminal: a.dialect.done && w == "[DONE]" && a.reasoned()}
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

// only is the one string of a piece that was taken in, if appending it was all that came of the piece.
func (c *chatChoice) only(p *chatPiece, d *chatDialect) (one piece) {
	if p.parts != nil || p.calls.from != p.calls.to || len(p.finish)+len(p.stop) > 0 || len(p.logprobs) > 0 && p.logprobs[0] == '{' {
		return piece{}
	}
	n := 0
	if len(p.text) > 0 {
		n, one = n+1, piece{p.text, &c.text}
		if d.opens != "" && (c.tags.state != tagPassed || len(c.text) <= c.tags.end) {
			return piece{} // the next may begin or end the reasoning
		}
	}
	for i, grown := range p.grown {
		if len(grown) > 0 {
			n, one = n+1, piece{grown, &c.grown[i]}
		}
	}
	if n != 1 {
		return piece{}
	}
	return one
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
