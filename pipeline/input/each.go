package input

import (
	"context"

	"github.com/batchrun/batchrun/pipeline"
)

// EachLine calls yield for every line of files that is not blank, with its text, which is valid until yield returns; nil for a
// line that is longer than [MaxLine]. An error of yield ends it and is returned; the others are an [*Error].
func EachLine(ctx context.Context, files []File, yield func(source string, line int64, text []byte) error) error {
	lines := newLineReader()
	for _, f := range files {
		_, _, err := eachLine(ctx, lines, f, nil, func(n int64, ln *line) error {
			if ln.blank {
				return nil
			}
			return yield(f.Name, n, ln.text)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// A Parser makes records of single lines, as a [Reader] does. It is for one goroutine at a time.
type Parser struct{ p *parser }

// NewParser makes a parser. template may be nil.
func NewParser(template *Template) *Parser {
	p := newParser()
	p.template = template
	return &Parser{p}
}

// Record makes a record of a line, which it copies from.
func (p *Parser) Record(source string, line int64, text []byte) *pipeline.Record {
	if len(text) > MaxLine {
		return &pipeline.Record{Source: source, Line: line, Fault: lineTooLong(int64(len(text)))}
	}
	fault := p.p.parse(text)
	return p.p.record(source, line, 0, fault)
}

// HasMeaning tells whether a field of that name means anything in lines of chat messages, but for the ids that come after
// recordId.
func HasMeaning(name string) bool {
	k := key([]byte(name))
	return k != keyOther && k != keyURL && k != keyCustomID && k != keyID
}
