package jobs

import "errors"

// Exit codes of the command (design, section 8).
const (
	ExitDone        = 0
	ExitFailed      = 1
	ExitUsage       = 2   // usage, spec or refusal: nothing was sent
	ExitSomeFailed  = 3   // done, but some records have error rows
	ExitStopped     = 4   // stopped at its own bound; resumable
	ExitInterrupted = 130 // resumable
)

// An ExitError is how a run ended when it did not end well.
type ExitError struct {
	Code int
	// Err is what to say; nil where everything has been said.
	Err error
	// Advice is what to do, "" where Err knows or there is nothing.
	Advice string
}

// Error is what to say.
func (e *ExitError) Error() string {
	if e.Err == nil {
		return "some records failed"
	}
	return e.Err.Error()
}

// Unwrap gives what to say.
func (e *ExitError) Unwrap() error { return e.Err }

// Hint is what to do, "" where there is nothing to say.
func (e *ExitError) Hint() string {
	var h interface{ Hint() string }
	if e.Advice == "" && errors.As(e.Err, &h) {
		return h.Hint()
	}
	return e.Advice
}

// refuse is the end of a run that sent nothing.
func refuse(err error) error {
	if err == nil {
		return nil
	}
	return &ExitError{Code: ExitUsage, Err: err}
}
