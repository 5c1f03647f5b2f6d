package bedrock

import (
	"bytes"

	"github.com/batchrun/batchrun/pipeline"
)

// claudeText is Anthropic's text completion, the older of the two formats that Claude 2 and Claude Instant take:
// https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-anthropic-claude-text-completion.html
// No model id tells it, since those models are better asked in the newer one; what they answer is
// told from the stream, so that a modelInput may be in either.
var claudeText = family{
	name:          "claude-text",
	limits:        []string{"max_tokens_to_sample", "max_tokens"},
	limitKey:      "max_tokens_to_sample",
	defaultLimit:  200, // the documented default
	limitRequired: false,
	takes:         pipeline.Features{Turns: true, TopP: true, TopK: true},
	encode: encodePrompt(&template{
		userBegin: "\n\nHuman: ",
		saidBegin: "\n\nAssistant: ",
		answer:    "\n\nAssistant:",
	}, promptKeys{limit: "max_tokens_to_sample", topP: "top_p", topK: "top_k", stop: "stop_sequences"}),
	assemble: func([]byte) assembler { return &claudeAnswer{} },
}

// A completion is a text completion as it grows: {"completion":"…","stop_reason":null,"stop":null}, the last with a reason.
type completion struct {
	text       []byte
	stopReason []byte
	stop       []byte
}

func (c *completion) piece(text, stopReason, stop []byte) signs {
	c.text = append(c.text, text...)
	keep := func(dst *[]byte, v []byte) {
		if len(v) > 0 && string(v) != "null" {
			*dst = bytes.Clone(v)
		}
	}
	keep(&c.stopReason, stopReason)
	keep(&c.stop, stop)
	return signs{
		content:  len(text) > 0,
		text:     len(text) > 0,
		terminal: isWord(stopReason),
	}
}

func (c *completion) finish() answer {
	o := object{
		{[]byte("type"), []byte(`"completion"`)},
		{[]byte("completion"), appendRawString(nil, c.text)},
		{[]byte("stop_reason"), nullOr(c.stopReason)},
		{[]byte("stop"), nullOr(c.stop)},
	}
	return answer{output: o.append(nil), stopReason: o.str("stop_reason")}
}

// isWord reports whether a raw value is a string that is not empty.
func isWord(raw []byte) bool { return len(raw) > 2 && raw[0] == '"' }
