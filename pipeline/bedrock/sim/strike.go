package sim

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/http"
	"strings"
	"time"
)

// This file is what faults do to a stream and its connection. The rows of faultTable name its
// functions; each reports whether the stream goes on.

// strike lets the fault strike, once.
func (s *stream) strike() bool {
	s.strikes = false
	row := faultTable[s.fault.Kind]
	if row.strike == nil {
		row.strike = exception // of a type that nobody models
	}
	s.struck = s.fault.Kind
	if s.at == AtEnd && row.preStream != nil {
		return true
	}
	return row.strike(s, s.fault)
}

// fail flushes what is pending as the last bytes of an attempt that failed.
func (s *stream) fail() bool {
	s.end(faulted, s.struck)
	s.flush()
	return false
}

// append adds a message that is no chunk of the plan.
func (s *stream) append(headers []header, payload string) {
	s.out = appendMessage(s.out, headers, []byte(payload))
}

func (s *stream) appendException(kind, message string) {
	payload := appendQuoted([]byte(`{"message":`), message)
	if strings.EqualFold(kind, "modelStreamErrorException") {
		payload = append(payload, `,"originalStatusCode":500,"originalMessage":"the simulated model failed"`...)
	}
	s.out = appendMessage(s.out, exceptionHeaders(kind), append(payload, '}'))
}

func (f *Fault) words(otherwise string) string {
	if f.Message != "" {
		return f.Message
	}
	return otherwise
}

// Exceptions and errors within the stream.

func exception(s *stream, f *Fault) bool {
	message, ok := inStreamMessages[f.Kind]
	if !ok {
		message = "simulated " + f.Kind
	}
	kind := f.Kind
	if f.Upper {
		kind = upperCamel(kind)
	}
	s.appendException(kind, f.words(message))
	return s.fail()
}

func unmodelled(s *stream, f *Fault) bool {
	s.appendException("modelMisplacedException", f.words("The model is not where it was."))
	return s.fail()
}

func notJSONException(s *stream, f *Fault) bool {
	s.append(exceptionHeaders("throttlingException"), f.words("<html>slow down</html>"))
	return s.fail()
}

func errorFrame(s *stream, f *Fault) bool {
	s.append([]header{
		stringHeader(":error-code", "InternalError"),
		stringHeader(":error-message", f.words("An internal server error occurred")),
		stringHeader(":message-type", "error"),
	}, "")
	return s.fail()
}

// Ends that come too soon.

func endCleanly(s *stream, _ *Fault) bool { return s.fail() }

func endInside(s *stream, _ *Fault) bool {
	s.appendHalf()
	return s.fail()
}

func truncate(s *stream, _ *Fault) bool {
	s.fail()
	s.dropConnection(false)
	return false
}

func truncateInside(s *stream, _ *Fault) bool {
	s.appendHalf()
	s.fail()
	s.dropConnection(false)
	return false
}

func reset(s *stream, _ *Fault) bool {
	s.fail()
	s.dropConnection(true)
	return false
}

func rstStream(s *stream, _ *Fault) bool {
	s.fail()
	panic(http.ErrAbortHandler)
}

// appendHalf adds the first half of a chunk event.
func (s *stream) appendHalf() {
	s.frame = s.stray(s.frame[:0])
	s.out = append(s.out, s.frame[:len(s.frame)/2]...)
}

// stray makes a chunk event that belongs to no answer.
func (s *stream) stray(dst []byte) []byte {
	if s.plan.isConverse() {
		return appendEvent(dst, "contentBlockStop", []byte(`{"contentBlockIndex":99}`), 7)
	}
	return appendChunk(dst, []byte(`{"type":"simulated_stray"}`), 7)
}

// dropConnection closes the connection under the call, and with it every stream that shares it.
func (a *attempt) dropConnection(rst bool) {
	if a.r.ProtoMajor == 2 || rst {
		// On HTTP/2 the frames just written are still on their way through the connection's own
		// goroutine, and a reset throws away what the network has not delivered.
		time.Sleep(20 * time.Millisecond)
	}
	if c, ok := a.ctx.Value(connKey{}).(net.Conn); ok {
		if t, ok := c.(interface{ NetConn() net.Conn }); ok {
			c = t.NetConn() // without TLS's goodbye
		}
		if tcp, ok := c.(*net.TCPConn); ok && rst {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
	}
	panic(http.ErrAbortHandler)
}

// Silence.

func stall(s *stream, f *Fault) bool {
	if !s.flush() {
		return false
	}
	if f.For > 0 {
		s.due = max(s.due, time.Since(s.arrived)) + f.For
		return s.sleepUntil(s.arrived.Add(s.due))
	}
	<-s.ctx.Done()
	s.end(faulted, s.struck)
	return false // the handler sees that the context ended and cuts the stream
}

// Faults before the headers, and bodies that are no stream.

func dropBefore(a *attempt, f *Fault) {
	a.end(faulted, f.Kind)
	a.dropConnection(false)
}

func resetBefore(a *attempt, f *Fault) {
	a.end(faulted, f.Kind)
	a.dropConnection(true)
}

func stallHeaders(a *attempt, f *Fault) {
	<-a.ctx.Done()
	a.end(faulted, f.Kind)
}

func emptyBody(a *attempt, f *Fault) {
	a.end(faulted, f.Kind)
	a.openAny()
}

// openAny answers 200 with the headers that belong to the call.
func (a *attempt) openAny() {
	if a.streaming {
		a.stream.open()
		return
	}
	a.w.Header()["Content-Type"] = []string{"application/json"}
	a.w.WriteHeader(http.StatusOK)
}

func htmlBody(a *attempt, f *Fault) {
	a.end(faulted, f.Kind)
	a.openAny()
	_, _ = a.w.Write([]byte("<!DOCTYPE html>\n<html><body><h1>Sign in to continue</h1></body></html>\n"))
}

// Frames that are damaged. After one of these nothing can be trusted, and nothing follows.

// damage appends a chunk event after changing it.
func (s *stream) damage(change func(frame []byte)) bool {
	s.frame = s.stray(s.frame[:0])
	change(s.frame)
	s.out = append(s.out, s.frame...)
	return s.fail()
}

func badPreludeCRC(s *stream, _ *Fault) bool {
	return s.damage(func(frame []byte) { frame[8] ^= 0xff })
}

func badMessageCRC(s *stream, _ *Fault) bool {
	return s.damage(func(frame []byte) { frame[len(frame)-1] ^= 0xff })
}

func shortLength(s *stream, _ *Fault) bool {
	return s.damage(func(frame []byte) {
		binary.BigEndian.PutUint32(frame, 15)
		resealMessage(frame)
	})
}

func longHeaders(s *stream, _ *Fault) bool {
	return s.damage(func(frame []byte) {
		binary.BigEndian.PutUint32(frame[4:], uint32(len(frame)))
		resealMessage(frame)
	})
}

func hugeLength(s *stream, _ *Fault) bool {
	return s.damage(func(frame []byte) {
		binary.BigEndian.PutUint32(frame, 3<<30)
		resealMessage(frame)
	})
}

func garbage(s *stream, _ *Fault) bool {
	for range 64 {
		s.out = binary.BigEndian.AppendUint64(s.out, s.rng.Uint64())
	}
	return s.fail()
}

func noBytes(s *stream, _ *Fault) bool {
	if s.plan.isConverse() {
		s.appendDelta(`{"p":"abcdefgh"}`)
		return s.fail()
	}
	s.append(eventHeaders("chunk"), `{"p":"abcdefgh"}`)
	return s.fail()
}

func notBase64(s *stream, _ *Fault) bool {
	if s.plan.isConverse() { // the only blob of it
		s.appendDelta(`{"contentBlockIndex":99,"delta":{"reasoningContent":{"redactedContent":"*not base64*"}},"p":"abc"}`)
		return s.fail()
	}
	s.append(eventHeaders("chunk"), `{"bytes":"*not base64*","p":"abc"}`)
	return s.fail()
}

// appendDelta adds a delta of Converse that is no event of the plan.
func (s *stream) appendDelta(payload string) { s.append(eventHeaders("contentBlockDelta"), payload) }

func notJSON(s *stream, _ *Fault) bool {
	if s.plan.isConverse() {
		s.appendDelta(`{"contentBlockIndex":0,"delta":{"te`)
		return s.fail()
	}
	s.out = appendChunk(s.out, []byte(`{"type":"content_block_delta","index`), 3)
	return s.fail()
}

func notJSONEvent(s *stream, _ *Fault) bool {
	if s.plan.isConverse() {
		s.append(eventHeaders("metadata"), `"not an object`)
		return s.fail()
	}
	s.append(eventHeaders("chunk"), `{"bytes":"eyJ0eXBlIjoi`)
	return s.fail()
}

// Frames that are unusual and must do no harm: the stream goes on.

func (s *stream) goOn() bool {
	s.frames++
	return s.flush()
}

func unknownEvent(s *stream, _ *Fault) bool {
	s.append(eventHeaders("heartbeat"), `{"beat":1}`)
	return s.goOn()
}

func unknownMessage(s *stream, _ *Fault) bool {
	s.append([]header{stringHeader(":message-type", "notice"), stringHeader(":notice-type", "simulated")}, `{}`)
	return s.goOn()
}

func noMessageType(s *stream, _ *Fault) bool {
	s.append(nil, `{}`)
	return s.goOn()
}

func unknownHeaders(s *stream, _ *Fault) bool {
	kind, payload := "chunk", `{"bytes":"eyJ0eXBlIjoicGluZyJ9","unknown":[1,{"deep":null}]}`
	if s.plan.isConverse() {
		kind, payload = "contentBlockDelta", `{"contentBlockIndex":99,"delta":{"unknown":[1,{"deep":null}]}}`
	}
	s.append(append([]header{
		{":true", headerTrue, ""},
		{":false", headerFalse, ""},
		{":byte", headerByte, "\x7f"},
		{":int16", headerInt16, "\x01\x02"},
		{":int32", headerInt32, "\x00\x01\x02\x03"},
		{":int64", headerInt64, "\x00\x01\x02\x03\x04\x05\x06\x07"},
		{":bytes", headerBytes, "\x00\xff\x00"},
		{":timestamp", headerTimestamp, "\x00\x00\x01\x9a\x00\x00\x00\x00"},
		{":uuid", headerUUID, "0123456789abcdef"},
		{strings.Repeat("n", 255), headerString, strings.Repeat("v", 1000)},
	}, eventHeaders(kind)...), payload)
	return s.goOn()
}

func strayChunk(s *stream, _ *Fault) bool {
	s.out = s.stray(s.out)
	return s.goOn()
}

func bigPad(s *stream, _ *Fault) bool {
	if s.plan.isConverse() {
		s.appendDelta(`{"contentBlockIndex":99,"delta":{},"p":"` + strings.Repeat("a", 2<<20) + `"}`)
		return s.goOn()
	}
	s.append(eventHeaders("chunk"), `{"bytes":"eyJ0eXBlIjoicGluZyJ9","p":"`+string(bytes.Repeat([]byte("a"), 2<<20))+`"}`)
	return s.goOn()
}
