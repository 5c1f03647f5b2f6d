package ratelimit

import "time"

// What a [Decision] is about.
const (
	ControlTokens      = "tokens"      // the pace of tokens
	ControlRequests    = "requests"    // the pace of requests
	ControlDay         = "day"         // the pause after a refusal of the day's quota
	ControlService     = "service"     // the hold after a refusal, and what the service's accounting is taken to be
	ControlConcurrency = "concurrency" // the limit of streams in flight
)

// A Decision is one step of a controller, with what it saw. Growth without an event is not told step by step: it is
// the way from one decision to the next, and from one [Snapshot] to the next.
type Decision struct {
	At      time.Time
	Control string // one of the Control constants
	// Action is one word: cut and undo for paces, hold for the service and the day; strict and try, for the service, when its
	// accounting is taken to keep reservations for a minute, and when that is doubted again; ask, press and relent, for the
	// service, when refusals may come from somebody who does not slow down, when they do, and when they do not or no more;
	// minutes, for the service, when it is found at which second those of its quota begin, or when it is not so any more; know and
	// doubt, for tokens, when refusals tell exactly how much the quota is, and when they do not any more; shrink for the
	// concurrency.
	Action string
	// From and To are what the step changed: units a minute for paces, streams for the concurrency, seconds of
	// waiting for holds, the second at which minutes begin. To is what holds now.
	From, To float64
	Reason   string // one phrase that says why, for people

	// What was seen in the 60 s before.
	Tokens   float64 // admitted, counted as settled or as they are expected to settle
	Requests float64 // sent
	Refused  float64 // of these
	InFlight int
}

// tell reports a decision to whoever watches.
func (c *core) tell(now time.Time, control, action string, from, to float64, reason string) {
	if c.watch == nil {
		return
	}
	c.watch(Decision{
		At: now, Control: control, Action: action, From: from, To: to, Reason: reason,
		Tokens: c.minute.sum.use, Requests: c.minute.sum.sent, Refused: c.minute.sum.sent - c.minute.sum.accepted,
		InFlight: c.inFlight,
	})
}

// Learned is what refusals have taught, to start from another time. It is never a promise: quotas move. A pace is told
// only once three refusals in a row agree on it, to 30 %: a pace that was never refused, or not for long, is nobody's quota.
type Learned struct {
	RequestsPerMinute float64 `json:"requestsPerMinute,omitempty"` // 0: nothing
	TokensPerMinute   float64 `json:"tokensPerMinute,omitempty"`   // 0: nothing
	Concurrency       int     `json:"concurrency,omitempty"`       // 0: nothing
	// Strict says that the service was seen to count a request in full for a whole minute.
	Strict bool `json:"strict,omitempty"`
}

// Learned tells what is worth keeping; its zero value is nothing.
func (l *Limiter) Learned() Learned {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.core.learned()
}
