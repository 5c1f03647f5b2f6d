package bedrock

// mistral is Mistral's chat completion, which its models take from Large 24.07 on:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-chat-completion.html
var mistral = family{
	name:         "mistral",
	ids:          []string{"mistral."},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 8192, // the page's default
	encode:       encodeChat("max_tokens"),
	assemble:     (&chatDialect{}).assemble,
}

// mistralText is Mistral's text completion, of the models before:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-text-completion.html
// Its chunks are {"outputs":[{"text":"…","stop_reason":null}]}.
var mistralText = family{
	name: "mistral-text",
	ids: []string{
		"mistral.mistral-7b", "mistral.mixtral-", "mistral.mistral-small-2402", "mistral.mistral-large-2402",
	},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 8192,
	maxLimit:     8192,
	models: []modelLimits{ // the page's defaults and maxima
		{"mistral.mistral-7b", 512, 8192},
		{"mistral.mixtral-", 512, 4096},
	},
	encode: encodePrompt(&template{
		begin:     "<s>",
		systemEnd: "\n\n", systemInTurn: true,
		userBegin: "[INST] ", userEnd: " [/INST]",
		saidBegin: " ", saidEnd: "</s>",
	}, "max_tokens", "stop"),
	assemble: (&chatDialect{}).assemble,
	keys:     []string{"outputs"},
}
