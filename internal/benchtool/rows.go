package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// A row is a result or error row as a reader who knows only its documentation sees it.
type row struct {
	RecordID    *string         `json:"recordId"`
	Source      string          `json:"source"`
	Line        int64           `json:"line"`
	ModelID     string          `json:"modelId"`
	ModelInput  json.RawMessage `json:"modelInput"`
	ModelOutput json.RawMessage `json:"modelOutput"`
	Text        *string         `json:"text"`
	StopReason  string          `json:"stopReason"`
	Usage       rowUsage        `json:"usage"`
	Timing      rowTiming       `json:"timing"`
	Attempts    int64           `json:"attempts"`
	Metadata    json.RawMessage `json:"metadata"`
	Error       *rowError       `json:"error"`
}

type rowUsage struct {
	InputTokens           int64 `json:"inputTokens"`
	OutputTokens          int64 `json:"outputTokens"`
	CacheReadInputTokens  int64 `json:"cacheReadInputTokens"`
	CacheWriteInputTokens int64 `json:"cacheWriteInputTokens"`
}

type rowTiming struct {
	StartedAt    string  `json:"startedAt"`
	FirstTokenMs float64 `json:"firstTokenMs"`
	TotalMs      float64 `json:"totalMs"`
}

type rowError struct {
	Code      int    `json:"errorCode"`
	Type      string `json:"errorType"`
	Message   string `json:"errorMessage"`
	Retryable bool   `json:"retryable"`
}

// readRows yields the rows of a file, JSONL or Parquet by its name. It uses nothing of the program's own readers.
func readRows(path string) iter.Seq2[*row, error] {
	if strings.HasSuffix(path, ".parquet") {
		return parquetRows(path)
	}
	return func(yield func(*row, error) bool) {
		err := eachLine(path, func(line []byte) error {
			var r row
			if err := json.Unmarshal(line, &r); err != nil {
				return err
			}
			if !yield(&r, nil) {
				return errStop
			}
			return nil
		})
		if err != nil && !errors.Is(err, errStop) {
			yield(nil, err)
		}
	}
}

var errStop = errors.New("the reader has enough")

// columns is what of a Parquet file the checks need.
type columns struct {
	RecordID              string   `parquet:"record_id"`
	Source                string   `parquet:"source"`
	Line                  int64    `parquet:"line"`
	ModelID               string   `parquet:"model_id"`
	ModelInput            *string  `parquet:"model_input,optional"`
	ModelOutput           string   `parquet:"model_output"`
	Text                  string   `parquet:"text"`
	StopReason            string   `parquet:"stop_reason"`
	InputTokens           int64    `parquet:"input_tokens"`
	OutputTokens          int64    `parquet:"output_tokens"`
	CacheReadInputTokens  int64    `parquet:"cache_read_input_tokens"`
	CacheWriteInputTokens int64    `parquet:"cache_write_input_tokens"`
	FirstTokenMs          *float64 `parquet:"first_token_ms,optional"`
	Attempts              int32    `parquet:"attempts"`
	Metadata              *string  `parquet:"metadata,optional"`
}

func (c *columns) row() *row {
	r := &row{
		RecordID: &c.RecordID, Source: c.Source, Line: c.Line, ModelID: c.ModelID, ModelOutput: []byte(c.ModelOutput),
		Text: &c.Text, StopReason: c.StopReason, Attempts: int64(c.Attempts),
		Usage: rowUsage{c.InputTokens, c.OutputTokens, c.CacheReadInputTokens, c.CacheWriteInputTokens},
	}
	if c.ModelInput != nil {
		r.ModelInput = []byte(*c.ModelInput)
	}
	if c.Metadata != nil {
		r.Metadata = []byte(*c.Metadata)
	}
	if c.FirstTokenMs != nil {
		r.Timing.FirstTokenMs = *c.FirstTokenMs
	}
	return r
}

func parquetRows(path string) iter.Seq2[*row, error] {
	return func(yield func(*row, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		r := parquet.NewGenericReader[columns](f)
		defer r.Close()
		for {
			var batch [64]columns // anew, so that rows may be kept
			n, err := r.Read(batch[:])
			for i := range n {
				if !yield(batch[i].row(), nil) {
					return
				}
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", path, err))
				return
			}
		}
	}
}
