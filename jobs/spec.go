package jobs

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/sinks"
	"github.com/dustin/go-humanize"
	"github.com/spf13/pflag"
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
		help: "`path` of a price table in YAML, for --max-cost and the costs of a plan", auto: "none", pattern: plainText, what: "a path",
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
		help: "`style` of progress on standard error", words: []string{"auto", "bar", "plain", "json", "none"},
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

// want says what a value has to be.
func (f *setting) want() string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	between := "from " + number(f.least) + " to " + number(f.most)
	switch {
	case f.above && f.most == anyInteger:
		between = "above " + number(f.least)
	case f.above:
		between = "above " + number(f.least) + " and up to " + number(f.most)
	case f.most == anyInteger:
		between = "of at least " + number(f.least)
	}
	switch f.at(new(Spec)).(type) {
	case *bool:
		return "true or false"
	case *int, *int64:
		return "a whole number " + between
	case *float64:
		return "a number " + between
	case *Bytes:
		return fmt.Sprintf("a number of bytes such as 64MiB, from 1 to %v", Bytes(f.most))
	case *time.Duration:
		return "a duration with its unit such as 30s, above 0 and up to " + duration(time.Duration(f.most*float64(time.Second)))
	}
	if f.words != nil {
		return "one of " + strings.Join(f.words, ", ")
	}
	return f.what
}

// set gives the field of s the value that text stands for. It is left alone when text is not a value for it.
func (f *setting) set(s *Spec, text string) error {
	next := *s // a fault must not leave half of it behind
	var err error
	switch p := f.at(&next).(type) {
	case *bool:
		*p, err = strconv.ParseBool(text)
	case *int:
		*p, err = strconv.Atoi(text)
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
	case *Bytes:
		*p, err = parseBytes(text)
	case *time.Duration:
		*p, err = parseDuration(text)
	case *string:
		*p = text
	case *[]string:
		*p = append(slices.Clone(*p), text)
	}
	if err != nil {
		return errors.New("expected " + f.want())
	}
	if wrong := f.wrong(&next); wrong != "" {
		return errors.New(wrong)
	}
	if f.above && f.text(&next) == "" {
		// A script that has worked out that nothing may be spent must not get a run without a bound.
		return errors.New("expected " + f.want())
	}
	*s = next
	return nil
}

// wrong says what is wrong with the field of s by itself, or "".
func (f *setting) wrong(s *Spec) string {
	inRange := func(v float64) bool { return v >= f.least && v <= f.most }
	ok := true
	switch p := f.at(s).(type) {
	case *int:
		ok = inRange(float64(*p))
	case *int64:
		ok = inRange(float64(*p))
	case *float64:
		ok = inRange(*p) // never so for NaN
	case *Bytes:
		ok = inRange(float64(*p))
	case *time.Duration:
		ok = *p > 0 && inRange(p.Seconds())
	case *string:
		switch {
		case *p == "": // unset, by default, unless the default is something else
			def := Defaults()
			ok = *f.at(&def).(*string) == ""
		case f.words != nil:
			ok = slices.Contains(f.words, *p)
		default:
			ok = f.pattern.MatchString(*p)
			if ok && f.check != nil {
				return f.check(*p)
			}
		}
	case *[]string:
		for _, text := range *p {
			ok = ok && f.pattern.MatchString(text)
		}
	}
	if ok {
		return ""
	}
	return "expected " + f.want()
}

// text is the field's value in words, as [setting.set] would take it; "" where nothing is said and nothing stands for that.
func (f *setting) text(s *Spec) string {
	switch p := f.at(s).(type) {
	case *[]string:
		return strings.Join(*p, ", ")
	case *time.Duration:
		return duration(*p)
	case *float64:
		if f.above && *p == f.least {
			return ""
		}
		return strconv.FormatFloat(*p, 'g', -1, 64)
	case *int64:
		if f.above && float64(*p) == f.least {
			return ""
		}
		return strconv.FormatInt(*p, 10)
	case *string:
		return *p
	default:
		return fmt.Sprint(reflect.ValueOf(p).Elem())
	}
}

// duration is d without units that are zero: 10m rather than 10m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var bytesPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(B|kB|KB|MB|GB|KiB|MiB|GiB)?$`)

func parseBytes(text string) (Bytes, error) {
	if !bytesPattern.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	n, err := humanize.ParseBytes(text)
	if err == nil && n > math.MaxInt64 {
		err = strconv.ErrRange
	}
	return Bytes(n), err
}

// Narrower than [time.ParseDuration], so that the schema can say the same: no sign.
var durationPattern = regexp.MustCompile(`^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`)

func parseDuration(text string) (time.Duration, error) {
	if !durationPattern.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	return time.ParseDuration(text)
}

func checkURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return "expected an http or https URL"
	case u.User != nil:
		return "expected a URL without a user name or password" // it would show in process lists and in the run's state
	case u.RawQuery != "" || u.Fragment != "":
		return "expected a URL without ? or #: paths are added to it"
	}
	return ""
}

func checkLoopback(text string) string {
	addr, err := netip.ParseAddrPort(strings.Replace(text, "localhost:", "127.0.0.1:", 1))
	if err != nil || !addr.Addr().IsLoopback() {
		return "expected " + loopback
	}
	return ""
}

// A flag is a setting as pflag wants it.
type flag struct {
	*setting
	spec *Spec
	said bool
}

// String is the value as --help shows it.
func (v *flag) String() string { return v.text(v.spec) }

// Set is called each time the flag is given.
func (v *flag) Set(text string) error {
	list, isList := v.at(v.spec).(*[]string)
	switch {
	case isList && !v.said: // what is said replaces what was there; what is said again is added
		*list = nil
	case text == "" && v.pattern != nil && !isList: // --profile "$PROFILE" with nothing in it says nothing
		*v.at(v.spec).(*string) = ""
		return nil
	}
	v.said = true
	return v.set(v.spec, text)
}

// Type names the value where the help text does not.
func (v *flag) Type() string {
	switch v.at(v.spec).(type) {
	case *bool:
		return "bool"
	case *time.Duration:
		return "duration"
	case *Bytes:
		return "size"
	case *[]string, *string:
		return "string"
	}
	return "number"
}

// Register adds a flag for every field of s to fs, in the order in which --help is to show them. What the fields
// hold at that moment are the defaults that --help names; parsing fs sets the fields.
func (s *Spec) Register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	for i := range settings {
		f := &settings[i]
		help := f.help
		if f.auto != "" {
			help += " (default: " + f.auto + ")"
		}
		added := fs.VarPF(&flag{setting: f, spec: s}, f.name, f.short, help)
		if _, ok := f.at(s).(*bool); ok {
			added.NoOptDefVal = "true"
		}
	}
}

// Merge is the job file's spec with what the flags say on top of it: flags win. Changed tells whether the flag of that
// name was given, as (*pflag.FlagSet).Changed does.
func Merge(file, flags Spec, changed func(name string) bool) Spec {
	for _, f := range settings {
		if changed(f.name) {
			reflect.ValueOf(f.at(&file)).Elem().Set(reflect.ValueOf(f.at(&flags)).Elem())
		}
	}
	return file
}

// A Fault is one thing that is wrong with a job as the user gave it.
type Fault struct {
	File         string // the job file, "" for a fault that Validate found
	Line, Column int    // in File, counted from 1
	Key          string // the name of the setting, "" where there is none
	Message      string
}

// String is the fault in one line: where, which, what was expected.
func (f Fault) String() string {
	switch {
	case f.File == "" && f.Key == "":
		return f.Message
	case f.File == "":
		return "--" + f.Key + ": " + f.Message
	case f.Key == "":
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Column, f.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Column, f.Key, f.Message)
}

// A SpecError is everything that is wrong with a job as the user gave it, so that it can be mended in one go.
type SpecError struct{ Faults []Fault }

// Error is a line for each fault.
func (e *SpecError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Validate checks a whole job, after flags and job file have been merged. It looks at no file; its error is a
// *[SpecError] with all faults.
func (s *Spec) Validate() error {
	var faults []Fault
	fault := func(key, format string, args ...any) {
		faults = append(faults, Fault{Key: key, Message: fmt.Sprintf(format, args...)})
	}
	for i := range settings {
		if wrong := settings[i].wrong(s); wrong != "" {
			fault(settings[i].name, "%s, not %s", wrong, quote(settings[i].text(s)))
		}
	}
	if s.Model == "" {
		fault("model", "required: give -m MODEL, or model: in the job file")
	}
	if s.Output == "" {
		fault("output", "required: give -o FILE.jsonl or FILE.parquet, or output: in the job file")
	} else if _, err := s.OutputFormat(); err != nil {
		fault("output", "%v", err)
	}
	if format, err := s.OutputFormat(); err == nil && format == "parquet" && !sinks.Rows(s.Rows).HasPlace() && sinks.Rows(s.Rows).Valid() {
		fault("rows", "%s rows cannot be columns of a Parquet file: give an output that ends in .jsonl, or --rows full or lean", s.Rows)
	}
	s.validateAPI(fault)
	stdin := 0
	for _, in := range s.Input {
		if in == "-" {
			stdin++
		}
	}
	if stdin > 1 {
		fault("input", "standard input (-) can be read only once")
	}
	if s.Output == "-" {
		for _, f := range []struct {
			said bool
			key  string
		}{{s.State != "", "state"}, {s.Fresh, "fresh"}, {s.RetryFailed, "retry-failed"}} {
			if f.said {
				fault(f.key, "does not go with --output -, which keeps nothing between two runs")
			}
		}
	}
	if s.MaxCost > 0 && s.Prices == "" {
		fault("max-cost", "needs --prices, a table of what tokens cost: no prices come with the program. --max-tokens-total needs none")
	}
	if s.Fresh && s.RetryFailed {
		fault("retry-failed", "does not go with --fresh: one starts again, the other goes on")
	}
	switch ext := filepath.Ext(s.Errors); {
	case s.Errors == "-":
		fault("errors", "expected a path: error rows go to a file")
	case ext == ".parquet" || ext == ".gz" || ext == ".zst":
		fault("errors", "error rows are always plain JSONL, not %s", ext)
	}
	s.collide(fault)
	if faults == nil {
		return nil
	}
	return &SpecError{faults}
}

// validateAPI finds what does not go together in a call.
func (s *Spec) validateAPI(fault func(key, format string, args ...any)) {
	if s.API == bedrock.ConverseStream && s.Family != "" {
		fault("family", "does not go with --api %s, which has one format for all models", s.API)
	}
	if (s.GuardrailIdentifier == "") != (s.GuardrailVersion == "") {
		fault("guardrail-version", "goes with --guardrail-identifier: give both or neither")
	}
	if n := len(s.tuning().RequestMetadata); n > 16 {
		fault("request-metadata", "expected at most 16 pairs, not %d", n)
	}
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

// collide finds files that the run would write over, or read what it writes.
func (s *Spec) collide(fault func(key, format string, args ...any)) {
	type file struct{ key, path string }
	var written []file
	for _, f := range []file{{"output", s.Output}, {"errors", s.ErrorsPath()}, {"state", s.StatePath()}} {
		if f.path == "" || f.path == "-" {
			continue
		}
		for _, other := range written {
			if same(f.path, other.path) {
				fault(f.key, "is the same as --%s: %s", other.key, quote(f.path))
			}
		}
		written = append(written, f)
	}
	for _, in := range s.Input {
		for _, f := range written {
			switch {
			case in == "-" || strings.HasPrefix(in, "s3://"):
			case same(in, f.path):
				fault("input", "is the same as --%s: %s", f.key, quote(in))
			case matches(in, f.path): // the next run would read it
				fault("input", "%s also matches what the run writes, %s (--%s)", quote(in), quote(f.path), f.key)
			}
		}
	}
}

func same(a, b string) bool { return absolute(a) == absolute(b) }

func matches(pattern, path string) bool {
	ok, err := filepath.Match(absolute(pattern), absolute(path))
	return ok && err == nil // a bad pattern is found when the input is opened
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return filepath.Clean(path)
}

// quote shows a value that somebody else wrote: escaped, and cut when long.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return strconv.Quote(text)
}

// OutputFormat is jsonl or parquet, as --format or the name of the output says.
func (s *Spec) OutputFormat() (string, error) {
	name := strings.ToLower(filepath.Base(s.Output))
	byName := ""
	switch ext := filepath.Ext(name); {
	case s.Output == "-" && s.Format == "parquet":
		return "", errors.New("a Parquet file cannot be streamed: nothing of it can be read before it is closed")
	case s.Output == "-":
		return "jsonl", nil
	case strings.HasPrefix(s.Output, "s3://"):
		return "", fmt.Errorf("an object store cannot be the output yet: %s", quote(s.Output))
	case strings.HasSuffix(s.Output, "/") || strings.HasSuffix(s.Output, string(filepath.Separator)):
		return "", fmt.Errorf("a directory cannot be the output yet: %s", quote(s.Output))
	case ext == ".gz" || ext == ".zst":
		return "", fmt.Errorf("output is not compressed, leave out %s; Parquet compresses by itself", ext)
	case ext == ".jsonl" || ext == ".parquet":
		byName = ext[1:]
	}
	switch {
	case byName == "" && s.Format == "":
		return "", fmt.Errorf("%s does not tell the format: end it in .jsonl or .parquet, or give --format", quote(s.Output))
	case byName != "" && s.Format != "" && byName != s.Format:
		return "", fmt.Errorf("%s is %s by its name, --format says %s", quote(s.Output), byName, s.Format)
	case byName != "":
		return byName, nil
	}
	return s.Format, nil
}

// Stem is the output's file name without its .jsonl or .parquet; "" for standard output.
func (s *Spec) Stem() string {
	if s.Output == "" || s.Output == "-" {
		return ""
	}
	name := filepath.Base(s.Output)
	for _, exts := range [][]string{{".gz", ".zst"}, {".jsonl", ".parquet"}} {
		if ext := filepath.Ext(name); len(ext) < len(name) && slices.Contains(exts, strings.ToLower(ext)) {
			name = strings.TrimSuffix(name, ext)
		}
	}
	return name
}

// ErrorsPath is where error rows go: --errors, else STEM.errors.jsonl beside the output; "" when the output is
// standard output and nothing was said.
func (s *Spec) ErrorsPath() string {
	if s.Errors != "" || s.Stem() == "" {
		return s.Errors
	}
	return filepath.Join(filepath.Dir(s.Output), s.Stem()+".errors.jsonl")
}

// StatePath is the run's own directory: --state, else OUTPUT.batchrun; "" when the output is standard output.
func (s *Spec) StatePath() string {
	if s.Output == "" || s.Output == "-" {
		return ""
	}
	if s.State != "" {
		return s.State
	}
	return filepath.Clean(s.Output) + ".batchrun"
}
