package bedrock

import (
	"context"

	"github.com/aws/smithy-go/middleware"
)

// rawStreams takes the SDK's event stream reader out of an operation, so that the response body stays ours to read. That
// reader takes a stream that broke off for one that ended, and shares state between the streams of a client (aws/smithy-go#714).
// Errors before the stream stay the SDK's typed ones.
func rawStreams(stack *middleware.Stack) error {
	const id = "OperationEventStreamDeserializer"
	if _, ok := stack.Deserialize.Get(id); !ok {
		return nil // an operation without a stream
	}
	_, err := stack.Deserialize.Swap(id, rawStream{})
	return err
}

type rawStream struct{}

func (rawStream) ID() string { return "BatchrunRawStream" }

func (rawStream) HandleDeserialize(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (
	middleware.DeserializeOutput, middleware.Metadata, error,
) {
	return next.HandleDeserialize(ctx, in)
}
