package bedrock

import "github.com/batchrun/batchrun/pipeline"

// openai is OpenAI's chat completions, of its own models:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-openai.html
// Bedrock puts the reasoning of gpt-oss in front of the content, between <reasoning> and </reasoning>.
var openai = family{
	name:         "openai",
	ids:          []string{"openai."},
	limits:       []string{"max_completion_tokens", "max_tokens"},
	limitKey:     "max_completion_tokens",
	defaultLimit: 128_000, // no default is documented; this is the page's context window
	defaultFor:   []string{"openai.gpt-oss-"},
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_completion_tokens"),
	assemble:     (&chatDialect{usage: true, opens: "<reasoning>", closes: "</reasoning>"}).assemble,
}

// chat is the same as the models of other makers speak it, where AWS says that they take chat completions:
// https://docs.aws.amazon.com/bedrock/latest/userguide/models-api-compatibility.html
var chat = family{
	name:         "chat",
	ids:          []string{"google.gemma-", "minimax.", "moonshot.", "moonshotai.", "nvidia.", "zai."},
	limits:       []string{"max_tokens", "max_completion_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 32_768, // no default is documented
	defaultFor:   []string{},
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_tokens"),
	assemble:     chatGuess.assemble,
	keys:         []string{"choices"},
}

// chatGuess is the dialect of models that no page describes.
var chatGuess = &chatDialect{usage: true, opens: "<reasoning>", closes: "</reasoning>", done: true}
