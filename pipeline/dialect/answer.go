package dialect

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// An Answer is what a model answered, apart from the format that its family has for it.
type Answer struct {
	ID         string          // as the model's body has it, "" for none
	Parts      []pipeline.Part // text, reasoning and calls of tools, in their order
	StopReason string          // in the family's own words
	Stop       string          // the stop sequence that was met, "" for none
	Usage      pipeline.Usage

	// Dialect is the one that the body is in already, and Body the body; "" where it is in none.
	Dialect pipeline.Dialect
	Body    json.RawMessage
}

// Text is the answer's text: text parts joined with nothing between.
func (a *Answer) Text() string {
	var text strings.Builder
	for _, p := range a.Parts {
		if p.Kind == pipeline.TextPart {
			text.WriteString(p.Text)
		}
	}
	return text.String()
}

// ReadAnswer takes the body of an answer apart, as InvokeModel or Converse returns it. The shape tells the format:
// Messages, Converse (which Nova's is), chat completions and text completions in all their relatives, Llama, Titan, Cohere's
// two, Jurassic-2; of any other a text under one of the usual names. ok is false where there is none.
func ReadAnswer(body []byte) (a *Answer, ok bool) {
	var b answerBody
	if err := json.Unmarshal(body, &b); err != nil {
		// A member that has another meaning elsewhere hides nothing: what could be read has been.
		if _, ofType := errors.AsType[*json.UnmarshalTypeError](err); !ofType || kind(bytes.TrimSpace(body)) != "object" {
			return nil, false
		}
	}
	a = &Answer{ID: b.ID, Body: body}
	switch {
	case b.Output.Message.Content != nil:
		a.Dialect = pipeline.Converse
		a.converse(&b)
	case len(b.Choices) > 0:
		a.choices(&b)
	case b.Type == "message":
		a.Dialect = pipeline.Anthropic
		a.message(&b)
	case b.Completion != nil:
		a.say(*b.Completion)
		a.StopReason, a.Stop = b.StopReason, b.Stop
	case b.Generation != nil:
		a.say(*b.Generation)
		a.StopReason = b.StopReason
		a.Usage = pipeline.Usage{InputTokens: int64(b.PromptTokens), OutputTokens: int64(b.GenerationTokens)}
	case len(b.Results) > 0:
		for _, r := range b.Results {
			a.say(r.OutputText)
			a.StopReason = r.CompletionReason
			a.Usage.OutputTokens += int64(r.TokenCount)
		}
		a.Usage.InputTokens = int64(b.InputTextTokenCount)
	case len(b.Outputs) > 0:
		for _, o := range b.Outputs {
			a.say(o.Text)
			a.StopReason = o.StopReason
		}
	case len(b.Generations) > 0:
		for _, g := range b.Generations {
			a.say(g.Text)
			a.StopReason = g.FinishReason
		}
	case len(b.Completions) > 0:
		for _, c := range b.Completions {
			a.say(c.Data.Text)
			a.StopReason = c.FinishReason.Reason
		}
	case b.Text != nil && b.commandR():
		a.commandR(&b)
	default:
		return a, a.plain(body)
	}
	return a, true
}

// plainTexts and plainReasons are the usual names, of a body in no format that is known.
var (
	plainTexts   = []string{"text", "output_text", "generated_text", "response", "message", "content", "output", "answer"}
	plainReasons = []string{"finish_reason", "stop_reason", "finishReason", "stopReason", "completion_reason", "done_reason"}
)

// plain takes a text from where it usually is, and tells whether there was one.
func (a *Answer) plain(body []byte) bool {
	var members map[string]any
	if json.Unmarshal(body, &members) != nil {
		return false
	}
	first := func(names []string) (string, bool) {
		for _, name := range names {
			if text, ok := members[name].(string); ok {
				return text, true
			}
		}
		return "", false
	}
	text, ok := first(plainTexts)
	a.say(text)
	a.StopReason, _ = first(plainReasons)
	return ok
}

// number is a count, which a guardrail turns into 3.0.
type number float64

// answerBody has the members of all formats; no two use one name for different things, but for those that are read apart.
type answerBody struct {
	ID           string          `json:"id"`
	Type         string          `json:"type"`
	Content      json.RawMessage `json:"content"` // Messages
	StopReason   string          `json:"stop_reason"`
	StopSequence string          `json:"stop_sequence"`
	Stop         string          `json:"stop"` // Claude's text completions
	FinishReason string          `json:"finish_reason"`
	Usage        answerUsage     `json:"usage"`
	Object       string          `json:"object"`

	Output struct { // Converse, Nova
		Message struct {
			Content []converseBlock `json:"content"`
		} `json:"message"`
	} `json:"output"`
	ConverseStop string `json:"stopReason"`

	Choices []struct { // chat completions, and text completions in their clothes
		Text         string `json:"text"`
		FinishReason string `json:"finish_reason"`
		StopReason   any    `json:"stop_reason"`
		Message      *struct {
			Content          json.RawMessage `json:"content"`
			ReasoningContent string          `json:"reasoning_content"`
			Reasoning        string          `json:"reasoning"` // the newer name
			ToolCalls        []struct {
				ID       string `json:"id"`
				Function struct {
					Name      string          `json:"name"`
					Arguments json.RawMessage `json:"arguments"` // JSON in a string, or as it is
				} `json:"function"`
			} `json:"tool_calls"`
		} `json:"message"`
	} `json:"choices"`

	Completion       *string `json:"completion"` // Claude's text completions
	Generation       *string `json:"generation"` // Llama
	PromptTokens     number  `json:"prompt_token_count"`
	GenerationTokens number  `json:"generation_token_count"`

	InputTextTokenCount number     `json:"inputTextTokenCount"` // Titan
	Results             []struct { //
		TokenCount       number `json:"tokenCount"`
		OutputText       string `json:"outputText"`
		CompletionReason string `json:"completionReason"`
	} `json:"results"`

	Outputs []struct { // Mistral
		Text       string `json:"text"`
		StopReason string `json:"stop_reason"`
	} `json:"outputs"`

	Generations []struct { // Cohere Command
		Text         string `json:"text"`
		FinishReason string `json:"finish_reason"`
	} `json:"generations"`

	Text         *string `json:"text"` // Cohere Command R
	ResponseID   string  `json:"response_id"`
	GenerationID string  `json:"generation_id"`
	ToolCalls    []struct {
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"tool_calls"`
	Meta struct {
		Billed cohereTokens `json:"billed_units"`
		Tokens cohereTokens `json:"tokens"`
	} `json:"meta"`

	Completions []struct { // Jurassic-2
		Data struct {
			Text string `json:"text"`
		} `json:"data"`
		FinishReason struct {
			Reason string `json:"reason"`
		} `json:"finishReason"`
	} `json:"completions"`
}

// commandR tells a body of Command R from others that have a text.
func (b *answerBody) commandR() bool { return b.ResponseID != "" || b.GenerationID != "" }

type cohereTokens struct {
	Input  number `json:"input_tokens"`
	Output number `json:"output_tokens"`
}

type answerUsage struct {
	InputTokens      number `json:"input_tokens"`
	OutputTokens     number `json:"output_tokens"`
	CacheRead        number `json:"cache_read_input_tokens"`
	CacheWrite       number `json:"cache_creation_input_tokens"`
	ConverseIn       number `json:"inputTokens"`
	ConverseOut      number `json:"outputTokens"`
	ConverseRead     number `json:"cacheReadInputTokens"`
	ConverseWrite    number `json:"cacheWriteInputTokens"`
	NovaRead         number `json:"cacheReadInputTokenCount"`
	NovaWrite        number `json:"cacheWriteInputTokenCount"`
	PromptTokens     number `json:"prompt_tokens"`
	CompletionTokens number `json:"completion_tokens"`
	PromptDetails    struct {
		Cached number `json:"cached_tokens"`
	} `json:"prompt_tokens_details"`
}

type converseBlock struct {
	Text    *string `json:"text"`
	ToolUse *struct {
		ID    string          `json:"toolUseId"`
		Name  string          `json:"name"`
		Input json.RawMessage `json:"input"`
	} `json:"toolUse"`
	Reasoning *struct {
		Text struct {
			Text string `json:"text"`
		} `json:"reasoningText"`
	} `json:"reasoningContent"`
}

func (a *Answer) say(text string) {
	if text != "" {
		a.Parts = append(a.Parts, pipeline.Part{Text: text})
	}
}

func (a *Answer) think(text string) {
	if text != "" {
		a.Parts = append(a.Parts, pipeline.Part{Kind: pipeline.ReasoningPart, Text: text})
	}
}

func (a *Answer) call(id, name string, input []byte) {
	if len(input) == 0 {
		input = []byte("{}")
	}
	a.Parts = append(a.Parts, pipeline.Part{Kind: pipeline.ToolCallPart, ID: id, Name: name, Input: input})
}

func (a *Answer) message(b *answerBody) {
	var blocks []struct {
		Type, Text, Thinking, ID, Name string
		Input                          json.RawMessage
	}
	_ = json.Unmarshal(b.Content, &blocks) // content of another shape says nothing
	for _, c := range blocks {
		switch c.Type {
		case "text":
			a.say(c.Text)
		case "thinking":
			a.think(c.Thinking)
		case "tool_use":
			a.call(c.ID, c.Name, c.Input)
		}
	}
	u := b.Usage
	a.StopReason, a.Stop = b.StopReason, b.StopSequence
	a.Usage = pipeline.Usage{
		InputTokens: int64(u.InputTokens), OutputTokens: int64(u.OutputTokens),
		CacheReadInputTokens: int64(u.CacheRead), CacheWriteInputTokens: int64(u.CacheWrite),
	}
}

func (a *Answer) converse(b *answerBody) {
	for _, c := range b.Output.Message.Content {
		switch {
		case c.Text != nil:
			a.say(*c.Text)
		case c.ToolUse != nil:
			a.call(c.ToolUse.ID, c.ToolUse.Name, c.ToolUse.Input)
		case c.Reasoning != nil:
			a.think(c.Reasoning.Text.Text)
		}
	}
	u := b.Usage
	a.StopReason = b.ConverseStop
	a.Usage = pipeline.Usage{
		InputTokens: int64(u.ConverseIn), OutputTokens: int64(u.ConverseOut),
		CacheReadInputTokens: int64(max(u.ConverseRead, u.NovaRead)), CacheWriteInputTokens: int64(max(u.ConverseWrite, u.NovaWrite)),
	}
}

// choices takes every choice, as the text of a result has them all; the reason is the first that is given.
func (a *Answer) choices(b *answerBody) {
	u := b.Usage
	cached := int64(u.PromptDetails.Cached)
	a.Usage = pipeline.Usage{
		InputTokens: int64(u.PromptTokens) - cached, OutputTokens: int64(u.CompletionTokens), CacheReadInputTokens: cached,
	}
	// Jamba and Mistral have the shape, and not all members that whoever reads the format may ask for.
	if b.Object == "chat.completion" && b.Choices[0].FinishReason != "" {
		a.Dialect = pipeline.OpenAI
	}
	for _, c := range b.Choices {
		if a.StopReason == "" {
			reason, _ := c.StopReason.(string)
			a.StopReason = orElse(c.FinishReason, reason)
		}
		if c.Message == nil {
			a.say(c.Text)
			continue
		}
		a.think(orElse(c.Message.ReasoningContent, c.Message.Reasoning))
		a.content(c.Message.Content)
		for _, t := range c.Message.ToolCalls {
			a.call(t.ID, t.Function.Name, argumentsOf(t.Function.Arguments))
		}
	}
}

// content takes the content of a message: a text, or blocks as Mistral's reasoning models write them,
// https://docs.mistral.ai/capabilities/reasoning. Bedrock puts the reasoning of gpt-oss in front of the text, in a tag.
func (a *Answer) content(raw json.RawMessage) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		thought, said := cutReasoning(text)
		a.think(thought)
		a.say(said)
		return
	}
	var blocks []struct {
		Text     string `json:"text"`
		Thinking []struct {
			Text string `json:"text"`
		} `json:"thinking"`
	}
	_ = json.Unmarshal(raw, &blocks) // content of another shape says nothing
	for _, block := range blocks {
		for _, thought := range block.Thinking {
			a.think(thought.Text)
		}
		a.say(block.Text)
	}
}

// cutReasoning parts what stands in the tag in front of a text from the rest. A tag that is not closed is an answer
// that was cut off before its text began.
func cutReasoning(text string) (thought, said string) {
	const opens, closes = "<reasoning>", "</reasoning>"
	rest, tagged := strings.CutPrefix(text, opens)
	if !tagged {
		return "", text
	}
	thought, said, _ = strings.Cut(rest, closes)
	return thought, said
}

// argumentsOf are the arguments of a call as JSON. What is none is a JSON string of it.
func argumentsOf(raw json.RawMessage) json.RawMessage {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		return raw
	}
	if text == "" || json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return raw
}

func (a *Answer) commandR(b *answerBody) {
	a.ID = orElse(b.ResponseID, b.GenerationID)
	a.say(*b.Text)
	a.StopReason = b.FinishReason
	a.Usage = pipeline.Usage{
		InputTokens:  int64(max(b.Meta.Billed.Input, b.Meta.Tokens.Input)),
		OutputTokens: int64(max(b.Meta.Billed.Output, b.Meta.Tokens.Output)),
	}
	for i, call := range b.ToolCalls { // they have no ids, which other formats want
		a.call("call_"+strconv.Itoa(i), call.Name, call.Parameters)
	}
}

// About is what an answer's envelope says beside the answer.
type About struct {
	ID        string // for a body that has none of its own
	Model     string
	Created   time.Time // zero: 0
	LatencyMs int64     // for Converse; negative: left out
}

// words translates stop reasons. The families have some thirty, in either case.
func (a *Answer) stopAs(stop, length, calls, filter string) string {
	switch strings.ToLower(a.StopReason) {
	case "end_turn", "stop", "stop_sequence", "finish", "finished", "complete", "endoftext", "eos_token", "stop_criteria_met", "pause_turn", "end_of_text":
		return stop
	case "max_tokens", "length", "model_context_window_exceeded", "error_limit":
		return length
	case "tool_use", "tool_calls", "tool_call":
		return calls
	case "refusal", "guardrail_intervened", "content_filtered", "content_filter", "error_toxic":
		return filter
	case "":
		return stop
	}
	return strings.ToLower(a.StopReason) // honest rather than smooth
}

// AppendCompletion appends the answer as an OpenAI chat.completion.
func (a *Answer) AppendCompletion(dst []byte, about About) []byte {
	if a.Dialect == pipeline.OpenAI {
		return append(dst, a.Body...)
	}
	w := writer{b: append(dst, '{'), start: len(dst) + 1}
	w.string("id", orElse(a.ID, about.ID))
	w.string("object", "chat.completion")
	w.int("created", unix(about.Created))
	w.string("model", about.Model)
	w.key("choices")
	w.b = append(w.b, `[{"index":0,"message":{"role":"assistant","content":`...)
	var calls []pipeline.Part
	thought, spoke := "", false
	for _, p := range a.Parts {
		switch p.Kind {
		case pipeline.ToolCallPart:
			calls = append(calls, p)
		case pipeline.ReasoningPart:
			thought += p.Text
		default:
			spoke = true
		}
	}
	if !spoke && len(calls) > 0 {
		w.b = append(w.b, "null"...)
	} else {
		w.b = AppendString(w.b, a.Text())
	}
	w.b = append(w.b, `,"refusal":null`...)
	if thought != "" { // as DeepSeek and others extend the format
		w.b = AppendString(append(w.b, `,"reasoning_content":`...), thought)
	}
	if len(calls) > 0 {
		w.b = appendCalls(append(w.b, `,"tool_calls":`...), calls)
	}
	w.b = AppendString(append(w.b, `},"logprobs":null,"finish_reason":`...), a.stopAs("stop", "length", "tool_calls", "content_filter"))
	w.b = append(w.b, `}],"usage":`...)
	u := a.Usage
	in := u.InputTokens + u.CacheReadInputTokens + u.CacheWriteInputTokens // prompt_tokens count cached ones, ours do not
	uw := writer{b: append(w.b, '{'), start: len(w.b) + 1}
	uw.int("prompt_tokens", in)
	uw.int("completion_tokens", u.OutputTokens)
	uw.int("total_tokens", in+u.OutputTokens)
	if u.CacheReadInputTokens > 0 {
		uw.b = append(strconv.AppendInt(append(uw.b, `,"prompt_tokens_details":{"cached_tokens":`...), u.CacheReadInputTokens, 10), '}')
	}
	return append(uw.b, `}}`...)
}

// AppendMessage appends the answer as a message of Anthropic.
func (a *Answer) AppendMessage(dst []byte, about About) []byte {
	if a.Dialect == pipeline.Anthropic {
		return append(dst, a.Body...)
	}
	w := writer{b: append(dst, '{'), start: len(dst) + 1}
	w.string("id", orElse(a.ID, about.ID))
	w.string("type", "message")
	w.string("role", "assistant")
	w.string("model", about.Model)
	w.key("content")
	w.b = append(w.b, '[')
	for i, p := range a.Parts {
		if i > 0 {
			w.b = append(w.b, ',')
		}
		w.b = appendBlock(w.b, p)
	}
	w.b = append(w.b, ']')
	w.string("stop_reason", a.stopAs("end_turn", "max_tokens", "tool_use", "refusal"))
	w.raw("stop_sequence", []byte("null"))
	u := a.Usage
	w.key("usage")
	uw := writer{b: append(w.b, '{'), start: len(w.b) + 1}
	uw.int("input_tokens", u.InputTokens)
	uw.int("cache_creation_input_tokens", u.CacheWriteInputTokens)
	uw.int("cache_read_input_tokens", u.CacheReadInputTokens)
	uw.int("output_tokens", u.OutputTokens)
	return append(uw.b, `}}`...)
}

// AppendConverse appends the answer as the body of Converse.
func (a *Answer) AppendConverse(dst []byte, about About) []byte {
	if a.Dialect == pipeline.Converse {
		return append(dst, a.Body...)
	}
	dst = append(dst, `{"output":{"message":{"role":"assistant","content":[`...)
	for i, p := range a.Parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendConverseBlock(dst, p)
	}
	dst = AppendString(append(dst, `]}},"stopReason":`...), a.stopAs("end_turn", "max_tokens", "tool_use", "content_filtered"))
	u := a.Usage
	w := writer{b: append(dst, `,"usage":{`...)}
	w.start = len(w.b)
	w.int("inputTokens", u.InputTokens)
	w.int("outputTokens", u.OutputTokens)
	w.int("totalTokens", u.InputTokens+u.OutputTokens+u.CacheReadInputTokens+u.CacheWriteInputTokens)
	if u.CacheReadInputTokens+u.CacheWriteInputTokens > 0 {
		w.int("cacheReadInputTokens", u.CacheReadInputTokens)
		w.int("cacheWriteInputTokens", u.CacheWriteInputTokens)
	}
	w.b = append(w.b, '}')
	if about.LatencyMs >= 0 {
		w.b = append(strconv.AppendInt(append(w.b, `,"metrics":{"latencyMs":`...), about.LatencyMs, 10), '}')
	}
	return append(w.b, '}')
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
