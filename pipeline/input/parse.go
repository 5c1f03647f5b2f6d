package input

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
	"github.com/go-json-experiment/json/jsontext"
)

// MaxID is the longest id, in bytes after its escapes are resolved.
const MaxID = 1024

// The fields that have a meaning, and all others.
const (
	keyRecordID = iota // the first of these that gives an id is the id
	keyCustomID
	keyID
	keyInput // the first of these five that is there says which form the line has
	keyPrompt
	keyBody
	keyParams
	keyMessages
	keySystem
	keyMaxTokens
	keyTemperature
	keyStop
	keyURL
	keyChatWord // any other field that means something beside messages; may come more than once here
	keyOther
)

var keyNames = [keyOther]string{
	"recordId", "custom_id", "id", "modelInput", "prompt", "body", "params", "messages", "system", "maxTokens", "temperature", "stop", "url", "",
}

// isOption tells the fields that both the short form and chat messages have.
func isOption(key int) bool { return key >= keySystem && key <= keyStop }

// A form is what a line is, as its fields tell.
type form uint8

const (
	formNone      form = iota // nothing that can be sent
	formInput                 // modelInput
	formShort                 // prompt
	formOpenAI                // body
	formAnthropic             // params
	formChat                  // messages
	formTable                 // columns for a template
)

// dialect is in whose words the body of a line is.
func (f form) dialect() pipeline.Dialect {
	return [...]pipeline.Dialect{formOpenAI: pipeline.OpenAI, formAnthropic: pipeline.Anthropic, formChat: pipeline.Chat, formTable: pipeline.Invoke}[f]
}

// String describes lines of the form to the user.
func (f form) String() string {
	switch f {
	case formShort:
		return "the short form (prompt)"
	case formTable:
		return "columns for --template"
	}
	return dialect.Describe(f.dialect())
}

// A span is a part of the line.
type span struct{ from, to int }

// A member is one field that may have a meaning, or a run of fields that have none.
type member struct {
	key   int
	field span // from its name to the end of its value
}

// A parser takes lines apart, one after the other. What it finds are spans of the line: nothing is copied
// before it is known what of it is needed.
type parser struct {
	dec  jsontext.Decoder
	buf  bytes.Buffer
	opts []jsontext.Options

	line    []byte
	members []member                  // in their order
	seen    [keyOther]bool            // the name came
	values  [keyOther]span            // empty when it did not come, or is null
	twice   [keyOther]*pipeline.Fault // the name came again
	object  bool                      // the line is an object and valid to its end
	form    form

	template *Template        // nil: lines say themselves what they are
	rendered *pipeline.Prompt // by the template

	id    []byte // "" for none
	idKey int    // the field that gave it
	badID bool   // there is one and it cannot be used

	maxTokens   int64
	temperature float64
	stops       []span
	text        []byte // room to resolve escapes
}

func newParser() *parser {
	return &parser{opts: []jsontext.Options{jsontext.AllowDuplicateNames(true)}}
}

// parse takes a line apart and reports what is wrong with it. What was read before a fault stays.
func (p *parser) parse(line []byte) *pipeline.Fault {
	p.line = line
	if cap(p.text) > 1<<20 {
		p.text = nil // one long prompt is not to be paid for to the end of the run
	}
	p.members, p.stops, p.text = p.members[:0], p.stops[:0], p.text[:0]
	p.seen, p.values, p.twice = [keyOther]bool{}, [keyOther]span{}, [keyOther]*pipeline.Fault{}
	p.object, p.rendered = false, nil
	p.id, p.idKey, p.badID = nil, keyOther, false
	p.maxTokens, p.temperature = 0, 0

	p.buf = *bytes.NewBuffer(line)
	p.dec.Reset(&p.buf, p.opts...)
	scanFault := p.scan()
	p.form = p.findForm()
	idFault := p.findID()
	if scanFault != nil {
		return scanFault
	}
	for key, fault := range p.twice {
		if fault != nil && !p.isOther(key) {
			return fault
		}
	}
	if idFault != nil {
		return idFault
	}
	return p.check()
}

// findForm tells what the line is.
func (p *parser) findForm() form {
	if p.template != nil {
		return formTable
	}
	switch {
	case p.raw(keyInput) != nil:
		return formInput
	case p.raw(keyPrompt) != nil:
		return formShort
	case p.raw(keyBody) != nil:
		return formOpenAI
	case p.raw(keyParams) != nil:
		return formAnthropic
	case p.raw(keyMessages) != nil:
		return formChat
	}
	return formNone
}

// name gives the id as the row has it; ok is false where the row says null.
func (p *parser) name(source string, line int64) (id string, ok bool) {
	switch {
	case len(p.id) > 0:
		return string(p.id), true
	case p.badID || !p.object:
		return "", false
	}
	return defaultID(source, line), true
}

func defaultID(source string, line int64) string {
	return source + ":" + strconv.FormatInt(line, 10)
}

// scan finds the fields of the line and checks its grammar.
func (p *parser) scan() *pipeline.Fault {
	if p.dec.PeekKind() != '{' {
		return p.notObject()
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.syntax(err)
	}
	for p.dec.PeekKind() != '}' {
		name, err := p.dec.ReadValue()
		if err != nil {
			return p.syntax(err)
		}
		end := int(p.dec.InputOffset())
		from, key := end-len(name), p.key(name)
		value, err := p.dec.ReadValue()
		if err != nil {
			return p.syntax(err)
		}
		end = int(p.dec.InputOffset())
		p.add(key, span{from, end}, span{end - len(value), end})
	}
	if _, err := p.dec.ReadToken(); err != nil {
		return p.syntax(err)
	}
	if fault := p.rest(); fault != nil {
		return fault
	}
	p.object = true
	return nil
}

// key tells a name that has a meaning.
func (p *parser) key(name []byte) int {
	if bytes.IndexByte(name, '\\') >= 0 {
		plain, err := jsontext.AppendUnquote(p.text[:0], name)
		if err != nil {
			return keyOther
		}
		return key(plain)
	}
	return key(name[1 : len(name)-1])
}

func key(name []byte) int {
	switch string(name) {
	case "recordId":
		return keyRecordID
	case "custom_id":
		return keyCustomID
	case "id":
		return keyID
	case "modelInput":
		return keyInput
	case "prompt":
		return keyPrompt
	case "body":
		return keyBody
	case "params":
		return keyParams
	case "messages":
		return keyMessages
	case "system":
		return keySystem
	case "maxTokens":
		return keyMaxTokens
	case "temperature":
		return keyTemperature
	case "stop":
		return keyStop
	case "url":
		return keyURL
	// What would shape the answer in any of the dialects: beside messages it is sent or refused, never passed over.
	case "max_tokens", "max_completion_tokens", "top_p", "topP", "top_k", "topK", "stop_sequences", "stopSequences", "tools", "tool_choice",
		"n", "seed", "frequency_penalty", "presence_penalty", "logit_bias", "logprobs", "top_logprobs", "response_format",
		"reasoning_effort", "parallel_tool_calls", "functions", "function_call", "thinking", "inferenceConfig", "toolConfig":
		return keyChatWord
	}
	return keyOther
}

func (p *parser) add(key int, field, value span) {
	if key < keyChatWord && p.seen[key] {
		if p.twice[key] == nil {
			p.twice[key] = p.invalid(field, "%q comes twice: keep one of them", keyNames[key])
		}
		key = keyOther // where the name has no meaning both are kept
	}
	if key == keyOther {
		if n := len(p.members); n > 0 && p.members[n-1].key == keyOther {
			p.members[n-1].field.to = field.to
			return
		}
	} else if key != keyChatWord {
		p.seen[key] = true
		if p.line[value.from] != 'n' {
			p.values[key] = value
		}
	}
	p.members = append(p.members, member{key, field})
}

// rest checks that nothing follows the value of the line.
func (p *parser) rest() *pipeline.Fault {
	from := int(p.dec.InputOffset())
	for i, c := range p.line[from:] {
		if c != ' ' && c != '\t' && c != '\r' {
			return p.invalid(span{from: from + i}, "invalid JSON: the line goes on after its object: put one object on each line")
		}
	}
	return nil
}

func (p *parser) notObject() *pipeline.Fault {
	value, err := p.dec.ReadValue()
	if err != nil {
		return p.syntax(err)
	}
	at := span{from: int(p.dec.InputOffset()) - len(value)}
	if fault := p.rest(); fault != nil {
		return fault
	}
	what := "a JSON " + kindOf(value)
	if value[0] == '[' {
		what = "a JSON array, maybe of records"
	}
	return p.invalid(at, "the line is %s: put one object on each line", what)
}

// syntax puts an error of the decoder into words.
func (p *parser) syntax(err error) *pipeline.Fault {
	syntax, ok := errors.AsType[*jsontext.SyntacticError](err)
	if !ok || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return p.invalid(span{from: len(p.line)}, "invalid JSON: the line ends before its value does: put the whole object on one line")
	}
	at := int(syntax.ByteOffset)
	if bad := invalidUTF8(p.line); bad >= 0 && bad <= at {
		return p.invalid(span{from: bad}, "invalid UTF-8: convert the file to UTF-8")
	}
	return p.invalid(span{from: at}, "invalid JSON: %v", syntax.Err)
}

// invalidUTF8 is where text stops being UTF-8, -1 if it does not.
func invalidUTF8(text []byte) int {
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

func (p *parser) invalid(at span, format string, args ...any) *pipeline.Fault {
	return &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Column: int64(at.from) + 1, Message: fmt.Sprintf(format, args...)}
}

// raw is the value of a field as it stands, nil where there is none.
func (p *parser) raw(key int) []byte {
	if p.values[key].to == 0 {
		return nil
	}
	return p.line[p.values[key].from:p.values[key].to]
}

// findID looks for the id among what has been read.
func (p *parser) findID() *pipeline.Fault {
	for key := keyRecordID; key <= keyID; key++ {
		raw := p.raw(key)
		if raw == nil {
			continue
		}
		id := raw
		switch kindOf(raw) {
		case "string":
			var err error
			if id, err = p.unquote(raw); err != nil {
				p.badID = true
				return p.invalid(p.values[key], "%q is unusable: %v", keyNames[key], err)
			}
		case "number":
			if !isInteger(raw) {
				p.badID = true
				return p.invalid(p.values[key], "%q is unusable: it is neither a string nor an integer: put it in quotes", keyNames[key])
			}
		default:
			p.badID = true
			return p.invalid(p.values[key], "%q is unusable: it is a JSON %s: give a string or an integer", keyNames[key], kindOf(raw))
		}
		if len(id) > MaxID {
			p.badID = true
			return p.invalid(p.values[key], "%q is unusable: it has %d bytes, and %d is the most", keyNames[key], len(id), MaxID)
		}
		if len(id) > 0 {
			p.id, p.idKey = id, key
			return nil
		}
	}
	return nil
}

// check looks at what the fields hold, now that the line is known to be an object.
func (p *parser) check() *pipeline.Fault {
	switch p.form {
	case formNone:
		return &pipeline.Fault{
			Type:    pipeline.TypeInvalidRecord,
			Message: `neither "modelInput" nor "prompt", "messages", "body" or "params": give one of them`,
		}
	case formInput:
		if p.raw(keyPrompt) != nil {
			return p.invalid(p.values[keyPrompt], `both "modelInput" and "prompt": give one of them`)
		}
		return p.checkBody(keyInput, "the object that the model takes")
	case formOpenAI:
		if p.raw(keyParams) != nil {
			return p.invalid(p.values[keyParams], `both "body" and "params": give one of them`)
		}
		if fault := p.checkURL(); fault != nil {
			return fault
		}
		return p.checkBody(keyBody, "the object of an OpenAI request")
	case formAnthropic:
		return p.checkBody(keyParams, "the object of an Anthropic request")
	case formChat:
		if raw := p.raw(keyMessages); raw[0] != '[' {
			return p.invalid(p.values[keyMessages], `"messages" is a JSON %s: give a list of messages`, kindOf(raw))
		}
		if n := p.chatSize(); n > MaxBody {
			return p.bodyTooLarge(keyMessages, n)
		}
		return nil
	case formTable:
		return p.render()
	}
	return p.checkPrompt()
}

// checkBody checks that a field holds an object that is not too large. It is not parsed beyond its grammar.
func (p *parser) checkBody(key int, what string) *pipeline.Fault {
	body := p.raw(key)
	switch {
	case body[0] != '{':
		return p.invalid(p.values[key], "%q is a JSON %s: give %s", keyNames[key], kindOf(body), what)
	case len(body) > MaxBody:
		return p.bodyTooLarge(key, len(body))
	}
	return nil
}

// checkURL refuses the lines of an OpenAI batch that are for another endpoint than chat completions.
func (p *parser) checkURL() *pipeline.Fault {
	raw := p.raw(keyURL)
	if raw == nil {
		return nil
	}
	if raw[0] == '"' {
		if url, err := p.unquote(raw); err == nil && bytes.HasSuffix(url, []byte("/chat/completions")) {
			return nil
		}
	}
	return p.invalid(p.values[keyURL], `"url" is not that of chat completions: only lines for /v1/chat/completions can be sent`)
}

func (p *parser) bodyTooLarge(key, n int) *pipeline.Fault {
	return &pipeline.Fault{
		Type: pipeline.TypeRecordTooLarge, Column: int64(p.values[key].from) + 1,
		Message: fmt.Sprintf("%q has %d bytes, and the service takes %d: make it smaller", keyNames[key], n, MaxBody),
	}
}

// render makes the prompt of a table's line.
func (p *parser) render() *pipeline.Fault {
	prompt, err := p.template.render(p.line)
	if err != nil {
		return &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Message: err.Error()}
	}
	p.rendered = prompt
	return nil
}

func lineTooLong(n int64) *pipeline.Fault {
	return &pipeline.Fault{
		Type:    pipeline.TypeRecordTooLarge,
		Message: fmt.Sprintf("the line has %d bytes, and %d is the most, as the service takes bodies of %d: make it smaller", n, MaxLine, MaxBody),
	}
}

func (p *parser) checkPrompt() *pipeline.Fault {
	if raw := p.raw(keyPrompt); raw[0] != '"' || len(raw) == len(`""`) {
		return p.invalid(p.values[keyPrompt], `"prompt" is %s: give a string with the prompt`, shortly(raw))
	}
	if raw := p.raw(keySystem); raw != nil && raw[0] != '"' {
		return p.invalid(p.values[keySystem], `"system" is %s: give a string`, shortly(raw))
	}
	if raw := p.raw(keyMaxTokens); raw != nil {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil || n <= 0 {
			return p.invalid(p.values[keyMaxTokens], `"maxTokens" is %s: give a positive integer, such as 1024`, shortly(raw))
		}
		p.maxTokens = n
	}
	if raw := p.raw(keyTemperature); raw != nil {
		t, err := strconv.ParseFloat(string(raw), 64)
		if kindOf(raw) != "number" || err != nil || !(t >= 0) {
			return p.invalid(p.values[keyTemperature], `"temperature" is %s: give a number from 0 up, such as 0.2`, shortly(raw))
		}
		p.temperature = math.Abs(t) // -0 is 0
	}
	return p.checkStop()
}

// checkStop finds the strings of stop.
func (p *parser) checkStop() *pipeline.Fault {
	raw, all := p.raw(keyStop), p.values[keyStop]
	if raw == nil {
		return nil
	}
	wrong := func(at span) *pipeline.Fault {
		return p.invalid(at, `"stop" is not a string or a list of strings that are not empty`)
	}
	if raw[0] == '"' {
		if len(raw) == len(`""`) {
			return wrong(all)
		}
		p.stops = append(p.stops, all)
		return nil
	}
	if raw[0] != '[' {
		return wrong(all)
	}
	// The grammar is known to be right, so only the strings have to be found.
	for i := all.from + 1; p.line[i] != ']'; {
		switch p.line[i] {
		case ' ', '\t', '\r', ',':
			i++
			continue
		case '"':
		default:
			return wrong(span{from: i})
		}
		end := i + 1
		for p.line[end] != '"' {
			if p.line[end] == '\\' {
				end++
			}
			end++
		}
		end++
		if end-i == len(`""`) {
			return wrong(span{from: i})
		}
		p.stops = append(p.stops, span{i, end})
		i = end
	}
	return nil
}

// unquote is the text of a JSON string, valid until the next line.
func (p *parser) unquote(raw []byte) ([]byte, error) {
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	from := len(p.text)
	if err := p.appendUnquoted(raw); err != nil {
		return nil, err
	}
	return p.text[from:], nil
}

// appendUnquoted adds the text of a JSON string to p.text.
func (p *parser) appendUnquoted(raw []byte) error {
	if bytes.IndexByte(raw, '\\') < 0 {
		p.text = append(p.text, raw[1:len(raw)-1]...)
		return nil
	}
	text, err := jsontext.AppendUnquote(p.text, raw)
	if err == nil {
		p.text = text
	}
	return err
}

func isInteger(raw []byte) bool {
	for i, c := range raw {
		if (c < '0' || c > '9') && !(i == 0 && c == '-') {
			return false
		}
	}
	return true
}

// kindOf names the kind of a value.
func kindOf(raw []byte) string {
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// shortly is a value in a message, which must not carry a prompt.
func shortly(raw []byte) string {
	switch kind := kindOf(raw); {
	case kind == "number" && len(raw) <= 24:
		return string(raw)
	case kind == "string" && len(raw) == len(`""`):
		return "empty"
	default:
		return "a JSON " + kind
	}
}
