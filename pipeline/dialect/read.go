package dialect

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchrun/batchrun/pipeline"
)

// Root is how the body of a dialect is called in messages: the field of the line that it stands in.
func Root(d pipeline.Dialect) string {
	switch d {
	case pipeline.OpenAI:
		return "body"
	case pipeline.Anthropic:
		return "params"
	case pipeline.Chat:
		return "line"
	}
	return "modelInput"
}

// Describe says in words which lines a dialect stands for.
func Describe(d pipeline.Dialect) string {
	switch d {
	case pipeline.OpenAI:
		return "OpenAI Batch (custom_id, body)"
	case pipeline.Anthropic:
		return "Anthropic Message Batches (custom_id, params)"
	case pipeline.Chat:
		return "chat messages (messages)"
	case pipeline.Converse:
		return "Bedrock batch in the form of Converse (recordId, modelInput)"
	}
	return "Bedrock batch (recordId, modelInput)"
}

// Read translates a request. The fault, if there is one, names the first field that cannot be translated. The
// prompt shares no memory with raw.
func Read(d pipeline.Dialect, raw []byte) (*pipeline.Prompt, *pipeline.Fault) {
	r := reader{prompt: &pipeline.Prompt{}}
	root := Root(d)
	if !jsontext.Value(raw).IsValid() {
		r.refuse(root, "not valid JSON, or a name comes twice in one object")
		return nil, r.fault
	}
	if kind(raw) != "object" {
		r.refuse(root, "expected an object, not a JSON %s", kind(raw))
		return nil, r.fault
	}
	switch d {
	case pipeline.Anthropic:
		r.anthropic(root, raw)
	case pipeline.Converse, pipeline.Invoke:
		r.converse(root, raw)
	default:
		r.openAI(root, raw, d == pipeline.Chat)
	}
	r.finish(root)
	if r.fault != nil {
		return nil, r.fault
	}
	r.onlyWithTools()
	return r.prompt, nil
}

// A reader fills in a prompt.
type reader struct {
	walk
	prompt   *pipeline.Prompt
	messages []pipeline.Message
	system   []string
}

// finish checks the whole, and makes a plain prompt of a conversation that is one text of the user.
func (r *reader) finish(root string) {
	if r.fault != nil {
		return
	}
	p := r.prompt
	p.System = strings.Join(r.system, "\n\n")
	if len(r.messages) == 0 {
		r.refuse(root+".messages", "expected at least one message of the user")
		return
	}
	if one := r.messages[0]; len(r.messages) == 1 && one.Role == pipeline.User && len(one.Parts) == 1 && one.Parts[0].Kind == pipeline.TextPart {
		p.Text = one.Parts[0].Text
		return
	}
	p.Messages = r.messages
}

// onlyWithTools takes out what says nothing without tools, or where none may be used: a service would refuse it.
func (r *reader) onlyWithTools() {
	p := r.prompt
	mode := ""
	if p.ToolChoice != nil {
		mode = p.ToolChoice.Mode
	}
	if len(p.Tools) == 0 || mode == "none" {
		p.OneCall = false
	}
	if len(p.Tools) == 0 && (mode == "none" || mode == "auto") {
		p.ToolChoice = nil
	}
}

// add appends a message, unless it says nothing.
func (r *reader) add(path string, role pipeline.Role, parts []pipeline.Part) {
	if len(parts) == 0 {
		r.refuse(path, "the message is empty: give it content")
		return
	}
	r.messages = append(r.messages, pipeline.Message{Role: role, Parts: parts})
}

// message reads a message of the user or the assistant, whose content is read by content.
func (r *reader) message(path string, raw []byte, content func(at string, v []byte) []pipeline.Part) {
	var role string
	var parts []pipeline.Part
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "role":
			role = r.text(at, v)
		case "content":
			parts = content(at, v)
		default:
			r.untranslated(at)
		}
	})
	if r.fault != nil {
		return
	}
	switch pipeline.Role(role) {
	case pipeline.User, pipeline.Assistant:
		r.add(path, pipeline.Role(role), parts)
	default:
		r.refuse(path+".role", "expected user or assistant")
	}
}
