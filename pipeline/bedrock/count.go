package bedrock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/batchrun/batchrun/pipeline"
)

var _ pipeline.Counter = (*Model)(nil)

// CountTokens asks the service what it counts a request's input as, as [pipeline.Counter] describes it. The call is free of
// charge and takes nothing of the quota of tokens; not every model has it
// (https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html).
func (m *Model) CountTokens(ctx context.Context, req *pipeline.Request) (int64, error) {
	in := &bedrockruntime.CountTokensInput{
		ModelId: aws.String(m.opts.ModelID),
		Input:   &types.CountTokensInputMemberInvokeModel{Value: types.InvokeModelTokensRequest{Body: req.Body}},
	}
	var how []func(*bedrockruntime.Options)
	if m.api == ConverseStream {
		in.Input = &types.CountTokensInputMemberConverse{} // its body is made here, since the SDK's own types would not hold all of it
		ctx = withCall(ctx, &call{body: countConverse(req.Body)})
		how = append(how, sendBody)
	}
	out, err := m.client.CountTokens(ctx, in, how...)
	if err != nil {
		return 0, m.countFault(ctx, err)
	}
	if out.InputTokens == nil || *out.InputTokens < 0 {
		return 0, &pipeline.InvokeError{Kind: pipeline.Transient, Type: pipeline.TypeBadFrame, Message: "the service counted no tokens"}
	}
	return int64(*out.InputTokens), nil
}

// countConverse is the body of CountTokens for a Converse request: of its members only those that count.
// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseTokensRequest.html
func countConverse(body []byte) []byte {
	var o object
	for _, m := range parseObject(body) {
		switch string(m.key) {
		case "messages", "system", "toolConfig", "additionalModelRequestFields":
			o = append(o, m)
		}
	}
	return append(o.append([]byte(`{"input":{"converse":`)), `}}`...)
}

// countFault says what an error of CountTokens means: by the context first, by the type second. Whoever may not count, or asks
// a service that does not know the operation, will not be answered the next time either.
func (m *Model) countFault(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	api, answered := errors.AsType[smithy.APIError](err)
	if !answered {
		return &pipeline.InvokeError{Kind: pipeline.Transient, Type: pipeline.TypeConnectionError, Message: m.redact(oneLine(sendError(err).Error())), Err: err}
	}
	status := http.StatusInternalServerError
	if response, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	name := exceptionName(api.ErrorCode())
	e := &pipeline.InvokeError{Kind: kindOf(name, status), Type: name, Code: status, Message: m.redact(oneLine(api.ErrorMessage())), Err: err}
	text := strings.ToLower(e.Message)
	if e.Kind == pipeline.JobFatal || e.Kind == pipeline.RecordFatal && strings.Contains(text, "support") && strings.Contains(text, "count") {
		return fmt.Errorf("%w: %w", pipeline.ErrCannotCount, e)
	}
	return e
}
