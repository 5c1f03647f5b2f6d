package bedrock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
)

// This file is what BenchmarkStream is held against: a stream as a competent user of the SDK reads it. InvokeModelWithResponseStream
// is called on a client whose HTTP client answers from memory, so that the SDK's own reader runs as it always
// does (frames, checksums, headers, base64, its goroutine and its channel). Each chunk's bytes go through one json.Unmarshal
// into a struct with no more than the members that the loop needs. The text is put together in a strings.Builder; stop reason,
// tokens and the end of the answer are read. It keeps less than batchrun does: no body as InvokeModel
// would have returned it, no tool calls, no reasoning, no gap between two events.

// A plainReading is what such a loop has read.
type plainReading struct {
	text, stop    string
	input, output int64
	whole         bool
}

// A plainLoop reads one chunk of a family.
type plainLoop func(chunk []byte, text *strings.Builder, r *plainReading) error

// plainCounts is where every family's last chunk says what the service counted.
type plainCounts struct {
	Metrics *struct {
		InputTokenCount, OutputTokenCount int64
	} `json:"amazon-bedrock-invocationMetrics"`
}

// take keeps the counts where they came.
func (c *plainCounts) take(r *plainReading) {
	if c.Metrics != nil {
		r.input, r.output = c.Metrics.InputTokenCount, c.Metrics.OutputTokenCount
	}
}

// stopped keeps the reason with which an answer ends.
func (r *plainReading) stopped(reason string) {
	if reason != "" {
		r.stop, r.whole = reason, true
	}
}

// plainLoops has the loop of each family; those that are not named speak chat completions.
var plainLoops = map[string]plainLoop{
	"claude": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			Type  string
			Delta struct {
				Text       string
				StopReason string `json:"stop_reason"`
			}
		}
		err := json.Unmarshal(b, &c)
		switch c.Type {
		case "content_block_delta":
			text.WriteString(c.Delta.Text)
		case "message_delta":
			r.stop = c.Delta.StopReason
		case "message_stop":
			r.whole = true
		}
		c.take(r)
		return err
	},
	"nova": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			ContentBlockDelta struct{ Delta struct{ Text string } }
			MessageStop       struct{ StopReason string }
			Metadata          *struct{}
		}
		err := json.Unmarshal(b, &c)
		text.WriteString(c.ContentBlockDelta.Delta.Text)
		if c.MessageStop.StopReason != "" {
			r.stop = c.MessageStop.StopReason
		}
		r.whole = r.whole || c.Metadata != nil
		c.take(r)
		return err
	},
	"llama": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			Generation string
			StopReason string `json:"stop_reason"`
		}
		err := json.Unmarshal(b, &c)
		text.WriteString(c.Generation)
		r.stopped(c.StopReason)
		c.take(r)
		return err
	},
	"titan": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			OutputText, CompletionReason string
		}
		err := json.Unmarshal(b, &c)
		text.WriteString(c.OutputText)
		r.stopped(c.CompletionReason)
		c.take(r)
		return err
	},
	"claude-text": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			Completion string
			StopReason string `json:"stop_reason"`
		}
		err := json.Unmarshal(b, &c)
		text.WriteString(c.Completion)
		r.stopped(c.StopReason)
		c.take(r)
		return err
	},
	"mistral-text": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			Outputs []struct {
				Text       string
				StopReason string `json:"stop_reason"`
			}
		}
		err := json.Unmarshal(b, &c)
		for _, o := range c.Outputs {
			text.WriteString(o.Text)
			r.stopped(o.StopReason)
		}
		c.take(r)
		return err
	},
	"deepseek-r1": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			Choices []struct {
				Text       string
				StopReason string `json:"stop_reason"`
			}
		}
		err := json.Unmarshal(b, &c)
		for _, o := range c.Choices {
			text.WriteString(o.Text)
			r.stopped(o.StopReason)
		}
		c.take(r)
		return err
	},
	"mistral": func(b []byte, text *strings.Builder, r *plainReading) error {
		var c struct {
			plainCounts
			Choices []struct {
				Message    struct{ Content string }
				StopReason string `json:"stop_reason"`
			}
		}
		err := json.Unmarshal(b, &c)
		for _, o := range c.Choices {
			text.WriteString(o.Message.Content)
			r.stopped(o.StopReason)
		}
		c.take(r)
		return err
	},
	"command":   plainCohere,
	"command-r": plainCohere,
}

func plainCohere(b []byte, text *strings.Builder, r *plainReading) error {
	var c struct {
		plainCounts
		Text         string
		FinishReason string `json:"finish_reason"`
	}
	err := json.Unmarshal(b, &c)
	text.WriteString(c.Text)
	r.stopped(c.FinishReason)
	c.take(r)
	return err
}

func plainChat(b []byte, text *strings.Builder, r *plainReading) error {
	if len(b) > 0 && b[0] == '"' { // "[DONE]"
		return nil
	}
	var c struct {
		plainCounts
		Choices []struct {
			Delta        struct{ Content string }
			FinishReason string `json:"finish_reason"`
		}
	}
	err := json.Unmarshal(b, &c)
	for _, o := range c.Choices {
		text.WriteString(o.Delta.Content)
		r.stopped(o.FinishReason)
	}
	c.take(r)
	return err
}

// A memoryClient answers every request with the same bytes, and no network.
type memoryClient []byte

func (c memoryClient) Do(r *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/vnd.amazon.eventstream"}},
		Body:   io.NopCloser(bytes.NewReader(c)),
	}, nil
}

// sdkClient is the SDK's client with its defaults, over a stream in memory.
func sdkClient(stream []byte) *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "us-east-1", HTTPClient: memoryClient(stream),
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""),
	})
}

// readPlainly reads one stream.
func readPlainly(ctx context.Context, client *bedrockruntime.Client, modelID string, loop plainLoop) (r plainReading, err error) {
	out, err := client.InvokeModelWithResponseStream(ctx, &bedrockruntime.InvokeModelWithResponseStreamInput{
		ModelId: &modelID, Body: []byte(`{}`), ContentType: aws.String("application/json"),
	})
	if err != nil {
		return r, err
	}
	stream := out.GetStream()
	defer stream.Close()
	var text strings.Builder
	for event := range stream.Events() {
		part, ok := event.(*types.ResponseStreamMemberChunk)
		if !ok {
			continue
		}
		if err := loop(part.Value.Bytes, &text, &r); err != nil {
			return r, err
		}
	}
	r.text = text.String()
	if err := stream.Err(); err != nil {
		return r, err
	}
	if !r.whole {
		return r, errors.New("the stream ended before the answer did")
	}
	return r, nil
}

// converseBaseline reads a stream of ConverseStream, whose events the SDK itself takes apart.
func converseBaseline(ctx context.Context, client *bedrockruntime.Client, modelID string) (r plainReading, err error) {
	out, err := client.ConverseStream(ctx, &bedrockruntime.ConverseStreamInput{ModelId: &modelID})
	if err != nil {
		return r, err
	}
	stream := out.GetStream()
	defer stream.Close()
	var text strings.Builder
	for event := range stream.Events() {
		switch ev := event.(type) {
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			if d, ok := ev.Value.Delta.(*types.ContentBlockDeltaMemberText); ok {
				text.WriteString(d.Value)
			}
		case *types.ConverseStreamOutputMemberMessageStop:
			r.stop = string(ev.Value.StopReason)
		case *types.ConverseStreamOutputMemberMetadata:
			if u := ev.Value.Usage; u != nil {
				r.input, r.output, r.whole = int64(*u.InputTokens), int64(*u.OutputTokens), true
			}
		}
	}
	r.text = text.String()
	if err := stream.Err(); err != nil {
		return r, err
	}
	if !r.whole {
		return r, fmt.Errorf("the stream ended before the answer did, after %d bytes of text", len(r.text))
	}
	return r, nil
}
