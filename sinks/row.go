package sinks

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/batchrun/batchrun/pipeline"
)

// Rows says what rows hold, as the flag --rows names it.
type Rows string

// The kinds of rows.
const (
	Full      Rows = "full"      // with modelInput; the default
	Lean      Rows = "lean"      // without modelInput
	Bedrock   Rows = "bedrock"   // as Bedrock batch inference writes them
	OpenAI    Rows = "openai"    // as an OpenAI batch has them in its output and error files
	Anthropic Rows = "anthropic" // as the results of an Anthropic Message Batch
	Text      Rows = "text"      // recordId and text
)

// Kinds are all kinds of rows, as --rows takes them.
func Kinds() []string {
	return []string{string(Full), string(Lean), string(Bedrock), string(OpenAI), string(Anthropic), string(Text)}
}

// Valid reports whether r is a kind of rows; "" is [Full].
func (r Rows) Valid() bool { return r == "" || slices.Contains(Kinds(), string(r)) }

// HasPlace tells whether rows say where their record stands. Those of other programs do not: their order in the file
// is then all that tells, see package jobs/state.
func (r Rows) HasPlace() bool { return r == "" || r == Full || r == Lean }

// AppendRow appends the row of a result and a newline.
func AppendRow(dst []byte, r *pipeline.Result, rows Rows) []byte {
	e := rowEncoder{buf: dst, rows: rows}
	e.row(r) // without a writer nothing can fail
	return e.buf
}

// A rowEncoder writes rows through a buffer. Large raw values go past it, so that a modelInput of
// many megabytes is not copied.
type rowEncoder struct {
	w    io.Writer // nil: everything stays in buf
	buf  []byte
	rows Rows
	err  error // of w, kept
}

const (
	flushAt  = 256 << 10 // buffered bytes
	directAt = 64 << 10  // a raw value from here on is not copied
)

func (e *rowEncoder) flush() {
	if e.w == nil || len(e.buf) == 0 {
		return
	}
	if e.err == nil {
		_, e.err = e.w.Write(e.buf)
	}
	e.buf = e.buf[:0]
}

func (e *rowEncoder) row(r *pipeline.Result) {
	rec := r.Record
	if !e.rows.HasPlace() {
		e.end(e.foreignRow(e.buf, r))
		return
	}
	b := appendID(append(e.buf, `{"recordId":`...), rec.ID)
	b = append(b, `,"source":`...)
	b = appendString(b, rec.Source)
	b = append(b, `,"line":`...)
	b = strconv.AppendInt(b, rec.Line, 10)
	if r.ModelID != "" {
		b = append(b, `,"modelId":`...)
		b = appendString(b, r.ModelID)
	}
	if e.rows != Lean && r.Request != nil && len(r.Request.Body) > 0 {
		b = append(b, `,"modelInput":`...)
		b = e.raw(b, r.Request.Body)
	}
	if r.Err != nil {
		b = e.errorTail(b, r)
	} else {
		b = e.resultTail(b, r)
	}
	if len(rec.Metadata) > 0 {
		b = append(b, `,"metadata":`...)
		b = e.raw(b, rec.Metadata)
	}
	e.end(b)
}

// end closes a row.
func (e *rowEncoder) end(b []byte) {
	e.buf = append(b, "}\n"...)
	if len(e.buf) >= flushAt {
		e.flush()
	}
}

func (e *rowEncoder) resultTail(b []byte, r *pipeline.Result) []byte {
	resp := r.Response
	b = append(b, `,"modelOutput":`...)
	if len(resp.Output) > 0 {
		b = e.raw(b, resp.Output)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"text":`...)
	b = appendString(b, resp.Text)
	b = append(b, `,"stopReason":`...)
	b = appendString(b, resp.StopReason)
	b = append(b, `,"usage":{"inputTokens":`...)
	b = strconv.AppendInt(b, resp.Usage.InputTokens, 10)
	b = append(b, `,"outputTokens":`...)
	b = strconv.AppendInt(b, resp.Usage.OutputTokens, 10)
	b = append(b, `,"cacheReadInputTokens":`...)
	b = strconv.AppendInt(b, resp.Usage.CacheReadInputTokens, 10)
	b = append(b, `,"cacheWriteInputTokens":`...)
	b = strconv.AppendInt(b, resp.Usage.CacheWriteInputTokens, 10)
	b = append(b, '}')
	if resp.ServiceTier != "" {
		b = appendString(append(b, `,"serviceTier":`...), resp.ServiceTier)
	}
	if resp.PerformanceLatency != "" {
		b = appendString(append(b, `,"performanceLatency":`...), resp.PerformanceLatency)
	}
	b = append(b, `,"timing":{`...)
	b = appendTiming(b, &r.Timing)
	b = append(b, `},"attempts":`...)
	b = strconv.AppendInt(b, int64(r.Attempts), 10)
	return appendRequestID(b, resp.RequestID)
}

func (e *rowEncoder) errorTail(b []byte, r *pipeline.Result) []byte {
	b = append(appendError(b, r), `,"attempts":`...)
	b = strconv.AppendInt(b, int64(r.Attempts), 10)
	b = appendRequestID(b, r.Err.RequestID)
	if r.Partial != "" {
		b = append(b, `,"partialText":`...)
		b = appendString(b, r.Partial)
	}
	return b
}

func appendRequestID(b []byte, id string) []byte {
	if id == "" {
		return b
	}
	b = append(b, `,"requestId":`...)
	return appendString(b, id)
}

// errorMessage is the message of an error row. That of a line which was never sent begins with its place,
// once.
func errorMessage(r *pipeline.Result) string {
	if !r.Rejected() && r.Request != nil {
		return r.Err.Message
	}
	place := r.Record.Place() + ":"
	if len(r.Err.Message) >= len(place) && r.Err.Message[:len(place)] == place {
		return r.Err.Message
	}
	if f := r.Record.Fault; f != nil { // a fault of the whole line begins where it does
		place += strconv.FormatInt(max(f.Column, 1), 10) + ":"
	}
	return place + " " + r.Err.Message
}

// raw appends a JSON value as it is, except that it cannot end the line.
func (e *rowEncoder) raw(b, value []byte) []byte {
	if bytes.IndexByte(value, '\n') >= 0 || bytes.IndexByte(value, '\r') >= 0 {
		// Between tokens these are white space; within a string JSON does not allow them.
		value = bytes.Clone(value) // nobody writes to a record
		for i, c := range value {
			if c == '\n' || c == '\r' {
				value[i] = ' '
			}
		}
	}
	if e.w == nil || len(value) < directAt {
		return append(b, value...)
	}
	e.buf = b
	e.flush()
	if e.err == nil {
		_, e.err = e.w.Write(value)
	}
	return e.buf
}

func appendTiming(b []byte, t *pipeline.Timing) []byte {
	start := len(b)
	if !t.Started.IsZero() {
		b = append(b, `"startedAt":"`...)
		b = appendTime(b, t.Started)
		b = append(b, '"')
	}
	for _, v := range [...]struct {
		key string
		d   time.Duration
	}{
		{`"queuedMs":`, t.Queued},
		{`"connectMs":`, t.Connect},
		{`"firstTokenMs":`, t.FirstToken},
		{`"firstTextMs":`, t.FirstText},
		{`"totalMs":`, t.Total},
		{`"elapsedMs":`, t.Elapsed},
		{`"interTokenP50Ms":`, t.InterTokenP50},
		{`"interTokenMaxMs":`, t.InterTokenMax},
		{`"serverFirstByteMs":`, t.ServerFirstByte},
		{`"serverTotalMs":`, t.ServerTotal},
	} {
		if v.d < 0 {
			continue
		}
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(b, v.key...)
		b = appendMillis(b, v.d)
	}
	return b
}

// appendTime appends t in UTC with exactly six decimals.
func appendTime(b []byte, t time.Time) []byte {
	return t.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
}

// appendMillis appends d in milliseconds, rounded to microseconds, without trailing zeros.
func appendMillis(b []byte, d time.Duration) []byte {
	us := int64(d.Round(time.Microsecond) / time.Microsecond)
	b = strconv.AppendInt(b, us/1000, 10)
	frac := us % 1000
	if frac == 0 {
		return b
	}
	b = append(b, '.', byte('0'+frac/100))
	if frac %= 100; frac > 0 {
		b = append(b, byte('0'+frac/10))
		if frac %= 10; frac > 0 {
			b = append(b, byte('0'+frac))
		}
	}
	return b
}

// plain tells the ASCII bytes that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			switch c {
			case '"', '\\':
				b = append(b, '\\', c)
			case '\n':
				b = append(b, '\\', 'n')
			case '\r':
				b = append(b, '\\', 'r')
			case '\t':
				b = append(b, '\\', 't')
			default:
				b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(b, s[start:i]...)
			b = append(b, "\uFFFD"...)
			start = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(b, s[start:i]...)
			b = append(b, '\\', 'u', '2', '0', '2', hexDigits[r&15])
			start = i + n
		}
		i += n
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
