package dialect

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchrun/batchrun/pipeline"
)

// This file reads what requests of several dialects have in common, and finds things in them.

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

// inputObject is the input of a tool: any JSON object.
func (r *reader) inputObject(path string, raw []byte) json.RawMessage {
	value := jsontext.Value(append([]byte(nil), raw...))
	if err := value.Compact(); err != nil || kind(value) != "object" {
		r.refuse(path, "expected a JSON object")
		return nil
	}
	return json.RawMessage(value)
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

// member is the text of one member of an object, "" where it has none.
func (r *reader) member(path string, raw []byte, name string) (text string) {
	r.object(path, raw, func(at, key string, v []byte) {
		if key == name {
			text = r.text(at, v)
		}
	})
	return text
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
