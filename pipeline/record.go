package pipeline

import (
	"encoding/json"
	"fmt"
	"time"
)

// A Record is one line of the input, on its way to becoming one row.
//
// It is made by a [Source], travels by pointer and belongs to whoever holds it: at
// every moment that is one goroutine. Nobody writes to it after the source did.
type Record struct {
	// Pos is the identity of the record when a run is resumed: the number of lines, blank
	// ones included, before this one over all sources in their order. So (Source, Line)
	// and Pos tell each other, and repeated ids are harmless.
	Pos int64

	// ID is the recordId of the row: as given (an integer as its digits), or SOURCE:LINE
	// where the line has none. It is empty only when Fault is set and no id could be read;
	// the row then says null.
	ID string

	Source string // the name of the input as the user gave it, "stdin" for the standard input
	Line   int64  // within its source, counted from 1

	// Input is the body of the request, byte for byte as it stood in the line; nil for the short form.
	Input json.RawMessage
	// Dialect says in whose words Input is; [Invoke] for what the model itself takes.
	Dialect Dialect
	// Prompt is the short form, to be encoded for the family of the model; nil otherwise.
	Prompt *Prompt
	// Metadata is a JSON object of every other field of the line, values byte for byte and in
	// their order; nil where there is none.
	Metadata json.RawMessage

	// Fault is set when the line cannot be sent. Such a record goes straight to its error row.
	Fault *Fault

	ReadAt time.Time // when it was read, for Timing.Queued; has a monotonic reading
	Size   int64     // bytes of memory it holds, for the buffer budget
}

// A Fault says why a line was rejected before anything was sent.
type Fault struct {
	Type    string // InvalidRecord or RecordTooLarge
	Column  int64  // byte within the line, counted from 1; 0 where none can be named
	Message string // what was expected and what to do, without the place
}

// Error reports the fault without its place.
func (f *Fault) Error() string { return f.Message }

// Place is where the record stands, as SOURCE:LINE.
func (r *Record) Place() string { return fmt.Sprintf("%s:%d", r.Source, r.Line) }

// A Request is a record encoded for its model, made once and sent by every attempt.
type Request struct {
	Record *Record
	// Body is what is sent, and the modelInput of the row. It may share memory with the record;
	// nobody writes to it.
	Body json.RawMessage
	// InputTokens estimates what the service will count for the input, images and system prompt included.
	InputTokens int64
	// Counted says that InputTokens is the service's own count.
	Counted bool
	// MaxTokens is what the service reserves for the answer: the body's own limit, or the
	// documented default of the family where the body sets none.
	MaxTokens int64
	// DefaultLimit says that the body sets none.
	DefaultLimit bool
}

// Usage counts tokens as the service bills them.
type Usage struct {
	InputTokens           int64 // without those read from or written to the cache
	OutputTokens          int64
	CacheReadInputTokens  int64
	CacheWriteInputTokens int64
}

// A Response is a whole answer: its stream came to the family's terminal event.
type Response struct {
	// Output is the body that InvokeModel would have returned, without amazon-bedrock-* keys.
	Output     json.RawMessage
	Text       string // text blocks joined with nothing between, without reasoning or tool input
	StopReason string // in the family's own words; "guardrail_intervened" where a guardrail blocked and the family gave none
	Usage      Usage
	RequestID  string
	// ServiceTier and PerformanceLatency are those by which the service says it has answered, which need not be those that were asked
	// for; "" where none was asked for, or the service does not say.
	ServiceTier, PerformanceLatency string
	// Connect is the dial and TLS time inside this attempt, 0 on a reused connection.
	Connect time.Duration
	// ServerFirstByte and ServerTotal are what the service reported; negative where it did not.
	ServerFirstByte, ServerTotal time.Duration
}

// Timing holds the times of a record as section 6 of the design defines them. A negative
// duration is absent: the row leaves it out.
type Timing struct {
	Started         time.Time     // start of the attempt that the row tells of, with a monotonic reading
	Queued          time.Duration // read from input → first attempt's start
	Connect         time.Duration // dial + TLS inside the attempt, 0 on a reused connection
	FirstToken      time.Duration // start → first event with content of any kind
	FirstText       time.Duration // start → first event with answer text
	Total           time.Duration // start → terminal event
	Elapsed         time.Duration // first attempt's start → terminal event of the last
	InterTokenP50   time.Duration // median gap between content events
	InterTokenMax   time.Duration // longest gap between content events
	ServerFirstByte time.Duration // as reported by the service
	ServerTotal     time.Duration // as reported by the service
}

// A Result is what became of a record: exactly one of Response and Err is set.
type Result struct {
	Record  *Record
	ModelID string
	// Request is nil only for a record that was rejected.
	Request  *Request
	Response *Response
	Timing   Timing
	Attempts int // that counted; throttled ones do not

	Err *RowError
	// Partial is the text of the best half answer of a record that failed.
	Partial string
}

// Rejected tells a record that could not be sent from one that was sent and failed.
func (r *Result) Rejected() bool { return r.Err != nil && r.Record.Fault != nil }

// A RowError is the error member of an error row.
type RowError struct {
	Code      int    // HTTP status, of an in-stream exception the one it is modelled with; 0 for our own types
	Type      string // ThrottlingException, TruncatedStream, InvalidRecord, …
	Message   string
	Retryable bool
	RequestID string // of the last attempt, "" if none
}
