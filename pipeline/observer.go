package pipeline

import "time"

// An Attempt is what became of one call, for those who count and show it.
type Attempt struct {
	Err    *InvokeError // nil when the answer came whole
	Timing Timing
	// Gaps are the times between content events of a whole answer, in their order. The slice is
	// used again after AttemptDone returns.
	Gaps  []time.Duration
	Usage Usage // of a whole answer
}

// An Observer is told what happens, as it happens. All methods may be called concurrently and
// must not block.
type Observer interface {
	AttemptStarted()
	AttemptDone(a *Attempt)
	// Stored is called after a batch has become durable.
	Stored(batch []*Result)
}

// Gauges are the levels of a run at one moment.
type Gauges struct {
	InFlight int  // streams open
	Waiting  int  // records waiting for their next attempt
	Deferred int  // of these, held back by the retry budget alone
	Broke    bool // records wait for calls in flight to make room within the bound on spending
	Silent   int  // streams that have been silent for two minutes
	Unbegun  int  // of these, without any content yet: the first-token timeout ends them, the idle timeout the others
	Unstored int  // results that are not durable yet
	Buffered int64
	Mode     Mode
}

// A Mode is what a run as a whole is doing.
type Mode string

// The modes of a run.
const (
	Running  Mode = "running"
	Outage   Mode = "outage"       // most calls fail: single probes until one succeeds
	Waking   Mode = "not ready"    // the model is waking up
	Confirm  Mode = "confirming"   // a job-fatal error is being confirmed
	Draining Mode = "draining"     // nothing more is taken; calls in flight may finish
	Blocked  Mode = "cannot write" // a sink failed; the write is tried again
)
