package bedrock

// This file is the reading of one chunk of a chat completion; nothing is changed by it.

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
