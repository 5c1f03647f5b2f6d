package sim

import (
	"net/http"
	"net/url"
	"strings"
)

// The control plane, as far as it tells what is behind an ARN: docs.aws.amazon.com/bedrock/latest/APIReference/API_GetProvisionedModelThroughput.html,
// API_GetInferenceProfile.html and API_GetCustomModelDeployment.html. Each takes a name or an ARN, in which a slash is encoded.
var lookups = []struct {
	path   string
	answer func(arn, foundation string) string // ARNs, which need no escapes in JSON
}{
	{"/provisioned-model-throughput/", func(arn, foundation string) string {
		return `{"provisionedModelArn":"` + arn + `","provisionedModelName":"rehearsal","modelArn":"` + foundation + `","desiredModelArn":"` + foundation +
			`","foundationModelArn":"` + foundation + `","modelUnits":1,"desiredModelUnits":1,"status":"InService",` + lookupTimes + `}`
	}},
	{"/inference-profiles/", func(arn, foundation string) string {
		return `{"inferenceProfileArn":"` + arn + `","inferenceProfileId":"rehearsal","inferenceProfileName":"rehearsal","models":[{"modelArn":"` + foundation +
			`"}],"status":"ACTIVE","type":"APPLICATION"}`
	}},
	{"/model-customization/custom-model-deployments/", func(arn, foundation string) string {
		custom := strings.Replace(foundation, "::foundation-model/", ":123456789012:custom-model/", 1) + "/abcdefghijkl"
		return `{"customModelDeploymentArn":"` + arn + `","modelDeploymentName":"rehearsal","modelArn":"` + custom + `","status":"Active","createdAt":"2026-01-02T03:04:05Z"}`
	}},
}

const lookupTimes = `"creationTime":"2026-01-02T03:04:05Z","lastModifiedTime":"2026-01-02T03:04:05Z"`

// serveLookup answers a path of the control plane; ok is false for any other.
func (s *Server) serveLookup(w http.ResponseWriter, r *http.Request, path string) (ok bool) {
	for _, l := range lookups {
		escaped, ok := strings.CutPrefix(path, l.path)
		if !ok || r.Method != http.MethodGet {
			continue
		}
		arn, err := url.PathUnescape(escaped)
		foundation, known := s.opts.Foundations[arn]
		switch {
		case s.opts.RequireAuth && r.Header.Get("Authorization") == "":
			s.refuse(w, &Error{Status: http.StatusForbidden, Type: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"})
		case err != nil || !known:
			s.refuse(w, &Error{Status: http.StatusNotFound, Type: "ResourceNotFoundException", Message: "The requested resource was not found."})
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(l.answer(arn, "arn:aws:bedrock:us-east-1::foundation-model/"+foundation))) // a client that has gone needs no answer
		}
		return true
	}
	return false
}

// behind is the foundation model of an ARN that does not tell it; any other id is its own.
func (o *Options) behind(modelID string) string {
	if id, ok := o.Foundations[modelID]; ok {
		return id
	}
	return modelID
}
