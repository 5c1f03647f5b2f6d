package dialect

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchrun/batchrun/pipeline"
)

// Append appends a request in a dialect: OpenAI, Anthropic, Converse or Chat. model goes into the dialects whose bodies name
// one, "" leaves it out; maxTokens is the answer's limit where the prompt sets none and the dialect wants one. The fault names
// what the dialect cannot say.
func Append(dst []byte, d pipeline.Dialect, p *pipeline.Prompt, model string, maxTokens int64) ([]byte, *pipeline.Fault) {
	if fault := CannotSay(d, p); fault != nil {
		return dst, fault
	}
	w := writer{b: append(dst, '{'), start: len(dst) + 1}
	limit := p.MaxTokens
	switch d {
	case pipeline.Converse:
		if p.System != "" {
			w.key("system")
			w.b = append(AppendString(append(w.b, `[{"text":`...), p.System), `}]`...)
		}
		w.key("messages")
		w.b = AppendMessages(w.b, d, p)
		w.inferenceConfig(p)
		w.b = AppendTools(w.b, d, p)
		if p.TopK != nil {
			w.b = append(strconv.AppendInt(append(w.b, `,"additionalModelRequestFields":{"top_k":`...), *p.TopK, 10), '}')
		}
		return append(w.b, '}'), nil
	case pipeline.Anthropic:
		if limit == 0 {
			limit = maxTokens // the dialect requires it
		}
	}
	if model != "" && d != pipeline.Chat {
		w.string("model", model)
	}
	if limit != 0 {
		w.int("max_tokens", limit)
	}
	if d == pipeline.Anthropic && p.System != "" {
		w.string("system", p.System)
	}
	w.key("messages")
	w.b = AppendMessages(w.b, d, p)
	if p.Temperature != nil {
		w.float("temperature", *p.Temperature)
	}
	if p.TopP != nil {
		w.float("top_p", *p.TopP)
	}
	if p.TopK != nil {
		w.int("top_k", *p.TopK)
	}
	if len(p.Stop) > 0 {
		w.key(map[bool]string{true: "stop_sequences", false: "stop"}[d == pipeline.Anthropic])
		w.b = appendStrings(w.b, p.Stop)
	}
	w.b = AppendTools(w.b, d, p)
	return append(w.b, '}'), nil
}

// CannotSay names what a prompt has and a dialect has no words for, nil for nothing.
func CannotSay(d pipeline.Dialect, p *pipeline.Prompt) *pipeline.Fault {
	w := walk{}
	if d == pipeline.OpenAI && p.TopK != nil {
		w.refuse("top_k", "OpenAI chat completions have no counterpart: leave it out")
	}
	if d == pipeline.Converse && p.ToolChoice != nil && p.ToolChoice.Mode == "none" {
		w.refuse("tool_choice", "Converse cannot forbid tools that it is given: leave them out")
	}
	if d == pipeline.Converse && p.OneCall {
		w.refuse("tool_choice", "Converse cannot limit an answer to one tool call: leave the limit out")
	}
	if d != pipeline.OpenAI && d != pipeline.Chat {
		return w.fault
	}
	for i, m := range p.Messages {
		for _, part := range m.Parts {
			if part.Kind == pipeline.ToolResultPart && part.Failed {
				w.refuse("messages["+strconv.Itoa(i)+"]", "OpenAI chat completions cannot say that a tool failed: say it in its result")
			}
		}
	}
	return w.fault
}

// A writer appends the members of an object.
type writer struct {
	b     []byte
	start int
}

func (w *writer) key(name string) {
	if len(w.b) > w.start {
		w.b = append(w.b, ',')
	}
	w.b = append(append(append(w.b, '"'), name...), '"', ':')
}

func (w *writer) string(name, text string) {
	w.key(name)
	w.b = AppendString(w.b, text)
}

func (w *writer) int(name string, n int64) {
	w.key(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *writer) float(name string, f float64) {
	w.key(name)
	w.b = appendFloat(w.b, f)
}

func (w *writer) raw(name string, value []byte) {
	w.key(name)
	w.b = append(w.b, value...)
}

func (w *writer) inferenceConfig(p *pipeline.Prompt) {
	if p.MaxTokens == 0 && p.Temperature == nil && p.TopP == nil && len(p.Stop) == 0 {
		return
	}
	w.key("inferenceConfig")
	in := writer{b: append(w.b, '{'), start: len(w.b) + 1}
	if p.MaxTokens != 0 {
		in.int("maxTokens", p.MaxTokens)
	}
	if p.Temperature != nil {
		in.float("temperature", *p.Temperature)
	}
	if p.TopP != nil {
		in.float("topP", *p.TopP)
	}
	if len(p.Stop) > 0 {
		in.key("stopSequences")
		in.b = appendStrings(in.b, p.Stop)
	}
	w.b = append(in.b, '}')
}

// AppendString appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the one error is about UTF-8, and it has been mended
	return dst
}

func appendFloat(dst []byte, f float64) []byte { return strconv.AppendFloat(dst, f, 'g', -1, 64) }

func appendStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, s)
	}
	return append(dst, ']')
}

// AppendMessages appends the list of messages of a prompt as a dialect has it. In OpenAI and Chat the system prompt is
// the first of them; elsewhere it has a place of its own.
func AppendMessages(dst []byte, d pipeline.Dialect, p *pipeline.Prompt) []byte {
	dst = append(dst, '[')
	first := len(dst)
	comma := func() {
		if len(dst) > first {
			dst = append(dst, ',')
		}
	}
	switch d {
	case pipeline.Anthropic, pipeline.Converse:
		for _, m := range p.Turns() {
			comma()
			dst = append(append(append(dst, `{"role":"`...), m.Role...), `","content":`...)
			if d == pipeline.Anthropic && len(m.Parts) == 1 && m.Parts[0].Kind == pipeline.TextPart {
				dst = append(AppendString(dst, m.Parts[0].Text), '}')
				continue
			}
			dst = append(dst, '[')
			for i, part := range m.Parts {
				if i > 0 {
					dst = append(dst, ',')
				}
				if d == pipeline.Anthropic {
					dst = appendBlock(dst, part)
				} else {
					dst = appendConverseBlock(dst, part)
				}
			}
			dst = append(dst, `]}`...)
		}
	default:
		if p.System != "" {
			dst = append(AppendString(append(dst, `{"role":"system","content":`...), p.System), '}')
		}
		for _, m := range p.Conversation() {
			for _, one := range splitResults(m) {
				comma()
				dst = appendOpenAIMessage(dst, one)
			}
		}
	}
	return append(dst, ']')
}

// splitResults gives each result of a tool a message of its own, as OpenAI has it.
func splitResults(m pipeline.Message) (list []pipeline.Message) {
	rest := pipeline.Message{Role: m.Role}
	for _, part := range m.Parts {
		if part.Kind == pipeline.ToolResultPart {
			list = append(list, pipeline.Message{Role: m.Role, Parts: []pipeline.Part{part}})
			continue
		}
		rest.Parts = append(rest.Parts, part)
	}
	if len(rest.Parts) > 0 {
		list = append(list, rest)
	}
	return list
}

func appendOpenAIMessage(dst []byte, m pipeline.Message) []byte {
	if first := m.Parts[0]; first.Kind == pipeline.ToolResultPart {
		dst = AppendString(append(dst, `{"role":"tool","tool_call_id":`...), first.ID)
		return append(AppendString(append(dst, `,"content":`...), first.Text), '}')
	}
	dst = append(append(append(dst, `{"role":"`...), m.Role...), `","content":`...)
	var said, calls []pipeline.Part
	for _, part := range m.Parts {
		if part.Kind == pipeline.ToolCallPart {
			calls = append(calls, part)
		} else {
			said = append(said, part)
		}
	}
	switch {
	case len(said) == 0:
		dst = append(dst, "null"...)
	case len(said) == 1 && said[0].Kind == pipeline.TextPart:
		dst = AppendString(dst, said[0].Text)
	default:
		dst = append(dst, '[')
		for i, part := range said {
			if i > 0 {
				dst = append(dst, ',')
			}
			if part.Kind == pipeline.ImagePart {
				dst = AppendString(append(dst, `{"type":"image_url","image_url":{"url":`...), "data:"+part.MediaType+";base64,"+part.Data)
				dst = append(dst, `}}`...)
				continue
			}
			dst = append(AppendString(append(dst, `{"type":"text","text":`...), part.Text), '}')
		}
		dst = append(dst, ']')
	}
	if len(calls) > 0 {
		dst = appendCalls(append(dst, `,"tool_calls":`...), calls)
	}
	return append(dst, '}')
}

// appendCalls appends the calls of tools as OpenAI has them.
func appendCalls(dst []byte, calls []pipeline.Part) []byte {
	dst = append(dst, '[')
	for i, call := range calls {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(append(dst, `{"id":`...), call.ID)
		dst = AppendString(append(dst, `,"type":"function","function":{"name":`...), call.Name)
		dst = append(AppendString(append(dst, `,"arguments":`...), string(call.Input)), `}}`...)
	}
	return append(dst, ']')
}

// appendBlock appends a content block of Anthropic.
func appendBlock(dst []byte, part pipeline.Part) []byte {
	switch part.Kind {
	case pipeline.ImagePart:
		dst = AppendString(append(dst, `{"type":"image","source":{"type":"base64","media_type":`...), part.MediaType)
		return append(AppendString(append(dst, `,"data":`...), part.Data), `}}`...)
	case pipeline.ToolCallPart:
		dst = AppendString(append(dst, `{"type":"tool_use","id":`...), part.ID)
		dst = AppendString(append(dst, `,"name":`...), part.Name)
		return append(append(append(dst, `,"input":`...), part.Input...), '}')
	case pipeline.ToolResultPart:
		dst = AppendString(append(dst, `{"type":"tool_result","tool_use_id":`...), part.ID)
		dst = AppendString(append(dst, `,"content":`...), part.Text)
		if part.Failed {
			dst = append(dst, `,"is_error":true`...)
		}
		return append(dst, '}')
	case pipeline.ReasoningPart:
		return append(AppendString(append(dst, `{"type":"thinking","thinking":`...), part.Text), '}')
	}
	return append(AppendString(append(dst, `{"type":"text","text":`...), part.Text), '}')
}

// appendConverseBlock appends a content block of Converse.
func appendConverseBlock(dst []byte, part pipeline.Part) []byte {
	switch part.Kind {
	case pipeline.ImagePart:
		dst = AppendString(append(dst, `{"image":{"format":`...), strings.TrimPrefix(part.MediaType, "image/"))
		return append(AppendString(append(dst, `,"source":{"bytes":`...), part.Data), `}}}`...)
	case pipeline.ToolCallPart:
		dst = AppendString(append(dst, `{"toolUse":{"toolUseId":`...), part.ID)
		dst = AppendString(append(dst, `,"name":`...), part.Name)
		return append(append(append(dst, `,"input":`...), part.Input...), `}}`...)
	case pipeline.ToolResultPart:
		dst = AppendString(append(dst, `{"toolResult":{"toolUseId":`...), part.ID)
		dst = append(AppendString(append(dst, `,"content":[{"text":`...), part.Text), `}]`...)
		if part.Failed {
			dst = append(dst, `,"status":"error"`...)
		}
		return append(dst, `}}`...)
	case pipeline.ReasoningPart:
		return append(AppendString(append(dst, `{"reasoningContent":{"reasoningText":{"text":`...), part.Text), `}}}`...)
	}
	return append(AppendString(append(dst, `{"text":`...), part.Text), '}')
}

// AppendTools appends the tools of a prompt and which of them is to be used, as members that follow others; nothing where
// there are none.
func AppendTools(dst []byte, d pipeline.Dialect, p *pipeline.Prompt) []byte {
	choice := p.ToolChoice
	if len(p.Tools) == 0 && choice == nil {
		return dst
	}
	if d == pipeline.Converse {
		return appendConverseTools(dst, p)
	}
	if len(p.Tools) > 0 {
		dst = append(dst, `,"tools":[`...)
		for i, t := range p.Tools {
			if i > 0 {
				dst = append(dst, ',')
			}
			schema := `,"input_schema":`
			if d == pipeline.Anthropic {
				dst = AppendString(append(dst, `{"name":`...), t.Name)
			} else {
				dst = AppendString(append(dst, `{"type":"function","function":{"name":`...), t.Name)
				schema = `,"parameters":`
			}
			if t.Description != "" {
				dst = AppendString(append(dst, `,"description":`...), t.Description)
			}
			dst = append(append(append(dst, schema...), t.Schema...), '}')
			if d != pipeline.Anthropic {
				dst = append(dst, '}')
			}
		}
		dst = append(dst, ']')
	}
	if d == pipeline.Anthropic {
		return appendAnthropicChoice(dst, p)
	}
	if p.OneCall {
		dst = append(dst, `,"parallel_tool_calls":false`...)
	}
	if choice == nil {
		return dst
	}
	dst = append(dst, `,"tool_choice":`...)
	switch {
	case choice.Name != "":
		return append(AppendString(append(dst, `{"type":"function","function":{"name":`...), choice.Name), `}}`...)
	case choice.Mode == "any":
		return append(dst, `"required"`...)
	}
	return AppendString(dst, choice.Mode)
}

// appendAnthropicChoice appends which tool is to be used, and how many: https://docs.claude.com/en/api/messages
func appendAnthropicChoice(dst []byte, p *pipeline.Prompt) []byte {
	choice := p.ToolChoice
	if choice == nil {
		if !p.OneCall {
			return dst
		}
		choice = &pipeline.ToolChoice{Mode: "auto"} // what holds without a choice
	}
	dst = AppendString(append(dst, `,"tool_choice":{"type":`...), choice.Mode)
	if choice.Name != "" {
		dst = AppendString(append(dst, `,"name":`...), choice.Name)
	}
	if p.OneCall {
		dst = append(dst, `,"disable_parallel_tool_use":true`...)
	}
	return append(dst, '}')
}

func appendConverseTools(dst []byte, p *pipeline.Prompt) []byte {
	dst = append(dst, `,"toolConfig":{"tools":[`...)
	for i, t := range p.Tools {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(append(dst, `{"toolSpec":{"name":`...), t.Name)
		if t.Description != "" {
			dst = AppendString(append(dst, `,"description":`...), t.Description)
		}
		dst = append(append(append(dst, `,"inputSchema":{"json":`...), t.Schema...), `}}}`...)
	}
	dst = append(dst, ']')
	if c := p.ToolChoice; c != nil {
		dst = append(dst, `,"toolChoice":{`...)
		dst = AppendString(dst, c.Mode)
		dst = append(dst, `:{`...)
		if c.Name != "" {
			dst = AppendString(append(dst, `"name":`...), c.Name)
		}
		dst = append(dst, `}}`...)
	}
	return append(dst, '}')
}
