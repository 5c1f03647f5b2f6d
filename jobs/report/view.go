package report

import (
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// A View is a run at one moment: everything that a progress line is made from.
type View struct {
	Elapsed time.Duration // since the session began

	// Over all sessions of the run.
	Done     int64 // records with a row
	Failed   int64 // of these, with an error row, rejected ones not included
	Rejected int64
	Total    int64 // negative while it is not known

	Recent
	pipeline.Gauges
	// Binding is what holds the requests back: one of the ratelimit.BoundBy constants. The mode of the run goes before it.
	Binding  string
	Spending *Spending // nil where nothing is counted
}

// Binds says what holds the run up, in a few words.
func (v *View) Binds() string {
	switch v.Mode {
	case pipeline.Running, "":
	case pipeline.Outage:
		return "service outage, probing"
	case pipeline.Waking:
		return "model not ready, waiting"
	case pipeline.Confirm:
		return "confirming an error"
	case pipeline.Draining:
		return "stopping"
	case pipeline.Blocked:
		return "cannot write, trying again"
	default: // modes are words
		return string(v.Mode)
	}
	switch {
	case v.Broke:
		return "limit: bound on spending"
	case v.Binding == ratelimit.BoundByService:
		return "paused by throttling"
	case v.Binding == ratelimit.BoundByDay:
		return "waiting for tokens/day"
	}
	return "limit: " + bound(v.Binding)
}

// bound is one of the ratelimit.BoundBy constants in words.
func bound(what string) string {
	switch what {
	case ratelimit.BoundByRequests:
		return "requests/min"
	case ratelimit.BoundByTokens:
		return "tokens/min"
	case ratelimit.BoundByDay:
		return "tokens/day"
	case ratelimit.BoundByService:
		return "throttling"
	case ratelimit.BoundByConcurrency:
		return "--concurrency"
	case "":
		return ratelimit.BoundByInput
	}
	return what // input, streams
}

// Left is how long the rest takes at the present rate; ok is false where that cannot be told.
func (v *View) Left() (left time.Duration, ok bool) {
	if v.Total < 0 || v.Mode == pipeline.Draining {
		return 0, false
	}
	rest := v.Total - v.Done
	if rest <= 0 {
		return 0, true
	}
	if v.Rate <= 0 {
		return 0, false
	}
	seconds := float64(rest) / v.Rate
	if seconds > (1000 * 24 * time.Hour).Seconds() {
		return 0, false
	}
	return time.Duration(seconds * float64(time.Second)), true
}
