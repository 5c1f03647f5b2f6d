package bedrock

import (
	"strconv"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// An envelope is what Bedrock itself adds to a chunk of any family.
type envelope struct {
	// event is the type of an event of Converse, set before it is read; "" for a chunk of a family.
	event   string
	metrics metrics
	// tier and latency are those by which the service has answered, where a stream says it.
	tier, latency string
	// piece is set by an assembler that did nothing with a chunk but append one string of it to what it has: read again with
	// another string in that place, the chunk would change nothing else.
	piece piece
	// intervened: a guardrail changed or blocked this chunk.
	intervened bool
	// fault is an error that the model reported inside the stream as if it were content.
	faultType, faultMessage string
}

// gaveUp makes a fault of a reason with which a model or its server gives an answer up.
func (e *envelope) gaveUp(reason []byte) {
	e.faultType, e.faultMessage = "ModelStreamErrorException", "the model ended its answer with the reason "+string(reason)
}

// A summary is what the envelopes of a stream said together.
type summary struct {
	metrics    metrics
	tier       string // service tier and latency mode by which the service has answered
	latency    string
	intervened bool // in any chunk
}

// metrics is amazon-bedrock-invocationMetrics. Counts that did not come are negative.
type metrics struct {
	came                                 bool
	input, output, cacheRead, cacheWrite int64
	firstByte, total                     int64 // milliseconds
}

// bedrockPrefix begins the keys that Bedrock itself adds to chunks and bodies.
const bedrockPrefix = "amazon-bedrock-"

// isBedrocks reports whether a top-level key is one of Bedrock's own.
func isBedrocks(key []byte) bool {
	return len(key) > len(bedrockPrefix) && string(key[:len(bedrockPrefix)]) == bedrockPrefix
}

// take keeps an unknown top-level member of a chunk if it is one of Bedrock's own.
func (e *envelope) take(key []byte, s *scanner) {
	if !isBedrocks(key) {
		s.skip()
		return
	}
	switch string(key[len(bedrockPrefix):]) {
	case "invocationMetrics":
		e.metrics.take(s)
	case "guardrailAction":
		e.intervened = string(s.word()) == "INTERVENED"
	default:
		s.skip()
	}
}

func (m *metrics) take(s *scanner) {
	if !s.open('{') {
		s.skip()
		return
	}
	*m = metrics{true, -1, -1, -1, -1, -1, -1}
	var k []byte
	for s.key(&k) {
		n, ok := s.number()
		if !ok || n < 0 {
			continue
		}
		switch string(k) {
		case "inputTokenCount":
			m.input = n
		case "outputTokenCount":
			m.output = n
		case "cacheReadInputTokenCount":
			m.cacheRead = n
		case "cacheWriteInputTokenCount":
			m.cacheWrite = n
		case "firstByteLatency":
			m.firstByte = n
		case "invocationLatency":
			m.total = n
		}
	}
}

// counts are the input and output tokens that the service counted, if it counted both.
func (m *metrics) counts() (input, output int64, ok bool) {
	return m.input, m.output, m.came && m.input >= 0 && m.output >= 0
}

// usage is what the service counted, where it did, over what the family reported.
func (m *metrics) usage(u pipeline.Usage) pipeline.Usage {
	if !m.came {
		return u
	}
	over := func(dst *int64, n int64) {
		if n >= 0 {
			*dst = n
		}
	}
	over(&u.InputTokens, m.input)
	over(&u.OutputTokens, m.output)
	over(&u.CacheReadInputTokens, m.cacheRead)
	over(&u.CacheWriteInputTokens, m.cacheWrite)
	return u
}

// latencies are what the service measured; negative where it did not say.
func (m *metrics) latencies() (firstByte, total time.Duration) {
	firstByte, total = -1, -1
	if m.came && m.firstByte >= 0 {
		firstByte = time.Duration(m.firstByte) * time.Millisecond
	}
	if m.came && m.total >= 0 {
		total = time.Duration(m.total) * time.Millisecond
	}
	return firstByte, total
}

func appendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// appendCounts appends a JSON value with its whole numbers written as integers: a guardrail makes 3.0 of a 3.
func appendCounts(dst, raw []byte) []byte {
	s, mark := scanner{b: raw, slow: true}, len(dst)
	dst = appendCountsOf(dst, &s)
	if s.odd {
		return append(dst[:mark], "null"...)
	}
	return dst
}

func appendCountsOf(dst []byte, s *scanner) []byte {
	if !s.open('{') {
		raw := s.raw()
		if n, ok := integer(raw); ok {
			return appendInt(dst, n)
		}
		return append(dst, raw...)
	}
	dst = append(dst, '{')
	var k []byte
	for n := 0; s.key(&k); n++ {
		if n > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendRawString(dst, k), ':')
		dst = appendCountsOf(dst, s)
	}
	return append(dst, '}')
}
