// Package eventstream reads application/vnd.amazon.eventstream, the framing of a Bedrock response stream.
//
// A [Decoder] yields one [Message] after the other from an [io.Reader], without allocating for any of them.
// It trusts nothing it is told: both checksums and every length are checked before a byte is handed out,
// and its buffer grows with the bytes that arrived, never with a length that was claimed.
//
// Its errors say how a stream ended, because a stream that was cut off must never pass for a whole one:
//
//   - [io.EOF]: the stream ended between two messages;
//   - [*TruncatedError]: it ended, or its reader failed, before the next message was complete;
//   - [*FrameError]: what arrived is not an event stream, or was damaged on the way.
//
// The framing itself carries no mark of its end. Whether a stream that ended with io.EOF is
// complete only its content can tell.
package eventstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const (
	preludeLen  = 12 // total length, headers length, their checksum
	trailerLen  = 4  // checksum of everything before it
	overhead    = preludeLen + trailerLen
	minBuffer   = 8 << 10
	maxIdleRead = 100 // reads of no bytes and no error in a row, as bufio has it
)

// MaxMessage is the longest message accepted, checksums included.
const MaxMessage = 24 << 20

// FrameError reports bytes that are not a valid message.
type FrameError struct{ Reason string }

// Error says what is wrong with the frame.
func (e *FrameError) Error() string { return "bad event stream frame: " + e.Reason }

// TruncatedError reports a stream that ended before a message was complete, or whose reader failed.
type TruncatedError struct {
	// Inside is how many bytes of an incomplete message had arrived; 0 when the reader failed
	// between two messages.
	Inside int
	// Err is what the reader said; [io.ErrUnexpectedEOF] when the end came as if it were a clean one.
	Err error
}

// Error says where the stream broke off and why.
func (e *TruncatedError) Error() string {
	if e.Inside == 0 {
		return fmt.Sprintf("event stream broke off between messages: %v", e.Err)
	}
	return fmt.Sprintf("event stream broke off %d bytes into a message: %v", e.Inside, e.Err)
}

// Unwrap gives the reader's error.
func (e *TruncatedError) Unwrap() error { return e.Err }

// A Decoder reads messages from a stream. It is not for concurrent use.
type Decoder struct {
	r     io.Reader
	buf   []byte // buf[start:end] has arrived and is not consumed
	start int
	end   int
	late  error // came with the last bytes read, to be told once those are used up

	headers []byte  // a copy of those of the last message
	last    Message // what they say

	err error // sticky
}

// NewDecoder returns a decoder of the messages in r.
func NewDecoder(r io.Reader) *Decoder { return &Decoder{r: r} }

// Reset makes the decoder read from r as if new, keeping its buffer.
func (d *Decoder) Reset(r io.Reader) {
	d.r, d.start, d.end, d.late, d.err = r, 0, 0, nil, nil
	d.headers, d.last = d.headers[:0], Message{}
	if cap(d.buf) > 1<<20 { // do not let one giant message live on in a pool
		d.buf = nil
	}
}

// Next returns the next message. It and its slices are valid until the next call. After an error every further call
// returns the same error.
func (d *Decoder) Next() (Message, error) {
	if d.err != nil {
		return Message{}, d.err
	}
	m, err := d.next()
	if err != nil {
		d.err = err
	}
	return m, err
}

func (d *Decoder) next() (Message, error) {
	if err := d.need(preludeLen); err != nil {
		return Message{}, err
	}
	prelude := d.buf[d.start : d.start+preludeLen]
	total := binary.BigEndian.Uint32(prelude)
	headersLen := binary.BigEndian.Uint32(prelude[4:])
	if sum := crc32.ChecksumIEEE(prelude[:8]); sum != binary.BigEndian.Uint32(prelude[8:]) {
		return Message{}, &FrameError{"prelude checksum mismatch"}
	}
	switch {
	case total < overhead:
		return Message{}, &FrameError{fmt.Sprintf("length of %d bytes is below the minimum of %d", total, overhead)}
	case total > MaxMessage:
		return Message{}, &FrameError{fmt.Sprintf("length of %d bytes is above the maximum of %d", total, MaxMessage)}
	case headersLen > total-overhead:
		return Message{}, &FrameError{fmt.Sprintf("headers of %d bytes do not fit a message of %d", headersLen, total)}
	}
	if err := d.need(int(total)); err != nil {
		return Message{}, err
	}
	frame := d.buf[d.start : d.start+int(total)]
	body := frame[:total-trailerLen]
	if sum := crc32.ChecksumIEEE(body); sum != binary.BigEndian.Uint32(frame[total-trailerLen:]) {
		return Message{}, &FrameError{"message checksum mismatch"}
	}
	if err := d.readHeaders(body[preludeLen : preludeLen+headersLen]); err != nil {
		return Message{}, err
	}
	m := d.last
	m.Payload = body[preludeLen+headersLen:]
	d.start += int(total)
	return m, nil
}

// readHeaders parses the headers of a message into d.last, unless they are those of the message before: the chunks of a
// stream all have the same.
func (d *Decoder) readHeaders(headers []byte) error {
	if bytes.Equal(headers, d.last.headers) {
		return nil
	}
	d.headers = append(d.headers[:0], headers...)
	d.last = Message{headers: d.headers}
	return d.last.parseHeaders()
}

// need makes at least n bytes available at d.start.
func (d *Decoder) need(n int) error {
	idle := 0
	for d.end-d.start < n {
		got, err := 0, d.late
		if err == nil {
			d.makeRoom(n)
			got, err = d.r.Read(d.buf[d.end:])
			if got < 0 || got > len(d.buf)-d.end {
				return &TruncatedError{d.end - d.start, errors.New("reader returned an impossible count")}
			}
			d.end += got
			d.late = err
		}
		switch {
		case d.end-d.start >= n:
			return nil
		case err == io.EOF && d.end == d.start:
			return io.EOF
		case err == io.EOF:
			return &TruncatedError{d.end - d.start, io.ErrUnexpectedEOF}
		case err != nil:
			return &TruncatedError{d.end - d.start, err}
		case got > 0:
			idle = 0
		default:
			if idle++; idle == maxIdleRead {
				return &TruncatedError{d.end - d.start, io.ErrNoProgress}
			}
		}
	}
	return nil
}

// makeRoom leaves space behind d.end for a message of n bytes at d.start, or for as much of it as may be allocated
// yet: the buffer at most doubles what has arrived.
func (d *Decoder) makeRoom(n int) {
	if d.start == d.end {
		d.start, d.end = 0, 0
	}
	if d.end < len(d.buf) && d.start+n <= len(d.buf) {
		return
	}
	have := d.end - d.start
	if d.start > 0 {
		copy(d.buf, d.buf[d.start:d.end])
		d.start, d.end = 0, have
	}
	if have < len(d.buf) {
		return
	}
	grown := make([]byte, max(minBuffer, min(2*have, max(n, minBuffer))))
	copy(grown, d.buf[:have])
	d.buf = grown
}
