package sim

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"strings"
)

// Usage counts tokens as the service bills them; input tokens are without those of the cache.
type Usage struct {
	InputTokens           int64 `json:"inputTokens"`
	OutputTokens          int64 `json:"outputTokens"`
	CacheReadInputTokens  int64 `json:"cacheReadInputTokens"`
	CacheWriteInputTokens int64 `json:"cacheWriteInputTokens"`
}

// An Answer is what the simulator answers to a request that nothing happens to.
type Answer struct {
	// Text is the answer's text blocks joined, without thinking and tool input.
	Text string
	// Body is what InvokeModel returns. An assembled stream equals it as JSON, but for an input
	// that a guardrail blocked: there only Text can be compared.
	Body json.RawMessage
	// StopReason is in the family's own words; "" for an input that a guardrail blocked.
	StopReason string
	Usage      Usage
	// MaxTokens is what the service reserves for the output.
	MaxTokens int64
}

// Truth tells what a server with these options answers to a request, or the *[Error] with which
// it refuses it. It is a pure function; of the options only Seed, Families, OutputTokens,
// OutputSpread and MaxTokensLimit matter.
func Truth(opts Options, modelID string, body []byte) (Answer, error) {
	return opts.truth(modelID, body, false)
}

func (o *Options) truth(modelID string, body []byte, byConverse bool) (Answer, error) {
	p, bad := o.plan(modelID, body, keyOf(modelID, body), byConverse)
	if bad != nil {
		return Answer{}, bad
	}
	stopReason := p.stopReason()
	if byConverse {
		stopReason = p.converseStop()
	}
	return Answer{
		Text:       string(p.answerText()),
		Body:       p.body(),
		StopReason: stopReason,
		Usage:      p.usage,
		MaxTokens:  p.maxTokens,
	}, nil
}

// A key names a request: the same body to the same model is the same key.
type key [16]byte

func keyOf(modelID string, body []byte) key {
	h := sha256.New()
	h.Write([]byte(modelID))
	h.Write([]byte{0})
	h.Write(body)
	var sum [sha256.Size]byte
	return key(h.Sum(sum[:0])[:16])
}

// Key names a request in the statistics: the first 16 bytes, in hex, of the SHA-256 of the model
// id, a zero byte and the body as it was sent.
func Key(modelID string, body []byte) string {
	k := keyOf(modelID, body)
	return hex.EncodeToString(k[:])
}

// rng gives the random numbers of one request; stream tells apart what they are used for.
func (k key) rng(seed, stream uint64) *rand.Rand {
	// A splitmix of the stream's number keeps neighbours apart.
	stream = (stream + 1) * 0x9e3779b97f4a7c15
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(k[:])^seed, binary.LittleEndian.Uint64(k[8:])^stream))
}

// The kinds of content blocks.
type blockKind uint8

const (
	blockText blockKind = iota
	blockThinking
	blockRedacted
	blockTool
)

// A block is one content block of an answer.
type block struct {
	kind blockKind
	text text // of a tool: its input as JSON, perhaps cut off
	name string
	id   string
	cite bool
}

// A plan is an answer, fixed before its first byte is sent.
type plan struct {
	*request
	family    *family
	model     string
	id        string // 16 hex digits, unique to the request and the seed
	blocks    []block
	stop      stop
	stopped   string // the stop sequence that was met
	usage     Usage
	perChunk  int
	markers   markers
	guardrail guardrail
}

// plan reads a request and fixes its answer.
func (o *Options) plan(modelID string, body []byte, k key, byConverse bool) (*plan, *Error) {
	fam, ok := o.familyOf(modelID)
	if !ok || strings.ContainsFunc(modelID, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, validation("The provided model identifier is invalid.")
	}
	if len(body) > maxBody {
		return nil, validation("The request body is larger than the limit of %d bytes.", maxBody)
	}
	if byConverse {
		fam = &converse
	}
	if fam.variant != nil {
		if other := fam.variant(body); other != nil {
			fam = other
		}
	}
	req, bad := fam.parse(body)
	if bad != nil {
		return nil, bad
	}
	if limit := int64(o.MaxTokensLimit); limit > 0 && req.maxTokens > limit {
		return nil, validation("The maximum tokens you requested exceeds the model limit of %d. Try again with a maximum tokens value that is lower than %d.", limit, limit)
	}
	marks, bad := parseMarkers(body)
	if bad != nil {
		return nil, bad
	}
	p := &plan{request: req, family: fam, model: modelID, perChunk: max(1, o.TokensPerChunk), markers: marks, guardrail: marks.guardrail}
	rng := k.rng(o.Seed, streamAnswer)
	p.id = hex.EncodeToString(binary.BigEndian.AppendUint64(nil, rng.Uint64()))
	p.write(o, rng)
	return p, nil
}

// What random numbers are for; an attempt uses streamAttempt plus its number.
const (
	streamAnswer  = 0
	streamAttempt = 1 << 32
)

// write composes the blocks.
func (p *plan) write(o *Options, rng *rand.Rand) {
	p.usage = Usage{InputTokens: p.inputTokens, CacheReadInputTokens: p.markers.cacheRead, CacheWriteInputTokens: p.markers.cacheWrite}
	if p.guardrail == guardrailBlock {
		return
	}
	n := o.outputTokens()
	if o.OutputSpread > 0 {
		n = max(1, n-o.OutputSpread+rng.IntN(2*o.OutputSpread+1))
	}
	if p.markers.tokens >= 0 {
		n = p.markers.tokens
	}
	p.composeThinking(n, rng)
	p.composeText(n, rng)
	p.composeTools(rng)
	p.limit()
	for i := range p.blocks {
		p.usage.OutputTokens += int64(p.blocks[i].text.tokens())
	}
}

// composeThinking adds a third of n tokens of reasoning where the request asks for it.
func (p *plan) composeThinking(n int, rng *rand.Rand) {
	if !p.family.reasons {
		return
	}
	if p.thinking {
		b := block{kind: blockThinking, id: p.id}
		b.text.write(max(1, n/3), rng)
		p.blocks = append(p.blocks, b)
	}
	if p.markers.redacted {
		p.blocks = append(p.blocks, block{kind: blockRedacted, id: p.id})
	}
}

func (p *plan) composeText(n int, rng *rand.Rand) {
	b := block{kind: blockText, cite: p.markers.cite}
	switch {
	case p.markers.say != nil:
		b.text.say(*p.markers.say)
	default:
		b.text.write(int(min(int64(n), p.maxTokens+1)), rng) // one beyond the limit shows the cut
	}
	if p.markers.refuse {
		b.text.cut(min(b.text.tokens(), 3))
		p.stop = stopRefusal
	}
	at := -1
	for _, s := range p.stops {
		if i := bytes.Index(b.text.bytes, []byte(s)); s != "" && i >= 0 && (at < 0 || i < at) {
			at, p.stopped = i, s
		}
	}
	if at >= 0 {
		b.text.cutBytes(at)
		p.stop = stopSequence
	}
	p.blocks = append(p.blocks, b)
}

// composeTools adds tool calls where the request or a marker asks for them.
func (p *plan) composeTools(rng *rand.Rand) {
	calls := p.markers.tools
	if calls == 0 && p.toolForced {
		calls = 1
	}
	if calls == 0 || len(p.tools) == 0 || p.stop != stopEnd {
		return
	}
	for i := range calls {
		b := block{kind: blockTool, name: p.tools[i%len(p.tools)], id: p.id + hexDigits[i%16:][:1]}
		if !p.markers.toolEmpty {
			var query text
			query.write(3, rng)
			input := appendQuoted([]byte(`{"query": `), query.bytes)
			input = append(input, `, "limit": 5}`...)
			for from := 0; from < len(input); {
				to := runeStart(input, min(from+6, len(input)))
				b.text.add(string(input[from:to]))
				from = to
			}
		}
		p.blocks = append(p.blocks, b)
	}
	p.stop = stopTool
}

// limit cuts the answer at the request's limit.
func (p *plan) limit() {
	room := p.maxTokens
	for i := range p.blocks {
		b := &p.blocks[i]
		if n := int64(b.text.tokens()); n <= room {
			room -= n
			continue
		}
		b.text.cut(int(room))
		p.blocks = p.blocks[:i+1]
		if room == 0 && i > 0 {
			p.blocks = p.blocks[:i] // nothing of this block was begun
		}
		p.stop, p.stopped = stopLength, ""
		return
	}
}

// blockedText is what a guardrail answers in place of a model.
const blockedText = "Sorry, the model cannot answer this question."

func (p *plan) answerText() []byte {
	if p.guardrail == guardrailBlock {
		return []byte(blockedText)
	}
	var all []byte
	for i := range p.blocks {
		if p.blocks[i].kind == blockText {
			all = append(all, p.blocks[i].text.bytes...)
		}
	}
	return all
}

func (p *plan) stopReason() string {
	if p.guardrail == guardrailBlock {
		return ""
	}
	return p.family.stops[p.stop]
}

// body is what InvokeModel returns, guardrail members aside.
func (p *plan) body() []byte { return p.family.body(p) }

// stream yields the chunks, those of a blocked input included.
func (p *plan) stream(emit func(event) bool) {
	if p.guardrail == guardrailBlock && p.family.blocked != nil {
		emit(event{payload: p.family.blocked(p), content: true})
		return
	}
	p.family.stream(p, emit)
}

// reservation is what the quota is charged at the start, settlement what is charged in the end:
// docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html.
func (p *plan) reservation() float64 {
	return float64(p.usage.InputTokens + p.usage.CacheWriteInputTokens + p.maxTokens)
}

func (p *plan) settlement(outputTokens int64, burndown float64) float64 {
	return float64(p.usage.InputTokens+p.usage.CacheWriteInputTokens) + float64(outputTokens)*burndown
}

// appendTool writes the input of a tool call as it stands in a body: as JSON, {} for none, and as
// a string what was cut off in the middle.
func (b *block) appendTool(dst []byte) []byte {
	switch {
	case len(b.text.bytes) == 0:
		return append(dst, '{', '}')
	case json.Valid(b.text.bytes):
		return append(dst, b.text.bytes...)
	}
	return appendQuoted(dst, b.text.bytes)
}

// shortModel is a model's name without provider and version, as Claude calls itself.
func shortModel(modelID string) string {
	_, name, ok := strings.Cut(baseModel(modelID), ".")
	if !ok {
		return modelID
	}
	name, _, _ = strings.Cut(name, "-v1")
	return name
}
