package input

import (
	"errors"
	"fmt"

	"github.com/batchrun/batchrun/pipeline"
)

// ErrChanged is what an [Error] wraps when a line is not the one that was scanned before the run.
var ErrChanged = errors.New("the input changed while the run was going")

var errGrows = errors.New("changed while it was being read")

// An Error is something wrong with an input as a whole.
type Error struct {
	Source string // the name as the user gave it, "" where none is at fault
	Line   int64  // the line reached, counted from 1; 0 where none was
	Err    error
	hint   string
}

// Error says what is wrong in one line, the place first.
func (e *Error) Error() string { return place(e.Source, e.Line, 0) + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what to do about it; "" where there is nothing to say.
func (e *Error) Hint() string { return e.hint }

// A StrictError is the first faulty line of an input that was to have none.
type StrictError struct {
	Source string
	Line   int64 // counted from 1
	Fault  *pipeline.Fault
}

// Error is SOURCE:LINE:COLUMN: and the fault.
func (e *StrictError) Error() string {
	return place(e.Source, e.Line, e.Fault.Column) + e.Fault.Message
}

// Unwrap gives the fault.
func (e *StrictError) Unwrap() error { return e.Fault }

// Hint says what to do about it.
func (e *StrictError) Hint() string {
	return "mend the line, or run without --strict: faulty lines then become error rows"
}

// A Difference is the first place where an input is not the one a run began with.
type Difference struct {
	Source string // the name of the source
	Line   int64  // counted from 1; 0 where a whole source is meant
	What   string // one of the What constants
}

// What a [Difference] can be.
const (
	WhatChanged  = "changed"
	WhatMissing  = "missing: the input now ends before it"
	WhatAdded    = "added after the former end"
	WhatOneMore  = "one more source"
	WhatOneFewer = "one source fewer"
)

// Error says what differs in one line, the place first.
func (d *Difference) Error() string {
	return place(d.Source, d.Line, 0) + "not the input this run began with: " + d.What
}

// Hint says what to do about it.
func (d *Difference) Hint() string {
	return "give the input the run began with, another output, or --fresh to start again"
}

// place is where something stands, ready to have words put after it.
func place(source string, line, column int64) string {
	switch {
	case source == "":
		return ""
	case line == 0:
		return source + ": "
	case column == 0:
		return fmt.Sprintf("%s:%d: ", source, line)
	}
	return fmt.Sprintf("%s:%d:%d: ", source, line, column)
}
