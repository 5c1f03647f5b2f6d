package bedrock

import (
	"bytes"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// nova is Amazon Nova. The answer limit is documented as 5,000 tokens for its first generation.
var nova = family{
	name:         "nova",
	ids:          []string{"amazon.nova-"},
	notIDs:       []string{"amazon.nova-canvas", "amazon.nova-reel", "amazon.nova-sonic", "amazon.nova-2-sonic", "amazon.nova-2-multimodal-embeddings"},
	limits:       []string{"inferenceConfig.maxTokens", "inferenceConfig.max_new_tokens"},
	limitKey:     "inferenceConfig.maxTokens",
	defaultLimit: 5000,
	defaultFor:   []string{"amazon.nova-micro-v1", "amazon.nova-lite-v1", "amazon.nova-pro-v1", "amazon.nova-premier-v1"},
	speaks:       pipeline.Converse,
	takes:        pipeline.Features{Turns: true, Images: true, Tools: true, TopP: true, TopK: true},
	encode:       encodeNova,
	assemble:     func([]byte) assembler { return &novaAnswer{} },
	keys:         []string{"messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop"},
}

func encodeNova(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
	if p.ToolChoice != nil && p.ToolChoice.Mode == "none" {
		return nil, invalid(`tool_choice: the nova family cannot be forbidden tools that it is given: leave them out`)
	}
	b := make([]byte, 0, len(p.Text)+len(p.System)+256)
	b = append(b, `{"schemaVersion":"messages-v1",`...)
	if p.System != "" {
		b = append(appendString(append(b, `"system":[{"text":`...), p.System), `}],`...)
	}
	b = dialect.AppendMessages(append(b, `"messages":`...), pipeline.Converse, p)
	b = appendInt(append(b, `,"inferenceConfig":{"maxTokens":`...), maxTokens)
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(b, `,"stopSequences":`...), p.Stop)
	}
	if p.TopP != nil {
		b = appendFloat(append(b, `,"topP":`...), *p.TopP)
	}
	if p.TopK != nil {
		b = appendInt(append(b, `,"topK":`...), *p.TopK)
	}
	return append(dialect.AppendTools(append(b, '}'), pipeline.Converse, p), '}'), nil
}

// novaAnswer assembles a message from a stream in which every piece of text is a block of its own, with gaps
// between the indices: neighbouring pieces of one kind are one block.
type novaAnswer struct {
	role   []byte
	blocks []*novaBlock
	stop   []byte
	usage  object
}

type novaKind uint8

const (
	novaText novaKind = iota
	novaReasoning
	novaTool
)

// novaBlock is a block as it grows. The pieces are as they stood between their quotes.
type novaBlock struct {
	kind      novaKind
	index     int64
	text      []byte // text, reasoning, or a tool's partial JSON
	signature []byte
	redacted  []byte
	tool      object // toolUse as announced
	input     []byte // a tool's input that came as JSON, not as text
}

func (a *novaAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var (
		k                                           []byte
		role, stop, usage, text, tool               []byte
		reasoning, signature, redacted, input, json []byte
		index                                       int64
		metadata                                    bool
	)
	for s.key(&k) {
		switch string(k) {
		case "contentBlockDelta":
			for ok := s.object(); ok && s.key(&k); {
				switch string(k) {
				case "contentBlockIndex":
					index, _ = s.number()
				case "delta":
					for ok := s.object(); ok && s.key(&k); {
						switch string(k) {
						case "text":
							text = s.str()
						case "toolUse":
							for ok := s.object(); ok && s.key(&k); {
								if string(k) != "input" {
									s.skip()
								} else if s.peek() == '"' {
									input = s.str()
								} else {
									json = s.raw()
								}
							}
						case "reasoningContent":
							for ok := s.object(); ok && s.key(&k); {
								switch string(k) {
								case "reasoningText":
									for ok := s.object(); ok && s.key(&k); {
										switch string(k) {
										case "text":
											reasoning = s.str()
										case "signature":
											signature = s.str()
										default:
											s.skip()
										}
									}
								case "text":
									reasoning = s.str()
								case "signature":
									signature = s.str()
								case "redactedContent":
									redacted = s.str()
								default:
									s.skip()
								}
							}
						default:
							s.skip()
						}
					}
				default:
					s.skip()
				}
			}
		case "contentBlockStart":
			for ok := s.object(); ok && s.key(&k); {
				switch string(k) {
				case "contentBlockIndex":
					index, _ = s.number()
				case "start":
					for ok := s.object(); ok && s.key(&k); {
						if string(k) == "toolUse" {
							tool = s.raw()
						} else {
							s.skip()
						}
					}
				default:
					s.skip()
				}
			}
		case "messageStart":
			for ok := s.object(); ok && s.key(&k); {
				if string(k) == "role" {
					role = s.str()
				} else {
					s.skip()
				}
			}
		case "messageStop":
			for ok := s.object(); ok && s.key(&k); {
				if string(k) == "stopReason" {
					stop = s.str()
				} else {
					s.skip()
				}
			}
		case "metadata":
			metadata = true
			for ok := s.object(); ok && s.key(&k); {
				if string(k) == "usage" {
					usage = s.raw()
				} else {
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

	if len(text) > 0 {
		b := a.grow(novaText, index)
		b.text = append(b.text, text...)
		sg.text, sg.content = true, true
	}
	if len(reasoning)+len(signature)+len(redacted) > 0 {
		b := a.grow(novaReasoning, index)
		b.text = append(b.text, reasoning...)
		b.signature = append(b.signature, signature...)
		b.redacted = append(b.redacted, redacted...)
		sg.content = sg.content || len(reasoning)+len(redacted) > 0
	}
	if tool != nil {
		a.blocks = append(a.blocks, &novaBlock{kind: novaTool, index: index, tool: parseObject(tool)})
	}
	if len(input)+len(json) > 0 {
		b := a.tool(index)
		b.text = append(b.text, input...)
		if json != nil {
			b.input = bytes.Clone(json)
		}
		sg.content = true
	}
	if role != nil {
		a.role = bytes.Clone(role)
	}
	if stop != nil {
		a.stop = bytes.Clone(stop)
	}
	if usage != nil {
		a.usage.merge(parseObject(usage))
	}
	sg.terminal = metadata
	return sg, true
}

// grow is the block that a piece belongs to: the last one, if it is of the same kind.
func (a *novaAnswer) grow(kind novaKind, index int64) *novaBlock {
	if n := len(a.blocks); n > 0 && a.blocks[n-1].kind == kind {
		return a.blocks[n-1]
	}
	b := &novaBlock{kind: kind, index: index}
	a.blocks = append(a.blocks, b)
	return b
}

func (a *novaAnswer) tool(index int64) *novaBlock {
	for _, b := range slices.Backward(a.blocks) {
		if b.kind == novaTool && b.index == index {
			return b
		}
	}
	b := &novaBlock{kind: novaTool, index: index}
	a.blocks = append(a.blocks, b)
	return b
}

func (a *novaAnswer) text() string {
	var text strings.Builder
	for _, b := range a.blocks {
		if b.kind == novaText {
			appendUnescaped(&text, b.text)
		}
	}
	return text.String()
}

func (a *novaAnswer) finish(*metrics) answer {
	size := 256
	for _, b := range a.blocks {
		size += len(b.text) + len(b.signature) + len(b.redacted) + 128
	}
	out := append(make([]byte, 0, size), `{"output":{"message":{"content":[`...)
	for i, b := range a.blocks {
		if i > 0 {
			out = append(out, ',')
		}
		out = b.append(out)
	}
	role := a.role
	if role == nil {
		role = []byte("assistant")
	}
	out = append(out, `],"role":`...)
	out = append(appendRawString(out, role), `}},"stopReason":`...)
	if a.stop == nil {
		out = append(out, "null"...)
	} else {
		out = appendRawString(out, a.stop)
	}
	if a.usage != nil {
		out = appendCounts(append(out, `,"usage":`...), a.usage.append(nil))
	}
	ans := answer{output: append(out, '}'), stopReason: unescape(a.stop), lost: a.lost()}
	ans.usage.InputTokens = a.usage.first("inputTokens")
	ans.usage.OutputTokens = a.usage.first("outputTokens")
	ans.usage.CacheReadInputTokens = a.usage.first("cacheReadInputTokenCount", "cacheReadInputTokens")
	ans.usage.CacheWriteInputTokens = a.usage.first("cacheWriteInputTokenCount", "cacheWriteInputTokens")
	return ans
}

// lost is what is missing in a message that has ended. An answer of a guardrail's own has neither a start nor a reason.
func (a *novaAnswer) lost() string {
	isCall := func(b *novaBlock) bool { return b.kind == novaTool }
	switch {
	case a.role != nil && len(a.stop) == 0:
		return lostReason
	case slices.ContainsFunc(a.blocks, func(b *novaBlock) bool { return isCall(b) && b.tool.str("name") == "" }):
		return lostCall
	case string(a.stop) == "tool_use" && !slices.ContainsFunc(a.blocks, isCall):
		return lostAllCalls
	}
	return ""
}

func (b *novaBlock) append(dst []byte) []byte {
	switch b.kind {
	case novaText:
		return append(appendRawString(append(dst, `{"text":`...), b.text), '}')
	case novaReasoning:
		if len(b.redacted) > 0 && len(b.text) == 0 {
			return append(appendRawString(append(dst, `{"reasoningContent":{"redactedContent":`...), b.redacted), `}}`...)
		}
		dst = appendRawString(append(dst, `{"reasoningContent":{"reasoningText":{"text":`...), b.text)
		if len(b.signature) > 0 {
			dst = appendRawString(append(dst, `,"signature":`...), b.signature)
		}
		return append(dst, `}}}`...)
	}
	switch {
	case b.input != nil:
		b.tool.set("input", b.input)
	case len(b.text) > 0:
		b.tool.set("input", toolInput(b.text))
	case b.tool.get("input") == nil:
		b.tool.set("input", []byte("{}"))
	}
	return append(b.tool.append(append(dst, `{"toolUse":`...)), '}')
}
