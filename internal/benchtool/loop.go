package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"
	"github.com/aws/smithy-go/transport/http/protocol/restjson1"
)

// loop is what a good Go developer writes in an afternoon, and what batchrun has to be worth more than: the SDK's own
// client, stream and retries, one goroutine for each stream in flight, one row for each answer. It holds no quota,
// keeps no journal and resumes nothing.
func loop(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("loop", flag.ContinueOnError)
	input := f.String("i", "", "`path` of the records: recordId, modelInput")
	outputPath := f.String("o", "", "`path` of the rows")
	model := f.String("m", modelID, "model `id`")
	endpoint := f.String("endpoint-url", "", "`URL`")
	concurrency := f.Int("c", 32, "streams in flight")
	if err := f.Parse(args); err != nil {
		return err
	}
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client := bedrockruntime.NewFromConfig(cfg, func(o *bedrockruntime.Options) {
		if *endpoint != "" {
			o.BaseEndpoint = endpoint
		}
	})

	in, err := os.Open(*input)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(*outputPath)
	if err != nil {
		return err
	}
	defer out.Close()
	buffered := bufio.NewWriter(out)
	encoder := json.NewEncoder(buffered)

	var (
		mu     sync.Mutex
		failed int
		wg     sync.WaitGroup
		jobs   = make(chan loopRecord)
		faults []error // of writing
	)
	for range *concurrency {
		wg.Go(func() {
			for rec := range jobs {
				row, err := ask(ctx, client, *model, rec)
				if err != nil {
					row = &loopRow{RecordID: rec.RecordID, ModelInput: rec.ModelInput, Fault: err.Error()}
				}
				mu.Lock()
				if err != nil {
					failed++
				}
				if err := encoder.Encode(row); err != nil {
					faults = append(faults, err)
				}
				mu.Unlock()
			}
		})
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), 64<<20)
	for lines.Scan() {
		var rec loopRecord
		if err = json.Unmarshal(lines.Bytes(), &rec); err != nil {
			break
		}
		jobs <- rec
	}
	close(jobs)
	wg.Wait()
	err = errors.Join(err, lines.Err(), errors.Join(faults...), buffered.Flush())
	fmt.Fprintf(os.Stderr, "%d failed\n", failed)
	return err
}

type loopRecord struct {
	RecordID   string          `json:"recordId"`
	ModelInput json.RawMessage `json:"modelInput"`
}

type loopRow struct {
	RecordID   string          `json:"recordId"`
	ModelInput json.RawMessage `json:"modelInput"`
	Text       string          `json:"text"`
	StopReason string          `json:"stopReason"`
	Usage      loopUsage       `json:"usage"`
	Timing     loopTiming      `json:"timing"`
	Fault      string          `json:"fault,omitempty"` // in place of the answer
}

type loopUsage struct {
	InputTokens  int64 `json:"inputTokens"`
	OutputTokens int64 `json:"outputTokens"`
}

type loopTiming struct {
	FirstTokenMs float64 `json:"firstTokenMs"`
	TotalMs      float64 `json:"totalMs"`
}

// loopChunk is what of a Claude event the loop needs.
type loopChunk struct {
	Type    string `json:"type"`
	Message struct {
		Usage struct {
			InputTokens int64 `json:"input_tokens"`
		} `json:"usage"`
	} `json:"message"`
	Delta struct {
		Text       string `json:"text"`
		StopReason string `json:"stop_reason"`
	} `json:"delta"`
	Usage struct {
		OutputTokens int64 `json:"output_tokens"`
	} `json:"usage"`
}

func ask(ctx context.Context, client *bedrockruntime.Client, model string, rec loopRecord) (*loopRow, error) {
	start := time.Now()
	out, err := client.InvokeModelWithResponseStream(ctx, &bedrockruntime.InvokeModelWithResponseStreamInput{
		ModelId: &model, Body: rec.ModelInput, ContentType: aws.String("application/json"),
	}, func(o *bedrockruntime.Options) {
		o.Protocol = restjson1.New(nil) // streams that share one race: aws/smithy-go#714
	})
	if err != nil {
		return nil, err
	}
	stream := out.GetStream()
	defer stream.Close()
	row := &loopRow{RecordID: rec.RecordID, ModelInput: rec.ModelInput}
	var text strings.Builder
	whole := false
	for event := range stream.Events() {
		part, ok := event.(*types.ResponseStreamMemberChunk)
		if !ok {
			continue
		}
		var chunk loopChunk
		if err := json.Unmarshal(part.Value.Bytes, &chunk); err != nil {
			return nil, err
		}
		switch chunk.Type {
		case "message_start":
			row.Usage.InputTokens = chunk.Message.Usage.InputTokens
		case "content_block_delta":
			if row.Timing.FirstTokenMs == 0 {
				row.Timing.FirstTokenMs = millis(time.Since(start))
			}
			text.WriteString(chunk.Delta.Text)
		case "message_delta":
			row.StopReason = chunk.Delta.StopReason
			row.Usage.OutputTokens = chunk.Usage.OutputTokens
		case "message_stop":
			whole = true
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	if !whole {
		return nil, errors.New("the stream ended before the answer did")
	}
	row.Text = text.String()
	row.Timing.TotalMs = millis(time.Since(start))
	return row, nil
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
