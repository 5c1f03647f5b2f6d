package bedrock

import (
	"bytes"
	"encoding/json"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// claude is Anthropic's Messages API:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages.html
var claude = family{
	name:          "claude",
	ids:           []string{"anthropic.claude"},
	limits:        []string{"max_tokens", "max_tokens_to_sample"},
	limitKey:      "max_tokens",
	defaultLimit:  4096,
	limitRequired: true,
	speaks:        pipeline.Anthropic,
	takes:         pipeline.Features{Turns: true, Images: true, Tools: true, OneCall: true, TopP: true, TopK: true},
	encode:        encodeClaude,
	assemble:      func([]byte) assembler { return &claudeAnswer{} },
	keys:          []string{"type=message_start", "completion"},
}

func encodeClaude(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
	b := make([]byte, 0, len(p.Text)+len(p.System)+256)
	b = append(b, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":`...)
	b = appendInt(b, maxTokens)
	if p.System != "" {
		b = appendString(append(b, `,"system":`...), p.System)
	}
	b = dialect.AppendMessages(append(b, `,"messages":`...), pipeline.Anthropic, p)
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if p.TopP != nil {
		b = appendFloat(append(b, `,"top_p":`...), *p.TopP)
	}
	if p.TopK != nil {
		b = appendInt(append(b, `,"top_k":`...), *p.TopK)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(b, `,"stop_sequences":`...), p.Stop)
	}
	return append(dialect.AppendTools(b, pipeline.Anthropic, p), '}'), nil
}

func appendFloat(dst []byte, f float64) []byte { return strconv.AppendFloat(dst, f, 'g', -1, 64) }

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

// claudeAnswer assembles a message from its stream: message_start, per block content_block_start, deltas
// and content_block_stop, then message_delta and message_stop.
type claudeAnswer struct {
	message object // of message_start
	delta   object // every delta of message_delta, merged
	usage   object // of message_start, under those of message_delta, which are cumulative
	blocks  []*claudeBlock
	orphan  bool // a block ended that never began

	completion *completion // of a model that answered in the older format, which has none of the above
}

// claudeBlock is a content block as it grows. The pieces are as they stood between their quotes.
type claudeBlock struct {
	index     int64
	start     object
	text      []byte
	thinking  []byte
	signature []byte
	input     []byte // partial JSON inside a JSON string
	citations [][]byte
}

func (a *claudeAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var (
		k, kind                                      []byte
		message, block, delta, usage                 []byte
		deltaType, text, partial, thinking, sig, cit []byte
		stopReason, stop                             []byte
		errType, errMessage                          []byte
		index                                        int64
	)
	for s.key(&k) {
		switch string(k) {
		case "type":
			kind = s.word()
		case "index":
			index, _ = s.number()
		case "delta":
			s.space()
			start := s.i
			if !s.open('{') {
				s.skip()
				continue
			}
			for s.key(&k) {
				switch string(k) {
				case "type":
					deltaType = s.word()
				case "text":
					text = s.str()
				case "partial_json":
					partial = s.str()
				case "thinking":
					thinking = s.str()
				case "signature":
					sig = s.str()
				case "citation":
					cit = s.raw()
				default:
					s.skip()
				}
			}
			delta = s.b[start:s.i]
		case "message":
			message = s.raw()
		case "content_block":
			block = s.raw()
		case "usage":
			usage = s.raw()
		case "completion":
			text = s.str()
		case "stop_reason":
			stopReason = s.raw()
		case "stop":
			stop = s.raw()
		case "error":
			if !s.open('{') {
				s.skip()
				continue
			}
			for s.key(&k) {
				switch string(k) {
				case "type":
					errType = s.str()
				case "message":
					errMessage = s.str()
				default:
					s.skip()
				}
			}
		default:
			env.take(k, s)
		}
	}
	if !s.end() {
		return signs{}, false
	}

	switch string(kind) {
	case "content_block_delta":
		sg = a.piece(index, deltaType, text, partial, thinking, sig, cit, env)
	case "content_block_start":
		sg = a.open(index, block)
	case "content_block_stop":
		a.orphan = a.orphan || a.find(index) == nil
	case "message_start":
		a.message = parseObject(message)
		a.usage.merge(parseObject(a.message.get("usage")))
	case "message_delta":
		a.delta.keep(parseObject(delta)) // one of several may have null where another has the reason
		a.usage.merge(parseObject(usage))
	case "message_stop":
		sg.terminal = true
	case "error":
		env.faultType, env.faultMessage = unescape(errType), unescape(errMessage)
	case "", "completion":
		if text != nil || stopReason != nil {
			if a.completion == nil {
				a.completion = &completion{}
			}
			sg = a.completion.piece(text, stopReason, stop)
			env.piece = piece{text, &a.completion.text}
		}
	}
	return sg, true
}

// piece takes in a content_block_delta.
func (a *claudeAnswer) piece(index int64, kind, text, partial, thinking, signature, citation []byte, env *envelope) (sg signs) {
	switch string(kind) {
	case "text_delta":
		b := a.block(index, "text")
		b.text = append(b.text, text...)
		env.piece = piece{text, &b.text}
		sg.text = len(text) > 0
		sg.content = sg.text
	case "input_json_delta":
		b := a.block(index, "tool_use")
		b.input = append(b.input, partial...)
		env.piece = piece{partial, &b.input}
		sg.content = len(partial) > 0
	case "thinking_delta":
		b := a.block(index, "thinking")
		b.thinking = append(b.thinking, thinking...)
		env.piece = piece{thinking, &b.thinking}
		sg.content = len(thinking) > 0
	case "signature_delta":
		b := a.block(index, "thinking")
		b.signature = append(b.signature, signature...)
	case "citations_delta":
		if len(citation) > 0 {
			b := a.block(index, "text")
			b.citations = append(b.citations, bytes.Clone(citation))
		}
	}
	return sg
}

// open takes in a content_block_start, whose block may already hold something.
func (a *claudeAnswer) open(index int64, raw []byte) (sg signs) {
	b := &claudeBlock{index: index, start: parseObject(raw)}
	a.blocks = append(a.blocks, b)
	inside := func(key string) []byte {
		if v := b.start.get(key); len(v) > 2 && v[0] == '"' {
			return v[1 : len(v)-1]
		}
		return nil
	}
	b.text = append(b.text, inside("text")...)
	b.thinking = append(b.thinking, inside("thinking")...)
	b.signature = append(b.signature, inside("signature")...)
	sg.text = len(b.text) > 0 && b.start.str("type") == "text"
	input := b.start.get("input")
	sg.content = sg.text || len(b.thinking) > 0 || inside("data") != nil || len(input) > 2 && input[0] == '{' && len(parseObject(input)) > 0
	return sg
}

// find is the block of an index that began last, nil if there is none.
func (a *claudeAnswer) find(index int64) *claudeBlock {
	for _, b := range slices.Backward(a.blocks) {
		if b.index == index {
			return b
		}
	}
	return nil
}

// block is the open block of an index. One that was never announced is made up.
func (a *claudeAnswer) block(index int64, kind string) *claudeBlock {
	if b := a.find(index); b != nil {
		return b
	}
	b := &claudeBlock{index: index}
	b.start.set("type", []byte(`"`+kind+`"`))
	a.blocks = append(a.blocks, b)
	return b
}

func (a *claudeAnswer) text() string {
	if a.completion != nil {
		return unescape(a.completion.text)
	}
	var text strings.Builder
	for _, b := range a.ordered() {
		if b.isText() {
			appendUnescaped(&text, b.text)
		}
	}
	return text.String()
}

// ordered are the blocks by index; they come so already.
func (a *claudeAnswer) ordered() []*claudeBlock {
	byIndex := func(i, j int) bool { return a.blocks[i].index < a.blocks[j].index }
	if !sort.SliceIsSorted(a.blocks, byIndex) {
		sort.SliceStable(a.blocks, byIndex)
	}
	return a.blocks
}

func (a *claudeAnswer) finish(*metrics) answer {
	if a.completion != nil {
		return a.completion.finish()
	}
	m := a.message
	if m == nil {
		m = object{{[]byte("type"), []byte(`"message"`)}, {[]byte("role"), []byte(`"assistant"`)}}
	}
	if len(a.blocks) > 0 || m.get("content") == nil {
		m.set("content", a.content())
	}
	m.set("stop_reason", nullOr(m.get("stop_reason")))
	m.setAfter("stop_reason", "stop_sequence", nullOr(m.get("stop_sequence")))
	for _, d := range a.delta {
		m.setAfter("stop_sequence", string(d.key), d.value)
	}
	if a.usage != nil {
		m.set("usage", appendCounts(nil, a.usage.append(nil)))
	}
	ans := answer{output: m.append(nil), stopReason: m.str("stop_reason")}
	ans.lost = a.lost(ans.stopReason)
	ans.usage.InputTokens, _ = a.usage.integer("input_tokens")
	ans.usage.OutputTokens, _ = a.usage.integer("output_tokens")
	ans.usage.CacheReadInputTokens, _ = a.usage.integer("cache_read_input_tokens")
	ans.usage.CacheWriteInputTokens, _ = a.usage.integer("cache_creation_input_tokens")
	return ans
}

// lost is what is missing in a message that has ended so. An answer of a guardrail's own has neither a start nor a reason.
func (a *claudeAnswer) lost(stopReason string) string {
	isCall := func(b *claudeBlock) bool { return b.start.str("type") == "tool_use" }
	switch {
	case a.message != nil && stopReason == "":
		return lostReason
	case a.message == nil && stopReason != "":
		return lostStart
	case slices.ContainsFunc(a.blocks, func(b *claudeBlock) bool { return isCall(b) && b.start.str("name") == "" }):
		return lostCall
	case a.orphan:
		return lostBlock
	case stopReason == "tool_use" && !slices.ContainsFunc(a.blocks, isCall):
		return lostAllCalls
	}
	return ""
}

func nullOr(v []byte) []byte {
	if len(v) == 0 {
		return []byte("null")
	}
	return v
}

func (a *claudeAnswer) content() []byte {
	size := 2
	for _, b := range a.blocks {
		size += len(b.text) + len(b.thinking) + len(b.signature) + len(b.input) + 128
	}
	out := append(make([]byte, 0, size), '[')
	for i, b := range a.ordered() {
		if i > 0 {
			out = append(out, ',')
		}
		out = b.append(out)
	}
	return append(out, ']')
}

func (b *claudeBlock) isText() bool { return b.start.str("type") == "text" }

// append writes the block as InvokeModel would: the announced block with its pieces filled in.
func (b *claudeBlock) append(dst []byte) []byte {
	if b.start.get("type") == nil {
		b.start.set("type", []byte("null"))
	}
	fill := func(key string, piece []byte) {
		if len(piece) > 0 {
			b.start.set(key, appendRawString(make([]byte, 0, len(piece)+2), piece))
		}
	}
	fill("text", b.text)
	fill("thinking", b.thinking)
	fill("signature", b.signature)
	if len(b.citations) > 0 {
		list := append([]byte{'['}, bytes.TrimSpace(trimBrackets(b.start.get("citations")))...)
		for _, c := range b.citations {
			if len(list) > 1 {
				list = append(list, ',')
			}
			list = append(list, c...)
		}
		b.start.set("citations", append(list, ']'))
	}
	if len(b.input) > 0 {
		b.start.set("input", toolInput(b.input))
	}
	return b.start.append(dst)
}

func trimBrackets(list []byte) []byte {
	if len(list) >= 2 && list[0] == '[' {
		return list[1 : len(list)-1]
	}
	return nil
}

// toolInput is the JSON that arrived as the inside of a JSON string. Cut off, it stays the string it was.
func toolInput(raw []byte) []byte {
	text := []byte(unescape(raw))
	if len(bytes.TrimSpace(text)) == 0 {
		return []byte("{}")
	}
	var out bytes.Buffer
	if json.Compact(&out, text) != nil {
		return appendRawString(nil, raw)
	}
	return out.Bytes()
}
