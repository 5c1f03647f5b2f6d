package pipeline

import (
	"encoding/json"
	"slices"
	"strings"
)

// A Dialect is a published format of requests. A body in one that the model's family does not speak itself is translated.
type Dialect string

// The dialects of a [Record]'s Input.
const (
	Invoke    Dialect = ""          // what InvokeModel takes for the model; sent as it is, unless it has the shape of Converse
	Converse  Dialect = "converse"  // Amazon Bedrock Converse
	OpenAI    Dialect = "openai"    // OpenAI chat completions
	Anthropic Dialect = "anthropic" // Anthropic Messages
	Chat      Dialect = "chat"      // a list of messages, in the words of any of the above
)

// A Prompt is a request that is not in a model's own format: the short form of a record, or what a request in another
// dialect says. Encoders of families read it; nobody writes to it.
type Prompt struct {
	// Text is the one message of the user; "" where Messages are given.
	Text string
	// System is what stands before the conversation, "" for none.
	System      string
	MaxTokens   int64    // 0: use the run's --max-tokens
	Temperature *float64 // nil, like all that follow: leave it to the model
	TopP        *float64
	TopK        *int64
	Stop        []string

	// Messages are a conversation that one text of the user cannot say; nil where Text does.
	Messages   []Message
	Tools      []Tool
	ToolChoice *ToolChoice
	// OneCall: an answer is to ask for one tool at most. Only where there are Tools.
	OneCall bool
}

// A Role says who speaks.
type Role string

// The roles of a [Message].
const (
	User      Role = "user"
	Assistant Role = "assistant"
)

// A Message is one turn of a conversation.
type Message struct {
	Role  Role
	Parts []Part
}

// Text is the message's text parts, joined with nothing between.
func (m Message) Text() string {
	var text strings.Builder
	for _, p := range m.Parts {
		if p.Kind == TextPart {
			text.WriteString(p.Text)
		}
	}
	return text.String()
}

// A PartKind says what a [Part] is.
type PartKind uint8

// The kinds of parts.
const (
	TextPart       PartKind = iota // Text
	ImagePart                      // MediaType and Data
	ToolCallPart                   // ID, Name and Input
	ToolResultPart                 // ID, Text and Failed
	ReasoningPart                  // Text; of answers only
)

// A Part is a piece of a message.
type Part struct {
	Kind      PartKind
	Text      string
	MediaType string          // image/png, image/jpeg, image/gif or image/webp
	Data      string          // base64
	ID, Name  string          // of a tool's call
	Input     json.RawMessage // a JSON object
	Failed    bool            // the tool reported an error
}

// A Tool is a function that the model may ask for.
type Tool struct {
	Name, Description string
	Schema            json.RawMessage // JSON Schema of its input, an object
}

// A ToolChoice says whether a tool has to be asked for.
type ToolChoice struct {
	Mode string // auto, any (of them), none or tool
	Name string // where Mode is tool
}

// Conversation are the messages, of a plain prompt its one.
func (p *Prompt) Conversation() []Message {
	if p.Messages != nil {
		return p.Messages
	}
	return []Message{{User, []Part{{Text: p.Text}}}}
}

// Turns are the messages with neighbours of one role made one, for families whose roles have to take turns.
func (p *Prompt) Turns() []Message {
	var turns []Message
	for _, m := range p.Conversation() {
		if n := len(turns); n > 0 && turns[n-1].Role == m.Role {
			turns[n-1].Parts = append(slices.Clip(turns[n-1].Parts), m.Parts...)
			continue
		}
		turns = append(turns, m)
	}
	return turns
}

// Features are what a prompt may have beyond one text, a system prompt, a temperature and stop sequences.
type Features struct{ Turns, Images, Tools, OneCall, TopP, TopK bool }

// Beyond names what a prompt has and an encoder does not take, "" for nothing. Every family goes through it, so that what
// its encoder would leave out is told and not lost.
func (p *Prompt) Beyond(takes Features) string {
	switch {
	case len(p.Tools) > 0 && !takes.Tools:
		return "tools"
	case p.ToolChoice != nil && !takes.Tools:
		return "tool_choice"
	case p.OneCall && !takes.OneCall:
		return "the limit of one tool call"
	case p.TopP != nil && !takes.TopP:
		return "top_p"
	case p.TopK != nil && !takes.TopK:
		return "top_k"
	}
	for _, m := range p.Messages {
		for _, part := range m.Parts {
			switch {
			case part.Kind == ImagePart && !takes.Images:
				return "an image in messages"
			case (part.Kind == ToolCallPart || part.Kind == ToolResultPart) && !takes.Tools:
				return "the use of a tool in messages"
			}
		}
	}
	if p.Messages != nil && !takes.Turns {
		return "more than one message"
	}
	return ""
}
