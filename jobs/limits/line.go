package limits

import (
	"math"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// Name is the file of a run's limits in its state directory; [Rotated] is what came before it, if that was much.
const (
	Name    = "limits.jsonl"
	Rotated = Name + ".1"
)

// The types of lines.
const (
	typeSession  = "session"
	typeSample   = "sample"
	typeDecision = "decision"
	typeEnd      = "end"
)

// A Start says what a session began with. Its quotas are those that were stated; what is 0 or absent was not.
type Start struct {
	At                time.Time          `json:"at"`
	Model             string             `json:"model"`
	Region            string             `json:"region,omitempty"`
	Concurrency       int                `json:"concurrency"`
	RequestsPerMinute float64            `json:"requestsPerMinute,omitempty"`
	TokensPerMinute   float64            `json:"tokensPerMinute,omitempty"`
	TokensPerDay      float64            `json:"tokensPerDay,omitempty"`
	Burndown          float64            `json:"burndown"`
	Probe             bool               `json:"probe,omitempty"`
	Learned           *ratelimit.Learned `json:"learned,omitempty"` // what an earlier run learned, and this one begins with
	// Continued says that the file was begun anew within the session, whose first lines are in [Rotated].
	Continued bool `json:"continued,omitempty"`
}

// A Sample is the state of the limiter at one moment, with the rates since the sample before it.
type Sample struct {
	At                time.Time          `json:"at"`
	RequestsPerMinute float64            `json:"requestsPerMinute"`     // sent
	TokensPerMinute   float64            `json:"tokensPerMinute"`       // of answers that came, as they settled
	RequestPace       float64            `json:"requestPace,omitempty"` // requests a minute; 0: none is set
	TokenPace         float64            `json:"tokenPace,omitempty"`   // tokens a minute; 0: none is set
	InFlight          int                `json:"inFlight"`
	ConcurrencyLimit  int                `json:"concurrencyLimit"`
	Waiting           int                `json:"waiting"` // requests that wait for the limiter
	Binding           string             `json:"binding"` // one of the ratelimit.BoundBy constants
	Mode              pipeline.Mode      `json:"mode"`
	Throttled         int64              `json:"throttled"`                  // in this session so far
	WaitedSeconds     map[string]float64 `json:"waitedSeconds,omitempty"`    // by what bound, in this session so far
	HoldSeconds       float64            `json:"holdSeconds,omitempty"`      // until requests may go again after a refusal
	Thinned           int64              `json:"thinnedDecisions,omitempty"` // not written since the sample before: more of a kind that is there
	Dropped           int64              `json:"droppedDecisions,omitempty"` // not written since the sample before: the disk was too slow
}

// A Decision is a [ratelimit.Decision] as it is kept. Paces are per minute, concurrency in streams, holds in seconds.
type Decision struct {
	At       time.Time `json:"at"`
	Control  string    `json:"control"`
	Action   string    `json:"action"`
	From     float64   `json:"from"`
	To       float64   `json:"to"`
	Reason   string    `json:"reason"`
	Tokens   float64   `json:"tokens"`   // admitted in the 60 s before
	Requests float64   `json:"requests"` // sent in the 60 s before
	Refused  float64   `json:"refused"`  // of these
	InFlight int       `json:"inFlight"`
}

// An End says how a session ended: finished, interrupted, stopped or failed.
type End struct {
	At    time.Time `json:"at"`
	Ended string    `json:"ended"`
}

func decisionOf(d ratelimit.Decision) Decision {
	return Decision{
		At: stamp(d.At), Control: d.Control, Action: d.Action, From: finite(d.From), To: finite(d.To), Reason: d.Reason,
		Tokens: finite(d.Tokens), Requests: finite(d.Requests), Refused: finite(d.Refused), InFlight: d.InFlight,
	}
}

// stamp is a time as it is written.
func stamp(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }

// finite rounds to a thousandth; what JSON cannot write is 0.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return math.Round(v*1000) / 1000
}
