package input

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"text/template"

	"github.com/batchrun/batchrun/pipeline"
)

// A Template makes prompts of a table: every line of the input is an object, and its fields are columns. It is for one
// goroutine at a time.
type Template struct {
	prompt, system *template.Template // system may be nil
	out            strings.Builder
}

// ParseTemplate parses a Go template (https://pkg.go.dev/text/template) of the prompt, such as "Q: {{.question}}". What it
// renders is the text of the user; a {{define "system"}} in it renders the system prompt. A column that a line does not
// have, or that is null there, is a fault of that line; {{if has . "name"}} asks first. Lists and objects can be ranged over, and print
// as JSON, as does every value through {{json .name}}.
func ParseTemplate(text string) (*Template, error) {
	t, err := template.New("template").Option("missingkey=error").Funcs(template.FuncMap{
		"has":  func(columns object, name string) bool { _, ok := columns[name]; return ok },
		"json": asJSON,
	}).Parse(text)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "template: "))
	}
	return &Template{prompt: t, system: t.Lookup("system")}, nil
}

// render makes the prompt of a line that is known to be a JSON object.
func (t *Template) render(line []byte) (*pipeline.Prompt, error) {
	columns, err := readColumns(line)
	if err != nil {
		return nil, err
	}
	p := &pipeline.Prompt{}
	if p.Text, err = t.execute(t.prompt, columns); err != nil {
		return nil, err
	}
	if t.system != nil {
		if p.System, err = t.execute(t.system, columns); err != nil {
			return nil, err
		}
	}
	if strings.TrimSpace(p.Text) == "" {
		return nil, errors.New("--template renders nothing of this line: give it some text")
	}
	return p, nil
}

var missingColumn = regexp.MustCompile(`map has no entry for key (".*")$`)

func (t *Template) execute(one *template.Template, columns object) (string, error) {
	t.out.Reset()
	err := one.Execute(&t.out, columns)
	if err == nil {
		return t.out.String(), nil
	}
	if m := missingColumn.FindStringSubmatch(err.Error()); m != nil {
		return "", fmt.Errorf("column %s is missing or null, and --template wants it: give it, or ask with {{if has . %s}}", m[1], m[1])
	}
	text := strings.TrimPrefix(err.Error(), "template: ")
	return "", fmt.Errorf("--template cannot be rendered: %s", strings.Join(strings.Fields(text), " "))
}

// An object and a list print as JSON, and can be ranged over and indexed like any map and slice.
type (
	object map[string]any
	list   []any
)

// String is the object as JSON.
func (o object) String() string { return asJSON(o) }

// String is the list as JSON.
func (l list) String() string { return asJSON(l) }

func asJSON(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// readColumns gives the fields of a line to a template: strings, booleans, whole numbers as int64, other numbers as they are
// written, lists and objects. A null is a column that is not there.
func readColumns(line []byte) (object, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	var columns map[string]any
	if err := dec.Decode(&columns); err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	return column(columns).(object), nil
}

func column(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil && v != "-0" {
			return n
		}
	case []any:
		for i := range v {
			v[i] = column(v[i])
		}
		return list(v)
	case map[string]any:
		for name, value := range v {
			if value == nil {
				delete(v, name)
				continue
			}
			v[name] = column(value)
		}
		return object(v)
	}
	return v
}
