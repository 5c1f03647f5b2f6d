package input

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/google/go-cmp/cmp"
)

func parseLine(text string) *pipeline.Record {
	p := newParser()
	fault := p.parse([]byte(text))
	return p.record("in.jsonl", 7, 6, fault)
}

func TestRecords(t *testing.T) {
	warm := 0.5
	zero := 0.0
	tests := map[string]struct {
		line     string
		id       string
		input    string
		prompt   *pipeline.Prompt
		metadata string
		dialect  pipeline.Dialect
	}{
		"a batch inference line": {line: `{"recordId":"r1","modelInput":{"a":1}}`, id: "r1", input: `{"a":1}`},
		"other fields are metadata, in their order": {
			line: `{"b": [1, 2] , "recordId":"r1","modelInput":{}, "a":{"x":1e5},"c":null}`,
			id:   "r1", input: `{}`, metadata: `{"b": [1, 2],"a":{"x":1e5},"c":null}`,
		},
		"other fields in a row keep the space between": {
			line: `{"b" : 1 ,	"c" :2, "modelInput":{}}`, id: "in.jsonl:7", input: `{}`, metadata: "{\"b\" : 1 ,\t\"c\" :2}",
		},
		"numbers and escapes stay as they are": {
			line: `{"modelInput":{"n":1.10,"big":123456789012345678901234567890,"s":"\u0041\/"},"x":"\u0041","y":-0.0E+1}`,
			id:   "in.jsonl:7", input: `{"n":1.10,"big":123456789012345678901234567890,"s":"\u0041\/"}`, metadata: `{"x":"\u0041","y":-0.0E+1}`,
		},
		"names twice in modelInput":       {line: `{"modelInput":{"a":1,"a":2}}`, id: "in.jsonl:7", input: `{"a":1,"a":2}`},
		"names twice in the metadata":     {line: `{"x":1,"modelInput":{},"x":2}`, id: "in.jsonl:7", input: `{}`, metadata: `{"x":1,"x":2}`},
		"space around":                    {line: " \t{ \"modelInput\" : { } } \r", id: "in.jsonl:7", input: `{ }`},
		"an integer id":                   {line: `{"recordId":42,"modelInput":{}}`, id: "42", input: `{}`},
		"a long integer id":               {line: `{"recordId":-123456789012345678901234567890,"modelInput":{}}`, id: "-123456789012345678901234567890", input: `{}`},
		"a null id":                       {line: `{"recordId":null,"modelInput":{}}`, id: "in.jsonl:7", input: `{}`},
		"an empty id":                     {line: `{"recordId":"","modelInput":{}}`, id: "in.jsonl:7", input: `{}`},
		"id beside modelInput":            {line: `{"id":"x","modelInput":{}}`, id: "x", input: `{}`},
		"id in place of a null recordId":  {line: `{"recordId":null,"id":"x","modelInput":{}}`, id: "x", input: `{}`},
		"recordId before id":              {line: `{"id":{"any":1},"recordId":"r","modelInput":{}}`, id: "r", input: `{}`, metadata: `{"id":{"any":1}}`},
		"escapes in an id":                {line: `{"recordId":"a\u00e9\n\ud83d\ude00","modelInput":{}}`, id: "aé\n😀", input: `{}`},
		"escapes in a name":               {line: `{"record\u0049d":"r","modelInput":{},"\u0061":1}`, id: "r", input: `{}`, metadata: `{"\u0061":1}`},
		"fields of the short form beside": {line: `{"modelInput":{},"system":1,"stop":{},"stop":2}`, id: "in.jsonl:7", input: `{}`, metadata: `{"system":1,"stop":{},"stop":2}`},
		"a null prompt beside":            {line: `{"modelInput":{},"prompt":null}`, id: "in.jsonl:7", input: `{}`},
		"a prompt":                        {line: `{"prompt":"Hi"}`, id: "in.jsonl:7", prompt: &pipeline.Prompt{Text: "Hi"}},
		"the whole short form": {
			line: `{"id":3,"prompt":"a\tb","system":"s","maxTokens":10,"temperature":0.5,"stop":["x\u000a" , "y"],"want":"4"}`,
			id:   "3", prompt: &pipeline.Prompt{Text: "a\tb", System: "s", MaxTokens: 10, Temperature: &warm, Stop: []string{"x\n", "y"}}, metadata: `{"want":"4"}`,
		},
		"one stop":            {line: `{"id":"i\\d","prompt":"p","stop":"\"]"}`, id: `i\d`, prompt: &pipeline.Prompt{Text: "p", Stop: []string{`"]`}}},
		"no stop":             {line: `{"prompt":"p","stop":[ ]}`, id: "in.jsonl:7", prompt: &pipeline.Prompt{Text: "p"}},
		"nulls of options":    {line: `{"prompt":"p","stop":null,"system":null,"maxTokens":null,"temperature":null,"modelInput":null}`, id: "in.jsonl:7", prompt: &pipeline.Prompt{Text: "p"}},
		"temperature nothing": {line: `{"prompt":"p","temperature":-0}`, id: "in.jsonl:7", prompt: &pipeline.Prompt{Text: "p", Temperature: &zero}},
		"recordId in the short form": {
			line: `{"recordId":"r","id":"kept","prompt":"p"}`, id: "r", prompt: &pipeline.Prompt{Text: "p"}, metadata: `{"id":"kept"}`,
		},

		// https://platform.openai.com/docs/api-reference/batch/request-input
		"OpenAI Batch": {
			line: `{"custom_id": "request-1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 2+2?"}]}}`,
			id:   "request-1", dialect: pipeline.OpenAI,
			input:    `{"model": "gpt-4o-mini", "messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "What is 2+2?"}]}`,
			metadata: `{"method": "POST","url": "/v1/chat/completions"}`,
		},
		// https://docs.claude.com/en/api/creating-message-batches
		"Anthropic Message Batches": {
			line: `{"custom_id": "my-first-request","params": {"model": "claude-sonnet-4-5","max_tokens": 1024,"messages": [{"role": "user", "content": "Hello, world"}]}}`,
			id:   "my-first-request", dialect: pipeline.Anthropic,
			input: `{"model": "claude-sonnet-4-5","max_tokens": 1024,"messages": [{"role": "user", "content": "Hello, world"}]}`,
		},
		// https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-data.html
		"Bedrock batch": {
			line: `{ "recordId": "CALL0000001", "modelInput": { "anthropic_version": "bedrock-2023-05-31", "max_tokens": 1024, "messages": [ { "role": "user", "content": [ { "type": "text", "text": "Summarize the following call transcript: ..." } ] } ] } }`,
			id:   "CALL0000001", input: `{ "anthropic_version": "bedrock-2023-05-31", "max_tokens": 1024, "messages": [ { "role": "user", "content": [ { "type": "text", "text": "Summarize the following call transcript: ..." } ] } ] }`,
		},
		"chat messages": {
			line: `{"messages":[{"role":"user","content":"Hi"}],"id":"c1","max_tokens":5,"want":"x","temperature":0.5,"seed":7}`,
			id:   "c1", dialect: pipeline.Chat, input: `{"messages":[{"role":"user","content":"Hi"}],"max_tokens":5,"temperature":0.5,"seed":7}`, metadata: `{"want":"x"}`,
		},
		"chat words beside a prompt are metadata": {
			line: `{"prompt":"p","max_tokens":5,"max_tokens":6,"messages":1,"body":{},"body":2,"params":3}`, id: "in.jsonl:7",
			prompt: &pipeline.Prompt{Text: "p"}, metadata: `{"max_tokens":5,"max_tokens":6,"messages":1,"body":{},"body":2,"params":3}`,
		},
		"custom_id before id":        {line: `{"id":1,"custom_id":"c","prompt":"p"}`, id: "c", prompt: &pipeline.Prompt{Text: "p"}, metadata: `{"id":1}`},
		"recordId before custom_id":  {line: `{"id":1,"custom_id":"c","recordId":"r","prompt":"p"}`, id: "r", prompt: &pipeline.Prompt{Text: "p"}, metadata: `{"id":1,"custom_id":"c"}`},
		"messages beside a body":     {line: `{"custom_id":"c","body":{"a":1},"messages":[]}`, id: "c", input: `{"a":1}`, dialect: pipeline.OpenAI, metadata: `{"messages":[]}`},
		"a body without a custom_id": {line: `{"body":{"a":1}}`, id: "in.jsonl:7", input: `{"a":1}`, dialect: pipeline.OpenAI},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := parseLine(tt.line)
			want := &pipeline.Record{Pos: 6, ID: tt.id, Source: "in.jsonl", Line: 7, Prompt: tt.prompt, Dialect: tt.dialect, Size: got.Size}
			if tt.input != "" {
				want.Input = json.RawMessage(tt.input)
			}
			if tt.metadata != "" {
				want.Metadata = json.RawMessage(tt.metadata)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("parse(%s) (-want +got):\n%s", tt.line, diff)
			}
			if len(got.Input) != cap(got.Input) || len(got.Metadata) != cap(got.Metadata) {
				t.Error("a copy has room left: an append could run into its neighbour")
			}
			if least := int64(len(got.Input) + len(got.Metadata) + len(got.ID)); got.Size <= least {
				t.Errorf("Size = %d, want more than %d", got.Size, least)
			}
		})
	}
}

func TestFaults(t *testing.T) {
	long := strings.Repeat("x", MaxID)
	tests := map[string]struct {
		line, id string
		column   int64
		message  string // a part of it
	}{
		"not JSON":                 {line: `hello`, column: 1, message: "invalid JSON: invalid character 'h' at start of value"},
		"CSV":                      {line: `"id","prompt"`, column: 5, message: "goes on after"},
		"cut off":                  {line: `{"modelInput":{"a":1}`, column: 22, message: "the line ends before its value does"},
		"cut off in a string":      {line: `{"modelInput":{"a":"b`, column: 22, message: "the line ends before"},
		"an open brace":            {line: `{`, column: 2, message: "the line ends before"},
		"a missing comma":          {line: `{"recordId":"r" "modelInput":{}}`, id: "r", column: 17, message: "expecting ',' or '}'"},
		"a missing colon":          {line: `{"recordId" "r"}`, column: 13, message: "expecting ':'"},
		"a comma too many":         {line: `{"recordId":"r","modelInput":{},}`, id: "r", column: 32, message: "invalid character ','"},
		"single quotes":            {line: `{'a':1}`, column: 2, message: "invalid character '\\''"},
		"NaN":                      {line: `{"recordId":"r","modelInput":{"a":NaN}}`, id: "r", column: 35, message: "invalid character 'N'"},
		"a name that is no string": {line: `{1:2}`, column: 2, message: "object member name must be a string"},
		"two objects":              {line: `{"recordId":"r","modelInput":{}} {}`, id: "r", column: 34, message: "goes on after its object"},
		"a comma after":            {line: `{"recordId":"r","modelInput":{}},`, id: "r", column: 33, message: "goes on after its object"},
		"a NUL byte":               {line: "\x00", column: 1, message: `'\x00'`},
		"a NUL byte in a string":   {line: "{\"recordId\":\"r\",\"modelInput\":{\"a\":\"b\x00\"}}", id: "r", column: 37, message: `'\x00'`},
		"a tab in a string":        {line: "{\"prompt\":\"a\tb\"}", column: 13, message: `'\t'`},
		"not UTF-8":                {line: "{\"recordId\":\"r\",\"modelInput\":{\"a\":\"caf\xe9\"}}", id: "r", column: 39, message: "invalid UTF-8"},
		"not UTF-8, in a name":     {line: "{\"recordId\":\"r\",\"\xff\":1}", id: "r", column: 18, message: "invalid UTF-8"},
		"not UTF-8, outside":       {line: "\xff", column: 1, message: "invalid UTF-8"},
		"half a surrogate pair":    {line: `{"recordId":"r","modelInput":{"a":"\ud83d"}}`, id: "r", column: 36, message: `\ud83d`},
		"half in an id":            {line: `{"recordId":"\ude00","modelInput":{}}`, column: 14, message: `\ude00`},
		"an array":                 {line: ` [{"modelInput":{}}]`, column: 2, message: "the line is a JSON array"},
		"a string":                 {line: `"prompt"`, column: 1, message: "the line is a JSON string"},
		"a number":                 {line: `12`, column: 1, message: "the line is a JSON number"},
		"null":                     {line: `null`, column: 1, message: "the line is a JSON null"},
		"a boolean":                {line: `true`, column: 1, message: "the line is a JSON boolean"},
		"an empty object":          {line: `{}`, id: "in.jsonl:7", message: `neither "modelInput" nor "prompt"`},
		"neither":                  {line: `{"recordId":"r","modelinput":{}}`, id: "r", message: `neither "modelInput" nor "prompt"`},
		"neither, as nulls":        {line: `{"recordId":"r","modelInput":null,"prompt":null}`, id: "r", message: `neither`},
		"both":                     {line: `{"recordId":"r","modelInput":{},"prompt":""}`, id: "r", column: 42, message: `both "modelInput" and "prompt"`},
		"modelInput no object":     {line: `{"recordId":"r","modelInput":"{}"}`, id: "r", column: 30, message: `"modelInput" is a JSON string`},
		"an empty prompt":          {line: `{"id":1,"prompt":""}`, id: "1", column: 18, message: `"prompt" is empty`},
		"a prompt no string":       {line: `{"id":1,"prompt":["a"]}`, id: "1", column: 18, message: `"prompt" is a JSON array`},
		"a number as prompt":       {line: `{"id":1,"prompt":17}`, id: "1", column: 18, message: `"prompt" is 17`},
		"system no string":         {line: `{"id":1,"prompt":"p","system":["s"]}`, id: "1", column: 31, message: `"system" is a JSON array`},
		"maxTokens nothing":        {line: `{"id":1,"prompt":"p","maxTokens":0}`, id: "1", column: 34, message: `"maxTokens" is 0: give a positive integer`},
		"maxTokens below":          {line: `{"id":1,"prompt":"p","maxTokens":-1}`, id: "1", column: 34, message: `"maxTokens" is -1`},
		"maxTokens a fraction":     {line: `{"id":1,"prompt":"p","maxTokens":1.0}`, id: "1", column: 34, message: `"maxTokens" is 1.0`},
		"maxTokens a string":       {line: `{"id":1,"prompt":"p","maxTokens":"1"}`, id: "1", column: 34, message: `"maxTokens" is a JSON string`},
		"maxTokens without end":    {line: `{"id":1,"prompt":"p","maxTokens":99999999999999999999}`, id: "1", column: 34, message: `"maxTokens" is 99999999999999999999`},
		"temperature below":        {line: `{"id":1,"prompt":"p","temperature":-0.1}`, id: "1", column: 36, message: `"temperature" is -0.1: give a number from 0 up`},
		"temperature a string":     {line: `{"id":1,"prompt":"p","temperature":"0"}`, id: "1", column: 36, message: `"temperature" is a JSON string`},
		"temperature without end":  {line: `{"id":1,"prompt":"p","temperature":1e999}`, id: "1", column: 36, message: `"temperature" is 1e999`},
		"stop an object":           {line: `{"id":1,"prompt":"p","stop":{}}`, id: "1", column: 29, message: `"stop" is not a string or a list`},
		"stop with a number":       {line: `{"id":1,"prompt":"p","stop":["a",1]}`, id: "1", column: 34, message: `"stop" is not`},
		"stop with a list":         {line: `{"id":1,"prompt":"p","stop":["\"",["b"]]}`, id: "1", column: 35, message: `"stop" is not`},
		"stop with nothing":        {line: `{"id":1,"prompt":"p","stop":["a",""]}`, id: "1", column: 34, message: `not empty`},
		"an id true":               {line: `{"recordId":true,"modelInput":{}}`, column: 13, message: `"recordId" is unusable: it is a JSON boolean`},
		"an id object":             {line: `{"id":{},"prompt":"p"}`, column: 7, message: `"id" is unusable: it is a JSON object`},
		"an id array":              {line: `{"recordId":["a"],"id":"x","modelInput":{}}`, column: 13, message: `"recordId" is unusable: it is a JSON array`},
		"an id float":              {line: `{"recordId":1.0,"modelInput":{}}`, column: 13, message: `"recordId" is unusable: it is neither`},
		"an id exponent":           {line: `{"recordId":1e3,"modelInput":{}}`, column: 13, message: `"recordId" is unusable: it is neither`},
		"an id too long":           {line: `{"recordId":"` + long + `x","modelInput":{}}`, column: 13, message: `"recordId" is unusable: it has 1025 bytes`},
		"a longest id":             {line: `{"recordId":"` + long + `"}`, id: long, message: "neither"},
		"recordId twice":           {line: `{"recordId":"a","recordId":"b","modelInput":{}}`, id: "a", column: 17, message: `"recordId" comes twice`},
		"modelInput twice":         {line: `{"recordId":"a","modelInput":{},"model\u0049nput":{}}`, id: "a", column: 33, message: `"modelInput" comes twice`},
		"prompt twice, once null":  {line: `{"id":"a","prompt":null,"prompt":"p"}`, id: "a", column: 25, message: `"prompt" comes twice`},
		"stop twice":               {line: `{"id":"a","stop":"b","prompt":"p","stop":"b"}`, id: "a", column: 35, message: `"stop" comes twice`},
		"body no object":           {line: `{"custom_id":"r","body":"{}"}`, id: "r", column: 25, message: `"body" is a JSON string: give the object of an OpenAI request`},
		"params no object":         {line: `{"custom_id":"r","params":[]}`, id: "r", column: 27, message: `"params" is a JSON array`},
		"messages no list":         {line: `{"id":"r","messages":{}}`, id: "r", column: 22, message: `"messages" is a JSON object: give a list`},
		"body and params":          {line: `{"custom_id":"r","body":{},"params":{}}`, id: "r", column: 37, message: `both "body" and "params"`},
		"another endpoint":         {line: `{"custom_id":"r","url":"/v1/embeddings","body":{}}`, id: "r", column: 24, message: `"url" is not that of chat completions`},
		"messages twice":           {line: `{"id":"r","messages":[],"messages":[]}`, id: "r", column: 25, message: `"messages" comes twice`},
		"a custom_id object":       {line: `{"custom_id":{},"body":{}}`, column: 14, message: `"custom_id" is unusable`},
		"a bad id on a bad line":   {line: `{"recordId":{},"modelInput":`, column: 29, message: "the line ends before"},
		"too deep":                 {line: `{"recordId":"r","modelInput":` + strings.Repeat("[", 20000), id: "r", column: 10029, message: "exceeded max depth"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			rec := parseLine(tt.line)
			if rec.Fault == nil {
				t.Fatalf("parse(%.80s) found no fault", tt.line)
			}
			if rec.Fault.Type != pipeline.TypeInvalidRecord || rec.Fault.Column != tt.column || !strings.Contains(rec.Fault.Message, tt.message) {
				t.Errorf("parse(%.80s) = column %d: %s %q\nwant column %d: %s %q", tt.line, rec.Fault.Column, rec.Fault.Type, rec.Fault.Message, tt.column, pipeline.TypeInvalidRecord, tt.message)
			}
			if rec.ID != tt.id {
				t.Errorf("ID = %q, want %q", rec.ID, tt.id)
			}
		})
	}
}

// A faulty object still has its row's fields, so that whoever mends it can tell which one it is.
func TestFaultKeepsFields(t *testing.T) {
	rec := parseLine(`{"recordId":1.5,"modelInput":{"a":1},"x":2}`)
	if got, want := string(rec.Input)+string(rec.Metadata), `{"a":1}{"x":2}`; rec.Fault == nil || got != want {
		t.Errorf("fault %v with %s, want %s", rec.Fault, got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"recordId":"r1","modelInput":{"a":1},"b": [1, 2] ,"c":null}`, `{"id":3,"prompt":"a\tb","system":"s","maxTokens":10,"temperature":0.5,"stop":["x\u000a" , "y"],"want":"4"}`,
		`{"x":1,"system":2,"system":3,"modelInput":{},"id":4,"recordId":5}`, `{"stop":["\"",""],"prompt":"p"}`, `[1]`, `{"recordId":`, "\xff", `{"a":"\ud800"}`,
		`{"\u0069d":"\u0041","prompt":"\\","stop":"\"]"}`,
		`{"custom_id":"c","url":"/v1/chat/completions","body":{}}`, `{"custom_id":"c","params":{},"messages":[]}`, `{"messages":[],"top_p":1,"x":2,"stop":"y"}`,
	} {
		f.Add([]byte(seed))
	}
	p := newParser()
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.IndexByte(text, '\n') >= 0 {
			return
		}
		given := bytes.Clone(text)
		fault := p.parse(text)
		rec := p.record("f", 1, 0, fault)
		if !bytes.Equal(text, given) {
			t.Fatal("parse wrote to the line")
		}
		if !utf8.ValidString(rec.ID) {
			t.Fatalf("id %q", rec.ID)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(text, &fields); err != nil || fields == nil {
			if fault == nil {
				t.Fatalf("no fault, but %v", err)
			}
			return
		}
		if fault != nil {
			if fault.Message == "" || fault.Column < 0 || fault.Column > int64(len(text))+1 {
				t.Fatalf("fault %+v", fault)
			}
			return
		}
		if (rec.Input == nil) == (rec.Prompt == nil) {
			t.Fatal("neither or both")
		}
		known := map[string]bool{}
		for key := range keyID + 1 { // an id that comes after the one that counts is kept
			known[keyNames[key]] = key <= p.idKey
		}
		for key := keyInput; key <= keyMessages; key++ {
			known[keyNames[key]] = string(fields[keyNames[key]]) == "null" && !p.isOther(key)
		}
		switch {
		case rec.Prompt != nil:
			known["prompt"] = true
			for _, name := range keyNames[keySystem : keyStop+1] {
				known[name] = true
			}
			var prompt string
			if json.Unmarshal(fields["prompt"], &prompt); prompt != rec.Prompt.Text {
				t.Fatalf("prompt %q, want %q", rec.Prompt.Text, prompt)
			}
		case rec.Dialect == pipeline.Chat:
			var body map[string]json.RawMessage
			if err := json.Unmarshal(rec.Input, &body); err != nil || !bytes.Equal(body["messages"], fields["messages"]) {
				t.Fatalf("input %s: %v", rec.Input, err)
			}
			for name := range body {
				known[name] = true
			}
		default:
			name := map[pipeline.Dialect]string{pipeline.Invoke: "modelInput", pipeline.OpenAI: "body", pipeline.Anthropic: "params"}[rec.Dialect]
			known[name] = true
			if !bytes.Equal(rec.Input, fields[name]) {
				t.Fatalf("input %s, want %s", rec.Input, fields[name])
			}
		}
		var metadata map[string]json.RawMessage
		if rec.Metadata != nil {
			if err := json.Unmarshal(rec.Metadata, &metadata); err != nil {
				t.Fatalf("metadata %s: %v", rec.Metadata, err)
			}
		}
		for name, value := range fields {
			if known[name] != (metadata[name] == nil) || !known[name] && !bytes.Equal(metadata[name], value) {
				t.Fatalf("%q: %s in the metadata, %s in the line", name, metadata[name], value)
			}
		}
		for name := range metadata {
			if _, ok := fields[name]; !ok {
				t.Fatalf("%q is in the metadata only", name)
			}
		}
	})
}
