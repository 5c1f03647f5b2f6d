package sinks

import (
	"bytes"
	"strings"
	"time"
)

// parquetRow is the schema of the Parquet file, as the package documentation lists it. An empty optional
// string is null. The tags json and optional cannot stand together (parquet-go panics), so JSON columns are
// plain strings.
type parquetRow struct {
	RecordID              string   `parquet:"record_id"`
	Source                string   `parquet:"source,dict"`
	Line                  int64    `parquet:"line"`
	ModelID               string   `parquet:"model_id,dict"`
	ModelInput            string   `parquet:"model_input,optional"`
	ModelOutput           string   `parquet:"model_output"`
	Text                  string   `parquet:"text"`
	StopReason            string   `parquet:"stop_reason,dict"`
	InputTokens           int64    `parquet:"input_tokens"`
	OutputTokens          int64    `parquet:"output_tokens"`
	CacheReadInputTokens  int64    `parquet:"cache_read_input_tokens"`
	CacheWriteInputTokens int64    `parquet:"cache_write_input_tokens"`
	StartedAt             *int64   `parquet:"started_at,optional,timestamp(microsecond:utc)"`
	QueuedMs              *float64 `parquet:"queued_ms,optional"`
	ConnectMs             *float64 `parquet:"connect_ms,optional"`
	FirstTokenMs          *float64 `parquet:"first_token_ms,optional"`
	FirstTextMs           *float64 `parquet:"first_text_ms,optional"`
	TotalMs               *float64 `parquet:"total_ms,optional"`
	ElapsedMs             *float64 `parquet:"elapsed_ms,optional"`
	InterTokenP50Ms       *float64 `parquet:"inter_token_p50_ms,optional"`
	InterTokenMaxMs       *float64 `parquet:"inter_token_max_ms,optional"`
	ServerFirstByteMs     *float64 `parquet:"server_first_byte_ms,optional"`
	ServerTotalMs         *float64 `parquet:"server_total_ms,optional"`
	Attempts              int32    `parquet:"attempts"`
	RequestID             string   `parquet:"request_id,optional"`
	Metadata              string   `parquet:"metadata,optional"`
}

// size estimates the bytes the row takes in memory.
func (p *parquetRow) size() int64 {
	return int64(200 + len(p.RecordID) + len(p.ModelInput) + len(p.ModelOutput) + len(p.Text) + len(p.RequestID) + len(p.Metadata))
}

// toParquet turns a result row into a row of the file. Parquet strings are UTF-8, so bytes that are not become
// U+FFFD here, in the JSON columns too.
func toParquet(r *Row) parquetRow {
	p := parquetRow{
		RecordID:              r.RecordID,
		Source:                r.Source,
		Line:                  r.Line,
		ModelID:               r.ModelID,
		ModelInput:            valid(r.ModelInput),
		ModelOutput:           valid(r.ModelOutput),
		Text:                  r.Text,
		StopReason:            r.StopReason,
		InputTokens:           r.Usage.InputTokens,
		OutputTokens:          r.Usage.OutputTokens,
		CacheReadInputTokens:  r.Usage.CacheReadInputTokens,
		CacheWriteInputTokens: r.Usage.CacheWriteInputTokens,
		QueuedMs:              r.Timing.QueuedMs,
		ConnectMs:             r.Timing.ConnectMs,
		FirstTokenMs:          r.Timing.FirstTokenMs,
		FirstTextMs:           r.Timing.FirstTextMs,
		TotalMs:               r.Timing.TotalMs,
		ElapsedMs:             r.Timing.ElapsedMs,
		InterTokenP50Ms:       r.Timing.InterTokenP50Ms,
		InterTokenMaxMs:       r.Timing.InterTokenMaxMs,
		ServerFirstByteMs:     r.Timing.ServerFirstByteMs,
		ServerTotalMs:         r.Timing.ServerTotalMs,
		Attempts:              int32(r.Attempts),
		RequestID:             r.RequestID,
		Metadata:              valid(withResolved(r)),
	}
	if !r.Timing.StartedAt.IsZero() {
		us := r.Timing.StartedAt.UnixMicro()
		p.StartedAt = &us
	}
	return p
}

// The columns are fixed, so that the files of many nights can be read together. What only some runs have, because a flag asked for it,
// stands in the column metadata, under names that no field of an input line has by chance.
const (
	keyServiceTier        = "batchrun.serviceTier"
	keyPerformanceLatency = "batchrun.performanceLatency"
)

// withResolved is the metadata of a row with the service tier and the latency mode that answered, at its end.
func withResolved(r *Row) []byte {
	b := bytes.TrimSpace(r.Metadata)
	for _, f := range [...]struct{ key, value string }{{keyServiceTier, r.ServiceTier}, {keyPerformanceLatency, r.PerformanceLatency}} {
		if f.value == "" {
			continue
		}
		if len(b) == 0 {
			b = []byte("{}")
		}
		inside := bytes.TrimSpace(b[:len(b)-1])
		b = append([]byte(nil), inside...)
		if len(inside) > 1 {
			b = append(b, ',')
		}
		b = appendString(append(appendString(b, f.key), ':'), f.value)
		b = append(b, '}')
	}
	return b
}

// takeResolved is the way back: it takes from the metadata of a row what is not the input line's.
func takeResolved(r *Row) {
	if !bytes.Contains(r.Metadata, []byte(`"batchrun.`)) {
		return
	}
	rest := []byte{'{'}
	err := eachMember(r.Metadata, func(key string, value []byte) error {
		switch key {
		case keyServiceTier:
			return unquote(value, &r.ServiceTier)
		case keyPerformanceLatency:
			return unquote(value, &r.PerformanceLatency)
		}
		if len(rest) > 1 {
			rest = append(rest, ',')
		}
		rest = append(append(appendString(rest, key), ':'), value...)
		return nil
	})
	if err != nil {
		return // not ours
	}
	if r.Metadata = append(rest, '}'); len(rest) == 1 {
		r.Metadata = nil
	}
}

// fromParquet is the way back.
func fromParquet(p *parquetRow) *Row {
	r := &Row{
		RecordID:    p.RecordID,
		HasID:       true,
		Source:      p.Source,
		Line:        p.Line,
		ModelID:     p.ModelID,
		ModelInput:  bytesOrNil(p.ModelInput),
		ModelOutput: bytesOrNil(p.ModelOutput),
		Metadata:    bytesOrNil(p.Metadata),
		Text:        p.Text,
		HasText:     true,
		StopReason:  p.StopReason,
		Usage:       RowUsage{p.InputTokens, p.OutputTokens, p.CacheReadInputTokens, p.CacheWriteInputTokens},
		Timing: RowTiming{
			QueuedMs: p.QueuedMs, ConnectMs: p.ConnectMs, FirstTokenMs: p.FirstTokenMs, FirstTextMs: p.FirstTextMs,
			TotalMs: p.TotalMs, ElapsedMs: p.ElapsedMs, InterTokenP50Ms: p.InterTokenP50Ms, InterTokenMaxMs: p.InterTokenMaxMs,
			ServerFirstByteMs: p.ServerFirstByteMs, ServerTotalMs: p.ServerTotalMs,
		},
		Attempts:  int64(p.Attempts),
		RequestID: p.RequestID,
	}
	if p.StartedAt != nil {
		r.Timing.StartedAt = time.UnixMicro(*p.StartedAt).UTC()
	}
	takeResolved(r)
	return r
}

func valid(b []byte) string { return strings.ToValidUTF8(string(b), "\uFFFD") }

func bytesOrNil(s string) []byte {
	if s == "" {
		return nil
	}
	return []byte(s)
}
