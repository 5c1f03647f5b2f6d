package dialect

import (
	"encoding/json"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// This file reads requests of Amazon Bedrock Converse.

// converse reads a request of Converse.
func (r *reader) converse(root string, raw []byte) {
	p := r.prompt
	r.object(root, raw, func(at, key string, v []byte) {
		switch key {
		case "modelId", "requestMetadata", "schemaVersion":
		case "messages":
			r.array(at, v, r.converseMessage)
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
			r.inferenceConfig(at, v)
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

func (r *reader) converseMessage(path string, raw []byte) {
	r.message(path, raw, func(at string, v []byte) (parts []pipeline.Part) {
		r.array(at, v, func(at string, v []byte) { parts = append(parts, r.conversePart(at, v)...) })
		return parts
	})
}

func (r *reader) inferenceConfig(path string, raw []byte) {
	p := r.prompt
	r.object(path, raw, func(at, key string, v []byte) {
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
			parts = append(parts, r.converseImage(at, v))
		case "toolUse":
			parts = append(parts, r.converseCall(at, v))
		case "toolResult":
			parts = append(parts, r.converseResult(at, v))
		default:
			r.untranslated(at)
		}
	})
	return parts
}

func (r *reader) converseImage(path string, raw []byte) pipeline.Part {
	part := pipeline.Part{Kind: pipeline.ImagePart}
	r.object(path, raw, func(at, key string, v []byte) {
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
	r.checkImage(path, &part)
	return part
}

func (r *reader) converseCall(path string, raw []byte) pipeline.Part {
	part := pipeline.Part{Kind: pipeline.ToolCallPart, Input: json.RawMessage("{}")}
	r.object(path, raw, func(at, key string, v []byte) {
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
	return part
}

func (r *reader) converseResult(path string, raw []byte) pipeline.Part {
	part := pipeline.Part{Kind: pipeline.ToolResultPart}
	r.object(path, raw, func(at, key string, v []byte) {
		switch key {
		case "toolUseId":
			part.ID = r.text(at, v)
		case "status":
			part.Failed = r.text(at, v) == "error"
		case "content":
			part.Text = r.converseJoined(at, v)
		default:
			r.untranslated(at)
		}
	})
	return part
}

// converseJoined is the text of a tool's result; JSON in it stays JSON.
func (r *reader) converseJoined(path string, raw []byte) string {
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
