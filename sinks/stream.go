package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/batchrun/batchrun/pipeline"
)

// ErrReaderGone is what a [Stream] gives once nobody reads its other end any more, as in "| head".
var ErrReaderGone = errors.New("the reader of the rows is gone")

// A Stream writes result and error rows to one writer as they come, without state: what the writer took is
// all there is. It is a [pipeline.Store]. A program that writes to standard output this way must ignore SIGPIPE
// to see [ErrReaderGone] instead of dying.
type Stream struct {
	enc rowEncoder
	err error
}

// NewStream makes a Stream. If w has a Flush method, it is called after each batch.
func NewStream(w io.Writer, rows Rows) *Stream {
	return &Stream{enc: rowEncoder{w: w, rows: rows}}
}

// Commit writes the rows of a batch. After an error part of a row may be written, so every later call
// fails with the same error.
func (s *Stream) Commit(ctx context.Context, batch []*pipeline.Result) error {
	if s.err != nil {
		return s.err
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, r := range batch {
		s.enc.row(r)
	}
	s.enc.flush()
	err := s.enc.err
	if f, ok := s.enc.w.(interface{ Flush() error }); ok && err == nil {
		err = f.Flush()
	}
	if err != nil {
		s.err = fmt.Errorf("write rows: %w", err)
		if isBrokenPipe(err) {
			s.err = fmt.Errorf("%w: %w", ErrReaderGone, err)
		}
	}
	return s.err
}

var _ pipeline.Store = (*Stream)(nil)
