package bedrock

import (
	"bytes"

	"github.com/batchrun/batchrun/pipeline"
)

// encodeChat writes a short-form record as a conversation. The name of the limit differs.
func encodeChat(limitKey string) func(*pipeline.Prompt, int64, string) ([]byte, *pipeline.Fault) {
	return func(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
		b := append(make([]byte, 0, len(p.Text)+len(p.System)+256), `{"messages":[`...)
		if p.System != "" {
			b = append(appendString(append(b, `{"role":"system","content":`...), p.System), `},`...)
		}
		b = append(appendString(append(b, `{"role":"user","content":`...), p.Text), `}],`...)
		b = appendInt(append(appendString(b, limitKey), ':'), maxTokens)
		return appendSampling(b, p, "stop"), nil
	}
}

// encodePrompt writes a short-form record as a text in the model's own template.
func encodePrompt(t *template, limitKey, stopKey string) func(*pipeline.Prompt, int64, string) ([]byte, *pipeline.Fault) {
	return func(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
		text := t.write(p)
		b := appendString(append(make([]byte, 0, len(text)+160), `{"prompt":`...), text)
		b = appendInt(append(appendString(append(b, ','), limitKey), ':'), maxTokens)
		return appendSampling(b, p, stopKey), nil
	}
}

// appendSampling ends a body with what the prompt says about sampling.
func appendSampling(b []byte, p *pipeline.Prompt, stopKey string) []byte {
	if p.Temperature != nil {
		b = appendFloat(append(b, `,"temperature":`...), *p.Temperature)
	}
	if len(p.Stop) > 0 {
		b = appendStrings(append(appendString(append(b, ','), stopKey), ':'), p.Stop)
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
