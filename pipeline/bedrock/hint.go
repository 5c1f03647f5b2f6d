package bedrock

import (
	"errors"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// Hint says what the user can do about an error of this package, "" where there is nothing to say.
func Hint(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	e, ok := errors.AsType[*pipeline.InvokeError](err)
	if !ok {
		return ""
	}
	switch strings.TrimSuffix(e.Type, "Exception") {
	case "ExpiredToken", "RequestExpired":
		return "renew the credentials (`aws sso login`, or a new session token)"
	case "UnrecognizedClient", "InvalidClientTokenId", "IncompleteSignature", "InvalidSignature", "SignatureDoesNotMatch",
		"MissingAuthentication", "MissingAuthenticationToken":
		return "check which credentials are used with `aws sts get-caller-identity`, and this machine's clock"
	case "AccessDenied":
		return "allow bedrock:InvokeModelWithResponseStream (with --api invoke, bedrock:InvokeModel) on the model, and check that the account has access to it in this region"
	case "ResourceNotFound":
		return "check the model id or ARN, and the region"
	case "FTUFormNotFilled":
		return "submit the use case details for Anthropic models in the Bedrock console, once for the account"
	case "MPAgreementBeingCreated":
		return "the Marketplace subscription is being made: wait for 15 minutes"
	}
	return ""
}
