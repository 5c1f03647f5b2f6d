package bedrock

import (
	"fmt"

	"github.com/batchrun/batchrun/pipeline"
)

// mistral is Mistral's chat completion, which its models take from Large 24.07 on:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-chat-completion.html
var mistral = family{
	name:         "mistral",
	ids:          []string{"mistral."},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 8192,                                                                  // the page's default
	takes:        pipeline.Features{Turns: true, Images: true, Tools: true, TopP: true}, // the page has no limit of calls
	encode:       encodeMistral,
	assemble:     (&chatDialect{}).assemble,
}

// encodeMistral writes a conversation in the words of that page, which are OpenAI's but for the choice of a tool.
func encodeMistral(p *pipeline.Prompt, maxTokens int64, modelID string) ([]byte, *pipeline.Fault) {
	choice := p.ToolChoice
	if choice == nil || choice.Mode != "any" && choice.Name == "" {
		return encodeMistralChat(p, maxTokens, modelID)
	}
	if choice.Name != "" {
		return nil, invalid(fmt.Sprintf("tool_choice: the mistral family cannot be told to use %s: give it as the only tool, and leave the choice to any", choice.Name))
	}
	auto := *p
	auto.ToolChoice = nil
	b, fault := encodeMistralChat(&auto, maxTokens, modelID)
	if fault != nil {
		return nil, fault
	}
	return append(b[:len(b)-1], `,"tool_choice":"any"}`...), nil
}

var encodeMistralChat = encodeChat("max_tokens")

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
	takes: pipeline.Features{Turns: true, TopP: true, TopK: true},
	encode: encodePrompt(&template{
		begin:     "<s>",
		systemEnd: "\n\n", systemInTurn: true,
		userBegin: "[INST] ", userEnd: " [/INST]",
		saidBegin: " ", saidEnd: "</s>",
	}, promptKeys{limit: "max_tokens", topP: "top_p", topK: "top_k", stop: "stop"}),
	assemble: (&chatDialect{}).assemble,
	keys:     []string{"outputs"},
}
