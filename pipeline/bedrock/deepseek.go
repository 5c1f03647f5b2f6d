package bedrock

import "github.com/batchrun/batchrun/pipeline"

// deepseekLimit is the longest answer that the API accepts, reserved where a body says nothing: no default is documented.
const deepseekLimit = 32_768

// deepseek is DeepSeek V3 and later, in OpenAI's chat completions:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-deepseek.html
var deepseek = family{
	name:         "deepseek",
	ids:          []string{"deepseek."},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: deepseekLimit,
	speaks:       pipeline.OpenAI,
	takes:        chatTakes,
	encode:       encodeChat("max_tokens"),
	assemble:     (&chatDialect{usage: true}).assemble,
}

// deepseekR1 is DeepSeek R1, in its raw prompt form, from the same page. Its chunks are
// {"choices":[{"text":"…","stop_reason":null}]}; the reasoning is in the text, and ends with </think>.
var deepseekR1 = family{
	name:         "deepseek-r1",
	ids:          []string{"deepseek.r1"},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: deepseekLimit,
	maxLimit:     deepseekLimit,
	takes:        pipeline.Features{Turns: true, TopP: true},
	encode: encodePrompt(&template{
		begin:     "<｜begin▁of▁sentence｜>",
		userBegin: "<｜User｜>",
		saidBegin: "<｜Assistant｜>", saidEnd: "<｜end▁of▁sentence｜>",
		answer: "<｜Assistant｜><think>\n",
	}, promptKeys{limit: "max_tokens", topP: "top_p", stop: "stop"}),
	assemble: (&chatDialect{}).assemble,
}
