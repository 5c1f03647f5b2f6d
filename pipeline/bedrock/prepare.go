package bedrock

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/batchrun/batchrun/pipeline"
)

// typeCredentials is the error type of credentials that could not be had; no service names it.
const typeCredentials = "CredentialsError"

// Prepare resolves credentials, from the cache while they last.
func (m *Model) Prepare(ctx context.Context) error {
	if m.creds == nil {
		return nil
	}
	_, err := m.creds.Retrieve(ctx)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return interrupted(ctx)
	}
	return m.credentialsFault(err)
}

// Refresh forgets cached credentials, so that the next Prepare resolves them anew.
func (m *Model) Refresh() {
	if m.creds != nil {
		m.creds.cache.Invalidate()
	}
}

// credentialsFault says in one line why there are no credentials, and what to do.
func (m *Model) credentialsFault(err error) *pipeline.InvokeError {
	e := &pipeline.InvokeError{Kind: pipeline.JobFatal, Type: typeCredentials}
	cause := &ConfigError{HintText: "`aws sts get-caller-identity` shows whether the AWS CLI finds any"}
	var op *smithy.OperationError
	service := ""
	for next := err; errors.As(next, &op); next = op.Err {
		service = op.ServiceID
	}
	text := strings.TrimPrefix(m.redact(oneLine(err.Error())), "failed to refresh cached credentials, ")
	_, unsent := errors.AsType[*smithyhttp.RequestSendError](err)
	response, answered := errors.AsType[*smithyhttp.ResponseError](err)
	switch {
	case service == "ec2imds": // the end of the chain: nothing else was configured
		cause.Message = "no AWS credentials were found"
		cause.HintText = "set AWS_PROFILE or --profile, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or " + bearerVariable
	case unsent || answered && (response.HTTPStatusCode() >= 500 || response.HTTPStatusCode() == 429):
		e.Kind = pipeline.Transient
		cause.Message = "AWS credentials could not be fetched: " + text
	case strings.Contains(strings.ToLower(text), "sso"):
		cause.Message = "AWS credentials: " + text
		cause.HintText = "run `aws sso login`"
	default:
		cause.Message = "AWS credentials: " + text
	}
	e.Message, e.Err = cause.Message, cause
	return e
}

// redact takes credentials out of a text; the answer to a bad signature may quote them.
func (m *Model) redact(text string) string {
	hide := func(secret string) {
		if len(secret) >= 8 { // shorter ones are made up, and stand in every other word
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	hide(m.bearer)
	if m.creds != nil {
		if c := m.creds.last.Load(); c != nil {
			hide(c.SessionToken)
			hide(c.SecretAccessKey)
			hide(c.AccessKeyID)
		}
	}
	return text
}

// oneLine folds line breaks and the like into single spaces.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
