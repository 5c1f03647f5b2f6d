package sim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
)

// converse is the Converse API, which has one format for all models:
// docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html. It stands in no table of families.
var converse = family{
	name:    "converse",
	parse:   parseConverse,
	reasons: true,
	stops: map[stop]string{
		stopEnd: "end_turn", stopLength: "max_tokens", stopSequence: "stop_sequence", stopTool: "tool_use", stopRefusal: "content_filtered",
	},
}

func init() { // they read the variable
	converse.stream, converse.body = streamConverse, bodyConverse
}

// converseMaxTokens is what a request without a limit reserves: the maximum of the model, which for all of these is the same.
const converseMaxTokens = 4096

// TruthConverse is [Truth] for a Converse request. Its Body is what Converse returns but for metrics, trace, performanceConfig and
// serviceTier, which only a call has.
func TruthConverse(opts Options, modelID string, body []byte) (Answer, error) {
	return opts.truth(modelID, body, true)
}

type converseRequest struct {
	Messages []struct {
		Role    string          `json:"role"`
		Content []converseBlock `json:"content"`
	} `json:"messages"`
	System []converseBlock `json:"system"`
	Config struct {
		MaxTokens *int64   `json:"maxTokens"`
		Stops     []string `json:"stopSequences"`
	} `json:"inferenceConfig"`
	ToolConfig struct {
		Tools []struct {
			Spec *struct {
				Name string `json:"name"`
			} `json:"toolSpec"`
		} `json:"tools"`
		Choice struct {
			Any  json.RawMessage `json:"any"`
			Tool *struct {
				Name string `json:"name"`
			} `json:"tool"`
		} `json:"toolChoice"`
	} `json:"toolConfig"`
	Guardrail struct {
		ID    string `json:"guardrailIdentifier"`
		Trace string `json:"trace"`
	} `json:"guardrailConfig"`
	More struct { // what Claude, Nova and OpenAI call it
		Thinking struct {
			Type string `json:"type"`
		} `json:"thinking"`
		Reasoning struct {
			Type string `json:"type"`
		} `json:"reasoningConfig"`
		Effort string `json:"reasoning_effort"`
	} `json:"additionalModelRequestFields"`
	Performance json.RawMessage `json:"performanceConfig"`
	Tier        json.RawMessage `json:"serviceTier"`
}

// A converseBlock is a content block; exactly one of its members is there.
type converseBlock struct {
	Text       *string         `json:"text"`
	CachePoint json.RawMessage `json:"cachePoint"`
	Guard      struct {
		Text struct {
			Text string `json:"text"`
		} `json:"text"`
	} `json:"guardContent"`
	ToolUse struct {
		Input json.RawMessage `json:"input"`
	} `json:"toolUse"`
	ToolResult struct {
		Content []converseBlock `json:"content"`
	} `json:"toolResult"`
	JSON      json.RawMessage `json:"json"`
	Reasoning json.RawMessage `json:"reasoningContent"`
	Image     json.RawMessage `json:"image"`
	Document  json.RawMessage `json:"document"`
	Video     json.RawMessage `json:"video"`
	Audio     json.RawMessage `json:"audio"`
}

// size counts a block's bytes of text, and what of it is media.
func (b *converseBlock) size() (text int, media int64) {
	if b.Text != nil {
		text = len(*b.Text)
	}
	text += len(b.Guard.Text.Text) + len(b.ToolUse.Input) + len(b.JSON) + len(b.Reasoning)
	for _, m := range []json.RawMessage{b.Image, b.Document, b.Video, b.Audio} {
		if m != nil {
			media++
		}
	}
	for i := range b.ToolResult.Content {
		t, m := b.ToolResult.Content[i].size()
		text, media = text+t, media+m
	}
	return text, media
}

func parseConverse(body []byte) (*request, *Error) {
	var in converseRequest
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, &Error{Status: 400, Type: "SerializationException", Message: "The request could not be read: " + err.Error()}
	}
	switch {
	case len(in.Messages) == 0:
		return nil, validation("1 validation error detected: Value at 'messages' failed to satisfy constraint: Member must not be null")
	case in.Messages[0].Role != "user":
		return nil, validation("A conversation must start with a user message. Try again with a conversation that starts with a user message.")
	case in.Config.MaxTokens != nil && *in.Config.MaxTokens < 1:
		return nil, validation("1 validation error detected: Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1")
	}
	size, media := 0, int64(0)
	count := func(blocks []converseBlock) {
		for i := range blocks {
			t, m := blocks[i].size()
			size, media = size+t, media+m
		}
	}
	count(in.System)
	for _, m := range in.Messages {
		if m.Role != "user" && m.Role != "assistant" {
			return nil, validation("1 validation error detected: Value '%s' at 'messages.role' failed to satisfy constraint: Member must satisfy enum value set: [user, assistant]", m.Role)
		}
		if len(m.Content) == 0 {
			return nil, validation("The content field in the Message object is empty. Add a ContentBlock object to the content field and try again.")
		}
		count(m.Content)
	}
	req := &request{
		inputTokens: countTokens(size) + media*mediaTokens, maxTokens: converseMaxTokens, stops: in.Config.Stops,
		thinking:    in.More.Thinking.Type == "enabled" || in.More.Thinking.Type == "adaptive" || in.More.Reasoning.Type == "enabled" || in.More.Effort != "",
		performance: in.Performance, tier: in.Tier,
	}
	if in.Config.MaxTokens != nil {
		req.maxTokens = *in.Config.MaxTokens
	}
	for _, t := range in.ToolConfig.Tools {
		if t.Spec != nil { // and not a cache point
			req.tools = append(req.tools, t.Spec.Name)
		}
	}
	if t := in.ToolConfig.Choice.Tool; t != nil {
		req.tools, req.toolForced = []string{t.Name}, true
	}
	req.toolForced = req.toolForced || in.ToolConfig.Choice.Any != nil
	return req, nil
}

// isConverse reports whether the answer goes by Converse.
func (p *plan) isConverse() bool { return p.family == &converse }

// converseStop is the reason in the words of Converse.
func (p *plan) converseStop() string {
	if p.guardrail == guardrailBlock {
		return "guardrail_intervened"
	}
	return p.stopReason()
}

func streamConverse(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	index := 0
	send := func(kind string, tokens int, content bool) bool {
		return emit(event{kind: kind, payload: buf, tokens: tokens, content: content})
	}
	delta := func(member string, piece []byte, tail string, tokens int) bool {
		buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), `,"delta":{`...)
		buf = append(appendQuoted(append(buf, member...), piece), tail...)
		buf = append(buf, `}}`...)
		return send("contentBlockDelta", tokens, len(piece) > 0)
	}
	end := func() bool {
		buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), '}')
		index++
		return send("contentBlockStop", 0, false)
	}

	buf = append(buf, `{"role":"assistant"}`...)
	if !send("messageStart", 0, false) {
		return
	}
	if p.guardrail == guardrailBlock && (!delta(`"text":`, []byte(blockedText), "", 0) || !end()) {
		return
	}
	for i := range p.blocks {
		b := &p.blocks[i]
		ok := true
		pieces := func(member, tail string) bool {
			return b.text.pieces(p.perChunk, func(piece []byte, tokens int) bool {
				return len(piece) == 0 || delta(member, piece, tail, tokens)
			})
		}
		switch b.kind {
		case blockText:
			if len(b.text.bytes) == 0 {
				continue
			}
			ok = pieces(`"text":`, "")
			if ok && b.cite {
				buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), `,"delta":{"citation":`+converseCitation+`}}`...)
				ok = send("contentBlockDelta", 0, false)
			}
		case blockThinking:
			ok = pieces(`"reasoningContent":{"text":`, "}") && delta(`"reasoningContent":{"signature":`, []byte(b.signature()), "}", 0)
		case blockRedacted:
			ok = delta(`"reasoningContent":{"redactedContent":`, b.redactedContent(), "}", 0)
		case blockTool:
			buf = append(appendInt(append(buf[:0], `{"contentBlockIndex":`...), index), `,"start":{"toolUse":`...)
			buf = append(b.appendConverseTool(buf), `}}}`...)
			ok = send("contentBlockStart", 0, false) && pieces(`"toolUse":{"input":`, "}")
		}
		if !ok || !end() {
			return
		}
	}
	buf = append(appendQuoted(append(buf[:0], `{"stopReason":`...), p.converseStop()), '}')
	if !send("messageStop", 0, false) {
		return
	}
	buf = append(p.appendConverseUsage(append(buf[:0], `{"usage":`...)), '}')
	emit(event{kind: "metadata", payload: buf, metrics: true})
}

const converseCitation = `{"title":"Rivers","sourceContent":[{"text":"The river rises in the hills."}],"location":{"documentChar":{"documentIndex":0,"start":0,"end":29}}}`

// redactedContent is what is redacted, as JSON has it.
func (b *block) redactedContent() []byte {
	return []byte(base64.StdEncoding.EncodeToString([]byte(b.signature())))
}

// appendConverseTool writes a tool call, and leaves it open.
func (b *block) appendConverseTool(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"toolUseId":`...), "tooluse_"+b.id)
	return appendQuoted(append(dst, `,"name":`...), b.name)
}

// appendConverseUsage writes the counts. Recordings of streams have those of the cache under two names.
func (p *plan) appendConverseUsage(dst []byte) []byte {
	u := p.usage
	dst = appendInt(append(dst, `{"inputTokens":`...), u.InputTokens)
	dst = appendInt(append(dst, `,"outputTokens":`...), u.OutputTokens)
	dst = appendInt(append(dst, `,"totalTokens":`...), u.InputTokens+u.OutputTokens+u.CacheReadInputTokens+u.CacheWriteInputTokens)
	if u.CacheReadInputTokens > 0 || u.CacheWriteInputTokens > 0 {
		for _, ending := range []string{"", "Count"} {
			dst = appendInt(append(dst, `,"cacheReadInputToken`+plural(ending)+`":`...), u.CacheReadInputTokens)
			dst = appendInt(append(dst, `,"cacheWriteInputToken`+plural(ending)+`":`...), u.CacheWriteInputTokens)
		}
	}
	return append(dst, '}')
}

func plural(ending string) string {
	if ending == "" {
		return "s"
	}
	return ending
}

// appendConverseTail writes what only a call has, at the end of an object that was reopened, and closes it.
func (a *attempt) appendConverseTail(dst []byte, latencyMs int64) []byte {
	p := a.plan
	dst = append(strconv.AppendInt(append(dst, `,"metrics":{"latencyMs":`...), latencyMs, 10), '}')
	if p.guardrail != guardrailNone {
		dst = append(p.appendTrace(append(dst, `,"trace":`...)), '}')
	}
	if p.performance != nil {
		dst = append(append(dst, `,"performanceConfig":`...), compact(p.performance)...)
	}
	if p.tier != nil {
		dst = append(append(dst, `,"serviceTier":`...), compact(p.tier)...)
	}
	return append(dst, '}')
}

func compact(raw []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return []byte("null")
	}
	return b.Bytes()
}

func bodyConverse(p *plan) []byte {
	dst := []byte(`{"output":{"message":{"role":"assistant","content":[`)
	if p.guardrail == guardrailBlock {
		dst = append(dst, `{"text":"`+blockedText+`"}`...)
	}
	first := true
	for i := range p.blocks {
		b := &p.blocks[i]
		if b.kind == blockText && len(b.text.bytes) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		switch b.kind {
		case blockText:
			if !b.cite {
				dst = append(appendQuoted(append(dst, `{"text":`...), b.text.bytes), '}')
				break
			}
			dst = appendQuoted(append(dst, `{"citationsContent":{"content":[{"text":`...), b.text.bytes)
			dst = append(dst, `}],"citations":[`+converseCitation+`]}}`...)
		case blockThinking:
			dst = appendQuoted(append(dst, `{"reasoningContent":{"reasoningText":{"text":`...), b.text.bytes)
			dst = append(appendQuoted(append(dst, `,"signature":`...), b.signature()), `}}}`...)
		case blockRedacted:
			dst = append(appendQuoted(append(dst, `{"reasoningContent":{"redactedContent":`...), b.redactedContent()), `}}`...)
		case blockTool:
			dst = b.appendConverseTool(append(dst, `{"toolUse":`...))
			dst = append(b.appendTool(append(dst, `,"input":`...)), `}}`...)
		}
	}
	dst = appendQuoted(append(dst, `]}},"stopReason":`...), p.converseStop())
	return append(p.appendConverseUsage(append(dst, `,"usage":`...)), '}')
}
