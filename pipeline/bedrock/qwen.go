package bedrock

import "github.com/batchrun/batchrun/pipeline"

// qwen is Alibaba's Qwen, in OpenAI's chat completions:
// https://docs.aws.amazon.com/bedrock/latest/userguide/models-api-compatibility.html
// What it thinks between <think> and </think> the model writes itself: that stays in the text.
var qwen = family{
	name:         "qwen",
	ids:          []string{"qwen."},
	limits:       []string{"max_tokens", "max_completion_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 32_768, // no default is documented
	defaultFor:   []string{},
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_tokens"),
	assemble:     (&chatDialect{usage: true}).assemble,
}
