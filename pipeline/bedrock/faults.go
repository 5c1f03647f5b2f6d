package bedrock

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/batchrun/batchrun/pipeline"
)

// modelled are the exceptions of the service with the status they are modelled with, and those that
// it sends without a model. The type counts before the status.
var modelled = map[string]struct {
	kind pipeline.Kind
	code int
}{
	"ThrottlingException":           {pipeline.Throttled, 429},
	"ServiceQuotaExceededException": {pipeline.Throttled, 400},
	"ModelNotReadyException":        {pipeline.NotReady, 429},
	"ModelTimeoutException":         {pipeline.Overload, 408},
	"ServiceUnavailableException":   {pipeline.Overload, 503},
	"ModelErrorException":           {pipeline.Transient, 424},
	"ModelStreamErrorException":     {pipeline.Transient, 424},
	"InternalServerException":       {pipeline.Transient, 500},
	"ValidationException":           {pipeline.RecordFatal, 400},
	"AccessDeniedException":         {pipeline.JobFatal, 403},
	"ResourceNotFoundException":     {pipeline.JobFatal, 404},
}

// inStream are those of them that are modelled inside a stream as well.
var inStream = map[string]bool{
	"ThrottlingException": true, "ModelTimeoutException": true, "ServiceUnavailableException": true,
	"ModelStreamErrorException": true, "InternalServerException": true, "ValidationException": true,
}

// unmodelled are codes in front of the service, without the ending Exception that some carry.
var unmodelled = map[string]pipeline.Kind{
	"ExpiredToken":                  pipeline.JobFatal,
	"UnrecognizedClient":            pipeline.JobFatal,
	"InvalidClientTokenId":          pipeline.JobFatal,
	"IncompleteSignature":           pipeline.JobFatal,
	"RequestExpired":                pipeline.JobFatal,
	"InvalidSignature":              pipeline.JobFatal,
	"SignatureDoesNotMatch":         pipeline.JobFatal,
	"MissingAuthentication":         pipeline.JobFatal,
	"MissingAuthenticationToken":    pipeline.JobFatal,
	"RequestTimeTooSkewed":          pipeline.JobFatal,
	"NotAuthorized":                 pipeline.JobFatal,
	"OptInRequired":                 pipeline.JobFatal,
	"AccessDenied":                  pipeline.JobFatal,
	"FTUFormNotFilled":              pipeline.JobFatal,
	"MPAgreementBeingCreated":       pipeline.JobFatal,
	"UnknownOperation":              pipeline.JobFatal,
	"Throttling":                    pipeline.Throttled,
	"ThrottledRequest":              pipeline.Throttled,
	"RequestThrottled":              pipeline.Throttled,
	"TooManyRequests":               pipeline.Throttled,
	"RequestLimitExceeded":          pipeline.Throttled,
	"LimitExceeded":                 pipeline.Throttled,
	"SlowDown":                      pipeline.Throttled,
	"ServiceUnavailable":            pipeline.Overload,
	"RequestTimeout":                pipeline.Overload,
	"InternalFailure":               pipeline.Transient,
	"InternalError":                 pipeline.Transient,
	"RequestEntityTooLarge":         pipeline.RecordFatal,
	"ProvisionedThroughputExceeded": pipeline.Throttled,
}

// kindOf says what an error before the stream means.
func kindOf(name string, status int) pipeline.Kind {
	if m, ok := modelled[name]; ok {
		return m.kind
	}
	if kind, ok := unmodelled[strings.TrimSuffix(name, "Exception")]; ok {
		return kind
	}
	switch {
	case status == http.StatusTooManyRequests:
		return pipeline.Throttled
	case status == http.StatusServiceUnavailable, status == http.StatusRequestTimeout, status == http.StatusTooEarly:
		return pipeline.Overload
	case status == http.StatusFailedDependency:
		return pipeline.Transient
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusNotFound,
		status == http.StatusProxyAuthRequired:
		return pipeline.JobFatal
	case status >= 400 && status < 500:
		return pipeline.RecordFatal
	}
	return pipeline.Transient
}

// exceptionName is the name of an exception in upper camel, however it was written.
func exceptionName(s string) string {
	if _, after, ok := strings.Cut(s, "#"); ok {
		s = after
	}
	s, _, _ = strings.Cut(s, ":")
	var b strings.Builder
	for part := range strings.SplitSeq(strings.TrimSpace(s), "_") {
		if part != "" {
			b.WriteString(strings.ToUpper(part[:1]) + part[1:])
		}
	}
	return b.String()
}

// hint sets what the text of a message gives away.
func hint(e *pipeline.InvokeError) {
	text := strings.ToLower(e.Message)
	e.Daily = e.Kind == pipeline.Throttled && strings.Contains(text, "per day")
	switch {
	case e.Kind != pipeline.Throttled:
	case strings.Contains(text, "token"):
		e.Quota = pipeline.QuotaTokens
	case strings.Contains(text, "request"):
		e.Quota = pipeline.QuotaRequests
	}
	e.Capacity = e.Code == http.StatusServiceUnavailable || strings.Contains(text, "too many connections")
}

// interrupted is the error of an attempt whose context ended.
func interrupted(ctx context.Context) *pipeline.InvokeError {
	return &pipeline.InvokeError{Kind: pipeline.Interrupted, Type: "Interrupted", Err: context.Cause(ctx)}
}

// openFault says what an error before the stream means: by the context first, by the type second, by the status third.
func (m *Model) openFault(ctx context.Context, c *call, err error) *pipeline.InvokeError {
	if ctx.Err() != nil {
		e := interrupted(ctx)
		e.RequestID, e.Unbilled = c.requestID(), !c.written.Load()
		return e
	}
	switch {
	case !c.sent:
		e := m.credentialsFault(err)
		e.Unbilled = true
		return e
	case c.response == nil:
		e := &pipeline.InvokeError{Kind: pipeline.Transient, Type: pipeline.TypeConnectionError, Err: err, Unbilled: !c.written.Load()}
		e.Message = m.redact(oneLine(sendError(err).Error()))
		return e
	}
	status := c.response.StatusCode
	name, message := exceptionName(c.response.Header.Get("X-Amzn-Errortype")), ""
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		if code := exceptionName(api.ErrorCode()); code != "" && code != "UnknownError" {
			name = code
		}
		if message = api.ErrorMessage(); message == "UnknownError" {
			message = ""
		}
	}
	named := name != ""
	if !named {
		name = strings.ReplaceAll(http.StatusText(status), " ", "")
	}
	if name == "" {
		name = "HTTPError"
	}
	worded := message != ""
	if !worded {
		message = http.StatusText(status)
		if text := oneLine(string(c.snippet[:min(len(c.snippet), 500)])); text != "" {
			message += ": " + strings.ToValidUTF8(text, "\uFFFD")
		}
	}
	e := &pipeline.InvokeError{
		Kind: kindOf(name, status), Type: name, Code: status,
		Message: m.redact(message), RequestID: c.requestID(),
	}
	if (e.Kind == pipeline.RecordFatal || e.Kind == pipeline.JobFatal) && c.isMarkup() && status != http.StatusRequestEntityTooLarge {
		// A page of something in between: the service itself has not judged the request.
		e.Kind = pipeline.Transient
	}
	e.Unbilled = refused(status, named)
	hint(e)
	if !worded {
		e.Quota = "" // those are the words of the status: 429 is Too Many Requests, whatever there was too much of
	}
	return e
}

// refused reports whether an error before the stream tells that no model has seen the request: the service refuses by a status
// of 4xx, and with 503 where it is short of capacity. Of the others nobody says that they are free: a model that took too long
// (408) or gave up (424) has worked, and so may have what failed with 5xx. A 503 without the service's own name for it may be
// from something in between, which says nothing of what became of the request behind it.
func refused(status int, named bool) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusFailedDependency:
		return false
	case http.StatusServiceUnavailable:
		return named
	}
	return status >= 400 && status < 500
}

// isMarkup reports whether the answer is a page for people rather than the service's JSON.
func (c *call) isMarkup() bool {
	return c.response.Header.Get("X-Amzn-Errortype") == "" && bytes.HasPrefix(bytes.TrimSpace(c.snippet), []byte("<"))
}

// sendError is an error of the transport without the layers that the SDK puts around it.
func sendError(err error) error {
	if sent, ok := errors.AsType[*smithyhttp.RequestSendError](err); ok {
		return sent.Err
	}
	return err
}

// requestID is the service's name for the call, "" while there is none.
func (c *call) requestID() string {
	if c.response == nil {
		return ""
	}
	return c.response.Header.Get("X-Amzn-Requestid")
}

// serviceFault reads an exception frame.
func serviceFault(name string, payload []byte) *streamFault {
	f := &streamFault{name: name}
	o := parseObject(payload)
	for _, key := range []string{"message", "Message", "originalMessage"} {
		if f.message = o.str(key); f.message != "" {
			return f
		}
	}
	if o == nil {
		f.message = strings.ToValidUTF8(string(payload), "\uFFFD")
	}
	return f
}

// streamFault says what a fault inside the stream means.
func (m *Model) streamFault(ctx context.Context, st *stream, f *streamFault) *pipeline.InvokeError {
	var e *pipeline.InvokeError
	switch {
	case ctx.Err() != nil:
		e = interrupted(ctx)
	case f.local:
		e = &pipeline.InvokeError{Kind: f.kind, Type: f.name, Message: m.redact(f.message), Err: f.err}
	default:
		e = &pipeline.InvokeError{Kind: pipeline.Transient, Type: exceptionName(f.name), Message: m.redact(f.message)}
		if inStream[e.Type] {
			e.Kind, e.Code = modelled[e.Type].kind, modelled[e.Type].code
		}
		switch {
		case e.Type == "":
			e.Type = "UnknownError"
		case e.Type == "OverloadedError": // Anthropic's own, inside a chunk
			e.Kind = pipeline.Overload
		case e.Kind == pipeline.Throttled && st.content:
			e.Kind = pipeline.Transient // the quota had let this one in
		}
		hint(e)
	}
	e.RequestID, e.Partial, e.Content = st.call.requestID(), st.asm.text(), st.content
	return e
}
