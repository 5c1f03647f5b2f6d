package input

import (
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
	if fault == nil && p.raw(keyPrompt) != nil {
		short := new(promptRecord)
		rec = &short.Record
		rec.Size = promptSize
		p.fillPrompt(short)
	} else {
		rec = &pipeline.Record{Size: recordSize}
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

// fillJSON copies modelInput and the other fields, both into one piece of memory. A faulty record
// gets them, too, for its row.
func (p *parser) fillJSON(rec *pipeline.Record) {
	body := p.raw(keyInput)
	if body != nil && (body[0] != '{' || len(body) > MaxBody) {
		body = nil
	}
	size := p.metadataSize()
	if len(body)+size == 0 {
		return
	}
	held := make([]byte, 0, len(body)+size)
	held = append(held, body...)
	held = p.appendMetadata(held)
	if body != nil {
		rec.Input = held[:len(body):len(body)]
	}
	if size > 0 {
		rec.Metadata = held[len(body):len(held):len(held)]
	}
	rec.Size += int64(cap(held))
}

// isOther tells what goes to the metadata.
func (p *parser) isOther(key int) bool {
	switch {
	case key == keyOther:
		return true
	case key == keyID:
		return p.idKey == keyRecordID
	case shortOnly(key):
		return p.raw(keyInput) != nil
	}
	return false
}

func (p *parser) metadataSize() int {
	size := 0
	for _, m := range p.members {
		if p.isOther(m.key) {
			size += len(",") + m.field.to - m.field.from
		}
	}
	if size > 0 {
		size += len("{}") - len(",")
	}
	return size
}

func (p *parser) appendMetadata(dst []byte) []byte {
	sep := byte('{')
	for _, m := range p.members {
		if p.isOther(m.key) {
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
