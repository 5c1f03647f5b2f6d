package pipeline

import "fmt"

// A Kind says what an error means for the record and for the job (design, section 5).
type Kind uint8

// The kinds, as in section 5 of the design. The zero Kind is Transient, so an error that nobody
// classified is tried again rather than taken for an answer.
const (
	Transient   Kind = iota // again, up to the record's attempts
	Throttled               // waits and goes again; costs no attempt
	Overload                // again, up to the record's attempts; concurrency shrinks
	NotReady                // the model is waking up: the job waits
	RecordFatal             // error row
	JobFatal                // confirmed once, then the job stops
	Interrupted             // the job's own context ended: no row
)

var kindNames = [...]string{"transient", "throttled", "overload", "not ready", "record-fatal", "job-fatal", "interrupted"}

// String is the kind in the words of the design.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Our own error types, with error code 0.
const (
	TypeTruncatedStream   = "TruncatedStream"
	TypeBadFrame          = "BadFrame"
	TypeFirstTokenTimeout = "FirstTokenTimeout"
	TypeIdleTimeout       = "IdleTimeout"
	TypeAttemptTimeout    = "AttemptTimeout"
	TypeConnectionError   = "ConnectionError"
	TypeInvalidRecord     = "InvalidRecord"
	TypeRecordTooLarge    = "RecordTooLarge"
)

// What a refusal may say that there was too much of.
const (
	QuotaTokens   = "tokens"
	QuotaRequests = "requests"
)

// InvokeError is one failed attempt. Kind says what it means for the next.
type InvokeError struct {
	Kind      Kind
	Type      string // the service's own, such as ThrottlingException, or one of the Type constants
	Code      int    // HTTP status, of an in-stream exception the one it is modelled with; 0 for our own types
	Message   string // the service's words, whole
	RequestID string // "" if none came
	Partial   string // text received before it failed
	Content   bool   // content of any kind had arrived
	Daily     bool   // a hint from the text: the quota of the day is used up
	Quota     string // a hint from the text of a refusal, for people: QuotaTokens, QuotaRequests, or "" where it names none
	Unbilled  bool   // nothing of it is billed: it was never sent, or refused before the model saw it
	Capacity  bool   // a hint: the service is short of capacity, not the caller of quota
	Err       error  // what it was made from, may be nil
}

// Error says what failed, in one line.
func (e *InvokeError) Error() string {
	switch {
	case e.Message != "":
		return fmt.Sprintf("%s: %s", e.Type, e.Message)
	case e.Err != nil:
		return fmt.Sprintf("%s: %v", e.Type, e.Err)
	}
	return e.Type
}

// Unwrap gives the error it was made from.
func (e *InvokeError) Unwrap() error { return e.Err }

// ofOneAnswer reports whether the service had begun to answer, so that what went wrong may lie in this one answer.
func (e *InvokeError) ofOneAnswer() bool {
	switch e.Type {
	case TypeTruncatedStream, TypeBadFrame, TypeIdleTimeout, TypeAttemptTimeout, "ModelStreamErrorException", "ModelErrorException":
		return true
	}
	return e.Content
}

// Retryable reports whether the same record could succeed when sent again.
func (e *InvokeError) Retryable() bool { return e.Kind != RecordFatal && e.Kind != JobFatal }
