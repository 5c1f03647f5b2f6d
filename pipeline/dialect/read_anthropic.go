package dialect

import (
	"encoding/json"

	"github.com/batchrun/batchrun/pipeline"
)

// This file reads requests of Anthropic Messages.

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
	r.message(path, raw, func(at string, v []byte) (parts []pipeline.Part) {
		if kind(v) == "string" {
			return r.content(at, v, false)
		}
		r.array(at, v, func(at string, v []byte) { parts = append(parts, r.anthropicPart(at, v)...) })
		return parts
	})
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
