package dialect

import (
	"encoding/base64"
	"encoding/json"
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

// add appends a message, unless it says nothing.
func (r *reader) add(path string, role pipeline.Role, parts []pipeline.Part) {
	if len(parts) == 0 {
		r.refuse(path, "the message is empty: give it content")
		return
	}
	r.messages = append(r.messages, pipeline.Message{Role: role, Parts: parts})
}

// openAI reads a chat completion's request; chat also takes the words of other dialects.
func (r *reader) openAI(root string, raw []byte, chat bool) {
	p := r.prompt
	r.object(root, raw, func(at, key string, v []byte) {
		switch key {
		case "model", "stream", "stream_options", "user", "store", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention":
		case "messages":
			r.array(at, v, func(at string, v []byte) { r.openAIMessage(at, v, chat) })
		case "max_tokens", "max_completion_tokens":
			n := r.count(at, v)
			if p.MaxTokens != 0 && p.MaxTokens != n {
				r.refuse(at, "max_tokens and max_completion_tokens differ: give one of them")
			}
			p.MaxTokens = n
		case "temperature":
			p.Temperature = r.number(at, v)
		case "top_p":
			p.TopP = r.number(at, v)
		case "stop":
			p.Stop = append(p.Stop, r.texts(at, v)...)
		case "tools":
			r.array(at, v, func(at string, v []byte) { r.tool(at, v, chat) })
		case "tool_choice":
			r.openAIChoice(at, v, chat)
		case "n":
			r.mustBe(at, v, "1")
		case "frequency_penalty", "presence_penalty", "top_logprobs":
			r.mustBe(at, v, "0", "0.0")
		case "logprobs":
			r.mustBe(at, v, "false")
		case "logit_bias":
			r.mustBe(at, v, "{}")
		case "response_format":
			r.mustBe(at, v, `{"type":"text"}`)
		case "modalities":
			r.mustBe(at, v, `["text"]`)
		case "parallel_tool_calls":
			r.mustBe(at, v, "true", "false")
			p.OneCall = string(v) == "false"
		case "service_tier":
			r.mustBe(at, v, `"auto"`, `"default"`)
		default:
			if !chat || !r.chatWord(at, key, v) {
				r.untranslated(at)
			}
		}
	})
}

// chatWord reads what a list of chat messages may have beside it in the words of other dialects.
func (r *reader) chatWord(at, key string, v []byte) bool {
	switch key {
	case "system":
		r.systemText(at, v)
	case "maxTokens":
		r.prompt.MaxTokens = r.count(at, v)
	case "topP":
		r.prompt.TopP = r.number(at, v)
	case "top_k", "topK":
		n := r.count(at, v)
		r.prompt.TopK = &n
	case "stop_sequences", "stopSequences":
		r.prompt.Stop = append(r.prompt.Stop, r.texts(at, v)...)
	default:
		return false
	}
	return true
}

// systemText reads a system prompt: a string, or a list of text blocks of any dialect.
func (r *reader) systemText(path string, raw []byte) {
	if kind(raw) == "string" {
		r.system = append(r.system, unquote(raw))
		return
	}
	r.array(path, raw, func(at string, v []byte) {
		r.object(at, v, func(at, key string, v []byte) {
			switch key {
			case "type":
				r.mustBe(at, v, `"text"`)
			case "text":
				r.system = append(r.system, r.text(at, v))
			case "cache_control", "cachePoint":
			default:
				r.untranslated(at)
			}
		})
	})
}

func (r *reader) openAIMessage(path string, raw []byte, chat bool) {
	var (
		role, id         string
		content, calls   []byte
		contentAt, extra string
	)
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "role":
			role = r.text(at, v)
		case "content":
			content, contentAt = v, at
		case "tool_calls":
			calls = v
		case "tool_call_id":
			id = r.text(at, v)
		case "refusal", "audio", "function_call", "name":
			extra = at
		case "annotations", "reasoning_content": // of an answer that is sent back; no API takes them as input
			r.mustBe(at, v, "[]", `""`)
		default:
			r.untranslated(at)
		}
	})
	if r.fault == nil && extra != "" {
		r.untranslated(extra)
	}
	if r.fault != nil {
		return
	}
	switch role {
	case "system", "developer":
		if len(r.messages) > 0 {
			r.refuse(path+".role", "a %s message after the first of the user has no counterpart: put it first", role)
			return
		}
		if content != nil {
			r.systemText(contentAt, content)
		}
	case "user":
		r.add(path, pipeline.User, r.content(path+".content", content, chat))
	case "assistant":
		parts := r.content(path+".content", content, chat)
		if calls != nil {
			r.array(path+".tool_calls", calls, func(at string, v []byte) { parts = append(parts, r.openAICall(at, v)) })
		}
		r.add(path, pipeline.Assistant, parts)
	case "tool":
		if id == "" {
			r.refuse(path+".tool_call_id", "expected the id of the call that this is the result of")
			return
		}
		text := r.joined(path+".content", content)
		r.add(path, pipeline.User, []pipeline.Part{{Kind: pipeline.ToolResultPart, ID: id, Text: text}})
	default:
		r.refuse(path+".role", "expected system, developer, user, assistant or tool")
	}
}

// content reads the content of a message: a string, or a list of parts.
func (r *reader) content(path string, raw []byte, chat bool) (parts []pipeline.Part) {
	switch kind(raw) {
	case "nothing":
		return nil
	case "string":
		if text := unquote(raw); text != "" {
			parts = append(parts, pipeline.Part{Text: text})
		}
		return parts
	}
	r.array(path, raw, func(at string, v []byte) {
		typ := r.member(at, v, "type")
		switch {
		case typ == "image_url":
			parts = append(parts, r.imageURL(at, v))
		case chat && typ == "":
			parts = append(parts, r.conversePart(at, v)...)
		case chat && typ != "text":
			parts = append(parts, r.anthropicPart(at, v)...)
		case typ == "text":
			parts = append(parts, r.textPart(at, v)...)
		default:
			r.untranslated(at + " of type " + shortName(typ))
		}
	})
	return parts
}

// shortName shows a name that the user wrote.
func shortName(name string) string {
	const most = 40
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	b, err := json.Marshal(name)
	if err != nil {
		return "?"
	}
	return string(b)
}

// member is the text of one member of an object, "" where it has none.
func (r *reader) member(path string, raw []byte, name string) (text string) {
	r.object(path, raw, func(at, key string, v []byte) {
		if key == name {
			text = r.text(at, v)
		}
	})
	return text
}

// textPart reads {"type":"text","text":…}.
func (r *reader) textPart(path string, raw []byte) (parts []pipeline.Part) {
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type", "cache_control":
		case "text":
			if text := r.text(at, v); text != "" {
				parts = append(parts, pipeline.Part{Text: text})
			}
		case "citations", "annotations":
			r.mustBe(at, v, "[]")
		default:
			r.untranslated(at)
		}
	})
	return parts
}

// joined is the text of a tool's result.
func (r *reader) joined(path string, raw []byte) string {
	var text strings.Builder
	for _, part := range r.content(path, raw, true) {
		if part.Kind != pipeline.TextPart {
			r.refuse(path, "the result of a tool can be text only")
		}
		text.WriteString(part.Text)
	}
	return text.String()
}

func (r *reader) imageURL(path string, raw []byte) (part pipeline.Part) {
	part.Kind = pipeline.ImagePart
	url := ""
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type":
		case "image_url":
			if kind(v) == "string" {
				url = unquote(v)
				return
			}
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "url":
					url = r.text(at, v)
				case "detail":
					r.mustBe(at, v, `"auto"`)
				default:
					r.untranslated(at)
				}
			})
		default:
			r.untranslated(at)
		}
	})
	head, data, ok := strings.Cut(url, ";base64,")
	if media, isData := strings.CutPrefix(head, "data:"); ok && isData {
		part.MediaType, part.Data = media, data
		r.checkImage(path, &part)
		return part
	}
	r.refuse(path+".image_url", "expected a data: URL with the image in base64, as Bedrock fetches nothing")
	return part
}

// checkImage refuses what is not an image that Bedrock takes.
func (r *reader) checkImage(path string, part *pipeline.Part) {
	switch part.MediaType {
	case "image/png", "image/jpeg", "image/gif", "image/webp":
	default:
		r.refuse(path, "expected an image of type png, jpeg, gif or webp, not %s", shortName(part.MediaType))
		return
	}
	// Its beginning suffices to tell a mix-up, and an image is megabytes.
	head := part.Data[:min(len(part.Data), 64)/4*4]
	if _, err := base64.StdEncoding.DecodeString(head); err != nil || part.Data == "" {
		r.refuse(path, "expected the image in base64")
	}
}

func (r *reader) openAICall(path string, raw []byte) (part pipeline.Part) {
	part.Kind = pipeline.ToolCallPart
	arguments := ""
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "id":
			part.ID = r.text(at, v)
		case "type":
			r.mustBe(at, v, `"function"`)
		case "index":
		case "function":
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "name":
					part.Name = r.text(at, v)
				case "arguments":
					arguments = r.text(at, v)
				default:
					r.untranslated(at)
				}
			})
		default:
			r.untranslated(at)
		}
	})
	if strings.TrimSpace(arguments) == "" {
		arguments = "{}"
	}
	part.Input = r.inputObject(path+".function.arguments", []byte(arguments))
	return part
}

// inputObject is the input of a tool: any JSON object.
func (r *reader) inputObject(path string, raw []byte) json.RawMessage {
	value := jsontext.Value(append([]byte(nil), raw...))
	if err := value.Compact(); err != nil || kind(value) != "object" {
		r.refuse(path, "expected a JSON object")
		return nil
	}
	return json.RawMessage(value)
}

// tool reads a function of OpenAI, or in a chat line a tool of Anthropic or of Converse.
func (r *reader) tool(path string, raw []byte, chat bool) {
	if chat && r.hasKey(path, raw, "input_schema") {
		r.anthropicTool(path, raw)
		return
	}
	t := pipeline.Tool{Schema: json.RawMessage(`{"type":"object","properties":{}}`)}
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type":
			r.mustBe(at, v, `"function"`)
		case "function":
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "name":
					t.Name = r.text(at, v)
				case "description":
					t.Description = r.text(at, v)
				case "parameters":
					t.Schema = r.inputObject(at, v)
				case "strict":
					r.mustBe(at, v, "false")
				default:
					r.untranslated(at)
				}
			})
		default:
			r.untranslated(at)
		}
	})
	r.addTool(path, t)
}

func (r *reader) addTool(path string, t pipeline.Tool) {
	if t.Name == "" {
		r.refuse(path, "expected a tool with a name")
	}
	r.prompt.Tools = append(r.prompt.Tools, t)
}

func (r *reader) hasKey(path string, raw []byte, name string) (has bool) {
	r.object(path, raw, func(_, key string, _ []byte) { has = has || key == name })
	return has
}

func (r *reader) openAIChoice(path string, raw []byte, chat bool) {
	if kind(raw) == "string" {
		switch mode := unquote(raw); mode {
		case "auto", "none":
			r.prompt.ToolChoice = &pipeline.ToolChoice{Mode: mode}
		case "required":
			r.prompt.ToolChoice = &pipeline.ToolChoice{Mode: "any"}
		default:
			r.refuse(path, "expected none, auto, required or a function")
		}
		return
	}
	if chat && r.member(path, raw, "type") != "function" {
		r.anthropicChoice(path, raw)
		return
	}
	choice := pipeline.ToolChoice{Mode: "tool"}
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type":
			r.mustBe(at, v, `"function"`)
		case "function":
			choice.Name = r.member(at, v, "name")
		default:
			r.untranslated(at)
		}
	})
	if choice.Name == "" {
		r.refuse(path, "expected the name of a function")
	}
	r.prompt.ToolChoice = &choice
}

// anthropic reads a request of the Messages API.
func (r *reader) anthropic(root string, raw []byte) {
	p := r.prompt
	r.object(root, raw, func(at, key string, v []byte) {
		switch key {
		case "model", "stream", "metadata", "anthropic_version":
		case "messages":
			r.array(at, v, r.anthropicMessage)
		case "system":
			r.systemText(at, v)
		case "max_tokens":
			p.MaxTokens = r.count(at, v)
		case "temperature":
			p.Temperature = r.number(at, v)
		case "top_p":
			p.TopP = r.number(at, v)
		case "top_k":
			n := r.count(at, v)
			p.TopK = &n
		case "stop_sequences":
			p.Stop = r.texts(at, v)
		case "tools":
			r.array(at, v, r.anthropicTool)
		case "tool_choice":
			r.anthropicChoice(at, v)
		case "thinking":
			r.mustBe(at, v, `{"type":"disabled"}`)
		case "service_tier":
			r.mustBe(at, v, `"auto"`, `"standard_only"`)
		default:
			r.untranslated(at)
		}
	})
}

func (r *reader) anthropicMessage(path string, raw []byte) {
	var role string
	var parts []pipeline.Part
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "role":
			role = r.text(at, v)
		case "content":
			if kind(v) == "string" {
				parts = r.content(at, v, false)
				return
			}
			r.array(at, v, func(at string, v []byte) { parts = append(parts, r.anthropicPart(at, v)...) })
		default:
			r.untranslated(at)
		}
	})
	r.addAs(path, role, parts)
}

// addAs appends a message of the user or the assistant.
func (r *reader) addAs(path, role string, parts []pipeline.Part) {
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

// anthropicPart reads a content block.
func (r *reader) anthropicPart(path string, raw []byte) []pipeline.Part {
	switch typ := r.member(path, raw, "type"); typ {
	case "text":
		return r.textPart(path, raw)
	case "image":
		return []pipeline.Part{r.anthropicImage(path, raw)}
	case "tool_use":
		part := pipeline.Part{Kind: pipeline.ToolCallPart, Input: json.RawMessage("{}")}
		r.object(path, raw, func(at, key string, v []byte) {
			switch key {
			case "type", "cache_control":
			case "id":
				part.ID = r.text(at, v)
			case "name":
				part.Name = r.text(at, v)
			case "input":
				part.Input = r.inputObject(at, v)
			default:
				r.untranslated(at)
			}
		})
		return []pipeline.Part{part}
	case "tool_result":
		part := pipeline.Part{Kind: pipeline.ToolResultPart}
		r.object(path, raw, func(at, key string, v []byte) {
			switch key {
			case "type", "cache_control":
			case "tool_use_id":
				part.ID = r.text(at, v)
			case "content":
				part.Text = r.joined(at, v)
			case "is_error":
				part.Failed = string(v) == "true"
			default:
				r.untranslated(at)
			}
		})
		return []pipeline.Part{part}
	default:
		r.untranslated(path + " of type " + shortName(typ))
		return nil
	}
}

func (r *reader) anthropicImage(path string, raw []byte) pipeline.Part {
	part := pipeline.Part{Kind: pipeline.ImagePart}
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type", "cache_control":
		case "source":
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "type":
					r.mustBe(at, v, `"base64"`)
				case "media_type":
					part.MediaType = r.text(at, v)
				case "data":
					part.Data = r.text(at, v)
				default:
					r.untranslated(at)
				}
			})
		default:
			r.untranslated(at)
		}
	})
	r.checkImage(path, &part)
	return part
}

func (r *reader) anthropicTool(path string, raw []byte) {
	t := pipeline.Tool{Schema: json.RawMessage(`{"type":"object","properties":{}}`)}
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type":
			r.mustBe(at, v, `"custom"`)
		case "cache_control":
		case "name":
			t.Name = r.text(at, v)
		case "description":
			t.Description = r.text(at, v)
		case "input_schema":
			t.Schema = r.inputObject(at, v)
		default:
			r.untranslated(at)
		}
	})
	r.addTool(path, t)
}

func (r *reader) anthropicChoice(path string, raw []byte) {
	var choice pipeline.ToolChoice
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "type":
			choice.Mode = r.text(at, v)
		case "name":
			choice.Name = r.text(at, v)
		case "disable_parallel_tool_use":
			r.mustBe(at, v, "true", "false")
			r.prompt.OneCall = string(v) == "true"
		default:
			r.untranslated(at)
		}
	})
	switch choice.Mode {
	case "auto", "any", "none", "tool":
	default:
		r.refuse(path+".type", "expected auto, any, tool or none")
	}
	r.prompt.ToolChoice = &choice
}

// converse reads a request of Converse.
func (r *reader) converse(root string, raw []byte) {
	p := r.prompt
	r.object(root, raw, func(at, key string, v []byte) {
		switch key {
		case "modelId", "requestMetadata", "schemaVersion":
		case "messages":
			r.array(at, v, func(at string, v []byte) {
				var role string
				var parts []pipeline.Part
				r.object(at, v, func(at, key string, v []byte) {
					switch key {
					case "role":
						role = r.text(at, v)
					case "content":
						r.array(at, v, func(at string, v []byte) { parts = append(parts, r.conversePart(at, v)...) })
					default:
						r.untranslated(at)
					}
				})
				r.addAs(at, role, parts)
			})
		case "system":
			r.array(at, v, func(at string, v []byte) {
				r.object(at, v, func(at, key string, v []byte) {
					switch key {
					case "text":
						r.system = append(r.system, r.text(at, v))
					case "cachePoint":
					default:
						r.untranslated(at)
					}
				})
			})
		case "inferenceConfig":
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "maxTokens":
					p.MaxTokens = r.count(at, v)
				case "temperature":
					p.Temperature = r.number(at, v)
				case "topP":
					p.TopP = r.number(at, v)
				case "stopSequences":
					p.Stop = r.texts(at, v)
				default:
					r.untranslated(at)
				}
			})
		case "additionalModelRequestFields":
			r.object(at, v, func(at, key string, v []byte) {
				if key != "top_k" {
					r.untranslated(at)
					return
				}
				n := r.count(at, v)
				p.TopK = &n
			})
		case "toolConfig":
			r.converseTools(at, v)
		default:
			r.untranslated(at)
		}
	})
}

func (r *reader) converseTools(path string, raw []byte) {
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "tools":
			r.array(at, v, func(at string, v []byte) {
				r.object(at, v, func(at, key string, v []byte) {
					switch key {
					case "toolSpec":
						r.converseTool(at, v)
					case "cachePoint":
					default:
						r.untranslated(at)
					}
				})
			})
		case "toolChoice":
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "auto", "any":
					r.prompt.ToolChoice = &pipeline.ToolChoice{Mode: key}
				case "tool":
					r.prompt.ToolChoice = &pipeline.ToolChoice{Mode: key, Name: r.member(at, v, "name")}
				default:
					r.untranslated(at)
				}
			})
		default:
			r.untranslated(at)
		}
	})
}

func (r *reader) converseTool(path string, raw []byte) {
	t := pipeline.Tool{Schema: json.RawMessage(`{"type":"object","properties":{}}`)}
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "name":
			t.Name = r.text(at, v)
		case "description":
			t.Description = r.text(at, v)
		case "inputSchema":
			r.object(at, v, func(at, key string, v []byte) {
				if key != "json" {
					r.untranslated(at)
					return
				}
				t.Schema = r.inputObject(at, v)
			})
		default:
			r.untranslated(at)
		}
	})
	r.addTool(path, t)
}

// conversePart reads a content block of Converse: the name of its one member is its type.
func (r *reader) conversePart(path string, raw []byte) (parts []pipeline.Part) {
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "text":
			if text := r.text(at, v); text != "" {
				parts = append(parts, pipeline.Part{Text: text})
			}
		case "cachePoint":
		case "image":
			part := pipeline.Part{Kind: pipeline.ImagePart}
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "format":
					part.MediaType = "image/" + r.text(at, v)
				case "source":
					r.object(at, v, func(at, key string, v []byte) {
						if key != "bytes" {
							r.untranslated(at)
							return
						}
						part.Data = r.text(at, v)
					})
				default:
					r.untranslated(at)
				}
			})
			r.checkImage(at, &part)
			parts = append(parts, part)
		case "toolUse":
			part := pipeline.Part{Kind: pipeline.ToolCallPart, Input: json.RawMessage("{}")}
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "toolUseId":
					part.ID = r.text(at, v)
				case "name":
					part.Name = r.text(at, v)
				case "input":
					part.Input = r.inputObject(at, v)
				default:
					r.untranslated(at)
				}
			})
			parts = append(parts, part)
		case "toolResult":
			part := pipeline.Part{Kind: pipeline.ToolResultPart}
			r.object(at, v, func(at, key string, v []byte) {
				switch key {
				case "toolUseId":
					part.ID = r.text(at, v)
				case "status":
					part.Failed = r.text(at, v) == "error"
				case "content":
					part.Text = r.converseResult(at, v)
				default:
					r.untranslated(at)
				}
			})
			parts = append(parts, part)
		default:
			r.untranslated(at)
		}
	})
	return parts
}

// converseResult is the text of a tool's result; JSON in it stays JSON.
func (r *reader) converseResult(path string, raw []byte) string {
	var text strings.Builder
	r.array(path, raw, func(at string, v []byte) {
		r.object(at, v, func(at, key string, v []byte) {
			switch key {
			case "text":
				text.WriteString(r.text(at, v))
			case "json":
				text.Write(r.inputObject(at, v))
			default:
				r.untranslated(at)
			}
		})
	})
	return text.String()
}
