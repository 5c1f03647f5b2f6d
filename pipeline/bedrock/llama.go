package bedrock

import (
	"bytes"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
)

// llama is Meta Llama, in its raw prompt form: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html
var llama = family{
	name:         "llama",
	ids:          []string{"meta.llama"},
	limits:       []string{"max_gen_len"},
	limitKey:     "max_gen_len",
	defaultLimit: 512,
	maxLimit:     2048,
	takes:        pipeline.Features{Turns: true, TopP: true},
	encode:       encodeLlama,
	assemble:     func([]byte) assembler { return &llamaAnswer{promptTokens: -1, outputTokens: -1} },
	keys:         []string{"generation", "generation_token_count"},
}

// llamaTemplates are those of Meta's model cards, by the beginning of the model id. The last is that of every other
// model: of one that is only said to be a Llama, since most of those are Llama 3.
var llamaTemplates = []struct {
	ids string
	template
}{
	{"meta.llama2", template{ // https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-2
		systemBegin: "<<SYS>>\n", systemEnd: "\n<</SYS>>\n\n", systemInTurn: true,
		userBegin: "<s>[INST] ", userEnd: " [/INST]",
		saidBegin: " ", saidEnd: " </s>",
	}},
	{"meta.llama4", template{ // https://www.llama.com/docs/model-cards-and-prompt-formats/llama4
		begin:       "<|begin_of_text|>",
		systemBegin: "<|header_start|>system<|header_end|>\n\n", systemEnd: "<|eot|>",
		userBegin: "<|header_start|>user<|header_end|>\n\n", userEnd: "<|eot|>",
		saidBegin: "<|header_start|>assistant<|header_end|>\n\n", saidEnd: "<|eot|>",
		answer: "<|header_start|>assistant<|header_end|>\n\n",
	}},
	{"", template{ // https://www.llama.com/docs/model-cards-and-prompt-formats/meta-llama-3
		begin:       "<|begin_of_text|>",
		systemBegin: "<|start_header_id|>system<|end_header_id|>\n\n", systemEnd: "<|eot_id|>",
		userBegin: "<|start_header_id|>user<|end_header_id|>\n\n", userEnd: "<|eot_id|>",
		saidBegin: "<|start_header_id|>assistant<|end_header_id|>\n\n", saidEnd: "<|eot_id|>",
		answer: "<|start_header_id|>assistant<|end_header_id|>\n\n",
	}},
}

func llamaTemplate(modelID string) *template {
	for i := range llamaTemplates {
		if strings.HasPrefix(modelID, llamaTemplates[i].ids) {
			return &llamaTemplates[i].template
		}
	}
	return nil // the last fits every id
}

func encodeLlama(p *pipeline.Prompt, maxTokens int64, modelID string) ([]byte, *pipeline.Fault) {
	if len(p.Stop) > 0 {
		return nil, &pipeline.Fault{
			Type:    pipeline.TypeInvalidRecord,
			Message: `the llama family takes no stop sequences: leave "stop" out`,
		}
	}
	text := llamaTemplate(modelID).write(p)
	b := appendString(append(make([]byte, 0, len(text)+128), `{"prompt":`...), text)
	b = appendInt(append(b, `,"max_gen_len":`...), maxTokens)
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if p.TopP != nil {
		b = appendFloat(append(b, `,"top_p":`...), *p.TopP)
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
	if len(stop) > 0 {
		a.stop = bytes.Clone(stop)
	}
	return signs{content: len(generation) > 0, text: len(generation) > 0, terminal: len(stop) > 0}, true
}

func (a *llamaAnswer) text() string { return unescape(a.generation) }

func (a *llamaAnswer) finish(*metrics) answer {
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
