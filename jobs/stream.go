package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/sinks"
)

// stream writes rows to the standard output as they come. There is no state: what the reader of
// the rows took is all there is, and a run cut short begins anew.
func (j *job) stream(ctx context.Context) (Outcome, error) {
	if j.late != nil {
		return Outcome{}, refuse(j.late)
	}
	if err := j.listen(); err != nil {
		return Outcome{}, refuse(err)
	}
	defer j.unlisten()
	if err := j.connect(ctx); err != nil {
		return Outcome{}, err
	}
	reader, err := j.from.open("", j.spec.Strict, j.env.Stdin, nil)
	if err != nil {
		return Outcome{}, refuse(err)
	}
	defer reader.Close()
	j.checkStrictly(reader)
	store := &rowStream{Stream: sinks.NewStream(j.env.Stdout, sinks.Rows(j.spec.Rows))}
	s, err := j.newSession(reader, store, store.Counts)
	if err != nil {
		return Outcome{}, err
	}
	return s.run(ctx)
}

// A rowStream counts the rows of a stream.
type rowStream struct {
	*sinks.Stream
	counts counter
}

// Commit is a pipeline.Store's. Half a row may have gone out, so a failed write is final.
func (s *rowStream) Commit(ctx context.Context, batch []*pipeline.Result) error {
	err := s.Stream.Commit(ctx, batch)
	if errors.Is(err, sinks.ErrReaderGone) {
		return fmt.Errorf("%w: %w", pipeline.ErrPermanent, sinks.ErrReaderGone)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", pipeline.ErrPermanent, err)
	}
	s.counts.add(batch)
	return nil
}

// Counts are the rows written so far. It may be called at any time.
func (s *rowStream) Counts() state.Counts { return s.counts.get() }
