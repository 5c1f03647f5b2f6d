package input

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// DefaultMaxHold is what [Options.MaxHold] is when it is not set.
const DefaultMaxHold = 256 << 20

// Options configures a [Reader].
type Options struct {
	// Files are the sources in their order; none is the standard input, which stands alone.
	Files []File
	// Stdin is read where the path of the one file is [Stdin].
	Stdin io.Reader

	// Skip tells the positions that are done; nil for none. Their lines are not even parsed.
	Skip func(pos int64) bool

	// Hashes are those that [Scan] wrote for Files; nil for none. Every line is compared with its own,
	// whether it is skipped or not, and a difference ends the run with [ErrChanged].
	Hashes io.ReaderAt

	// HashSink gets the hash of every line of the standard input as it is read, like the hashes of [Scan]; nil for none. At most
	// 4 KiB are kept back until [Reader.Flush].
	HashSink io.Writer
	// OldHashes are what HashSink got in earlier sessions; nil for none. Those lines are compared before
	// any record is returned, and their hashes are not written again. A torn hash at the end counts as none.
	OldHashes io.Reader
	// OldWhole tells that an earlier session read the standard input to its end, so nothing may follow.
	OldWhole bool
	// MaxHold bounds the bytes of the records among those lines that are not done yet,
	// as they wait until all are compared. Default: [DefaultMaxHold].
	MaxHold int64

	// Strict makes the first faulty line an error, a [*StrictError], in place of a record.
	Strict bool

	// Template, where it is not nil, makes the prompt of every line, which is then a table's.
	Template *Template
	// Notice is told, once for each, which forms of lines there are and where the first stands; nil for not at all. It is
	// called from within [Reader.Next].
	Notice func(string)

	// Now is the clock of [pipeline.Record.ReadAt]. Default: time.Now.
	Now func() time.Time
}

func (o *Options) check() error {
	if len(o.Files) == 0 {
		o.Files = Files([]string{Stdin})
	}
	if o.MaxHold == 0 {
		o.MaxHold = DefaultMaxHold
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	var stdin bool
	for _, f := range o.Files {
		stdin = stdin || f.Path == Stdin
	}
	var faults []error
	fault := func(bad bool, what string) {
		if bad {
			faults = append(faults, errors.New("input: "+what))
		}
	}
	fault(stdin && len(o.Files) > 1, "the standard input cannot be read beside files")
	fault(stdin && o.Stdin == nil, "no Stdin to read")
	fault(stdin && o.Hashes != nil, "Hashes are for files")
	fault(!stdin && (o.HashSink != nil || o.OldHashes != nil || o.OldWhole), "HashSink, OldHashes and OldWhole are for the standard input")
	fault(o.OldWhole && o.OldHashes == nil, "OldWhole needs OldHashes")
	fault(o.MaxHold < 0, "MaxHold is negative")
	return errors.Join(faults...)
}

// A Reader is the source of a run. [Reader.Next] is for one goroutine; Progress, RepeatedIDs and Flush may
// be called beside it.
type Reader struct {
	opts  Options
	lines *lineReader
	parse *parser
	pump  *pump // of the standard input, nil until it is read

	next   int // the file to be opened next
	src    *source
	at     line  // the one read last
	line   int64 // lines read of src
	pos    int64 // lines read of all
	failed error // what Next returns for good

	hashes *hashCursor
	sink   *hashWriter
	held   []*pipeline.Record // of the lines of earlier sessions
	began  bool
	ids    repeats
	forms  [formTable + 1]bool // that Notice was told of

	progress struct{ pos, records, bytes atomic.Int64 }
}

var _ pipeline.Source = (*Reader)(nil)

// Open checks the options. Nothing is opened before the first [Reader.Next].
func Open(o Options) (*Reader, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	r := &Reader{opts: o, lines: newLineReader(), parse: newParser()}
	r.parse.template = o.Template
	if o.Hashes != nil {
		r.hashes = newHashCursor(o.Hashes, 0)
	}
	if o.HashSink != nil {
		r.sink = newHashWriter(o.HashSink)
	}
	return r, nil
}

// Progress is how far a [Reader] is.
type Progress struct {
	Position int64 // lines read, blank and skipped ones included
	Records  int64 // those that are not blank
	Bytes    int64 // of all lines, decompressed
}

// Progress tells how far the reader is. It may be called at any time.
func (r *Reader) Progress() Progress {
	return Progress{r.progress.pos.Load(), r.progress.records.Load(), r.progress.bytes.Load()}
}

// RepeatedIDs is about how many records had an id that came before: exact up to some hundred thousand, and never
// more than chance explains. Only ids that the lines gave, and of lines that were not skipped, count.
func (r *Reader) RepeatedIDs() (about int64) { return r.ids.about.Load() }

// Flush writes the hashes kept back. To be called before a batch is committed, so that every
// line that is done has its hash. It may be called at any time.
func (r *Reader) Flush() error {
	if r.sink == nil {
		return nil
	}
	return r.sink.flush()
}

// Close closes what is open and flushes the hashes. A read of the standard input that is under way goes on in its own
// goroutine until it returns, because nothing can end it.
func (r *Reader) Close() error {
	if r.failed == nil {
		r.failed = errors.New("input: Next after Close")
	}
	r.closeSource()
	if r.pump != nil {
		r.pump.stop()
	}
	return r.Flush()
}

// Next returns the next record that is not done. Any error but io.EOF says what is wrong with the
// input: an [*Error], a [*Difference] or a [*StrictError]. After an error it returns the same again.
func (r *Reader) Next(ctx context.Context) (*pipeline.Record, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	if r.pump != nil {
		r.pump.ctx = ctx
	}
	rec, err := r.nextRecord(ctx)
	switch {
	case err == nil && rec == nil:
		if err = r.Flush(); err == nil {
			err = io.EOF
		}
	case err == nil && rec.Fault != nil && r.opts.Strict:
		err = &StrictError{Source: rec.Source, Line: rec.Line, Fault: rec.Fault}
	}
	if err != nil {
		r.failed = err
		r.closeSource()
		return nil, err
	}
	rec.ReadAt = r.opts.Now()
	return rec, nil
}

// nextRecord returns nil after the last.
func (r *Reader) nextRecord(ctx context.Context) (*pipeline.Record, error) {
	if !r.began {
		r.began = true
		if r.opts.OldHashes != nil {
			if err := r.compareOld(ctx); err != nil {
				return nil, err
			}
		}
	}
	if len(r.held) > 0 {
		rec := r.held[0]
		r.held[0], r.held = nil, r.held[1:]
		return rec, nil
	}
	for {
		ok, err := r.nextLine(ctx)
		if err != nil || !ok {
			return nil, err
		}
		if err := r.keepHash(); err != nil {
			return nil, err
		}
		if rec := r.record(); rec != nil {
			return rec, nil
		}
	}
}

// keepHash compares the hash of a line that was scanned, and writes the one of a line that was not.
func (r *Reader) keepHash() error {
	if r.sink != nil {
		return r.sink.add(r.at.hash())
	}
	if r.hashes == nil {
		return nil
	}
	sum, ok, err := r.hashes.next()
	if err != nil {
		return err
	}
	if !ok || sum != r.at.hash() {
		return r.changed(r.line)
	}
	return nil
}

func (r *Reader) changed(line int64) error {
	return &Error{
		Source: r.src.name, Line: line, Err: ErrChanged,
		hint: "put the former content back and resume; what is done stays done",
	}
}

// record makes a record of the line, nil if it is blank or done.
func (r *Reader) record() *pipeline.Record {
	ln, pos := &r.at, r.pos-1
	if ln.blank || r.opts.Skip != nil && r.opts.Skip(pos) {
		return nil
	}
	if ln.tooLong {
		fault := lineTooLong(ln.size)
		return &pipeline.Record{
			Pos: pos, Source: r.src.name, Line: r.line, Fault: fault,
			Size: recordSize + faultSize + int64(len(fault.Message)),
		}
	}
	fault := r.parse.parse(ln.text)
	if len(r.parse.id) > 0 {
		r.ids.add(r.parse.id)
	}
	if form := r.parse.form; fault == nil && !r.forms[form] && r.opts.Notice != nil {
		r.forms[form] = true
		r.opts.Notice(fmt.Sprintf("%s:%d: the input has lines of %v", r.src.name, r.line, form))
	}
	return r.parse.record(r.src.name, r.line, pos, fault)
}

// nextLine reads the next physical line of all sources; ok is false after the last.
func (r *Reader) nextLine(ctx context.Context) (ok bool, err error) {
	for {
		if err := context.Cause(ctx); err != nil {
			return false, err
		}
		if r.src == nil {
			if r.next == len(r.opts.Files) {
				return false, nil
			}
			if err := r.openNext(ctx); err != nil {
				return false, err
			}
		}
		ok, err := r.lines.next(&r.at)
		if err != nil {
			if ctx.Err() != nil {
				return false, context.Cause(ctx)
			}
			return false, r.src.fault(r.line+1, err)
		}
		if ok {
			r.count()
			return true, nil
		}
		if err := r.checkEnd(); err != nil {
			return false, err
		}
		r.closeSource()
	}
}

func (r *Reader) count() {
	r.line++
	r.pos++
	r.progress.pos.Store(r.pos)
	r.progress.bytes.Add(r.at.raw)
	if !r.at.blank {
		r.progress.records.Add(1)
	}
}

// checkEnd looks after the last source whether there were more lines when they were scanned.
func (r *Reader) checkEnd() error {
	if r.hashes == nil || r.next < len(r.opts.Files) {
		return nil
	}
	_, more, err := r.hashes.next()
	if err == nil && more {
		return r.changed(r.line + 1)
	}
	return err
}

func (r *Reader) openNext(ctx context.Context) (err error) {
	f := r.opts.Files[r.next]
	r.next++
	r.line = 0
	if f.Path == Stdin {
		r.pump = newPump(ctx, r.opts.Stdin)
		r.src, err = newSource(f.Name, r.pump)
	} else {
		r.src, err = openFile(f)
	}
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	r.lines.reset(r.src.text)
	return nil
}

func (r *Reader) closeSource() {
	if r.src != nil {
		r.src.close()
		r.src = nil
	}
}

// compareOld reads the lines of earlier sessions again and keeps the records that are not done.
func (r *Reader) compareOld(ctx context.Context) error {
	name := r.opts.Files[0].Name
	old := readHashes(r.opts.OldHashes)
	var held int64
	for {
		sum, more, err := old.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		ok, err := r.nextLine(ctx)
		switch {
		case err != nil:
			return err
		case !ok:
			return &Difference{Source: name, Line: r.pos + 1, What: WhatMissing}
		case sum != r.at.hash():
			return &Difference{Source: name, Line: r.pos, What: WhatChanged}
		}
		rec := r.record()
		if rec == nil {
			continue
		}
		if held += rec.Size; held > r.opts.MaxHold {
			return &Error{
				Source: name, Line: r.line,
				Err:  fmt.Errorf("the records of earlier sessions that are not done yet take more than %d bytes, and they wait until all lines are compared", r.opts.MaxHold),
				hint: "save the standard input to a file and start with that, or allow more with --max-buffer",
			}
		}
		r.held = append(r.held, rec)
	}
	if !r.opts.OldWhole {
		return nil
	}
	more, err := r.nextLine(ctx)
	if err == nil && more {
		return &Difference{Source: name, Line: r.pos, What: WhatAdded}
	}
	return err
}
