// Package sinks keeps the rows of a run: as JSON Lines ([JSONL], [Stream]) or as Parquet ([SealParquet]).
//
// # Rows
//
// A row is one line of JSON, in UTF-8, a superset of the output of Bedrock batch inference. A result:
//
//	{"recordId":"r1","source":"prompts.jsonl","line":1,"modelId":"…","modelInput":{…},"modelOutput":{…},"text":"…",
//	"stopReason":"end_turn","usage":{"inputTokens":12,"outputTokens":31,"cacheReadInputTokens":0,
//	"cacheWriteInputTokens":0},"timing":{"startedAt":"2026-01-02T03:04:05.678901Z","queuedMs":1.2,"connectMs":0,
//	"firstTokenMs":210.4,"firstTextMs":210.4,"totalMs":903.7,"elapsedMs":903.7,"interTokenP50Ms":20.1,
//	"interTokenMaxMs":55,"serverFirstByteMs":190,"serverTotalMs":880},"attempts":1,"requestId":"…","metadata":{…}}
//
// An error:
//
//	{"recordId":"r2","source":"prompts.jsonl","line":2,"modelId":"…","modelInput":{…},"error":{"errorCode":400,
//	"errorType":"ValidationException","errorMessage":"…","retryable":false},"attempts":1,"requestId":"…",
//	"partialText":"…","metadata":{…}}
//
// Where a service tier or a latency mode was asked for, "serviceTier" and "performanceLatency" behind usage say which one answered. An
// answer that came in one piece has no firstTokenMs, firstTextMs, interTokenP50Ms and interTokenMaxMs.
//
// recordId is null where a faulty line has none; modelInput is absent from the row of a line
// that was never made into a request, and its errorMessage begins with SOURCE:LINE:COLUMN. modelInput is left out
// of every row with [Lean]. Times that were not measured, an empty requestId or partialText, and metadata where
// there is none are left out. modelInput, modelOutput and metadata stand as they came, byte for byte, except that
// newlines between tokens become spaces: a row is always one line. Milliseconds have at most three decimals.
// In strings U+2028 and U+2029 are escaped, HTML is not, and bytes that are not UTF-8 become U+FFFD.
//
// # Parquet
//
// Nothing of a Parquet file can be read before it is closed, so a run spools JSON Lines and makes the file
// at its end. The columns, in this order:
//
//	record_id, source                        string
//	line                                     int64
//	model_id                                 string
//	model_input                              optional string (JSON), null with [Lean]
//	model_output                             string (JSON)
//	text, stop_reason                        string
//	input_tokens, output_tokens,
//	cache_read_input_tokens,
//	cache_write_input_tokens                 int64
//	started_at                               optional timestamp, microseconds, UTC
//	queued_ms, connect_ms, first_token_ms,
//	first_text_ms, total_ms, elapsed_ms,
//	inter_token_p50_ms, inter_token_max_ms,
//	server_first_byte_ms, server_total_ms    optional double
//	attempts                                 int32
//	request_id                               optional string
//	metadata                                 optional string (JSON)
//
// Service tier and latency mode, where they were asked for, are the last keys of metadata: "batchrun.serviceTier" and
// "batchrun.performanceLatency". The columns stay the same for every run.
//
// Pages are compressed with zstd and row groups are bounded by bytes. Two keys stand in the file's metadata:
// batchrun.seal says which sealing made it, batchrun.rows how many rows it has.
package sinks
