package bedrock

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// openStream sends a request by the operation of the model's API, up to the headers of its response.
func (m *Model) openStream(ctx context.Context, body []byte) error {
	if m.api == ConverseStream {
		_, err := m.client.ConverseStream(ctx, &bedrockruntime.ConverseStreamInput{ModelId: aws.String(m.opts.ModelID)}, sendBody)
		return err
	}
	t := &m.opts.Tuning
	_, err := m.client.InvokeModelWithResponseStream(ctx, &bedrockruntime.InvokeModelWithResponseStreamInput{
		ModelId:     aws.String(m.opts.ModelID),
		Body:        body,
		ContentType: aws.String("application/json"),
		Accept:      aws.String("application/json"),

		ServiceTier:              types.ServiceTierType(t.ServiceTier),
		PerformanceConfigLatency: types.PerformanceConfigLatency(t.PerformanceLatency),
		GuardrailIdentifier:      given(t.GuardrailIdentifier),
		GuardrailVersion:         given(t.GuardrailVersion),
		RequestMetadata:          given(string(t.requestMetadataJSON)),
	})
	return err
}

// sendBody makes an operation send the body of the call as it stands. The SDK takes a Converse request apart into its own types, which
// would lose what they do not know, and drop the order of keys that a prompt cache goes by.
func sendBody(o *bedrockruntime.Options) {
	o.APIOptions = append(slices.Clip(o.APIOptions), func(stack *middleware.Stack) error {
		return stack.Serialize.Add(ownBody{}, middleware.After)
	})
}

type ownBody struct{}

func (ownBody) ID() string { return "BatchrunOwnBody" }

// HandleSerialize runs behind the SDK's own serializer, and before length and signature are made.
func (ownBody) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (
	middleware.SerializeOutput, middleware.Metadata, error,
) {
	req, ok := in.Request.(*smithyhttp.Request)
	c := callOf(ctx)
	if !ok || c == nil {
		return middleware.SerializeOutput{}, middleware.Metadata{}, fmt.Errorf("no request of our own, but %T", in.Request)
	}
	req, err := req.SetStream(bytes.NewReader(c.body))
	if err != nil {
		return middleware.SerializeOutput{}, middleware.Metadata{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	in.Request = req
	return next.HandleSerialize(ctx, in)
}

// tune adds to a Converse request what the options ask for and the record does not say itself. A body to which nothing is added is
// returned as it is.
func (m *Model) tune(body []byte) []byte {
	if len(m.tuning) == 0 {
		return body
	}
	has := map[string]bool{}
	s := scanner{b: body, slow: true}
	if !s.open('{') {
		return body
	}
	inside := s.i
	var k []byte
	for s.key(&k) {
		has[unescape(k)] = true
		s.skip()
	}
	if s.odd {
		return body // the service will say what is wrong with it
	}
	add := m.tuning.without(has)
	if len(add) == 0 {
		return body
	}
	out := append(make([]byte, 0, len(body)+256), add.append(nil)...)
	if out = out[:len(out)-1]; len(has) > 0 {
		out = append(out, ',')
	}
	return append(out, body[inside:]...)
}

func (o object) without(keys map[string]bool) (rest object) {
	for _, m := range o {
		if !keys[string(m.key)] {
			rest = append(rest, m)
		}
	}
	return rest
}

// converseMembers are the members of a Converse request that say the same as the headers of InvokeModel.
func (t *Tuning) converseMembers() (o object) {
	if t.GuardrailIdentifier != "" {
		v := appendString([]byte(`{"guardrailIdentifier":`), t.GuardrailIdentifier)
		v = appendString(append(v, `,"guardrailVersion":`...), t.GuardrailVersion)
		o.set("guardrailConfig", append(v, '}'))
	}
	if t.PerformanceLatency != "" {
		o.set("performanceConfig", append(appendString([]byte(`{"latency":`), t.PerformanceLatency), '}'))
	}
	if t.ServiceTier != "" {
		o.set("serviceTier", append(appendString([]byte(`{"type":`), t.ServiceTier), '}'))
	}
	if len(t.RequestMetadata) > 0 {
		o.set("requestMetadata", t.requestMetadata())
	}
	return o
}

// requestMetadata is the metadata as a JSON object, in the order of its keys.
func (t *Tuning) requestMetadata() []byte {
	var o object
	for _, k := range slices.Sorted(maps.Keys(t.RequestMetadata)) {
		quoted := appendString(nil, k)
		o.set(string(quoted[1:len(quoted)-1]), appendString(nil, t.RequestMetadata[k]))
	}
	return o.append(nil)
}

// converseFor is the one format of Converse, with the limits of a model as far as they are known.
func converseFor(foundation string) *family {
	own := converse
	if f, err := resolveFamily(foundation, ""); err == nil {
		f = f.of(foundationID(foundation))
		own.defaultLimit, own.maxLimit = max(f.defaultLimit, f.maxLimit), f.maxLimit
		if f.maxLimit > 0 {
			own.defaultFor = nil // without a limit of the request the model's own maximum holds
		}
	}
	return &own
}
