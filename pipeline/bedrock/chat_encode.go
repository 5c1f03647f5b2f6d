package bedrock

import (
	"bytes"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/dialect"
)

// chatTakes is what a conversation in OpenAI's words can say. Which models look at images or use tools is not told by
// their family: the service says so.
var chatTakes = pipeline.Features{Turns: true, Images: true, Tools: true, OneCall: true, TopP: true}

// encodeChat writes a prompt as a conversation. The name of the limit differs.
func encodeChat(limitKey string) func(*pipeline.Prompt, int64, string) ([]byte, *pipeline.Fault) {
	return func(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
		if fault := dialect.CannotSay(pipeline.OpenAI, p); fault != nil {
			return nil, fault
		}
		b := append(make([]byte, 0, len(p.Text)+len(p.System)+256), `{"messages":`...)
		b = append(dialect.AppendMessages(b, pipeline.OpenAI, p), ',')
		b = appendInt(append(appendString(b, limitKey), ':'), maxTokens)
		b = appendSampling(b, p, promptKeys{topP: "top_p", stop: "stop"})
		return append(dialect.AppendTools(b[:len(b)-1], pipeline.OpenAI, p), '}'), nil
	}
}

// promptKeys are what a family calls the parts of a body; "" where it has none or needs no name here.
type promptKeys struct{ limit, topP, topK, stop string }

// encodePrompt writes a prompt as a text in the model's own template.
func encodePrompt(t *template, keys promptKeys) func(*pipeline.Prompt, int64, string) ([]byte, *pipeline.Fault) {
	return func(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
		text := t.write(p)
		b := appendString(append(make([]byte, 0, len(text)+160), `{"prompt":`...), text)
		b = appendInt(append(appendString(append(b, ','), keys.limit), ':'), maxTokens)
		return appendSampling(b, p, keys), nil
	}
}

// appendSampling ends a body with what the prompt says about sampling.
func appendSampling(b []byte, p *pipeline.Prompt, keys promptKeys) []byte {
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if p.TopP != nil {
		b = appendFloat(append(appendString(append(b, ','), keys.topP), ':'), *p.TopP)
	}
	if p.TopK != nil {
		b = appendInt(append(appendString(append(b, ','), keys.topK), ':'), *p.TopK)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(appendString(append(b, ','), keys.stop), ':'), p.Stop)
	}
	return append(b, '}')
}

// wanted is how many answers a request asks for at once, under a key of its body. A stream in which one of them has
// ended is not at its end before the others have.
func wanted(request []byte, key string) int {
	if !bytes.Contains(request, append(append([]byte{'"'}, key...), '"')) {
		return 1
	}
	s := scanner{b: request, slow: true}
	n := int64(1)
	var k []byte
	for ok := s.open('{'); ok && s.key(&k); {
		if string(k) != key {
			s.skip()
		} else if v, ok := s.number(); ok {
			n = v
		}
	}
	return int(min(max(n, 1), 1024))
}
