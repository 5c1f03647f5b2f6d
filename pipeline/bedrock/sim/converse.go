package sim

import (
	"encoding/base64"
)

// converse is the Converse API, which has one format for all models:
// docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html. It stands in no table of families.
var converse = family{
	name:    "converse",
	parse:   parseConverse,
	reasons: true,
	stops: map[stop]string{
		stopEnd: "end_turn", stopLength: "max_tokens", stopSequence: "stop_sequence", stopTool: "tool_use", stopRefusal: "content_filtered",
	},
}

func init() { // they read the variable
	converse.stream, converse.body = streamConverse, bodyConverse
}

// converseMaxTokens is what a request without a limit reserves: the maximum of the model, which for all of these is the same.
const converseMaxTokens = 4096

// TruthConverse is [Truth] for a Converse request. Its Body is what Converse returns but for metrics, trace, performanceConfig and
// serviceTier, which only a call has.
func TruthConverse(opts Options, modelID string, body []byte) (Answer, error) {
	return opts.truth(modelID, body, true)
}

// isConverse reports whether the answer goes by Converse.
func (p *plan) isConverse() bool { return p.family == &converse }

// converseStop is the reason in the words of Converse.
func (p *plan) converseStop() string {
	if p.guardrail == guardrailBlock {
		return "guardrail_intervened"
	}
	return p.stopReason()
}

func bodyConverse(p *plan) []byte {
	dst := []byte(`{"output":{"message":{"role":"assistant","content":[`)
	if p.guardrail == guardrailBlock {
		dst = append(dst, `{"text":"`+blockedText+`"}`...)
	}
	first := true
	for i := range p.blocks {
		b := &p.blocks[i]
		if b.kind == blockText && len(b.text.bytes) == 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		switch b.kind {
		case blockText:
			if !b.cite {
				dst = append(appendQuoted(append(dst, `{"text":`...), b.text.bytes), '}')
				break
			}
			dst = appendQuoted(append(dst, `{"citationsContent":{"content":[{"text":`...), b.text.bytes)
			dst = append(dst, `}],"citations":[`+converseCitation+`]}}`...)
		case blockThinking:
			dst = appendQuoted(append(dst, `{"reasoningContent":{"reasoningText":{"text":`...), b.text.bytes)
			dst = append(appendQuoted(append(dst, `,"signature":`...), b.signature()), `}}}`...)
		case blockRedacted:
			dst = append(appendQuoted(append(dst, `{"reasoningContent":{"redactedContent":`...), b.redactedContent()), `}}`...)
		case blockTool:
			dst = b.appendConverseTool(append(dst, `{"toolUse":`...))
			dst = append(b.appendTool(append(dst, `,"input":`...)), `}}`...)
		}
	}
	dst = appendQuoted(append(dst, `]}},"stopReason":`...), p.converseStop())
	return append(p.appendConverseUsage(append(dst, `,"usage":`...)), '}')
}

// appendConverseTool writes a tool call, and leaves it open.
func (b *block) appendConverseTool(dst []byte) []byte {
	dst = appendQuoted(append(dst, `{"toolUseId":`...), "tooluse_"+b.id)
	return appendQuoted(append(dst, `,"name":`...), b.name)
}

// redactedContent is what is redacted, as JSON has it.
func (b *block) redactedContent() []byte {
	return []byte(base64.StdEncoding.EncodeToString([]byte(b.signature())))
}

const converseCitation = `{"title":"Rivers","sourceContent":[{"text":"The river rises in the hills."}],"location":{"documentChar":{"documentIndex":0,"start":0,"end":29}}}`
