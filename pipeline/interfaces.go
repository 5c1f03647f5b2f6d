package pipeline

import (
	"context"
	"errors"
	"iter"
)

// ErrPermanent is wrapped by an error of [Store] that trying again cannot mend. The run stops at
// once; other errors are tried again until Drain is over.
var ErrPermanent = errors.New("cannot be tried again")

// A Source yields the records of a run in their order.
type Source interface {
	// Next returns the next record that is not done yet, and io.EOF after the last. Faulty
	// lines are records with a Fault. Any other error ends the run: the input can no longer be
	// read, or is not the one the run began with. Only one goroutine calls it.
	Next(ctx context.Context) (*Record, error)
}

// An Event is one step of a response stream.
type Event struct {
	Content  bool // carries content of any kind: text, reasoning, tool input
	Text     bool // carries answer text
	Terminal bool // the family's terminal event: from here on the answer is whole
	// Response is set on the last event only, after the stream has ended. Total times are
	// taken at the Terminal event before it.
	Response *Response
}

// A Model is what records are sent to. All methods may be called concurrently.
type Model interface {
	// Encode makes the request of a record. A *[Fault] means that the record cannot be sent to this
	// model and becomes an error row; there is no other error.
	Encode(rec *Record) (*Request, error)
	// Prepare resolves credentials, so that no attempt's clock runs meanwhile. It is cheap
	// when they are cached. Its errors are *[InvokeError] of kind JobFatal or Transient, or
	// Interrupted when ctx has ended.
	Prepare(ctx context.Context) error
	// Invoke makes one attempt: no retry of any kind happens below it. Every frame of the stream
	// that arrives is an event, so that silence can be told. It yields either an event with a Response at
	// the end or one error, which is an *[InvokeError] even when ctx ended, and nothing after it. Leaving the
	// loop early closes the stream. The yields come from the goroutine that ranges.
	Invoke(ctx context.Context, req *Request) iter.Seq2[Event, error]
	// Refresh forgets cached credentials, so that the next Prepare resolves them anew.
	Refresh()
}

// ErrCannotCount is wrapped by an error of [Counter] when it would be the same for every record.
var ErrCannotCount = errors.New("the service does not count tokens for this model")

// A Counter is a [Model] that can ask the service for exact numbers, beforehand.
type Counter interface {
	// CountTokens returns what the service counts the input of a request as. It may be called concurrently and makes no
	// retries. Its errors are *[InvokeError], or wrap [ErrCannotCount].
	CountTokens(ctx context.Context, req *Request) (int64, error)
}

// A Store keeps results for good. Run calls it from one goroutine only.
type Store interface {
	// Commit makes a batch durable: rows first, then the journal that counts them. When it
	// fails nothing of the batch counts, and the same results may be given again, in smaller batches. The batch
	// holds at least one result; it is in the order of completion. See [ErrPermanent].
	Commit(ctx context.Context, batch []*Result) error
}
