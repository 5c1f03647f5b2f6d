package jobs

import (
	"regexp"
	"slices"

	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/sinks"
)

// A setting is one row of the table.
type setting struct {
	name, short string
	help        string // for --help and the schema; a word in backquotes names the value
	auto        string // what happens when nothing is said, where Defaults does not tell
	flagOnly    string // why it cannot stand in a job file
	at          func(*Spec) any

	least, most float64 // of numbers, sizes and durations (in seconds, always above 0)
	above       bool    // of numbers: least itself stands for nothing said, and cannot be said
	words       []string
	pattern     *regexp.Regexp      // of text
	check       func(string) string // of text, what no pattern can say: what is wrong, "" for nothing
	what        string              // what a text must be, in words
}

const (
	year       = 365 * 24 * 3600  // seconds
	anyInteger = float64(1 << 53) // what JSON, YAML and float64 all carry exactly
	loopback   = "a loopback address with a port, such as 127.0.0.1:9090"
)

var plainText = regexp.MustCompile(`^[^\x00-\x1f\x7f]+$`)

// The table, in the order of --help.
var settings = []setting{
	{
		name: "input", short: "i", at: func(s *Spec) any { return &s.Input },
		help: "`path`, glob or - to read records from: JSONL, also .gz and .zst; may be repeated",
		auto: "standard input, unless it is a terminal", pattern: plainText, what: "a path, or a list of paths",
	},
	{
		name: "output", short: "o", at: func(s *Spec) any { return &s.Output },
		help:    "`path` for the results, .jsonl or .parquet; - writes rows to standard output, without state or resume (required)",
		pattern: plainText, what: "a path",
	},
	{
		name: "template", at: func(s *Spec) any { return &s.Template },
		help: "`Go template` of the prompt, or @FILE with one; every line of the input is then a row of columns: 'Q: {{.question}}'",
		auto: "off", pattern: regexp.MustCompile(`^[^\x00]+$`), what: "a Go template, or @FILE", check: checkTemplate,
	},
	{
		name: "model", short: "m", at: func(s *Spec) any { return &s.Model },
		help: "`id` of a model or inference profile, or any ARN that Bedrock can invoke (required)",
		// Only what could not stand in a URL is refused: ids come and go faster than releases of this program.
		pattern: regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:./_-]*$`), what: "a model id, an inference profile or an ARN",
	},
	{
		name: "family", at: func(s *Spec) any { return &s.Family },
		help: "`name` of the family whose request and response format the model speaks", auto: "told by the model id",
		pattern: regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`), what: "the name of a family, such as claude",
	},
	{
		name: "api", at: func(s *Spec) any { return &s.API },
		help: "`operation` to call: with converse-stream, modelInput is a Converse request; with invoke, answers come in one piece",
		auto: "invoke-stream, or invoke for a model that cannot stream", words: bedrock.APIs(),
	},
	{
		name: "region", at: func(s *Spec) any { return &s.Region },
		help: "AWS `Region`", auto: "as the AWS CLI finds it", pattern: regexp.MustCompile(`^[a-z0-9-]+$`), what: "a Region, such as us-east-1",
	},
	{
		name: "profile", at: func(s *Spec) any { return &s.Profile },
		help: "`name` of the AWS profile", auto: "as the AWS CLI finds it", pattern: plainText, what: "the name of a profile",
	},
	{
		name: "endpoint-url", at: func(s *Spec) any { return &s.EndpointURL },
		help: "`URL` of another endpoint, such as a VPC endpoint or batchrun simulate", auto: "the Region's own",
		pattern: regexp.MustCompile(`^https?://[^\x00-\x20\x7f]+$`), what: "an http or https URL", check: checkURL,
	},
	{
		name: "http-version", at: func(s *Spec) any { return &s.HTTPVersion },
		help: "HTTP `version`; with 1.1 every stream has a connection of its own", words: []string{"2", "1.1"},
	},
	{
		name: "service-tier", at: func(s *Spec) any { return &s.ServiceTier },
		help: "service `tier` to ask for; rows say which one answered", auto: "the service's own", words: bedrock.ServiceTiers(),
	},
	{
		name: "performance-config-latency", at: func(s *Spec) any { return &s.PerformanceLatency },
		help: "latency `mode` to ask for; rows say which one answered", auto: "the service's own", words: bedrock.PerformanceLatencies(),
	},
	{
		name: "guardrail-identifier", at: func(s *Spec) any { return &s.GuardrailIdentifier },
		help: "`id` or ARN of a guardrail to apply", auto: "none", pattern: plainText, what: "the id or ARN of a guardrail",
	},
	{
		name: "guardrail-version", at: func(s *Spec) any { return &s.GuardrailVersion },
		help: "`version` of the guardrail", auto: "none",
		pattern: regexp.MustCompile(`^(DRAFT|[1-9][0-9]{0,7})$`), what: "DRAFT or a number",
	},
	{
		name: "request-metadata", at: func(s *Spec) any { return &s.RequestMetadata },
		help: "`KEY=VALUE` to find the requests by in the account's log of invocations; may be repeated", auto: "none",
		pattern: regexp.MustCompile(`^[^=\x00-\x1f\x7f]{1,256}=[^\x00-\x1f\x7f]{0,256}$`), what: "KEY=VALUE, each of up to 256 characters",
	},
	{
		name: "concurrency", short: "c", at: func(s *Spec) any { return &s.Concurrency },
		help: "upper bound of streams in flight", least: 1, most: 10_000,
	},
	{
		name: "rpm", at: func(s *Spec) any { return &s.RPM },
		help: "quota of requests a minute", auto: "learned", least: 0, most: anyInteger,
	},
	{
		name: "tpm", at: func(s *Spec) any { return &s.TPM },
		help: "quota of tokens a minute, counted as the service counts", auto: "learned", least: 0, most: anyInteger,
	},
	{
		name: "tpd", at: func(s *Spec) any { return &s.TPD },
		help: "quota of tokens in 24 hours", auto: "learned", least: 0, most: anyInteger,
	},
	{
		name: "burndown", at: func(s *Spec) any { return &s.Burndown },
		help: "what one output token takes of the token quota", auto: "by model", least: 0, most: 1000,
	},
	{
		name: "probe", at: func(s *Spec) any { return &s.Probe },
		help: "look for more than the stated quotas while nothing is refused",
	},
	{
		name: "no-learned", at: func(s *Spec) any { return &s.NoLearned },
		help: "start from nothing, not from what an earlier run learned of a quota that is not stated",
	},
	{
		name: "max-tokens", at: func(s *Spec) any { return &s.MaxTokens },
		help: "longest answer for records in the short form; modelInput is never altered", least: 1, most: anyInteger,
	},
	{
		name: "count-tokens", at: func(s *Spec) any { return &s.CountTokens },
		help: "ask the service, free of charge, for the input tokens of each record before it is sent, instead of estimating them",
	},
	{
		name: "max-attempts", at: func(s *Spec) any { return &s.MaxAttempts },
		help: "attempts for each record; being throttled counts as none", least: 1, most: 1000,
	},
	{
		name: "retry-budget", at: func(s *Spec) any { return &s.RetryBudget },
		help: "retries of failed calls for each record sent: 0.2 adds one call in five at most, while there are new records " +
			"to send; what is over waits, it does not fail",
		least: 0.01, most: 10,
	},
	{
		name: "first-token-timeout", at: func(s *Spec) any { return &s.FirstTokenTimeout },
		help: "longest wait for the first content of an attempt", most: year,
	},
	{
		name: "idle-timeout", at: func(s *Spec) any { return &s.IdleTimeout },
		help: "longest silence of a stream after its first content", most: year,
	},
	{
		name: "timeout", at: func(s *Spec) any { return &s.Timeout },
		help: "longest attempt", most: year,
	},
	{
		name: "max-buffer", at: func(s *Spec) any { return &s.MaxBuffer },
		help: "request and answer bytes in flight, such as 512MiB; one record always passes", least: 1, most: 1 << 50,
	},
	{
		name: "drain", at: func(s *Spec) any { return &s.Drain },
		help: "how long calls in flight may go on after the first signal; 1ms cuts them at once", most: year,
	},
	{
		name: "deadline", at: func(s *Spec) any { return &s.Deadline },
		help: "`time` by which the run has to be over: 06:00 (the next one), 6h from now, or 2026-01-02T06:00:00Z; it stops in time, " +
			"with exit code 4, and can be resumed",
		auto: "none", pattern: deadlinePattern, what: deadlineWant, check: checkDeadline,
	},
	{
		name: "max-cost", at: func(s *Spec) any { return &s.MaxCost },
		help: "what the run may cost, over all its sessions, in the currency of --prices: nothing is sent that could pass it, and the run " +
			"stops with exit code 4, to be resumed with a higher one",
		auto: "no bound", above: true, most: 1e6,
	},
	{
		name: "max-tokens-total", at: func(s *Spec) any { return &s.MaxTokensTotal },
		help: "tokens that the run may be billed, in and out, over all its sessions; kept to as --max-cost is, and needs no prices",
		auto: "no bound", above: true, most: anyInteger,
	},
	{
		name: "prices", at: func(s *Spec) any { return &s.Prices },
		help: "`path` of a price table in YAML, for --max-cost and to tell what a run, or a plan, costs", auto: "none", pattern: plainText, what: "a path",
	},
	{
		name: "commit-interval", at: func(s *Spec) any { return &s.CommitInterval },
		help: "how long an answer may wait before it is made durable", most: 60,
	},
	{
		name: "state", at: func(s *Spec) any { return &s.State },
		help: "`directory` for what the run needs to be resumed", auto: "OUTPUT.batchrun", pattern: plainText, what: "a directory",
	},
	{
		name: "errors", at: func(s *Spec) any { return &s.Errors },
		help: "`path` for the error rows, always JSONL", auto: "STEM.errors.jsonl beside the output", pattern: plainText, what: "a path",
	},
	{
		name: "format", at: func(s *Spec) any { return &s.Format },
		help: "`format` of the output", auto: "by its name", words: []string{"jsonl", "parquet"},
	},
	{
		name: "rows", at: func(s *Spec) any { return &s.Rows },
		help:  "`kind` of rows: full; lean, which leaves modelInput out; as other programs have them: bedrock, openai, anthropic; or text",
		words: sinks.Kinds(),
	},
	{
		name: "strict", at: func(s *Spec) any { return &s.Strict },
		help: "end the run at the first input line that cannot be sent, instead of writing an error row for it",
	},
	{
		name: "fresh", at: func(s *Spec) any { return &s.Fresh },
		help:     "start again: the old output, errors and state are moved aside, never deleted",
		flagOnly: "in a job file it would put aside what every earlier night has paid for; give --fresh when you mean it",
	},
	{
		name: "retry-failed", at: func(s *Spec) any { return &s.RetryFailed },
		help:     "send the records of the error rows again, and nothing else",
		flagOnly: "in a job file it would leave every new record unsent; give --retry-failed when you mean it",
	},
	{
		name: "progress", at: func(s *Spec) any { return &s.Progress },
		help: "`style` of progress on standard error; what concerns the cost of the run is said with none too", words: []string{"auto", "bar", "plain", "json", "none"},
	},
	{
		name: "metrics-addr", at: func(s *Spec) any { return &s.MetricsAddr },
		help: "loopback `host:port` to serve Prometheus metrics on", auto: "off",
		pattern: regexp.MustCompile(`^(localhost|127(\.[0-9]{1,3}){3}|\[::1\]):[0-9]{1,5}$`), what: loopback,
		check: checkLoopback,
	},
}

func find(name string) *setting {
	if i := slices.IndexFunc(settings, func(f setting) bool { return f.name == name }); i >= 0 {
		return &settings[i]
	}
	return nil
}
