package bedrock

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	defaultMaxTokens   = 4096
	defaultConcurrency = 32

	// drainCap bounds how long a stream is read after its terminal event, for an exception that may still follow.
	drainCap = 2 * time.Second
)

// Options configures a [Model]. Only ModelID is required.
type Options struct {
	// ModelID is a model id, an inference profile or any ARN that Bedrock invokes.
	ModelID string
	// Family names the format of requests and streams, one of [Families]. Empty means to tell it from ModelID.
	Family string
	// Foundation is the id or ARN of the foundation model behind ModelID, where that does not tell it: see [Lookup]. Empty means
	// that ModelID tells it.
	Foundation string
	// API is the operation to call, one of [APIs]. Empty means [APIOf] the foundation model. With [ConverseStream], which has one
	// format for all models, there is no Family.
	API string
	// Tuning is what every call asks for beside its answer.
	Tuning Tuning

	// Region, Profile and EndpointURL override what the environment and the shared configuration say.
	Region, Profile, EndpointURL string

	// MaxTokens limits the answers of short-form records that set no limit themselves; 0 means 4096.
	MaxTokens int64
	// Concurrency is the number of streams that may be open at once; the connection pool is sized for it. 0 means 32.
	Concurrency int
	// HTTPVersion "1.1" keeps to HTTP/1.1; "" and "2" use HTTP/2 where the endpoint offers it.
	HTTPVersion string
	// Warn is told, once each, what the user should know but no error reports. It may be called from
	// any goroutine; nil means not to.
	Warn func(string)
	// WarnCost is told in place of Warn what may make answers dearer than the user thinks; nil: Warn is.
	WarnCost func(string)

	// IgnoreEnvironment reads neither AWS_* variables nor shared configuration files, and signs with
	// the key below: for a rehearsal against a local endpoint. Region and EndpointURL must be given.
	IgnoreEnvironment bool
	// AccessKeyID and SecretAccessKey sign requests when IgnoreEnvironment is set; empty
	// means a made-up pair.
	AccessKeyID, SecretAccessKey string
}

// Validate reports all faults of the options together.
func (o Options) Validate() error {
	var errs []error
	check := func(ok bool, message, hint string) {
		if !ok {
			errs = append(errs, &ConfigError{Message: message, HintText: hint})
		}
	}
	check(o.ModelID != "", "no model is named", "give --model")
	check(len(o.ModelID) <= 2048, "the model id is longer than 2048 characters", "")
	check(o.API == "" || slices.Contains(APIs(), o.API), fmt.Sprintf("API %q is not known", o.API), "give one of "+strings.Join(APIs(), ", "))
	check(o.API != ConverseStream || o.Family == "", "converse-stream has one format for all models", "leave --family out")
	check(o.MaxTokens >= 0, fmt.Sprintf("max tokens is %d", o.MaxTokens), "give a positive number")
	check(o.Concurrency >= 0, fmt.Sprintf("concurrency is %d", o.Concurrency), "give a positive number")
	check(o.HTTPVersion == "" || o.HTTPVersion == "1.1" || o.HTTPVersion == "2",
		fmt.Sprintf("HTTP version %q is not known", o.HTTPVersion), `give "1.1" or "2"`)
	check(!o.IgnoreEnvironment || o.EndpointURL != "", "no endpoint is given for the rehearsal", "")
	errs = append(errs, o.Tuning.validate())
	if o.EndpointURL != "" {
		errs = append(errs, checkEndpoint(o.EndpointURL))
	}
	return errors.Join(errs...)
}

func checkEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return &ConfigError{
			Message:  "the endpoint is not an http or https URL",
			HintText: "give it as https://HOST[:PORT]",
		}
	case u.User != nil:
		return &ConfigError{
			Message:  "the endpoint URL contains a user name or password",
			HintText: "Bedrock is called with AWS credentials; leave them out of the URL",
		}
	}
	return nil
}

// ConfigError reports what keeps a [Model] from being used at all: the region, the credentials, the options.
type ConfigError struct {
	// Message is one line, without credentials.
	Message string
	// HintText says what to do, and may be empty.
	HintText string
	// Err is a reason to ask about, such as [ErrUnknownFamily]; it may be nil.
	Err error
}

// Unwrap gives the reason.
func (e *ConfigError) Unwrap() error { return e.Err }

// Error is the message.
func (e *ConfigError) Error() string { return e.Message }

// Hint says what to do, and may be empty.
func (e *ConfigError) Hint() string { return e.HintText }
