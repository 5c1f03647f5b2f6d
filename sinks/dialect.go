package sinks

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// foreignRow appends a row in the words of another program. It does not say where its record stands.
func (e *rowEncoder) foreignRow(b []byte, r *pipeline.Result) []byte {
	switch e.rows {
	case OpenAI:
		return e.openAIRow(b, r)
	case Anthropic:
		return e.anthropicRow(b, r)
	case Text:
		b = appendID(append(b, `{"recordId":`...), r.Record.ID)
		if r.Err != nil {
			return appendError(b, r)
		}
		return appendString(append(b, `,"text":`...), r.Response.Text)
	default:
		return e.bedrockRow(b, r)
	}
}

func appendID(b []byte, id string) []byte {
	if id == "" {
		return append(b, "null"...)
	}
	return appendString(b, id)
}

// bedrockRow is a row as Bedrock batch inference writes it, with nothing beside, see
// https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html. What came in the form of Converse is
// answered in it.
func (e *rowEncoder) bedrockRow(b []byte, r *pipeline.Result) []byte {
	b = appendID(append(b, `{"recordId":`...), r.Record.ID)
	rec := r.Record
	converse := rec.Dialect == pipeline.Invoke && len(rec.Input) > 0 && r.Request != nil && !sameBytes(rec.Input, r.Request.Body)
	in := rec.Input
	if r.Request != nil && !converse {
		in = r.Request.Body
	}
	if len(in) > 0 {
		b = e.raw(append(b, `,"modelInput":`...), in)
	}
	if r.Err != nil {
		b = append(b, `,"error":{"errorCode":`...)
		b = strconv.AppendInt(b, int64(r.Err.Code), 10)
		return append(appendString(append(b, `,"errorMessage":`...), bedrockMessage(r)), '}')
	}
	out := []byte(r.Response.Output)
	switch {
	case converse:
		out = answerOf(r).AppendConverse(nil, aboutOf(r))
	case len(out) == 0:
		out = []byte("null")
	}
	return e.raw(append(b, `,"modelOutput":`...), out)
}

// bedrockMessage carries the type of the error, for which the format has no place of its own.
func bedrockMessage(r *pipeline.Result) string { return r.Err.Type + ": " + errorMessage(r) }

func sameBytes(a, b []byte) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || string(a) == string(b))
}

// openAIRow is a line of the output or error file of an OpenAI batch, see
// https://platform.openai.com/docs/api-reference/batch/request-output. The service's refusals are responses with a status
// there; what never got an answer has an error.
func (e *rowEncoder) openAIRow(b []byte, r *pipeline.Result) []byte {
	b = appendString(append(b, `{"id":`...), "batch_req_"+placeID(r.Record))
	b = appendID(append(b, `,"custom_id":`...), r.Record.ID)
	if r.Err == nil {
		b = appendString(append(b, `,"response":{"status_code":200,"request_id":`...), r.Response.RequestID)
		b = e.raw(append(b, `,"body":`...), answerOf(r).AppendCompletion(nil, aboutOf(r)))
		return append(b, `},"error":null`...)
	}
	if r.Err.Code == 0 {
		b = appendString(append(b, `,"response":null,"error":{"code":`...), r.Err.Type)
		return append(appendString(append(b, `,"message":`...), errorMessage(r)), '}')
	}
	b = append(b, `,"response":{"status_code":`...)
	b = strconv.AppendInt(b, int64(r.Err.Code), 10)
	b = appendString(append(b, `,"request_id":`...), r.Err.RequestID)
	b = appendString(append(b, `,"body":{"error":{"message":`...), errorMessage(r))
	b = appendString(append(b, `,"type":`...), openAIErrorType(r.Err.Code))
	b = append(b, `,"param":null,"code":`...)
	return append(appendString(b, r.Err.Type), `}}},"error":null`...)
}

// placeID names the place of a record within its run, the same on every write.
func placeID(rec *pipeline.Record) string {
	sum := sha256.Sum256(strconv.AppendInt(append([]byte(rec.Source), 0), rec.Line, 10))
	return hex.EncodeToString(sum[:12])
}

// openAIErrorType is what https://platform.openai.com/docs/guides/error-codes has for a status.
func openAIErrorType(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return "rate_limit_error"
	case status >= http.StatusInternalServerError:
		return "server_error"
	}
	return "invalid_request_error"
}

// anthropicRow is a line of the results of a Message Batch, see
// https://docs.claude.com/en/api/retrieving-message-batch-results.
func (e *rowEncoder) anthropicRow(b []byte, r *pipeline.Result) []byte {
	b = appendID(append(b, `{"custom_id":`...), r.Record.ID)
	if r.Err == nil {
		b = e.raw(append(b, `,"result":{"type":"succeeded","message":`...), answerOf(r).AppendMessage(nil, aboutOf(r)))
		return append(b, '}')
	}
	b = appendString(append(b, `,"result":{"type":"errored","error":{"type":"error","error":{"type":`...), anthropicErrorType(r.Err))
	message := errorMessage(r)
	if r.Err.Type != anthropicErrorType(r.Err) { // its own name has no place of its own
		message = r.Err.Type + ": " + message
	}
	b = append(appendString(append(b, `,"message":`...), message), '}')
	if r.Err.RequestID != "" {
		b = appendString(append(b, `,"request_id":`...), r.Err.RequestID)
	}
	return append(b, `}}`...)
}

// anthropicErrorType is what https://docs.claude.com/en/api/errors has for an error.
func anthropicErrorType(e *pipeline.RowError) string {
	switch e.Type {
	case pipeline.TypeInvalidRecord:
		return "invalid_request_error"
	case pipeline.TypeRecordTooLarge:
		return "request_too_large"
	case pipeline.TypeFirstTokenTimeout, pipeline.TypeIdleTimeout, pipeline.TypeAttemptTimeout:
		return "timeout_error"
	}
	switch e.Code {
	case http.StatusBadRequest:
		return "invalid_request_error"
	case http.StatusUnauthorized:
		return "authentication_error"
	case http.StatusForbidden:
		return "permission_error"
	case http.StatusNotFound:
		return "not_found_error"
	case http.StatusRequestEntityTooLarge:
		return "request_too_large"
	case http.StatusTooManyRequests:
		return "rate_limit_error"
	case http.StatusRequestTimeout:
		return "timeout_error"
	case http.StatusServiceUnavailable:
		return "overloaded_error"
	}
	return "api_error"
}

// answerOf takes the answer of a result apart. Of a format that is not known the text remains.
func answerOf(r *pipeline.Result) *dialect.Answer {
	resp := r.Response
	a, ok := dialect.ReadAnswer(resp.Output)
	if !ok {
		a = &dialect.Answer{}
		if resp.Text != "" {
			a.Parts = []pipeline.Part{{Text: resp.Text}}
		}
	}
	if resp.StopReason != "" {
		a.StopReason = resp.StopReason
	}
	if resp.Usage != (pipeline.Usage{}) {
		a.Usage = resp.Usage
	}
	return a
}

func aboutOf(r *pipeline.Result) dialect.About {
	id := r.Response.RequestID
	if id == "" {
		id = placeID(r.Record)
	}
	about := dialect.About{ID: id, Model: r.ModelID, Created: r.Timing.Started, LatencyMs: -1}
	if r.Timing.Total >= 0 {
		about.LatencyMs = int64(r.Timing.Total / time.Millisecond)
	}
	return about
}

// appendError appends the error member of a row.
func appendError(b []byte, r *pipeline.Result) []byte {
	b = append(b, `,"error":{"errorCode":`...)
	b = strconv.AppendInt(b, int64(r.Err.Code), 10)
	b = append(b, `,"errorType":`...)
	b = appendString(b, r.Err.Type)
	b = append(b, `,"errorMessage":`...)
	b = appendString(b, errorMessage(r))
	b = append(b, `,"retryable":`...)
	b = strconv.AppendBool(b, r.Err.Retryable)
	return append(b, '}')
}
