package bedrock

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/eventstream"
)

// A stream is the state of one response stream. It is used again, for the sake of its buffers.
type stream struct {
	frames  *eventstream.Decoder
	scratch []byte // a chunk without its base64
	encoded []byte // the base64 that scratch holds the beginning of
	scan    scanner
	env     envelope
	run     run

	family   *family
	call     *call
	asm      assembler
	sum      summary
	converse bool
	event    string // of Converse, the type of the event at hand
	chunks   int
	first    []byte // the first of them, if it is no longer than firstMax
	content  bool   // content of any kind has come
	whole    bool   // the terminal event has come
}

// firstMax is more than any chunk has that is an answer of a guardrail's own, its trace included.
const firstMax = 1 << 20

func newStream() *stream { return &stream{frames: eventstream.NewDecoder(nil)} }

func (st *stream) reset(f *family, c *call) {
	st.frames.Reset(c.response.Body)
	st.family, st.call, st.asm, st.converse = f, c, f.assemble(c.body), f.name == converse.name
	st.run.into, st.encoded = nil, st.encoded[:0]
	st.sum, st.event, st.chunks, st.first, st.content, st.whole = summary{}, "", 0, st.first[:0], false, false
}

// release lets go of what belongs to one call.
func (st *stream) release() {
	st.frames.Reset(nil)
	st.family, st.call, st.asm, st.scan, st.env, st.run.into = nil, nil, nil, scanner{}, envelope{}, nil
	if len(st.scratch) > 1<<20 || cap(st.run.before)+cap(st.run.behind) > 1<<20 { // of Converse nothing goes through scratch
		st.scratch, st.encoded, st.run = nil, nil, run{}
	}
	if cap(st.first) > 1<<16 {
		st.first = nil
	}
}

// A streamFault is what went wrong inside a stream, in the service's words.
type streamFault struct {
	name    string // of the exception, or one of pipeline's types
	message string
	err     error
	local   bool          // found by us, not told by the service
	kind    pipeline.Kind // what a local one means; the service's own tell it by their names
}

// typeUnknownFormat is the error type of an answer that cannot be read because it is in another format than the family's.
const typeUnknownFormat = "UnknownFormat"

// take reads one message.
func (st *stream) take(msg *eventstream.Message) (pipeline.Event, *streamFault) {
	switch string(msg.MessageType) {
	case eventstream.TypeException:
		return pipeline.Event{}, serviceFault(string(msg.ExceptionType), msg.Payload)
	case eventstream.TypeError:
		return pipeline.Event{}, &streamFault{name: string(msg.ErrorCode), message: string(msg.ErrorMessage)}
	case eventstream.TypeEvent:
		if st.converse {
			return st.converseEvent(msg)
		}
		if string(msg.EventType) == "chunk" {
			return st.chunk(msg.Payload)
		}
	}
	return pipeline.Event{}, nil // an event of tomorrow
}

// converseEvent reads an event of ConverseStream: its payload is the event itself.
func (st *stream) converseEvent(msg *eventstream.Message) (pipeline.Event, *streamFault) {
	for _, name := range converseEvents {
		if string(msg.EventType) == name {
			st.event = name
			return st.read(msg.Payload, nil)
		}
	}
	return pipeline.Event{}, nil
}

// chunk reads one chunk of the answer.
func (st *stream) chunk(payload []byte) (pipeline.Event, *streamFault) {
	return st.read(st.unwrap(payload))
}

// read takes in one piece of the answer, unless it could not be had.
func (st *stream) read(body []byte, err error) (pipeline.Event, *streamFault) {
	var sg signs
	if err == nil {
		sg, err = st.assemble(body)
	}
	if err != nil {
		if st.whole { // no more than a broken end
			return pipeline.Event{}, nil
		}
		return pipeline.Event{}, &streamFault{
			name: pipeline.TypeBadFrame, local: true, err: err,
			message: "a chunk of the stream could not be decoded: " + err.Error(),
		}
	}
	st.chunks++
	if st.env.faultType != "" {
		return pipeline.Event{}, &streamFault{name: st.env.faultType, message: st.env.faultMessage}
	}
	if st.env.metrics.came {
		st.sum.metrics = st.env.metrics
	}
	if st.env.tier != "" || st.env.latency != "" {
		st.sum.tier, st.sum.latency = st.env.tier, st.env.latency
	}
	st.sum.intervened = st.sum.intervened || st.env.intervened
	// Metrics ride on the family's last event in every recording. Without that event they prove the end of an answer
	// only where a guardrail has cut it short.
	sg.terminal = sg.terminal || st.env.metrics.came && st.sum.intervened
	st.content = st.content || sg.content
	st.whole = st.whole || sg.terminal
	return pipeline.Event{Content: sg.content, Text: sg.text}, nil
}

// assemble hands a chunk's JSON to the family, by the slow way if the fast one does not do.
func (st *stream) assemble(body []byte) (signs, error) {
	if len(body) == 0 {
		return signs{}, errNoBytes
	}
	if st.chunks == 0 && len(body) <= firstMax {
		st.first = append(st.first[:0], body...)
	}
	if st.run.take(st.event, body) {
		st.env = envelope{event: st.event}
		return st.run.signs, nil
	}
	sg, ok := st.scanChunk(scanner{b: body})
	if ok {
		st.run.begin(body, &st.env, sg)
		return sg, nil
	}
	st.run.into = nil
	plain, err := canonical(body)
	if err != nil {
		return signs{}, err
	}
	if sg, ok = st.scanChunk(scanner{b: plain, slow: true}); !ok {
		return signs{}, errNotJSON
	}
	return sg, nil
}

func (st *stream) scanChunk(s scanner) (signs, bool) {
	st.scan, st.env = s, envelope{event: st.event}
	if st.scan.open('{') {
		return st.asm.chunk(&st.scan, &st.env)
	}
	word := string(st.scan.word()) // "[DONE]" and its like; of any other value there is none
	if !st.scan.end() {
		return signs{}, false
	}
	if asm, ok := st.asm.(wordTaker); ok && word != "" {
		return asm.word(word), true
	}
	return signs{}, true
}

var (
	errNoChunk = errors.New("its payload is not a JSON object")
	errNoBytes = errors.New("it holds no bytes")
)

// unwrap is the chunk inside a payload {"bytes":"BASE64","p":"FILLER"}, in st.scratch; empty where there is none.
func (st *stream) unwrap(payload []byte) ([]byte, error) {
	if need := base64.StdEncoding.DecodedLen(len(payload)); need > len(st.scratch) {
		st.scratch, st.encoded = make([]byte, max(need, 1024)), st.encoded[:0]
	}
	if n, ok := st.plainPayload(payload); ok {
		return st.scratch[:n], nil
	}
	st.encoded = st.encoded[:0]
	encoded, err := slowPayload(payload)
	if err != nil {
		return nil, err
	}
	n, err := base64.StdEncoding.Decode(st.scratch, encoded)
	if err != nil {
		return nil, fmt.Errorf("its bytes are not base64: %w", err)
	}
	return st.scratch[:n], nil
}

// plainPayload decodes the base64 of a payload exactly as Bedrock writes it into st.scratch, which has room for all of it. It
// reports false for any other form, and for base64 that is not as it should be.
func (st *stream) plainPayload(payload []byte) (n int, ok bool) {
	const head, filler = `{"bytes":"`, `,"p":"`
	if len(payload) < len(head) || string(payload[:len(head)]) != head {
		return 0, false
	}
	rest := payload[len(head):]
	n, read := st.decodeQuads(rest)
	if rest = rest[read:]; len(rest) > 4 && rest[0] != '"' { // the last four, with their padding
		last, err := base64.StdEncoding.Decode(st.scratch[n:], rest[:4])
		if err != nil {
			return 0, false
		}
		n, rest = n+last, rest[4:]
	}
	if len(rest) == 0 || rest[0] != '"' {
		return 0, false
	}
	if rest = rest[1:]; len(rest) > len(filler) && string(rest[:len(filler)]) == filler {
		rest = rest[len(filler):]
		i := plainPrefix(rest)
		if i == len(rest) || rest[i] != '"' {
			return 0, false
		}
		rest = rest[i+1:]
	}
	return n, len(rest) == 1 && rest[0] == '}'
}

// decodeQuads is [decodeQuads] into st.scratch, where what a chunk begins with like the one before is already decoded.
func (st *stream) decodeQuads(src []byte) (n, read int) {
	same := commonPrefix(st.encoded, src)
	n = same / 4 * 3
	more, behind := decodeQuads(st.scratch[n:], src[same:])
	st.encoded = append(st.encoded[:same], src[same:same+behind]...)
	return n + more, same + behind
}

// slowPayload is the base64 of a payload in any other form: keys in any order, unknown ones, escapes.
func slowPayload(payload []byte) ([]byte, error) {
	encoded, ok := scanPayload(scanner{b: payload})
	if !ok {
		plain, err := canonical(payload)
		if err != nil {
			return nil, fmt.Errorf("its payload is %w", err)
		}
		if encoded, ok = scanPayload(scanner{b: plain, slow: true}); !ok {
			return nil, errNoChunk
		}
	}
	if strings.IndexByte(string(encoded), '\\') >= 0 {
		return []byte(unescape(encoded)), nil
	}
	return encoded, nil
}

func scanPayload(s scanner) (encoded []byte, ok bool) {
	if !s.open('{') {
		return nil, false
	}
	var k []byte
	for s.key(&k) {
		if string(k) == "bytes" {
			encoded = s.str()
		} else {
			s.skip()
		}
	}
	return encoded, s.end()
}

// blockedAt reports whether a stream that ended so is a guardrail's answer in place of a model's, which has neither stop reason nor
// metrics: it is one chunk. Where a guardrail only masks, any chunk may say that it did, and the stream that ends there was cut.
func (st *stream) blockedAt(err error) bool {
	return errors.Is(err, io.EOF) && st.sum.intervened && st.chunks == 1
}

// endFault says what is wrong with a stream that ended too early.
func (st *stream) endFault(err error) *streamFault {
	kind := st.call.response.Header.Get("Content-Type")
	if media, _, _ := mime.ParseMediaType(kind); kind != "" && media != "application/vnd.amazon.eventstream" {
		return &streamFault{
			name: pipeline.TypeBadFrame, local: true, err: err,
			message: fmt.Sprintf("the response is not an event stream but %q", media),
		}
	}
	f := &streamFault{name: pipeline.TypeTruncatedStream, local: true, err: err}
	var bad *eventstream.FrameError
	switch {
	case errors.As(err, &bad):
		f.name, f.message = pipeline.TypeBadFrame, bad.Error()
	case errors.Is(err, io.EOF) && st.chunks > 0 && !st.content && st.explain(f):
	case errors.Is(err, io.EOF):
		f.message = "the stream ended without its terminal event"
	default:
		f.message = err.Error()
	}
	return f
}

// explain says why nothing could be read of a stream, if that is because its format is another than the family's. A family
// that was named for the wrong model is a fault of the job, and no record is to be paid for over it.
func (st *stream) explain(f *streamFault) bool {
	if st.converse {
		return false // has no other format
	}
	var looks *family
	if s := (scanner{b: st.first}); s.open('{') {
		looks, _ = familyByKeys(s)
	}
	switch {
	case looks == nil && st.family.guessed:
		f.name, f.kind = typeUnknownFormat, pipeline.RecordFatal
		f.message = "the stream ended, and no chunk of it has a format that is known"
	case looks != nil && !st.family.guessed && fmt.Sprintf("%T", looks.assemble(nil)) != fmt.Sprintf("%T", st.asm):
		f.name, f.kind = typeUnknownFormat, pipeline.JobFatal
		f.message = fmt.Sprintf("the answer is in the format of the family %s, not of %s", looks.name, st.family.name)
		f.err = &ConfigError{Message: f.message, HintText: "give --family " + looks.name + ", and --fresh with it, if the model id is right", Err: ErrUnknownFamily}
	default:
		return false
	}
	return true
}

// manyTokens is how many tokens an answer has that is not simply empty: an end of a turn is a token or a few.
const manyTokens = 8

// response is the whole answer. It is a fault that nothing of an answer was found in a format that was only guessed, or that
// a part of it is known to be missing.
func (st *stream) response() (*pipeline.Response, *streamFault) {
	if n := st.sum.metrics.output; st.family.guessed && !st.content && st.sum.metrics.came && n >= manyTokens {
		return nil, &streamFault{
			name: typeUnknownFormat, local: true, kind: pipeline.RecordFatal,
			message: fmt.Sprintf("the service counted %d tokens of an answer, and none was found in the stream: its format is not known", n),
		}
	}
	text := st.asm.text()
	ans := st.asm.finish(&st.sum.metrics)
	if output, said, ok := st.blockedBody(); ok {
		text, ans = said.text, answer{output: output, stopReason: said.stopReason, usage: said.usage}
	}
	if ans.lost == "" && ans.stopReason == "" && !st.sum.intervened {
		ans.lost = lostReason
	}
	if ans.lost != "" {
		return nil, &streamFault{name: pipeline.TypeTruncatedStream, local: true, message: "the stream ended without " + ans.lost}
	}
	r := &pipeline.Response{
		Output:     tidy(ans.output),
		Text:       text,
		StopReason: ans.stopReason,
		Usage:      st.sum.metrics.usage(ans.usage),
		RequestID:  st.call.requestID(),
		Connect:    time.Duration(st.call.connect.Load()),
	}
	r.ServiceTier = cmp.Or(st.sum.tier, st.call.response.Header.Get(headerTier))
	r.PerformanceLatency = cmp.Or(st.sum.latency, st.call.response.Header.Get(headerLatency))
	r.ServerFirstByte, r.ServerTotal = st.sum.metrics.latencies()
	if r.StopReason == "" && st.sum.intervened {
		r.StopReason = "guardrail_intervened"
	}
	return r, nil
}
