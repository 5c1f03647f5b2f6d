package bedrock

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/smithy-go/logging"
	"github.com/aws/smithy-go/middleware"
)

const (
	bearerVariable = "AWS_BEARER_TOKEN_BEDROCK"

	// expiryWindow renews credentials so long before they expire that a signature made with them arrives in time.
	expiryWindow = time.Minute
)

// loadConfig reads the configuration as the AWS CLI would.
func loadConfig(ctx context.Context, opts *Options) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, func(o *config.LoadOptions) error {
		o.Region = opts.Region
		o.SharedConfigProfile = opts.Profile
		// For credentials only, which are fetched seldom: no idle connections.
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(tr *http.Transport) { tr.DisableKeepAlives = true })
		o.Logger = logging.Nop{} // it would write to stderr in the midst of our own lines
		o.CredentialsCacheOptions = func(c *aws.CredentialsCacheOptions) { c.ExpiryWindow = expiryWindow }
		return nil
	})
	if err != nil {
		return aws.Config{}, configFault(err)
	}
	if cfg.Region == "" {
		cfg.Region = regionOf(opts.ModelID)
	}
	if cfg.Region == "" {
		return aws.Config{}, &ConfigError{
			Message:  "no AWS region is set",
			HintText: "give --region, set AWS_REGION, or name one in the profile",
		}
	}
	return cfg, nil
}

// connect makes the client as the AWS CLI would.
func (m *Model) connect(ctx context.Context) error {
	cfg, err := loadConfig(ctx, &m.opts)
	if err != nil {
		return err
	}
	tr := http.DefaultTransport.(*http.Transport).Clone()
	if b, ok := cfg.HTTPClient.(*awshttp.BuildableClient); ok { // carries AWS_CA_BUNDLE
		tr = b.GetTransport()
	}
	m.http = newTransport(tr, m.opts)
	m.region, m.creds = cfg.Region, newCredentialSource(cfg.Credentials)
	cfg.Credentials = m.creds
	m.client = bedrockruntime.NewFromConfig(cfg, m.clientOptions)

	o := m.client.Options()
	if m.bearer = os.Getenv(bearerVariable); m.bearer != "" {
		m.creds = nil
		if o.BaseEndpoint != nil && strings.HasPrefix(*o.BaseEndpoint, "http:") {
			return &ConfigError{
				Message:  bearerVariable + " is set, and a bearer token is never sent over plain http",
				HintText: "unset " + bearerVariable + " to sign requests instead, or use an https endpoint",
			}
		}
		return nil
	}
	if o.BaseEndpoint != nil { // from the environment or the profile
		return checkEndpoint(*o.BaseEndpoint)
	}
	return nil
}

// connectIsolated makes the client from the options alone.
func (m *Model) connectIsolated() {
	tr := awshttp.NewBuildableClient().GetTransport()
	tr.Proxy = nil
	m.http = newTransport(tr, m.opts)
	m.region = m.opts.Region
	if m.region == "" {
		m.region = "us-east-1"
	}
	key, secret := m.opts.AccessKeyID, m.opts.SecretAccessKey
	if key == "" {
		key, secret = "AKIDREHEARSAL", "rehearsal"
	}
	m.creds = newCredentialSource(credentials.NewStaticCredentialsProvider(key, secret, ""))
	m.client = bedrockruntime.New(bedrockruntime.Options{Region: m.region, Credentials: m.creds}, m.clientOptions, func(o *bedrockruntime.Options) {
		// New reads AWS_BEARER_TOKEN_BEDROCK: undo what it made of it.
		o.BearerAuthTokenProvider, o.AuthSchemePreference = nil, nil
		o.APIOptions = []func(*middleware.Stack) error{rawStreams}
	})
}

// clientOptions is what every client of ours has.
func (m *Model) clientOptions(o *bedrockruntime.Options) {
	if m.opts.EndpointURL != "" {
		o.BaseEndpoint = aws.String(m.opts.EndpointURL)
	}
	o.HTTPClient = m.http
	o.Retryer = aws.NopRetryer{} // pipeline alone decides what is sent again
	o.RetryMaxAttempts = 0
	o.APIOptions = append(o.APIOptions, rawStreams)
}

// configFault turns an error of the shared configuration into one line and a hint.
func configFault(err error) error {
	if missing, ok := errors.AsType[config.SharedConfigProfileNotExistError](err); ok {
		return &ConfigError{
			Message:  "the AWS profile " + missing.Profile + " does not exist",
			HintText: "give --profile or AWS_PROFILE one that `aws configure list-profiles` shows",
		}
	}
	return &ConfigError{Message: "AWS configuration: " + oneLine(err.Error()), HintText: "mend ~/.aws/config or the AWS_* variables"}
}
