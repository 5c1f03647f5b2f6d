package sinks

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// A Row is a row as it was read back. Byte slices share memory with what it was parsed from.
type Row struct {
	RecordID string
	HasID    bool // false: recordId is null
	Source   string
	Line     int64
	ModelID  string

	ModelInput  []byte // JSON, nil where left out
	ModelOutput []byte // JSON, nil in an error row
	Metadata    []byte // JSON, nil where there is none

	Text       string
	HasText    bool
	StopReason string
	Usage      RowUsage
	// ServiceTier and PerformanceLatency are those that answered; "" where none was asked for.
	ServiceTier, PerformanceLatency string

	Timing    RowTiming
	Attempts  int64
	RequestID string

	Error       *RowError // nil in a result row
	PartialText string
}

// RowUsage is the usage member of a row.
type RowUsage struct {
	InputTokens           int64 `json:"inputTokens"`
	OutputTokens          int64 `json:"outputTokens"`
	CacheReadInputTokens  int64 `json:"cacheReadInputTokens"`
	CacheWriteInputTokens int64 `json:"cacheWriteInputTokens"`
}

// RowTiming is the timing member of a row, in milliseconds; nil is absent.
type RowTiming struct {
	StartedAt         time.Time `json:"startedAt"`
	QueuedMs          *float64  `json:"queuedMs"`
	ConnectMs         *float64  `json:"connectMs"`
	FirstTokenMs      *float64  `json:"firstTokenMs"`
	FirstTextMs       *float64  `json:"firstTextMs"`
	TotalMs           *float64  `json:"totalMs"`
	ElapsedMs         *float64  `json:"elapsedMs"`
	InterTokenP50Ms   *float64  `json:"interTokenP50Ms"`
	InterTokenMaxMs   *float64  `json:"interTokenMaxMs"`
	ServerFirstByteMs *float64  `json:"serverFirstByteMs"`
	ServerTotalMs     *float64  `json:"serverTotalMs"`
}

// RowError is the error member of an error row.
type RowError struct {
	ErrorCode    int64  `json:"errorCode"`
	ErrorType    string `json:"errorType"`
	ErrorMessage string `json:"errorMessage"`
	Retryable    bool   `json:"retryable"`
}

// lenient reads what rows may hold: the user's JSON is kept as it came, doubled names and all.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// ParseRow parses a row, with or without its newline. Members it does not know are passed over.
func ParseRow(line []byte) (*Row, error) {
	row := &Row{}
	err := eachMember(line, func(key string, value []byte) error {
		switch key {
		case "modelInput":
			row.ModelInput = notNull(value)
		case "modelOutput":
			row.ModelOutput = value
		case "metadata":
			row.Metadata = notNull(value)
		case "recordId":
			return row.takeID(value)
		case "source":
			return unquote(value, &row.Source)
		case "line":
			return integer(value, &row.Line)
		case "modelId":
			return unquote(value, &row.ModelID)
		case "text":
			row.HasText = true
			return unquote(value, &row.Text)
		case "stopReason":
			return unquote(value, &row.StopReason)
		case "serviceTier":
			return unquote(value, &row.ServiceTier)
		case "performanceLatency":
			return unquote(value, &row.PerformanceLatency)
		case "requestId":
			return unquote(value, &row.RequestID)
		case "partialText":
			return unquote(value, &row.PartialText)
		case "attempts":
			return integer(value, &row.Attempts)
		case "usage":
			return json.Unmarshal(value, &row.Usage, lenient)
		case "timing":
			return json.Unmarshal(value, &row.Timing, lenient)
		case "error":
			return row.takeError(value)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("not a row: %w", err)
	}
	return row, nil
}

// takeID reads an id: a string, or a number as it is written.
func (r *Row) takeID(value []byte) error {
	if string(value) == "null" {
		return nil
	}
	r.HasID = true
	if c := value[0]; c == '-' || c >= '0' && c <= '9' {
		r.RecordID = string(value)
		return nil
	}
	return unquote(value, &r.RecordID)
}

// takeError reads the error of a row. Bedrock documents two of its members and not their types, so codes may be strings, and the
// whole error one.
func (r *Row) takeError(value []byte) error {
	if notNull(value) == nil {
		return nil
	}
	e := &RowError{}
	r.Error = e
	if value[0] == '"' {
		return unquote(value, &e.ErrorMessage)
	}
	return eachMember(value, func(key string, value []byte) error {
		switch key {
		case "errorCode":
			return e.takeCode(value)
		case "errorType":
			return optional(value, &e.ErrorType)
		case "errorMessage", "message":
			return optional(value, &e.ErrorMessage)
		case "retryable":
			e.Retryable = string(value) == "true"
		case "expired":
			if string(value) == "true" {
				e.Retryable = true
				if e.ErrorType == "" {
					e.ErrorType = "Expired"
				}
			}
		}
		return nil
	})
}

// takeCode reads a status; what is no number is the name of an error.
func (e *RowError) takeCode(value []byte) error {
	var text string
	if value[0] == '"' {
		if err := unquote(value, &text); err != nil {
			return err
		}
	} else {
		text = string(value)
	}
	code, err := strconv.ParseFloat(text, 64)
	switch {
	case err == nil && code >= 0 && code < 1000:
		e.ErrorCode = int64(code)
	case value[0] == '"' && e.ErrorType == "":
		e.ErrorType = text
	case value[0] != '"' && text != "null":
		return fmt.Errorf("%.20q is not a status", value)
	}
	return nil
}

// RowPlace reads only where the record of a row stands.
func RowPlace(line []byte) (source string, number int64, err error) {
	found := 0
	err = eachMember(line, func(key string, value []byte) error {
		switch key {
		case "source":
			found |= 1
			return unquote(value, &source)
		case "line":
			found |= 2
			if err := integer(value, &number); err != nil {
				return err
			}
		}
		if found == 3 {
			return errStop
		}
		return nil
	})
	switch {
	case errors.Is(err, errStop):
		return source, number, nil
	case err == nil:
		err = errors.New("no source or line")
	}
	return "", 0, fmt.Errorf("not a row: %w", err)
}

var errStop = errors.New("stop")

func notNull(value []byte) []byte {
	if string(value) == "null" {
		return nil
	}
	return value
}

func unquote(value []byte, to *string) error {
	b, err := jsontext.AppendUnquote(nil, value)
	if err != nil && !bytes.HasPrefix(value, []byte(`"`)) {
		return fmt.Errorf("%.20q is not a string", value)
	}
	// What remains is invalid UTF-8, for which AppendUnquote has put U+FFFD.
	*to = string(b)
	return nil
}

func integer(value []byte, to *int64) error {
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil {
		return fmt.Errorf("%.20q is not a whole number", value)
	}
	*to = n
	return nil
}

// eachMember splits a JSON object into its members without looking into their values, which it only finds the
// ends of: a row is as long as a modelInput, and that was checked when it was read.
func eachMember(line []byte, f func(key string, value []byte) error) error {
	i := skipSpace(line, 0)
	if i >= len(line) || line[i] != '{' {
		return errors.New("it does not begin with {")
	}
	i = skipSpace(line, i+1)
	for first := true; ; first = false {
		if i < len(line) && line[i] == '}' && first {
			i++
			break
		}
		end, err := skipValue(line, i)
		if err != nil {
			return err
		}
		if line[i] != '"' {
			return fmt.Errorf("byte %d: a name was expected", i+1)
		}
		var key string
		if err := unquote(line[i:end], &key); err != nil {
			return err
		}
		i = skipSpace(line, end)
		if i >= len(line) || line[i] != ':' {
			return fmt.Errorf("byte %d: a colon was expected", i+1)
		}
		i = skipSpace(line, i+1)
		if end, err = skipValue(line, i); err != nil {
			return err
		}
		if err := f(key, line[i:end:end]); err != nil {
			if errors.Is(err, errStop) {
				return err
			}
			return fmt.Errorf("%s: %w", key, err)
		}
		i = skipSpace(line, end)
		if i < len(line) && line[i] == ',' {
			i = skipSpace(line, i+1)
			continue
		}
		if i >= len(line) || line[i] != '}' {
			return fmt.Errorf("byte %d: a comma or } was expected", i+1)
		}
		i++
		break
	}
	if skipSpace(line, i) != len(line) {
		return fmt.Errorf("byte %d: more after the object", i+1)
	}
	return nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

var errCut = errors.New("it ends too early")

// skipValue returns where the value that begins at i ends.
func skipValue(b []byte, i int) (int, error) {
	if i >= len(b) {
		return 0, errCut
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		start := i
		for i < len(b) && !bytes.ContainsRune([]byte(",:]} \t\r\n\"{["), rune(b[i])) {
			i++
		}
		if i == start {
			return 0, fmt.Errorf("byte %d: a value was expected", i+1)
		}
		return i, nil
	}
	for depth := 0; i < len(b); {
		switch b[i] {
		case '"':
			end, err := skipString(b, i)
			if err != nil {
				return 0, err
			}
			i = end
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1, nil
			}
		}
		i++
	}
	return 0, errCut
}

func skipString(b []byte, i int) (int, error) {
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return 0, errCut
		}
		end := i + n
		slashes := 0
		for slashes < end-i && b[end-1-slashes] == '\\' {
			slashes++
		}
		i = end + 1
		if slashes%2 == 0 {
			return i, nil
		}
	}
}

// ValidJSON tells whether a value is JSON as rows may hold it: doubled names and bytes that are not UTF-8
// are the user's business.
func ValidJSON(value []byte) bool {
	return jsontext.Value(value).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}
