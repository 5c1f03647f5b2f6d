package sim

import (
	"fmt"
	"net/http"
)

// An Error is an error as the service answers it before a stream: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html.
type Error struct {
	Status  int    // HTTP status
	Type    string // "ValidationException", or "" for a bare answer without the service's headers
	Message string
	// HTML is sent in place of the service's JSON: what a gateway in between answers.
	HTML string
}

// Error says what was answered, in one line.
func (e *Error) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Type, e.Message) }

func validation(format string, args ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Type: "ValidationException", Message: fmt.Sprintf(format, args...)}
}

func malformed(detail string) *Error {
	if detail == "" {
		return validation("Malformed input request, please reformat your input and try again.")
	}
	return validation("Malformed input request: %s, please reformat your input and try again.", detail)
}

func missing(key string) *Error {
	return malformed("#: required key [" + key + "] not found")
}

// Messages of throttling, word for word: from aws-samples/aws-genai-llm-chatbot#220 and anthropics/claude-code#236.
const (
	msgRequests    = "Too many requests, please wait before trying again. You have sent too many requests. Wait before trying again."
	msgTokens      = "Too many tokens, please wait before trying again."
	msgDay         = "Too many tokens per day, please wait before trying again."
	msgConnections = "Too many connections, please wait before trying again."
)

// errorTypeSuffix follows the type in x-amzn-ErrorType: the header list of aws-samples/amazon-bedrock-client-for-mac#99.
const errorTypeSuffix = ":http://internal.amazon.com/coral/com.amazon.bedrock/"

// write answers with the error. The request id is already among the headers.
func (e *Error) write(w http.ResponseWriter) {
	if e.HTML != "" {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(e.Status)
		_, _ = w.Write([]byte(e.HTML)) // a client that has gone needs no answer
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if e.Type != "" {
		w.Header()["x-amzn-ErrorType"] = []string{e.Type + errorTypeSuffix}
	}
	body := appendQuoted([]byte(`{"message":`), e.Message)
	if e.Type == "ModelErrorException" || e.Type == "ModelStreamErrorException" {
		body = append(body, `,"originalStatusCode":500`...)
	}
	if e.Type == "ModelErrorException" {
		body = append(body, `,"resourceName":"simulated-model"`...)
	}
	if e.Type == "ModelStreamErrorException" {
		body = append(body, `,"originalMessage":"the simulated model failed"`...)
	}
	body = append(body, '}')
	w.WriteHeader(e.Status)
	_, _ = w.Write(body)
}
