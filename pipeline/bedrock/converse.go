package bedrock

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// converse is not a family of models but the one format of the Converse API for all of them:
// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
//
//	messageStart        {"role":"assistant"}
//	contentBlockDelta   {"contentBlockIndex":0,"delta":{"text":"Fog lifts."}}
//	contentBlockStop    {"contentBlockIndex":0}
//	messageStop         {"stopReason":"end_turn"}
//	metadata            {"metrics":{"latencyMs":410},"usage":{"inputTokens":6,"outputTokens":4,"totalTokens":10}}
//
// An answer is whole when both messageStop and metadata have come.
var converse = family{
	name:         "converse",
	limits:       []string{"inferenceConfig.maxTokens"},
	limitKey:     "inferenceConfig.maxTokens",
	defaultLimit: defaultMaxTokens, // the model's own maximum, which the id does not tell
	defaultFor:   []string{},
	speaks:       pipeline.Converse,
	takes:        pipeline.Features{Turns: true, Images: true, Tools: true, TopP: true},
	encode:       encodeConverse,
	assemble:     func([]byte) assembler { return &converseAnswer{} },
}

func encodeConverse(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
	if p.ToolChoice != nil && p.ToolChoice.Mode == "none" {
		return nil, invalid(`tool_choice: Converse cannot forbid tools that it is given: leave them out`)
	}
	b := make([]byte, 0, len(p.Text)+len(p.System)+192)
	b = dialect.AppendMessages(append(b, `{"messages":`...), pipeline.Converse, p)
	if p.System != "" {
		b = append(appendString(append(b, `,"system":[{"text":`...), p.System), `}]`...)
	}
	b = appendInt(append(b, `,"inferenceConfig":{"maxTokens":`...), maxTokens)
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if p.TopP != nil {
		b = appendFloat(append(b, `,"topP":`...), *p.TopP)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(b, `,"stopSequences":`...), p.Stop)
	}
	return append(dialect.AppendTools(append(b, '}'), pipeline.Converse, p), '}'), nil
}

// converseAnswer assembles what Converse would have returned.
type converseAnswer struct {
	role     []byte
	blocks   []*converseBlock
	stop     []byte
	fields   []byte // additionalModelResponseFields
	metadata object
}

// converseBlock is a content block as it grows. Text is as it stood between its quotes.
type converseBlock struct {
	index     int64
	open      bool   // until its contentBlockStop
	text      []byte // text, or a tool's partial JSON
	answers   bool   // text is the answer's
	reasoning []byte
	thinks    bool // reasoning or a signature came
	signature []byte
	redacted  []byte // decoded
	start     member // toolUse, toolResult, image or one of tomorrow, as announced
	list      []byte // of tool results
	image     object
	citations []byte
}

// The starts and deltas of content blocks that are known.
const (
	blockToolUse    = "toolUse"
	blockToolResult = "toolResult"
	blockImage      = "image"
)

// converseEvents are the types of events that are read; others are of tomorrow.
var converseEvents = []string{"contentBlockDelta", "contentBlockStop", "contentBlockStart", "messageStart", "messageStop", "metadata"}

// A conversePiece is what one event says, as it stands in the frame.
type conversePiece struct {
	index                                         int64
	text, input, reasoning, signature, redacted   []byte
	citation, results, image                      []byte
	start                                         member
	role, stop, fields, usage, metrics            []byte
	trace, performance, tier                      []byte
	hasText, hasInput, hasReasoning, hasSignature bool
}

// chunk takes in one event, whose type is env.event.
func (a *converseAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var p conversePiece
	var k []byte
	for s.key(&k) {
		switch string(k) {
		case "contentBlockIndex":
			p.index, _ = s.number()
		case "delta":
			p.delta(s)
		case "start":
			for ok := s.object(); ok && s.key(&k); {
				p.start = member{k, s.raw()}
			}
		case "role":
			p.role = s.word()
		case "stopReason":
			p.stop = s.word()
		case "additionalModelResponseFields":
			p.fields = s.raw()
		case "usage":
			p.usage = s.raw()
		case "metrics":
			p.metrics = s.raw()
		case "trace":
			p.trace = s.raw()
		case "performanceConfig":
			p.performance = s.raw()
		case "serviceTier":
			p.tier = s.raw()
		default: // "p" is filler
			s.skip()
		}
	}
	if !s.end() {
		return signs{}, false
	}
	switch env.event {
	case "messageStart":
		a.role = bytes.Clone(p.role)
	case "contentBlockStart":
		a.begin(&p)
	case "contentBlockDelta":
		return a.grow(&p, env)
	case "contentBlockStop":
		if b := a.find(p.index); b != nil {
			b.open = false
		}
	case "messageStop":
		a.stopped(&p, env)
	case "metadata":
		a.meter(&p, env)
	}
	sg.terminal = a.stop != nil && a.metadata != nil
	return sg, true
}

// delta reads the delta of an event.
func (p *conversePiece) delta(s *scanner) {
	var k []byte
	for ok := s.object(); ok && s.key(&k); {
		switch string(k) {
		case "text":
			p.text = s.str()
			p.hasText = p.text != nil
		case blockToolUse:
			for ok := s.object(); ok && s.key(&k); {
				if string(k) == "input" {
					p.input = s.str()
					p.hasInput = p.input != nil
				} else {
					s.skip()
				}
			}
		case "reasoningContent":
			for ok := s.object(); ok && s.key(&k); {
				switch string(k) {
				case "text":
					p.reasoning = s.str()
					p.hasReasoning = p.reasoning != nil
				case "signature":
					p.signature = s.str()
					p.hasSignature = p.signature != nil
				case "redactedContent":
					p.redacted = s.word()
				default:
					s.skip()
				}
			}
		case "citation":
			p.citation = s.raw()
		case blockToolResult:
			p.results = s.raw()
		case blockImage:
			p.image = s.raw()
		default: // of tomorrow
			s.skip()
		}
	}
}

// begin takes in a contentBlockStart.
func (a *converseAnswer) begin(p *conversePiece) {
	b := &converseBlock{index: p.index, open: true}
	if p.start.key != nil {
		b.start = member{bytes.Clone(p.start.key), bytes.Clone(p.start.value)}
	}
	a.blocks = append(a.blocks, b)
}

// grow takes in a contentBlockDelta. It reports false for redacted content that is not base64.
func (a *converseAnswer) grow(p *conversePiece, env *envelope) (sg signs, ok bool) {
	var redacted []byte
	if p.redacted != nil {
		decoded, err := base64.StdEncoding.AppendDecode(nil, p.redacted)
		if err != nil {
			return signs{}, false
		}
		redacted = decoded
	}
	if !p.hasText && !p.hasInput && !p.hasReasoning && !p.hasSignature && redacted == nil && p.citation == nil && p.results == nil && p.image == nil {
		return signs{}, true
	}
	b := a.block(p)
	switch {
	case p.hasText:
		b.text, b.answers = append(b.text, p.text...), true
		sg.text = len(p.text) > 0
	case p.hasInput:
		b.text = append(b.text, p.input...)
	case p.hasReasoning:
		b.reasoning, b.thinks = append(b.reasoning, p.reasoning...), true
	case p.hasSignature:
		b.signature, b.thinks = append(b.signature, p.signature...), true
	}
	env.piece = b.only(p)
	b.redacted = append(b.redacted, redacted...)
	b.citations = appendMember(b.citations, p.citation)
	b.list = appendList(b.list, p.results)
	if p.image != nil {
		b.image.merge(parseObject(p.image))
	}
	sg.content = len(p.text)+len(p.input)+len(p.reasoning)+len(redacted)+len(p.results)+len(p.image) > 0
	return sg, true
}

// only is the one string of a piece that was taken in, if appending it was all that came of the piece.
func (b *converseBlock) only(p *conversePiece) (one piece) {
	if p.redacted != nil || p.citation != nil || p.results != nil || p.image != nil {
		return piece{}
	}
	switch {
	case p.hasText:
		one = piece{p.text, &b.text}
	case p.hasInput:
		one = piece{p.input, &b.text}
	case p.hasReasoning:
		one = piece{p.reasoning, &b.reasoning}
	}
	if len(p.text)+len(p.input)+len(p.reasoning) > len(one.raw) {
		return piece{}
	}
	return one
}

// appendMember appends a value to a list without brackets.
func appendMember(dst, value []byte) []byte {
	if value == nil {
		return dst
	}
	if len(dst) > 0 {
		dst = append(dst, ',')
	}
	return append(dst, value...)
}

// find is the block of an index that was begun last, nil if there is none.
func (a *converseAnswer) find(index int64) *converseBlock {
	for _, b := range slices.Backward(a.blocks) {
		if b.index == index {
			return b
		}
	}
	return nil
}

// block is the open block of a piece's index. Text and reasoning have no start: their first piece begins the block. A tool's piece
// without a start makes up a block as well.
func (a *converseAnswer) block(p *conversePiece) *converseBlock {
	if b := a.find(p.index); b != nil && b.open {
		return b
	}
	b := &converseBlock{index: p.index, open: true}
	switch {
	case p.hasInput:
		b.start = member{[]byte(blockToolUse), []byte("{}")}
	case p.results != nil:
		b.start = member{[]byte(blockToolResult), []byte("{}")}
	case p.image != nil:
		b.start = member{[]byte(blockImage), []byte("{}")}
	}
	a.blocks = append(a.blocks, b)
	return b
}

// malformed are the reasons with which a model gave its answer up.
var malformed = []string{"malformed_model_output", "malformed_tool_use"}

// stopped takes in messageStop.
func (a *converseAnswer) stopped(p *conversePiece, env *envelope) {
	if len(p.stop) == 0 {
		return // without a reason it proves nothing
	}
	a.stop, a.fields = bytes.Clone(p.stop), bytes.Clone(p.fields)
	if slices.Contains(malformed, string(p.stop)) {
		env.gaveUp(p.stop)
	}
}

// meter takes in metadata: what the service counted and measured.
func (a *converseAnswer) meter(p *conversePiece, env *envelope) {
	usage := parseObject(p.usage)
	if usage == nil {
		return // without its counts it proves nothing
	}
	a.metadata = object{} // it has come
	for _, m := range []member{
		{[]byte("usage"), appendCounts(nil, usage.append(nil))},
		{[]byte("metrics"), p.metrics},
		{[]byte("trace"), p.trace},
		{[]byte("performanceConfig"), p.performance},
		{[]byte("serviceTier"), p.tier},
	} {
		if m.value != nil {
			a.metadata = append(a.metadata, member{m.key, bytes.Clone(m.value)})
		}
	}
	count := func(keys ...string) int64 {
		for _, key := range keys {
			if n, ok := usage.integer(key); ok && n >= 0 {
				return n
			}
		}
		return -1
	}
	env.metrics = metrics{
		came: true, input: count("inputTokens"), output: count("outputTokens"),
		// Recordings have both names.
		cacheRead:  count("cacheReadInputTokens", "cacheReadInputTokenCount"),
		cacheWrite: count("cacheWriteInputTokens", "cacheWriteInputTokenCount"),
		firstByte:  -1, total: -1, // Converse tells no time of the first byte
	}
	if n, ok := parseObject(p.metrics).integer("latencyMs"); ok && n >= 0 {
		env.metrics.total = n
	}
	env.tier, env.latency = parseObject(p.tier).str("type"), parseObject(p.performance).str("latency")
}

func (a *converseAnswer) text() string {
	var text strings.Builder
	for _, b := range a.ordered() {
		if b.answers {
			appendUnescaped(&text, b.text)
		}
	}
	return text.String()
}

// ordered are the blocks by index; they come so already.
func (a *converseAnswer) ordered() []*converseBlock {
	slices.SortStableFunc(a.blocks, func(x, y *converseBlock) int { return cmp.Compare(x.index, y.index) })
	return a.blocks
}

func (a *converseAnswer) finish(*metrics) answer {
	size := 256
	for _, b := range a.blocks {
		size += len(b.text) + len(b.reasoning) + len(b.signature) + 2*len(b.redacted) + len(b.list) + len(b.citations) + 128
	}
	role := a.role
	if role == nil {
		role = []byte("assistant")
	}
	out := append(make([]byte, 0, size), `{"output":{"message":{"role":`...)
	out = append(appendRawString(out, role), `,"content":[`...)
	a.blocks = slices.DeleteFunc(a.ordered(), (*converseBlock).empty)
	for i, b := range a.blocks {
		if i > 0 {
			out = append(out, ',')
		}
		out = b.append(out)
	}
	out = append(appendRawString(append(out, `]}},"stopReason":`...), a.stop), `,"usage":`...)
	out = append(out, nullOr(a.metadata.get("usage"))...)
	for _, m := range a.metadata {
		if string(m.key) != "usage" {
			out = append(append(appendRawString(append(out, ','), m.key), ':'), m.value...)
		}
	}
	if a.fields != nil {
		out = append(append(out, `,"additionalModelResponseFields":`...), a.fields...)
	}
	return answer{output: append(out, '}'), stopReason: string(a.stop), lost: a.lost()}
}

func (a *converseAnswer) lost() string {
	isCall := func(b *converseBlock) bool { return string(b.start.key) == blockToolUse }
	switch {
	case slices.ContainsFunc(a.blocks, func(b *converseBlock) bool { return isCall(b) && parseObject(b.start.value).str("name") == "" }):
		return lostCall
	case string(a.stop) == "tool_use" && !slices.ContainsFunc(a.blocks, isCall):
		return lostAllCalls
	}
	return ""
}

// empty reports whether nothing but a start without content, or nothing at all, has come for the block.
func (b *converseBlock) empty() bool {
	return b.start.key == nil && b.redacted == nil && !b.thinks && b.citations == nil && !b.answers
}

// append writes the block as Converse returns it.
func (b *converseBlock) append(dst []byte) []byte {
	switch {
	case b.start.key != nil:
		body := parseObject(b.start.value)
		switch string(b.start.key) {
		case blockToolUse:
			body.set("input", toolInput(b.text))
		case blockToolResult:
			body.set("content", append(append([]byte{'['}, b.list...), ']'))
		case blockImage:
			body.merge(b.image)
		}
		dst = append(appendRawString(append(dst, '{'), b.start.key), ':')
		return append(body.append(dst), '}')
	case b.redacted != nil:
		dst = append(dst, `{"reasoningContent":{"redactedContent":"`...)
		return append(base64.StdEncoding.AppendEncode(dst, b.redacted), `"}}`...)
	case b.thinks:
		dst = appendRawString(append(dst, `{"reasoningContent":{"reasoningText":{"text":`...), b.reasoning)
		if len(b.signature) > 0 {
			dst = appendRawString(append(dst, `,"signature":`...), b.signature)
		}
		return append(dst, `}}}`...)
	case b.citations != nil:
		dst = append(appendRawString(append(dst, `{"citationsContent":{"content":[{"text":`...), b.text), `}],"citations":[`...)
		return append(append(dst, b.citations...), `]}}`...)
	}
	return append(appendRawString(append(dst, `{"text":`...), b.text), '}')
}
