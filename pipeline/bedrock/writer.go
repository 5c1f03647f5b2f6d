package bedrock

import "github.com/batchrun/batchrun/pipeline"

// writer is Writer's Palmyra, for conversations and for a single prompt:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-palmyra-x5.html
// Its last chunk is no object but the string "[DONE]".
var writer = family{
	name:         "writer",
	ids:          []string{"writer."},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 16, // the page's default
	maxLimit:     8192,
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_tokens"),
	assemble:     (&chatDialect{usage: true, done: true}).assemble,
}
