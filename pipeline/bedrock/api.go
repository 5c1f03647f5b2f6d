package bedrock

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"

	"github.com/batchrun/batchrun/pipeline"
)

// The operations that a model can be called by, as --api names them.
const (
	// InvokeStream is InvokeModelWithResponseStream: each family has a format of its own.
	InvokeStream = "invoke-stream"
	// ConverseStream has one format for all models.
	ConverseStream = "converse-stream"
	// Invoke is InvokeModel, for models that cannot stream: its answers come in one piece, and when their first token was made nobody
	// knows.
	Invoke = "invoke"
)

// APIs are the names of the operations.
func APIs() []string { return []string{InvokeStream, ConverseStream, Invoke} }

// APIOf is the operation that a model is called by unless another is named: [InvokeStream], and [Invoke] for a model of which it
// is known that it cannot stream.
func APIOf(modelID string) string {
	if Streams(modelID) {
		return InvokeStream
	}
	return Invoke
}

// Tuning is what a call asks of the service beside its answer. Its zero value asks for nothing. InvokeModel takes it as headers; to
// a Converse request it is added where the record itself does not say it.
type Tuning struct {
	ServiceTier         string            // one of [ServiceTiers]
	PerformanceLatency  string            // one of [PerformanceLatencies]
	GuardrailIdentifier string            // id or ARN
	GuardrailVersion    string            // DRAFT or a number; goes with GuardrailIdentifier
	RequestMetadata     map[string]string // for the account's log of invocations: at most 16 pairs of up to 256 characters

	requestMetadataJSON []byte // RequestMetadata as a header has it
}

// ServiceTiers and PerformanceLatencies are the words of the API:
// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html
func ServiceTiers() []string { return words(types.ServiceTierType("").Values()) }

// PerformanceLatencies are the words of the API for the latency mode.
func PerformanceLatencies() []string { return words(types.PerformanceConfigLatency("").Values()) }

func words[T ~string](values []T) (list []string) {
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}

var guardrailVersion = regexp.MustCompile(`^(DRAFT|[1-9][0-9]{0,7})$`)

// validate reports all faults together.
func (t *Tuning) validate() error {
	var errs []error
	check := func(ok bool, message, hint string) {
		if !ok {
			errs = append(errs, &ConfigError{Message: message, HintText: hint})
		}
	}
	oneOf := func(word string, list []string, what string) {
		check(word == "" || slices.Contains(list, word), fmt.Sprintf("%s %q is not known", what, word), "give one of "+strings.Join(list, ", "))
	}
	oneOf(t.ServiceTier, ServiceTiers(), "service tier")
	oneOf(t.PerformanceLatency, PerformanceLatencies(), "latency mode")
	check((t.GuardrailIdentifier == "") == (t.GuardrailVersion == ""), "a guardrail has an identifier and a version", "give both")
	check(t.GuardrailVersion == "" || guardrailVersion.MatchString(t.GuardrailVersion),
		fmt.Sprintf("guardrail version %q is neither DRAFT nor a number", t.GuardrailVersion), "")
	check(len(t.RequestMetadata) <= 16, fmt.Sprintf("%d pairs of request metadata are more than 16", len(t.RequestMetadata)), "")
	for k, v := range t.RequestMetadata {
		check(k != "" && len(k) <= 256 && len(v) <= 256, fmt.Sprintf("request metadata %.40q is empty or longer than 256 characters", k), "")
	}
	return errors.Join(errs...)
}

// warnOfAPI says what it means that a model cannot stream.
func (m *Model) warnOfAPI(chosen bool) {
	switch {
	case Streams(m.opts.Foundation):
	case chosen:
		m.warn("api", m.opts.ModelID+" cannot stream, says its documentation: it is called by InvokeModel, and its rows have no first-token latency")
	case m.api != Invoke:
		m.warn("api", m.opts.ModelID+" cannot stream, says its documentation: --api invoke calls it without")
	}
}

// given is a header's value, nil for none.
func given(s string) *string {
	if s == "" {
		return nil
	}
	return aws.String(s)
}

// told is a response with the tier and the latency mode that the service has resolved left out where nobody asked for one.
func (m *Model) told(r *pipeline.Response) *pipeline.Response {
	if m.opts.Tuning.ServiceTier == "" {
		r.ServiceTier = ""
	}
	if m.opts.Tuning.PerformanceLatency == "" {
		r.PerformanceLatency = ""
	}
	return r
}
