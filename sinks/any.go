package sinks

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// ErrNotRow is the reason of an error about a line that is no row of any kind.
var ErrNotRow = errors.New("not a row")

// ParseAnyRow parses a row of any kind, with or without its newline, and says which kind it is. A row that has a source is
// [Full], also one without modelInput. Kinds but those of [Rows.HasPlace] leave Source and Line empty.
//
// Where the kind has only the body of the answer, the row's Text, StopReason and Usage are read from that.
func ParseAnyRow(line []byte) (*Row, Rows, error) {
	row := &Row{}
	var kind Rows
	var response, result, failure []byte
	err := eachMember(line, func(key string, value []byte) error {
		switch key {
		case "source":
			kind = Full
		case "custom_id":
			return row.takeID(value)
		case "response":
			response = value
		case "result":
			result = value
		case "error":
			failure = notNull(value)
		case "modelOutput", "modelInput":
			if kind == "" {
				kind = Bedrock
			}
		case "text", "recordId":
			if kind == "" {
				kind = Text
			}
		}
		return nil
	})
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", ErrNotRow, err)
	}
	switch {
	case kind != "":
		// "text" may come before what else a row has.
		full, err := ParseRow(line)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %w", ErrNotRow, err)
		}
		if kind != Full {
			full.ModelOutput = notNull(full.ModelOutput) // no answer, and no success
		}
		if kind == Text && (full.ModelOutput != nil || full.ModelInput != nil) {
			kind = Bedrock
		}
		switch {
		case kind == Text && !full.HasText && full.Error == nil, kind == Bedrock && full.ModelOutput == nil && full.Error == nil:
			return nil, "", fmt.Errorf("%w: neither an answer nor an error", ErrNotRow)
		case kind == Bedrock:
			full.fromBedrock()
		}
		return full, kind, nil
	case response != nil:
		return row, OpenAI, row.fromOpenAI(response, failure)
	case result != nil:
		return row, Anthropic, row.fromAnthropic(result)
	}
	return nil, "", fmt.Errorf("%w: it has none of modelOutput, response, result and text", ErrNotRow)
}

// fromBedrock reads what a row of Bedrock batch inference says only within.
func (r *Row) fromBedrock() {
	if e := r.Error; e != nil && e.ErrorType == "" {
		// Our own rows say the type before the message, the service's say nothing of it.
		if name, rest, ok := strings.Cut(e.ErrorMessage, ": "); ok && isTypeName(name) {
			e.ErrorType, e.ErrorMessage = name, rest
		} else {
			e.ErrorType = typeOfStatus(int(e.ErrorCode))
		}
		e.Retryable = e.Retryable || retryableStatus(int(e.ErrorCode)) || e.ErrorCode == 0 && !isRejection(e.ErrorType)
	}
	r.readOutput()
}

// readOutput reads text, stop reason and usage from the body of the answer.
func (r *Row) readOutput() {
	if r.ModelOutput == nil || r.HasText {
		return
	}
	a, ok := dialect.ReadAnswer(r.ModelOutput)
	r.HasText = true
	if !ok {
		return
	}
	r.Text, r.StopReason = a.Text(), a.StopReason
	u := a.Usage
	r.Usage = RowUsage{u.InputTokens, u.OutputTokens, u.CacheReadInputTokens, u.CacheWriteInputTokens}
}

// isTypeName tells the name of an error from the beginning of a sentence.
func isTypeName(s string) bool {
	for i, c := range []byte(s) {
		upper, lower := c >= 'A' && c <= 'Z', c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if i == 0 && !upper || !upper && !lower {
			return false
		}
	}
	return len(s) > 3
}

func isRejection(name string) bool {
	return name == pipeline.TypeInvalidRecord || name == pipeline.TypeRecordTooLarge
}

// typeOfStatus is the exception that Bedrock models a status with.
func typeOfStatus(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "ValidationException"
	case http.StatusForbidden:
		return "AccessDeniedException"
	case http.StatusNotFound:
		return "ResourceNotFoundException"
	case http.StatusRequestTimeout:
		return "ModelTimeoutException"
	case http.StatusFailedDependency:
		return "ModelErrorException"
	case http.StatusTooManyRequests:
		return "ThrottlingException"
	case http.StatusServiceUnavailable:
		return "ServiceUnavailableException"
	}
	return "InternalServerException"
}

func retryableStatus(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusFailedDependency, http.StatusTooManyRequests:
		return true
	}
	return status >= http.StatusInternalServerError
}

func (r *Row) fromOpenAI(response, failure []byte) error {
	if failure != nil {
		e := &RowError{}
		r.Error = e
		return eachMember(failure, func(key string, value []byte) error {
			switch key {
			case "code":
				return optional(value, &e.ErrorType)
			case "message":
				return optional(value, &e.ErrorMessage)
			}
			return nil
		})
	}
	if notNull(response) == nil {
		return fmt.Errorf("%w: neither a response nor an error", ErrNotRow)
	}
	var status int64
	var body []byte
	err := eachMember(response, func(key string, value []byte) error {
		switch key {
		case "status_code":
			return integer(value, &status)
		case "request_id":
			return optional(value, &r.RequestID)
		case "body":
			body = notNull(value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: response: %w", ErrNotRow, err)
	}
	if status >= http.StatusOK && status < http.StatusMultipleChoices {
		if body == nil {
			return fmt.Errorf("%w: a response without a body", ErrNotRow)
		}
		r.ModelOutput = body
		r.readOutput()
		return nil
	}
	e := &RowError{ErrorCode: status, Retryable: retryableStatus(int(status))}
	r.Error = e
	if body == nil {
		return nil
	}
	return eachMember(body, func(key string, value []byte) error {
		if key != "error" || notNull(value) == nil {
			return nil
		}
		return eachMember(value, func(key string, value []byte) error {
			switch key {
			case "message":
				return optional(value, &e.ErrorMessage)
			case "code":
				return optional(value, &e.ErrorType)
			case "type":
				if e.ErrorType == "" {
					return optional(value, &e.ErrorType)
				}
			}
			return nil
		})
	})
}

// optional reads a string, or nothing of a null or number.
func optional(value []byte, to *string) error {
	if value[0] != '"' {
		return nil
	}
	return unquote(value, to)
}

func (r *Row) fromAnthropic(result []byte) error {
	var kind string
	var message, failure []byte
	err := eachMember(result, func(key string, value []byte) error {
		switch key {
		case "type":
			return unquote(value, &kind)
		case "message":
			message = notNull(value)
		case "error":
			failure = notNull(value)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("%w: result: %w", ErrNotRow, err)
	}
	switch kind {
	case "succeeded":
		if message == nil {
			return fmt.Errorf("%w: a success without a message", ErrNotRow)
		}
		r.ModelOutput = message
		r.readOutput()
		return nil
	case "canceled", "expired": // never executed
		r.Error = &RowError{ErrorType: kind, ErrorMessage: "the request was not executed: " + kind, Retryable: true}
		return nil
	case "errored":
		e := &RowError{}
		r.Error = e
		if failure == nil {
			return nil
		}
		return r.anthropicError(e, failure)
	}
	return fmt.Errorf("%w: a result of type %.40q", ErrNotRow, kind)
}

// anthropicError reads {"type":"error","error":{"type":…,"message":…}}, or the inner object alone.
func (r *Row) anthropicError(e *RowError, raw []byte) error {
	return eachMember(raw, func(key string, value []byte) error {
		switch key {
		case "error":
			if notNull(value) != nil {
				return r.anthropicError(e, value)
			}
		case "type":
			var name string
			if err := optional(value, &name); err != nil || name == "error" {
				return err
			}
			e.ErrorType, e.ErrorCode = name, anthropicStatus(name)
			e.Retryable = retryableStatus(int(e.ErrorCode))
		case "message":
			return optional(value, &e.ErrorMessage)
		case "request_id":
			return optional(value, &r.RequestID)
		}
		return nil
	})
}

func anthropicStatus(name string) int64 {
	switch name {
	case "invalid_request_error":
		return http.StatusBadRequest
	case "authentication_error":
		return http.StatusUnauthorized
	case "permission_error":
		return http.StatusForbidden
	case "not_found_error":
		return http.StatusNotFound
	case "request_too_large":
		return http.StatusRequestEntityTooLarge
	case "rate_limit_error":
		return http.StatusTooManyRequests
	case "timeout_error":
		return http.StatusRequestTimeout
	case "overloaded_error":
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// Result makes a result of a row, to be written as a row of another kind. It shares memory with the row.
func (r *Row) Result() *pipeline.Result {
	res := &pipeline.Result{
		Record:   &pipeline.Record{ID: r.RecordID, Source: r.Source, Line: r.Line, Metadata: r.Metadata},
		ModelID:  r.ModelID,
		Timing:   r.Timing.timing(),
		Attempts: int(r.Attempts),
		Partial:  r.PartialText,
	}
	if r.ModelInput != nil {
		res.Record.Input = r.ModelInput
		res.Request = &pipeline.Request{Record: res.Record, Body: r.ModelInput}
	}
	if e := r.Error; e != nil {
		if res.Request == nil { // the message already has its place, and must not get it twice
			res.Request = &pipeline.Request{Record: res.Record}
		}
		res.Err = &pipeline.RowError{Code: int(e.ErrorCode), Type: e.ErrorType, Message: e.ErrorMessage, Retryable: e.Retryable, RequestID: r.RequestID}
		return res
	}
	res.Response = &pipeline.Response{
		Output: r.ModelOutput, Text: r.Text, StopReason: r.StopReason, RequestID: r.RequestID,
		Usage: pipeline.Usage{
			InputTokens: r.Usage.InputTokens, OutputTokens: r.Usage.OutputTokens,
			CacheReadInputTokens: r.Usage.CacheReadInputTokens, CacheWriteInputTokens: r.Usage.CacheWriteInputTokens,
		},
		ServerFirstByte: res.Timing.ServerFirstByte, ServerTotal: res.Timing.ServerTotal,
	}
	return res
}

// timing is the way back from milliseconds.
func (t *RowTiming) timing() pipeline.Timing {
	d := func(ms *float64) time.Duration {
		if ms == nil {
			return -1
		}
		return time.Duration(*ms * float64(time.Millisecond)).Round(time.Microsecond)
	}
	return pipeline.Timing{
		Started: t.StartedAt, Queued: d(t.QueuedMs), Connect: d(t.ConnectMs), FirstToken: d(t.FirstTokenMs), FirstText: d(t.FirstTextMs),
		Total: d(t.TotalMs), Elapsed: d(t.ElapsedMs), InterTokenP50: d(t.InterTokenP50Ms), InterTokenMax: d(t.InterTokenMaxMs),
		ServerFirstByte: d(t.ServerFirstByteMs), ServerTotal: d(t.ServerTotalMs),
	}
}

// Members yields the members of a JSON object as they stand, names with their quotes. It stops at what is not JSON.
func Members(object []byte) func(yield func(name, value []byte) bool) {
	return func(yield func(name, value []byte) bool) {
		i := skipSpace(object, 0)
		if i >= len(object) || object[i] != '{' {
			return
		}
		for i = skipSpace(object, i+1); i < len(object) && object[i] == '"'; i = skipSpace(object, i+1) {
			end, err := skipString(object, i)
			if err != nil {
				return
			}
			name := object[i:end]
			i = skipSpace(object, end)
			if i >= len(object) || object[i] != ':' {
				return
			}
			i = skipSpace(object, i+1)
			if end, err = skipValue(object, i); err != nil || !yield(name, object[i:end]) {
				return
			}
			if i = skipSpace(object, end); i >= len(object) || object[i] != ',' {
				return
			}
		}
	}
}
