package dialect

import (
	"bytes"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchrun/batchrun/pipeline"
)

// AnthropicVersion is what Bedrock wants to be told in every body of the Messages API, see
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-messages-request-response.html.
const AnthropicVersion = "bedrock-2023-05-31"

// Native is the body for a family that speaks the dialect itself: raw without what the run decides, byte for byte otherwise.
// Where nothing has to go it is raw itself.
func Native(d pipeline.Dialect, raw []byte) ([]byte, *pipeline.Fault) {
	w := walk{}
	var drop []span
	var has bool // anthropic_version
	eachMember(&w, Root(d), raw, func(key string, at span) {
		switch key {
		case "model", "stream":
			drop = append(drop, at)
		case "stream_options":
			if d == pipeline.OpenAI {
				drop = append(drop, at)
			}
		case "anthropic_version":
			has = true
		}
	})
	if w.fault != nil {
		return nil, w.fault
	}
	addVersion := d == pipeline.Anthropic && !has
	if len(drop) == 0 && !addVersion {
		return raw, nil
	}
	out := append(make([]byte, 0, len(raw)+64), '{')
	if addVersion {
		out = append(out, `"anthropic_version":"`+AnthropicVersion+`"`...)
	}
	eachMember(&w, Root(d), raw, func(_ string, at span) {
		if len(drop) > 0 && at == drop[0] {
			drop = drop[1:]
			return
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, raw[at.from:at.to]...)
	})
	return append(out, '}'), nil
}

// RenameLimit is a body whose member from is called to, byte for byte otherwise; where both are there, from goes. Where there
// is none it is raw itself. raw must be an object.
func RenameLimit(raw []byte, from, to string) ([]byte, *pipeline.Fault) {
	w := walk{}
	var old, other, comma span // comma: old with the comma before it
	end := 0
	eachMember(&w, Root(pipeline.OpenAI), raw, func(key string, at span) {
		switch key {
		case from:
			old, comma = at, span{end, at.to}
		case to:
			other = at
		}
		end = at.to
	})
	if w.fault != nil {
		return nil, w.fault
	}
	if old.to == 0 {
		return raw, nil
	}
	out := make([]byte, 0, len(raw)+len(to))
	if other.to == 0 {
		name := 2 + bytes.IndexByte(raw[old.from+1:old.to], '"') // no name that is asked for has a quote in it
		return append(AppendString(append(out, raw[:old.from]...), to), raw[old.from+name:]...), nil
	}
	if comma.from == 0 { // the first member: the comma behind it goes
		comma = span{old.from, old.to + bytes.IndexByte(raw[old.to:], ',') + 1}
	}
	return append(append(out, raw[:comma.from]...), raw[comma.to:]...), nil
}

// PassesAsOpenAI tells whether the body of a chat line says only what an OpenAI body would say in the same words.
func PassesAsOpenAI(raw []byte) bool {
	w, ok := walk{}, true
	eachMember(&w, "", raw, func(key string, _ span) {
		switch key {
		case "system", "maxTokens", "topP", "topK", "top_k", "stop_sequences", "stopSequences":
			ok = false
		}
	})
	return ok && w.fault == nil
}

// LooksConverse tells a modelInput that is a request of Converse from one in a model's own format. It looks at the names
// of the body's fields and no further than it has to.
func LooksConverse(raw []byte) bool {
	w := walk{}
	verdict, decided := false, false
	var messages []byte
	if kind(bytes.TrimSpace(raw)) != "object" {
		return false
	}
	w.members("", raw, func(dec *jsontext.Decoder) bool {
		name, err := dec.ReadValue()
		if err != nil {
			return false
		}
		switch key := unquote(name); key {
		case "inferenceConfig", "toolConfig", "additionalModelRequestFields", "additionalModelResponseFieldPaths", "performanceConfig":
			verdict, decided = true, true
			return false
		case "messages":
			value, err := dec.ReadValue()
			if err != nil {
				return false
			}
			end := int(dec.InputOffset())
			messages = raw[end-len(value) : end]
			return true
		case "system", "guardrailConfig", "requestMetadata", "serviceTier", "outputConfig", "promptVariables":
		default: // no field of Converse
			decided = true
			return false
		}
		return dec.SkipValue() == nil
	})
	if decided || messages == nil {
		return verdict
	}
	return firstBlockIsConverse(messages)
}

// firstBlockIsConverse looks at the first content block: Converse has a list of objects without a type.
func firstBlockIsConverse(messages []byte) bool {
	r := reader{}
	seen, converse := false, false
	r.array("", messages, func(at string, m []byte) {
		if seen {
			return
		}
		r.object(at, m, func(at, key string, v []byte) {
			if key != "content" || kind(v) != "array" {
				return
			}
			r.array(at, v, func(at string, block []byte) {
				if seen || kind(block) != "object" {
					return
				}
				seen = true
				converse = !r.hasKey(at, block, "type")
			})
		})
	})
	return converse && r.fault == nil
}

// A span is a part of a body.
type span struct{ from, to int }

// eachMember calls f with each name of an object and where the member stands, from its name to the end of its value.
func eachMember(w *walk, path string, raw []byte, f func(key string, at span)) {
	if kind(bytes.TrimLeft(raw, " \t\r\n")) != "object" {
		w.refuse(path, "expected an object, not a JSON %s", kind(raw))
		return
	}
	w.members(path, raw, func(dec *jsontext.Decoder) bool {
		name, err := dec.ReadValue()
		if err != nil {
			w.refuse(path, "%v", plainError(err))
			return false
		}
		from, key := int(dec.InputOffset())-len(name), unquote(name)
		if err := dec.SkipValue(); err != nil {
			w.refuse(path, "%v", plainError(err))
			return false
		}
		f(key, span{from, int(dec.InputOffset())})
		return true
	})
}

// Guess tells in whose words a modelInput is that belongs to a model's own format: Anthropic for Claude, Converse for Converse and
// Nova, OpenAI for those that speak it. ok is false for the raw prompts of other families.
func Guess(raw []byte) (d pipeline.Dialect, ok bool) {
	if LooksConverse(raw) {
		return pipeline.Converse, true
	}
	w, has := walk{}, map[string]bool{}
	eachMember(&w, "", raw, func(key string, _ span) { has[key] = true })
	switch {
	case w.fault != nil || !has["messages"]:
		return pipeline.Invoke, false
	case has["anthropic_version"]:
		return pipeline.Anthropic, true
	case has["schemaVersion"]:
		return pipeline.Converse, true
	}
	return pipeline.OpenAI, true
}

// Model is the model that a body names, "" for none.
func Model(raw []byte) string {
	r := reader{}
	name := ""
	if jsontext.Value(raw).IsValid(jsontext.AllowDuplicateNames(true)) {
		eachMember(&r.walk, "", raw, func(key string, at span) {
			if key == "model" {
				name = r.member("", raw, "model")
			}
		})
	}
	return name
}
