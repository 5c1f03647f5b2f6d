package jobs

import (
	"errors"
	"fmt"

	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/pipeline/input"
	"github.com/batchrun/batchrun/sinks"
)

// An ending is how a session ended.
type ending struct {
	code     int
	err      error  // what to say; nil for what the summary says
	hint     string // what to do
	finishes bool   // every record is done all the same
}

// exit is the ending as an error, nil where all went well.
func (e ending) exit() error {
	if e.code == ExitDone {
		return nil
	}
	return &ExitError{Code: e.code, Err: e.err, Advice: e.hint}
}

// word says how it ended, for the summary.
func (e ending) word() string {
	switch e.code {
	case ExitDone, ExitSomeFailed:
		return "finished"
	case ExitInterrupted:
		return "interrupted"
	case ExitStopped:
		return "stopped"
	}
	return "failed"
}

// What the same command does after a run that is not done.
const (
	goesOn     = "the same command goes on where it was"
	startsOver = "the same command sends every record again, as rows that are only streamed leave nothing to go on from; -o FILE does"
)

// endingOf tells what the end of the pipeline means for the job. left counts the records without a row, again says what the
// same command would do.
func endingOf(err error, c state.Counts, left int64, again string) ending {
	if err == nil && left > 0 { // cannot be; if it were, it would not be a success
		return ending{code: ExitFailed, err: fmt.Errorf("%d records have no row", left), hint: again}
	}
	if err == nil {
		if c.Failed+c.Rejected > 0 {
			return ending{code: ExitSomeFailed}
		}
		return ending{code: ExitDone}
	}
	if errors.Is(err, pipeline.ErrInterrupted) {
		return ending{code: ExitInterrupted, hint: again}
	}
	stop, ok := errors.AsType[*pipeline.StopError](err)
	if !ok {
		return ending{code: ExitFailed, err: err, hint: again}
	}
	switch stop.Reason {
	case pipeline.StopNotReady:
		return ending{code: ExitStopped, err: err, hint: "an imported model wakes up within minutes as a rule; " + again}
	case pipeline.StopDeadline, pipeline.StopDay:
		return ending{code: ExitStopped, err: err, hint: again}
	case pipeline.StopSpending:
		return ending{code: ExitStopped, err: err, hint: "with a higher bound " + again}
	case pipeline.StopNoCeiling:
		return ending{code: ExitUsage, err: err, hint: hintOf(err, again)}
	case pipeline.StopNoService:
		return ending{code: ExitFailed, err: err, hint: "check --endpoint-url, --region and the network; " + again}
	case pipeline.StopJobFatal:
		return ending{code: ExitFailed, err: err, hint: mendJob(err, again)}
	case pipeline.StopAllRefused:
		hint := "check that the records suit the model; "
		if again == goesOn {
			hint += "--fresh starts again, --retry-failed sends the failed ones again"
		} else {
			hint += again
		}
		return ending{code: ExitFailed, err: err, finishes: left == 0, hint: hint}
	case pipeline.StopStore:
		if errors.Is(err, sinks.ErrReaderGone) {
			return ending{code: ExitFailed, err: sinks.ErrReaderGone}
		}
		return ending{code: ExitFailed, err: err, hint: "make room or mend the disk; " + again}
	case pipeline.StopSource:
		if _, ok := errors.AsType[*input.Difference](err); ok {
			return ending{code: ExitUsage, err: err}
		}
		return ending{code: ExitFailed, err: err, hint: hintOf(err, again)}
	}
	return ending{code: ExitFailed, err: fmt.Errorf("%s: %w", stop.Reason, err), hint: again}
}

// mendJob is what to do where no call can succeed: what is known of this error, and then what the same command does, unless it
// is another command that mends it.
func mendJob(err error, again string) string {
	hint := bedrock.Hint(err)
	switch {
	case hint == "":
		hint = "mend credentials, permissions or the model id"
	case errors.Is(err, bedrock.ErrUnknownFamily):
		return hint
	}
	return hint + "; " + again
}

// hintOf is what an error says is to be done, otherwise where it says nothing.
func hintOf(err error, otherwise string) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) && h.Hint() != "" {
		return h.Hint()
	}
	return otherwise
}
