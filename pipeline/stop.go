package pipeline

import (
	"errors"
	"fmt"
)

// ErrInterrupted is what [Run] returns when its context ended before the input did. What is
// left can be resumed.
var ErrInterrupted = errors.New("interrupted")

// A StopError is why a run ended by its own decision before its input did. What is left can be resumed.
type StopError struct {
	Reason StopReason
	Err    error  // what the service or the store said; nil where nothing did
	Detail string // one sentence
}

// A StopReason tells apart the ways in which a run stops itself.
type StopReason string

// The reasons.
const (
	StopJobFatal   StopReason = "job-fatal"    // confirmed with fresh credentials
	StopAllRefused StopReason = "all refused"  // the first records were all refused alike
	StopNotReady   StopReason = "not ready"    // the model did not wake up
	StopNoService  StopReason = "no service"   // no call ever succeeded
	StopDeadline   StopReason = "deadline"     // Config.Deadline came first
	StopDay        StopReason = "daily quota"  // it comes back after the deadline only
	StopSpending   StopReason = "spent"        // Config.Spending has no room for the next call
	StopNoCeiling  StopReason = "no ceiling"   // nobody can tell what a call costs at most, and there is a bound
	StopStore      StopReason = "cannot write" // the store failed for as long as Drain
	StopSource     StopReason = "cannot read"  // the input failed, or changed
)

// Error is the sentence, and what was said.
func (e *StopError) Error() string {
	switch {
	case e.Err == nil:
		return e.Detail
	case e.Detail == "":
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Detail, e.Err)
}

// Unwrap gives what was said.
func (e *StopError) Unwrap() error { return e.Err }
