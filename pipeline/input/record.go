package input

import (
	"slices"
	"unsafe"

	"github.com/batchrun/batchrun/pipeline"
)

// A promptRecord saves the short form two allocations.
type promptRecord struct {
	pipeline.Record
	prompt      pipeline.Prompt
	temperature float64
}

const (
	recordSize = int64(unsafe.Sizeof(pipeline.Record{}))
	promptSize = int64(unsafe.Sizeof(promptRecord{}))
	faultSize  = int64(unsafe.Sizeof(pipeline.Fault{}))
	stringSize = int64(unsafe.Sizeof(""))
)

// record makes a record of the line that was parsed last, with its own copy of the bytes it needs.
func (p *parser) record(source string, line, pos int64, fault *pipeline.Fault) *pipeline.Record {
	var rec *pipeline.Record
	switch {
	case fault == nil && p.form == formShort:
		short := new(promptRecord)
		rec = &short.Record
		rec.Size = promptSize
		p.fillPrompt(short)
	case fault == nil && p.rendered != nil:
		rec = &pipeline.Record{Prompt: p.rendered, Size: promptSize + int64(len(p.rendered.Text)+len(p.rendered.System))}
	default:
		rec = &pipeline.Record{Size: recordSize, Dialect: p.form.dialect()}
	}
	rec.Pos, rec.Source, rec.Line, rec.Fault = pos, source, line, fault
	rec.ID, _ = p.name(source, line)
	rec.Size += int64(len(rec.ID))
	if fault != nil {
		rec.Size += faultSize + int64(len(fault.Message))
	}
	if p.object {
		p.fillJSON(rec)
	}
	return rec
}

// fillJSON copies the body and the other fields, both into one piece of memory. A faulty record
// gets them, too, for its row.
func (p *parser) fillJSON(rec *pipeline.Record) {
	bodySize := p.bodySize()
	if bodySize > MaxBody {
		bodySize = 0
	}
	size := p.metadataSize()
	if bodySize+size == 0 {
		return
	}
	held := make([]byte, 0, bodySize+size)
	if bodySize > 0 {
		held = p.appendBody(held)
		rec.Input = slices.Clip(held)
	}
	from := len(held)
	held = p.appendMetadata(held)
	if size > 0 {
		rec.Metadata = held[from:len(held):len(held)]
	}
	rec.Size += int64(cap(held))
}

// bodyKey is the field that is the body, keyOther where none is.
func (p *parser) bodyKey() int {
	key := keyOther
	switch p.form {
	case formInput:
		key = keyInput
	case formOpenAI:
		key = keyBody
	case formAnthropic:
		key = keyParams
	}
	if key == keyOther || p.raw(key)[0] != '{' {
		return keyOther
	}
	return key
}

func (p *parser) bodySize() int {
	if p.form == formChat {
		return p.chatSize()
	}
	if key := p.bodyKey(); key != keyOther {
		return len(p.raw(key))
	}
	return 0
}

func (p *parser) appendBody(dst []byte) []byte {
	if p.form != formChat {
		return append(dst, p.raw(p.bodyKey())...)
	}
	return p.appendMembers(dst, inChat)
}

// inChat tells the fields that are the body of a chat line.
func inChat(key int) bool { return key == keyMessages || key == keyChatWord || isOption(key) }

func (p *parser) chatSize() int { return p.membersSize(inChat) }

// isOther tells what goes to the metadata: every field that has no meaning in a line of this form.
func (p *parser) isOther(key int) bool {
	switch {
	case key == keyOther, key == keyURL:
		return true
	case key <= keyID: // one that comes after the id
		return p.idKey < key
	case p.form == formTable:
		return true
	case p.form == formChat && inChat(key):
		return false
	case p.form == formShort && isOption(key):
		return false
	case key == keyChatWord, isOption(key):
		return p.form != formNone
	}
	// A body of another form; a null says nothing and the first of two is told as a fault.
	switch key {
	case keyInput, keyPrompt:
		return false
	case keyBody:
		return p.form == formInput || p.form == formShort
	case keyParams:
		return p.form == formInput || p.form == formShort || p.form == formOpenAI
	}
	return p.form != formChat && p.form != formNone
}

func (p *parser) metadataSize() int { return p.membersSize(p.isOther) }

func (p *parser) appendMetadata(dst []byte) []byte { return p.appendMembers(dst, p.isOther) }

// membersSize is the size of an object of the members that are wanted, 0 for none.
func (p *parser) membersSize(wanted func(key int) bool) int {
	size := 0
	for _, m := range p.members {
		if wanted(m.key) {
			size += len(",") + m.field.to - m.field.from
		}
	}
	if size > 0 {
		size += len("{}") - len(",")
	}
	return size
}

// appendMembers appends an object of the members that are wanted, nothing where there is none.
func (p *parser) appendMembers(dst []byte, wanted func(key int) bool) []byte {
	sep := byte('{')
	for _, m := range p.members {
		if wanted(m.key) {
			dst = append(dst, sep)
			dst = append(dst, p.line[m.field.from:m.field.to]...)
			sep = ','
		}
	}
	if sep == ',' {
		dst = append(dst, '}')
	}
	return dst
}

// fillPrompt makes one string of all texts of the short form.
func (p *parser) fillPrompt(rec *promptRecord) {
	from := len(p.text) // the id may be before it
	add := func(raw []byte) int {
		if raw != nil {
			_ = p.appendUnquoted(raw) // its grammar has been checked
		}
		return len(p.text) - from
	}
	afterText := add(p.raw(keyPrompt))
	afterSystem := add(p.raw(keySystem))
	ends := make([]int, 0, 8)
	for _, s := range p.stops {
		ends = append(ends, add(p.line[s.from:s.to]))
	}
	all := string(p.text[from:])
	rec.Size += int64(len(all)) + stringSize*int64(len(ends))

	rec.prompt = pipeline.Prompt{Text: all[:afterText], System: all[afterText:afterSystem], MaxTokens: p.maxTokens}
	if p.raw(keyTemperature) != nil {
		rec.temperature = p.temperature
		rec.prompt.Temperature = &rec.temperature
	}
	if len(ends) > 0 {
		rec.prompt.Stop = make([]string, len(ends))
		start := afterSystem
		for i, end := range ends {
			rec.prompt.Stop[i] = all[start:end]
			start = end
		}
	}
	rec.Prompt = &rec.prompt
}
