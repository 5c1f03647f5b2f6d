package input

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/google/go-cmp/cmp"
)

func TestTemplate(t *testing.T) {
	tests := map[string]struct {
		template, line string
		want           string
		fault          string // a part of it
	}{
		"a column":                 {template: "Q: {{.question}}", line: `{"question":"2+2?"}`, want: "Q: 2+2?"},
		"quotes and breaks":        {template: "{{.a}}", line: `{"a":"say \"hi\"\n\u0041 <b>{{.x}}"}`, want: "say \"hi\"\nA <b>{{.x}}"},
		"numbers as written":       {template: "{{.a}} {{.b}} {{.c}} {{.d}}", line: `{"a":1000000,"b":1.10,"c":12345678901234567890,"d":-0}`, want: "1000000 1.10 12345678901234567890 -0"},
		"a list ranged over":       {template: "{{range $i, $c := .choices}}{{$i}}) {{$c}} {{end}}", line: `{"choices":["x","y"]}`, want: "0) x 1) y "},
		"lists and objects":        {template: "{{.l}} {{.o}} {{json .s}}", line: `{"l":[1,"<"],"o":{"b":true},"s":"\""}`, want: `[1,"<"] {"b":true} "\""`},
		"a column inside":          {template: "{{.o.p}} {{index .o \"q r\"}}", line: `{"o":{"p":1,"q r":2}}`, want: "1 2"},
		"asked first":              {template: `{{if has . "x"}}{{.x}}{{else}}none{{end}}`, line: `{"y":1}`, want: "none"},
		"numbers compared":         {template: `{{if gt .n 3}}many{{end}}`, line: `{"n":4}`, want: "many"},
		"columns with a meaning":   {template: `{{.prompt}} {{.modelInput}} {{.messages}}`, line: `{"prompt":1,"modelInput":"m","messages":[]}`, want: "1 m []"},
		"a column missing":         {template: "{{.question}}", line: `{"Question":"x"}`, fault: `column "question" is missing or null, and --template wants it`},
		"a null":                   {template: "{{.q}}", line: `{"q":null}`, fault: `column "q" is missing or null`},
		"a column inside, missing": {template: "{{.o.p}}", line: `{"o":{}}`, fault: `column "p" is missing`},
		"nothing":                  {template: " {{.q}}", line: `{"q":""}`, fault: "renders nothing"},
		"what cannot be done":      {template: "{{index .q 5}}", line: `{"q":["a"]}`, fault: "--template cannot be rendered: "},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			template, err := ParseTemplate(tt.template)
			if err != nil {
				t.Fatal(err)
			}
			p := newParser()
			p.template = template
			rec := p.record("t.jsonl", 1, 0, p.parse([]byte(tt.line)))
			switch {
			case tt.fault != "":
				if rec.Fault == nil || !strings.Contains(rec.Fault.Message, tt.fault) || rec.Fault.Type != pipeline.TypeInvalidRecord {
					t.Errorf("fault %v, want %s", rec.Fault, tt.fault)
				}
			case rec.Fault != nil:
				t.Error(rec.Fault)
			case rec.Prompt.Text != tt.want:
				t.Errorf("%q, want %q", rec.Prompt.Text, tt.want)
			}
			var columns, metadata any
			if json.Unmarshal([]byte(tt.line), &columns) != nil || json.Unmarshal(rec.Metadata, &metadata) != nil {
				t.Fatal("not JSON")
			}
			if diff := cmp.Diff(columns, metadata); diff != "" {
				t.Errorf("the columns are not the metadata:\n%s", diff)
			}
		})
	}
}

func TestTemplateSystemAndID(t *testing.T) {
	template, err := ParseTemplate(`{{define "system"}}You speak {{.lang}}.{{end}}{{.q}}`)
	if err != nil {
		t.Fatal(err)
	}
	r := open(t, Options{Files: files(t, `{"id":"a","lang":"Welsh","q":"Hi"}`+"\n[1]\n"), Template: template})
	rec, err := r.Next(context.Background())
	if err != nil || rec.Fault != nil || rec.ID != "a" || rec.Prompt.System != "You speak Welsh." || string(rec.Metadata) != `{"lang":"Welsh","q":"Hi"}` {
		t.Errorf("%+v, %v", rec, err)
	}
	if rec, err = r.Next(context.Background()); err != nil || rec.Fault == nil {
		t.Errorf("a list passes as a line of a table: %+v, %v", rec, err)
	}
	for _, bad := range []string{"{{.q", "{{nothing .q}}", "{{end}}"} {
		if _, err := ParseTemplate(bad); err == nil {
			t.Errorf("%s parses", bad)
		}
	}
}

// TestNotice tells every form once, with the first line of it.
func TestNotice(t *testing.T) {
	in := `{"prompt":"a"}` + "\n" + `{"custom_id":"c","body":{}}` + "\n" + `{"prompt":"b"}` + "\nbad\n" + `{"messages":[]}` + "\n"
	var told []string
	r := open(t, Options{Files: files(t, in), Notice: func(s string) { told = append(told, s) }})
	_, _ = all(r)
	want := []string{
		"a:1: the input has lines of the short form (prompt)",
		"a:2: the input has lines of OpenAI Batch (custom_id, body)",
		"a:5: the input has lines of chat messages (messages)",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
}

// FuzzTemplate renders whatever there is: a prompt or a fault of one line, never a broken one.
func FuzzTemplate(f *testing.F) {
	f.Add("{{.a}} {{range .b}}{{.}}{{end}}", `{"a":"x","b":[1,{"c":null}]}`)
	f.Add(`{{json .}}{{has . "a"}}`, `{"a":1e400}`)
	f.Fuzz(func(t *testing.T, text, line string) {
		if strings.Contains(text, "template") || strings.Contains(text, "range") || len(text) > 200 { // loops without end
			t.Skip()
		}
		template, err := ParseTemplate(text)
		if err != nil {
			return
		}
		p := newParser()
		p.template = template
		rec := p.record("t", 1, 0, p.parse([]byte(line)))
		if (rec.Fault == nil) != (rec.Prompt != nil) || rec.Fault != nil && strings.ContainsAny(rec.Fault.Message, "\n\r") {
			t.Errorf("%+v", rec)
		}
	})
}
