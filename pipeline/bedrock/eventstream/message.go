package eventstream

import (
	"encoding/binary"
	"fmt"
)

// The values of the :message-type header.
const (
	TypeEvent     = "event"
	TypeException = "exception"
	TypeError     = "error"
)

// A Message is one frame of the stream. Its slices point into the decoder's buffers.
type Message struct {
	// Payload is everything after the headers.
	Payload []byte
	// The headers that say what the message is; nil where they are missing or not strings.
	MessageType, EventType, ExceptionType, ErrorCode, ErrorMessage []byte

	headers []byte
}

// The types of a header's value.
const (
	valueTrue = iota
	valueFalse
	valueInt8
	valueInt16
	valueInt32
	valueInt64
	valueBytes
	valueString
	valueTimestamp
	valueUUID
)

// valueLen is the length of a value by its type; bytes and strings carry their own.
var valueLen = [...]int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16}

// Header returns the value of a header of type string or bytes, and whether there is one.
func (m *Message) Header(name string) ([]byte, bool) {
	for rest := m.headers; len(rest) > 0; {
		h, next, err := parseHeader(rest)
		if err != nil {
			return nil, false
		}
		if string(h.name) == name && (h.kind == valueString || h.kind == valueBytes) {
			return h.value, true
		}
		rest = next
	}
	return nil, false
}

func (m *Message) parseHeaders() error {
	for rest := m.headers; len(rest) > 0; {
		h, next, err := parseHeader(rest)
		if err != nil {
			return err
		}
		rest = next
		if h.kind != valueString || len(h.name) == 0 || h.name[0] != ':' {
			continue
		}
		switch string(h.name) {
		case ":message-type":
			m.MessageType = h.value
		case ":event-type":
			m.EventType = h.value
		case ":exception-type":
			m.ExceptionType = h.value
		case ":error-code":
			m.ErrorCode = h.value
		case ":error-message":
			m.ErrorMessage = h.value
		}
	}
	return nil
}

type header struct {
	name, value []byte
	kind        byte
}

// parseHeader splits the first header off b.
func parseHeader(b []byte) (h header, rest []byte, err error) {
	nameLen := int(b[0])
	if nameLen == 0 {
		return h, nil, &FrameError{"header without a name"}
	}
	if len(b) < 1+nameLen+1 {
		return h, nil, &FrameError{"header name runs past the headers"}
	}
	h.name, h.kind = b[1:1+nameLen], b[1+nameLen]
	b = b[1+nameLen+1:]
	if int(h.kind) >= len(valueLen) {
		return h, nil, &FrameError{fmt.Sprintf("header value of unknown type %d", h.kind)}
	}
	n := valueLen[h.kind]
	if n < 0 {
		if len(b) < 2 {
			return h, nil, &FrameError{"header value runs past the headers"}
		}
		n = int(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) < n {
		return h, nil, &FrameError{"header value runs past the headers"}
	}
	h.value = b[:n]
	return h, b[n:], nil
}
