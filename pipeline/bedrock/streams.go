package bedrock

import "strings"

// unstreamed are the beginnings of model ids that the documentation says cannot be invoked with a response stream:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html.
var unstreamed = []string{"meta.llama4"}

// Streams is false for a model that the documentation says cannot be invoked with a response stream. Of a model whose id
// does not tell what it is, it says true.
func Streams(modelID string) bool {
	id := foundationID(modelID)
	for _, begins := range unstreamed {
		if strings.HasPrefix(id, begins) {
			return false
		}
	}
	return true
}
