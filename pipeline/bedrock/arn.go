package bedrock

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/bedrock"
	"github.com/aws/smithy-go"
)

// lookupTimeout bounds a call of the control plane, its retries included.
const lookupTimeout = 30 * time.Second

// controlVariable names the endpoint of the control plane, as the AWS CLI reads it.
const controlVariable = "AWS_ENDPOINT_URL_BEDROCK"

// CanLookup reports whether a model is named by an ARN behind which [Lookup] can find a foundation model: provisioned throughput, an
// application inference profile, or the deployment of a custom model.
func CanLookup(modelID string) bool { return lookupOf(modelID) != nil }

// Lookup asks the control plane of Bedrock for the foundation model behind an ARN, as an id or ARN that tells its family. It needs one
// of the permissions bedrock:GetProvisionedModelThroughput, bedrock:GetInferenceProfile and bedrock:GetCustomModelDeployment.
//
// The call goes to the Region's own endpoint, unless AWS_ENDPOINT_URL_BEDROCK or the shared configuration names another. With
// Options.EndpointURL, which is one of the runtime, it goes to that as well unless the variable is set: who names an endpoint for
// a rehearsal must not find that an account was asked.
//
// Its errors are those of [New] and [Model.Prepare], or a *[ConfigError] with the reason and a hint that wraps [ErrUnknownFamily].
func Lookup(ctx context.Context, opts Options) (foundation string, err error) {
	ask := lookupOf(opts.ModelID)
	if ask == nil {
		return "", lookupFault(opts.ModelID, "it is no ARN that can be looked up", nil)
	}
	opts.Family, opts.API, opts.Warn = generic.name, InvokeStream, nil // which does not matter yet
	m, err := New(ctx, opts)
	if err != nil {
		return "", err
	}
	defer m.Close()
	if err := m.Prepare(ctx); err != nil {
		return "", err
	}
	client, err := m.controlPlane(ctx)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found, err := ask(ctx, client, opts.ModelID)
	if err != nil {
		return "", m.lookupFault(err)
	}
	for _, arn := range found {
		if foundationID(arn) != "" {
			return arn, nil
		}
	}
	return "", lookupFault(opts.ModelID, "no foundation model is behind it", nil)
}

// A lookup asks for the ARNs of what is behind an ARN, the likeliest first.
type lookup func(ctx context.Context, client *bedrock.Client, arn string) ([]string, error)

// resourceOf is the kind of resource that an ARN of Bedrock names, "" for anything else.
func resourceOf(id string) string {
	parts := strings.SplitN(id, ":", 6)
	if len(parts) != 6 || parts[0] != "arn" || parts[2] != "bedrock" {
		return ""
	}
	kind, _, _ := strings.Cut(parts[5], "/")
	return kind
}

func lookupOf(id string) lookup {
	switch resourceOf(id) {
	case "provisioned-model":
		return lookupProvisioned
	case "application-inference-profile":
		return lookupProfile
	case "custom-model-deployment":
		return lookupDeployment
	}
	return nil
}

// actionOf is the permission that a lookup needs.
func actionOf(id string) string {
	return map[string]string{
		"provisioned-model": "bedrock:GetProvisionedModelThroughput", "application-inference-profile": "bedrock:GetInferenceProfile",
		"custom-model-deployment": "bedrock:GetCustomModelDeployment",
	}[resourceOf(id)]
}

func lookupProvisioned(ctx context.Context, client *bedrock.Client, arn string) ([]string, error) {
	out, err := client.GetProvisionedModelThroughput(ctx, &bedrock.GetProvisionedModelThroughputInput{ProvisionedModelId: aws.String(arn)})
	if err != nil {
		return nil, err
	}
	return []string{aws.ToString(out.FoundationModelArn), aws.ToString(out.ModelArn)}, nil
}

func lookupProfile(ctx context.Context, client *bedrock.Client, arn string) (models []string, err error) {
	out, err := client.GetInferenceProfile(ctx, &bedrock.GetInferenceProfileInput{InferenceProfileIdentifier: aws.String(arn)})
	if err != nil {
		return nil, err
	}
	for _, m := range out.Models { // one for each Region, all of the same model
		models = append(models, aws.ToString(m.ModelArn))
	}
	return models, nil
}

func lookupDeployment(ctx context.Context, client *bedrock.Client, arn string) ([]string, error) {
	out, err := client.GetCustomModelDeployment(ctx, &bedrock.GetCustomModelDeploymentInput{CustomModelDeploymentIdentifier: aws.String(arn)})
	if err != nil {
		return nil, err
	}
	return []string{aws.ToString(out.ModelArn)}, nil // …:custom-model/BASE/ID
}

// controlPlane makes a client of the control plane, with the Region and the credentials of the runtime's.
func (m *Model) controlPlane(ctx context.Context) (*bedrock.Client, error) {
	if m.opts.IgnoreEnvironment {
		tr := awshttp.NewBuildableClient().GetTransport()
		tr.Proxy, tr.DisableKeepAlives = nil, true
		return bedrock.New(bedrock.Options{
			Region: m.region, Credentials: m.creds, BaseEndpoint: aws.String(m.opts.EndpointURL), HTTPClient: &http.Client{Transport: tr},
		}, func(o *bedrock.Options) { o.BearerAuthTokenProvider, o.AuthSchemePreference = nil, nil }), nil
	}
	cfg, err := loadConfig(ctx, &m.opts)
	if err != nil {
		return nil, err
	}
	if m.creds != nil {
		cfg.Credentials = m.creds
	}
	return bedrock.NewFromConfig(cfg, func(o *bedrock.Options) {
		if m.opts.EndpointURL != "" && os.Getenv(controlVariable) == "" {
			o.BaseEndpoint = aws.String(m.opts.EndpointURL)
		}
	}), nil
}

// lookupFault says in one line why the control plane did not tell.
func (m *Model) lookupFault(err error) error {
	api, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return lookupFault(m.opts.ModelID, m.redact(oneLine(sendError(err).Error())), err)
	}
	reason := api.ErrorCode()
	if text := oneLine(api.ErrorMessage()); text != "" && text != "UnknownError" {
		reason += ": " + m.redact(text)
	}
	fault := lookupFault(m.opts.ModelID, reason, err)
	if strings.Contains(api.ErrorCode(), "AccessDenied") {
		fault.HintText = "allow " + actionOf(m.opts.ModelID) + ", or " + fault.HintText
	}
	return fault
}

func lookupFault(modelID, reason string, err error) *ConfigError {
	return &ConfigError{
		Message:  fmt.Sprintf("model %q does not tell its family, and what is behind it could not be found: %s", modelID, reason),
		HintText: "give --family, one of " + strings.Join(Families(), ", "),
		Err:      errors.Join(ErrUnknownFamily, err),
	}
}
