package sim

import "net/http"

// A faultRow says what a kind of fault does; exactly one of its functions is set.
type faultRow struct {
	doc string
	// preStream is answered in place of a stream.
	preStream *Error
	// before strikes before any header is sent.
	before func(*attempt, *Fault)
	// strike strikes within a stream; the stream goes on if it returns true.
	strike func(*stream, *Fault) bool
	// shapes strikes nothing, and changes what is sent from its position on or throughout.
	shapes bool
	// whole: when it comes after the terminal event, the answer is whole all the same.
	whole bool
}

// free reports whether a fault before the stream tells that the model has not begun.
func (r faultRow) free() bool {
	return r.preStream != nil && refuses(r.preStream.Status)
}

// refuses reports whether a status tells it.
func refuses(status int) bool {
	switch status {
	case http.StatusRequestTimeout, http.StatusFailedDependency:
		return false
	}
	return status < 500 || status == http.StatusServiceUnavailable
}

// faultTable is filled by init, for the functions in it read the table through the attempt.
var faultTable map[string]faultRow

func init() {
	faultTable = map[string]faultRow{
		"drop-before":       {doc: "the connection is closed before any header", before: dropBefore},
		"reset-before":      {doc: "the connection is reset before any header", before: resetBefore},
		"stall-headers":     {doc: "silence before any header", before: stallHeaders},
		"empty":             {doc: "200 with an empty body", before: emptyBody},
		"html":              {doc: "200 with a page of HTML as if it were a stream", before: htmlBody},
		"stall-first-token": {doc: "headers and what comes before the first content, then silence", strike: stall, whole: true},
		"stall":             {doc: "silence in the middle of the stream; @end: after the terminal event", strike: stall, whole: true},
		"truncate":          {doc: "the connection is closed between two frames", strike: truncate, whole: true},
		"truncate-inside":   {doc: "the connection is closed inside a frame", strike: truncateInside},
		"reset":             {doc: "the connection is reset between two frames", strike: reset, whole: true},
		"rst-stream":        {doc: "RST_STREAM on HTTP/2; on HTTP/1.1 the same as truncate", strike: rstStream, whole: true},
		"end":               {doc: "a clean end between two frames", strike: endCleanly, whole: true},
		"end-inside":        {doc: "a clean end inside a frame", strike: endInside},

		"bad-prelude-crc":   {doc: "a frame whose prelude CRC is wrong", strike: badPreludeCRC},
		"bad-message-crc":   {doc: "a frame whose message CRC is wrong", strike: badMessageCRC},
		"garbage":           {doc: "bytes that are no frame", strike: garbage},
		"short-length":      {doc: "a frame that claims a total length below 16, with a good CRC", strike: shortLength},
		"long-headers":      {doc: "a frame whose headers are longer than itself, with a good CRC", strike: longHeaders},
		"huge-length":       {doc: "a frame that claims 3 GiB, with a good CRC", strike: hugeLength},
		"unknown-event":     {doc: "an event of a type unknown, then the stream goes on", strike: unknownEvent, whole: true},
		"unknown-headers":   {doc: "a chunk event with headers of every type and unknown names, then the stream goes on", strike: unknownHeaders, whole: true},
		"unknown-message":   {doc: "a message of a :message-type unknown, then the stream goes on", strike: unknownMessage, whole: true},
		"no-message-type":   {doc: "a message without any header, then the stream goes on", strike: noMessageType, whole: true},
		"no-bytes":          {doc: "a chunk event without bytes", strike: noBytes},
		"not-base64":        {doc: "a chunk event whose bytes are not base64", strike: notBase64},
		"not-json":          {doc: "a chunk event whose bytes are not JSON", strike: notJSON},
		"not-json-event":    {doc: "a chunk event whose payload is not JSON", strike: notJSONEvent},
		"big-pad":           {doc: "a chunk event with 2 MiB of filler, then the stream goes on", strike: bigPad, whole: true},
		"error-frame":       {doc: "a message of type error with :error-code and :error-message", strike: errorFrame},
		"not-json-error":    {doc: "a throttlingException whose payload is not JSON", strike: notJSONException},
		"unmodelled":        {doc: "an in-stream exception of a type that the service does not model", strike: unmodelled},
		"repeat-terminal":   {doc: "an ordinary chunk event after the terminal event (with @end)", strike: strayChunk, whole: true},
		"guardrail-block":   {doc: "a guardrail blocks the input: one event, canned text, no stop reason", shapes: true},
		"guardrail-trace":   {doc: "events carry a guardrail's action, the last one its trace", shapes: true},
		"bad-gateway":       {doc: "a bare 502 with HTML", preStream: html(http.StatusBadGateway)},
		"gateway-timeout":   {doc: "a bare 504 with HTML", preStream: html(http.StatusGatewayTimeout)},
		"payload-too-large": {doc: "a bare 413 with HTML", preStream: html(http.StatusRequestEntityTooLarge)},
		"bare-429":          {doc: "a 429 without an error type", preStream: &Error{Status: http.StatusTooManyRequests, Message: msgRequests}},
	}
	for name, e := range preStreamErrors {
		faultTable[name] = faultRow{doc: "answered before the stream; with a position, an in-stream exception spelled so", preStream: e}
	}
	for name := range inStreamMessages {
		faultTable[name] = faultRow{doc: "an in-stream exception", strike: exception}
	}
}

func html(status int) *Error {
	text := http.StatusText(status)
	return &Error{Status: status, Message: text, HTML: "<html>\r\n<head><title>" + text + "</title></head>\r\n<body>\r\n<center><h1>" + text + "</h1></center>\r\n</body>\r\n</html>\r\n"}
}

// preStreamErrors are the errors of docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html, modelled and not.
var preStreamErrors = func() map[string]*Error {
	table := make(map[string]*Error)
	for _, e := range []*Error{
		{Status: 429, Type: "ThrottlingException", Message: msgRequests},
		{Status: 429, Type: "ModelNotReadyException", Message: "Model is not ready for inference. Wait and try your request again. Refer to https://docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html."},
		{Status: 400, Type: "ServiceQuotaExceededException", Message: "Your request exceeds the service quota for your account."},
		{Status: 408, Type: "ModelTimeoutException", Message: "Model has timed out in processing the request. Try your request again."},
		{Status: 424, Type: "ModelErrorException", Message: "The system encountered an unexpected error during processing. Try your request again."},
		{Status: 424, Type: "ModelStreamErrorException", Message: "An error occurred while streaming the response. Retry your request."},
		{Status: 500, Type: "InternalServerException", Message: "The system encountered an unexpected error during processing. Try your request again."},
		{Status: 503, Type: "ServiceUnavailableException", Message: msgConnections},
		{Status: 400, Type: "ValidationException", Message: "Malformed input request, please reformat your input and try again."},
		{Status: 403, Type: "AccessDeniedException", Message: "You don't have access to the model with the specified model ID."},
		{Status: 404, Type: "ResourceNotFoundException", Message: "Could not resolve the foundation model from the provided model identifier."},
		{Status: 403, Type: "ExpiredTokenException", Message: "The security token included in the request is expired"},
		{Status: 403, Type: "UnrecognizedClientException", Message: "The security token included in the request is invalid."},
		{Status: 404, Type: "FTUFormNotFilled", Message: "Model use case details have not been submitted for this account."},
		{Status: 403, Type: "MPAgreementBeingCreated", Message: "Your AWS Marketplace subscription for this model cannot be completed at this time. Try again after 15 minutes."},
		{Status: 400, Type: "IncompleteSignature", Message: "The request signature does not conform to AWS standards."},
		{Status: 403, Type: "InvalidClientTokenId", Message: "The X.509 certificate or AWS access key ID provided does not exist in our records."},
		{Status: 400, Type: "RequestExpired", Message: "The request reached the service more than 15 minutes after the date stamp on the request."},
	} {
		table[e.Type] = e
	}
	return table
}()

// inStreamMessages are the modelled in-stream exceptions, by their names on the wire.
var inStreamMessages = map[string]string{
	"internalServerException":     "The system encountered an unexpected error during processing. Try your request again.",
	"modelStreamErrorException":   "An error occurred while streaming the response. Retry your request.",
	"validationException":         "The model returned the following errors: the simulated input cannot be processed.",
	"throttlingException":         msgRequests,
	"modelTimeoutException":       "Model has timed out in processing the request. Try your request again.",
	"serviceUnavailableException": msgConnections,
}
