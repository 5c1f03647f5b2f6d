package bedrock

import (
	"bytes"

	"github.com/batchrun/batchrun/pipeline"
)

// llama is Meta Llama, in its raw prompt form.
var llama = family{
	name:         "llama",
	ids:          []string{"meta.llama"},
	limits:       []string{"max_gen_len"},
	limitKey:     "max_gen_len",
	defaultLimit: 512,
	maxLimit:     2048,
	encode:       encodeLlama,
	assemble:     func() assembler { return &llamaAnswer{promptTokens: -1, outputTokens: -1} },
}

// encodeLlama writes the chat template of Llama 3, which this API leaves to the caller.
func encodeLlama(p *pipeline.Prompt, maxTokens int64) ([]byte, *pipeline.Fault) {
	if len(p.Stop) > 0 {
		return nil, &pipeline.Fault{
			Type:    pipeline.TypeInvalidRecord,
			Message: `the llama family takes no stop sequences: leave "stop" out`,
		}
	}
	const headerEnd, turnEnd = "<|end_header_id|>\n\n", "<|eot_id|>"
	text := "<|begin_of_text|>"
	if p.System != "" {
		text += "<|start_header_id|>system" + headerEnd + p.System + turnEnd
	}
	text += "<|start_header_id|>user" + headerEnd + p.Text + turnEnd + "<|start_header_id|>assistant" + headerEnd
	b := appendString(append(make([]byte, 0, len(text)+128), `{"prompt":`...), text)
	b = appendInt(append(b, `,"max_gen_len":`...), maxTokens)
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	return append(b, '}'), nil
}

// llamaAnswer assembles a generation: the counts grow from chunk to chunk, the last has the stop reason.
type llamaAnswer struct {
	generation                 []byte
	promptTokens, outputTokens int64
	stop                       []byte
}

func (a *llamaAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var (
		k, generation, stop []byte
		prompt, output      int64 = -1, -1
	)
	for s.key(&k) {
		switch string(k) {
		case "generation":
			generation = s.str()
		case "prompt_token_count":
			if n, ok := s.number(); ok {
				prompt = n
			}
		case "generation_token_count":
			if n, ok := s.number(); ok {
				output = n
			}
		case "stop_reason":
			stop = s.str()
		default:
			env.take(k, s)
		}
	}
	if !s.end() {
		return signs{}, false
	}
	a.generation = append(a.generation, generation...)
	if prompt >= 0 && a.promptTokens < 0 {
		a.promptTokens = prompt
	}
	if output >= 0 {
		a.outputTokens = output
	}
	if stop != nil {
		a.stop = bytes.Clone(stop)
	}
	return signs{content: len(generation) > 0, text: len(generation) > 0, terminal: stop != nil}, true
}

func (a *llamaAnswer) text() string { return unescape(a.generation) }

func (a *llamaAnswer) finish() answer {
	out := make([]byte, 0, len(a.generation)+128)
	out = appendRawString(append(out, `{"generation":`...), a.generation)
	out = appendCount(append(out, `,"prompt_token_count":`...), a.promptTokens)
	out = appendCount(append(out, `,"generation_token_count":`...), a.outputTokens)
	out = append(out, `,"stop_reason":`...)
	if a.stop == nil {
		out = append(out, "null"...)
	} else {
		out = appendRawString(out, a.stop)
	}
	return answer{
		output:     append(out, '}'),
		stopReason: unescape(a.stop),
		usage:      pipeline.Usage{InputTokens: max(0, a.promptTokens), OutputTokens: max(0, a.outputTokens)},
	}
}

// appendCount writes a count, null where none came.
func appendCount(dst []byte, n int64) []byte {
	if n < 0 {
		return append(dst, "null"...)
	}
	return appendInt(dst, n)
}
