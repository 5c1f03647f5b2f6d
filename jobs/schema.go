package jobs

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Schema is the JSON Schema (draft 2020-12) of a job file, made from the table that [Load] reads by, so that an editor
// says what Load would. Load refuses a little more, which no schema can say: durations and sizes above their range,
// and URLs and addresses that only look right.
func Schema() []byte {
	var properties []byte
	for i := range settings {
		f := &settings[i]
		if f.flagOnly != "" {
			continue
		}
		if properties != nil {
			properties = append(properties, ',')
		}
		properties = append(properties, mustMarshal(f.name)...)
		properties = append(properties, ':')
		properties = append(properties, mustMarshal(f.schema())...)
	}
	// Built by hand to keep the table's order, which a map would lose.
	all := mustMarshal(struct {
		Schema      string          `json:"$schema"`
		Title       string          `json:"title"`
		Description string          `json:"description"`
		Type        []string        `json:"type"`
		Properties  json.RawMessage `json:"properties"`
		Additional  bool            `json:"additionalProperties"`
	}{
		"https://json-schema.org/draft/2020-12/schema",
		"batchrun job file",
		"A job for batchrun run JOB.yaml. The keys are the long names of its flags; a flag given as well wins. Relative paths " +
			"are relative to the working directory.",
		[]string{"object", "null"}, // null: an empty file
		append(append([]byte{'{'}, properties...), '}'),
		false,
	})
	var out bytes.Buffer
	if err := json.Indent(&out, all, "", "  "); err != nil {
		panic(err) // made above
	}
	out.WriteByte('\n')
	return out.Bytes()
}

// A schemaNode is what the schemas below are made of.
type schemaNode struct {
	Description string       `json:"description,omitempty"`
	Type        string       `json:"type,omitempty"`
	Enum        []any        `json:"enum,omitempty"`
	Pattern     string       `json:"pattern,omitempty"`
	Not         *schemaNode  `json:"not,omitempty"`
	Minimum     *float64     `json:"minimum,omitempty"`
	Above       *float64     `json:"exclusiveMinimum,omitempty"`
	Maximum     *float64     `json:"maximum,omitempty"`
	Items       *schemaNode  `json:"items,omitempty"`
	MinItems    int          `json:"minItems,omitempty"`
	AnyOf       []schemaNode `json:"anyOf,omitempty"`
	Default     any          `json:"default,omitempty"`
}

func (f *setting) schema() schemaNode {
	def := Defaults()
	node := schemaNode{Description: strings.ReplaceAll(f.help, "`", "")}
	if f.auto != "" {
		node.Description += " (default: " + f.auto + ")"
	}
	number := func(kind string) schemaNode {
		if f.above {
			return schemaNode{Type: kind, Above: &f.least, Maximum: &f.most}
		}
		return schemaNode{Type: kind, Minimum: &f.least, Maximum: &f.most}
	}
	text := schemaNode{Type: "string"}
	if f.pattern != nil {
		text.Pattern = f.pattern.String()
	}
	what := schemaNode{}
	switch p := f.at(&def).(type) {
	case *bool:
		what.Type = "boolean"
	case *int:
		what, node.Default = number("integer"), *p
	case *int64:
		what = number("integer")
		if *p != 0 {
			node.Default = *p
		}
	case *float64:
		what = number("number")
		if *p != 0 {
			node.Default = *p
		}
	case *Bytes:
		what = schemaNode{AnyOf: []schemaNode{number("integer"), {
			Type: "string", Pattern: bytesPattern.String(),
			Not: &schemaNode{Pattern: `^[0.]+[A-Za-z]*$`},
		}}}
		node.Default = p.String()
	case *time.Duration:
		what = schemaNode{
			Type: "string", Pattern: durationPattern.String(),
			Not: &schemaNode{Pattern: `^([0.]+[a-zµμ]+)+$`}, // 0s
		}
		node.Default = duration(*p)
	case *[]string:
		what = schemaNode{AnyOf: []schemaNode{text, {Type: "array", Items: &text, MinItems: 1}}}
	case *string:
		what = text
		if f.words != nil {
			what = schemaNode{}
			for _, word := range f.words {
				what.Enum = append(what.Enum, word)
				if _, err := strconv.ParseFloat(word, 64); err == nil { // http-version: 1.1 is a number to YAML
					what.Enum = append(what.Enum, json.Number(word))
				}
			}
		}
		if *p != "" {
			node.Default = *p
		}
	}
	what.Description, what.Default = node.Description, node.Default
	return what
}

func mustMarshal(v any) []byte {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(err) // nothing in the table is beyond JSON
	}
	return bytes.TrimSpace(out.Bytes())
}
