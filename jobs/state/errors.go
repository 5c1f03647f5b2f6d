package state

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A RefusedError says why a run may not be opened. Nothing was touched.
type RefusedError struct {
	Reason string // begins with the file it is about
	Hint   string // what to do
	Err    error  // may be nil
}

// Error is the reason.
func (e *RefusedError) Error() string { return e.Reason }

// Unwrap gives what it was made from, if anything.
func (e *RefusedError) Unwrap() error { return e.Err }

// A MismatchError says what differs from the settings the run was started with. Nothing was touched.
type MismatchError struct {
	Dir         string
	Differences []Difference
	Input       error // how the input differs; nil where it does not
}

// Error names every difference, in one line.
func (e *MismatchError) Error() string {
	var parts []string
	for _, d := range e.Differences {
		parts = append(parts, fmt.Sprintf("--%s was %q, now %q", d.Flag, d.Old, d.New))
	}
	if e.Input != nil {
		parts = append(parts, fmt.Sprintf("--input: %v", e.Input))
	}
	return "not the run that was started: " + strings.Join(parts, "; ")
}

// Unwrap gives how the input differs, if it does.
func (e *MismatchError) Unwrap() error { return e.Input }

// A LockedError says who works on the run already. Fields are zero where the holder has not said.
type LockedError struct {
	Dir string
	Holder
}

// A Holder is a process that works on a run.
type Holder struct {
	PID     int       `json:"pid"`
	Host    string    `json:"host"`
	Since   time.Time `json:"since,omitzero"`
	Command string    `json:"command"`
}

// Error says who holds the run.
func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("%s: another process works on this run", e.Dir)
	}
	return fmt.Sprintf("%s: process %d on %s works on this run since %s: %s",
		e.Dir, e.PID, e.Host, e.Since.Local().Format("2006-01-02 15:04:05"), e.Command)
}

var (
	// ErrAlreadyDone is a batch with a record that is done, or stands twice in it. Nothing of the batch was stored.
	ErrAlreadyDone = errors.New("record is done already")
	// ErrFinished is a batch for a run that is finished, or whose sealing has begun.
	ErrFinished = errors.New("run is finished")
	// ErrUnfinished is [Run.Finish] while records are missing.
	ErrUnfinished = errors.New("records are missing")
	// ErrClosed is a call after [Run.Close].
	ErrClosed = errors.New("run is closed")
)
