package dialect

import (
	"encoding/json"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// This file reads requests of OpenAI chat completions, and lists of chat messages, which also take the words of other dialects.

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
