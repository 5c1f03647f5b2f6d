package jobs

import (
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock"
)

// A Spec is a job as the user means it: what the flags of `batchrun run` and a job file say. The zero value of a field
// is its default unless [Defaults] gives another.
//
// Every field has one row in a table, which makes its flag, its key in a job file, its part of [Schema] and its check.
type Spec struct {
	Input  []string // paths, globs or "-"; none is the standard input
	Output string   // path, or "-" for rows on the standard output
	Format string   // jsonl or parquet; "" by the name of Output
	Rows   string   // one of sinks.Kinds
	Errors string   // "" for STEM.errors.jsonl: ErrorsPath
	State  string   // "" for OUTPUT.batchrun: StatePath

	Template    string // Go template of the prompt, or @FILE with one; "" for lines that say themselves what they are
	Model       string // model id, inference profile or ARN
	Family      string // "" to tell it by Model
	API         string // invoke-stream, converse-stream or invoke; "" by model
	Region      string // "" as the AWS CLI finds it
	Profile     string // "" as the AWS CLI finds it
	EndpointURL string // "" for the Region's own
	HTTPVersion string // 2 or 1.1

	ServiceTier         string   // priority, default, flex or reserved; "" for the service's own
	PerformanceLatency  string   // standard or optimized; "" for the service's own
	GuardrailIdentifier string   // id or ARN; "" for none
	GuardrailVersion    string   // DRAFT or a number
	RequestMetadata     []string // KEY=VALUE, for the account's log of invocations

	Concurrency int     // streams in flight at most
	RPM         int64   // requests a minute; 0: learned
	TPM         int64   // tokens a minute, as the service counts; 0: learned
	TPD         int64   // tokens a day; 0: none known
	Burndown    float64 // what an output token costs of the quota; 0: by model
	Probe       bool    // look for more than the stated quotas
	NoLearned   bool    // start from nothing, not from what an earlier run learned
	MaxTokens   int64   // for the short form of a record only
	CountTokens bool    // ask the service for the input tokens of each record first
	MaxAttempts int     // per record, throttled ones not counted
	RetryBudget float64 // retries of failed calls for each record sent, waits for quota not counted

	FirstTokenTimeout time.Duration // per attempt
	IdleTimeout       time.Duration // per attempt, between two events
	Timeout           time.Duration // per attempt, all of it
	MaxBuffer         Bytes         // request and answer bytes in flight
	MaxCost           float64       // what the run may cost, in the currency of Prices; 0: any
	MaxTokensTotal    int64         // tokens that the run may be billed; 0: any
	Prices            string        // path of a price table, see package price; "" for none
	Deadline          string        // when the run has to be over: see deadlineOf; "" for never
	Drain             time.Duration // for calls in flight after the first signal
	CommitInterval    time.Duration // how long an answer may wait before it is durable

	Strict      bool // the first input line that cannot be sent ends the run
	Fresh       bool // start again, old files moved aside
	RetryFailed bool // send only the error rows again

	Progress    string // auto, bar, plain, json or none
	MetricsAddr string // loopback host:port; "" for no metrics
}

// Defaults is a Spec in which nothing has been said yet.
func Defaults() Spec {
	return Spec{
		Rows:              "full",
		HTTPVersion:       "2",
		Concurrency:       32,
		MaxTokens:         4096,
		MaxAttempts:       5,
		RetryBudget:       0.2,
		FirstTokenTimeout: 10 * time.Minute,
		IdleTimeout:       5 * time.Minute,
		Timeout:           60 * time.Minute,
		MaxBuffer:         256 << 20,
		Drain:             25 * time.Second,
		CommitInterval:    200 * time.Millisecond,
		Progress:          "auto",
	}
}

// Bytes is an amount of memory, written with or without a unit: 1048576, 1MiB, 1.5GB.
type Bytes int64

// String writes the amount with the largest unit that divides it.
func (b Bytes) String() string {
	for _, u := range []struct {
		size Bytes
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if b >= u.size && b%u.size == 0 {
			return strconv.FormatInt(int64(b/u.size), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(b), 10)
}

// tuning is what the service is asked for beside answers.
func (s *Spec) tuning() bedrock.Tuning {
	t := bedrock.Tuning{
		ServiceTier: s.ServiceTier, PerformanceLatency: s.PerformanceLatency,
		GuardrailIdentifier: s.GuardrailIdentifier, GuardrailVersion: s.GuardrailVersion,
	}
	for _, pair := range s.RequestMetadata {
		if t.RequestMetadata == nil {
			t.RequestMetadata = map[string]string{}
		}
		key, value, _ := strings.Cut(pair, "=")
		t.RequestMetadata[key] = value
	}
	return t
}

// guardrail is what of that shapes the answers, by the names of its flags; nil for nothing.
func (s *Spec) guardrail() map[string]string {
	if s.GuardrailIdentifier == "" {
		return nil
	}
	return map[string]string{"guardrail-identifier": s.GuardrailIdentifier, "guardrail-version": s.GuardrailVersion}
}
