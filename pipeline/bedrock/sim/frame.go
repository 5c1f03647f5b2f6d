package sim

import (
	"encoding/base64"
	"encoding/binary"
	"hash/crc32"
)

// This file writes event-stream messages (the Amazon Event Stream encoding of smithy.io) and nothing else. It shares no code
// with the decoder of the adapter, so that a mistake in one shows in the other.

// Types of header values, as numbered on the wire.
const (
	headerTrue      = 0
	headerFalse     = 1
	headerByte      = 2
	headerInt16     = 3
	headerInt32     = 4
	headerInt64     = 5
	headerBytes     = 6
	headerString    = 7
	headerTimestamp = 8
	headerUUID      = 9
)

// A header is one header of a message; value is as it stands on the wire, without the length that
// goes before strings and bytes.
type header struct {
	name  string
	kind  byte
	value string
}

func stringHeader(name, value string) header { return header{name, headerString, value} }

// appendHeader writes a header.
func appendHeader(dst []byte, h header) []byte {
	dst = append(dst, byte(len(h.name)))
	dst = append(dst, h.name...)
	dst = append(dst, h.kind)
	if h.kind == headerString || h.kind == headerBytes {
		dst = binary.BigEndian.AppendUint16(dst, uint16(len(h.value)))
	}
	return append(dst, h.value...)
}

// preludeSize is total length, headers length and their CRC.
const preludeSize = 12

// appendMessage writes one whole message.
func appendMessage(dst []byte, headers []header, payload []byte) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, preludeSize)...)
	for _, h := range headers {
		dst = appendHeader(dst, h)
	}
	headerLen := len(dst) - start - preludeSize
	return sealMessage(append(dst, payload...), start, headerLen)
}

// sealMessage fills in the prelude of the message that begins at start and appends its CRC.
func sealMessage(dst []byte, start, headerLen int) []byte {
	total := len(dst) - start + 4
	binary.BigEndian.PutUint32(dst[start:], uint32(total))
	binary.BigEndian.PutUint32(dst[start+4:], uint32(headerLen))
	resealPrelude(dst[start:])
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[start:]))
}

// resealPrelude computes the prelude's CRC anew.
func resealPrelude(msg []byte) {
	binary.BigEndian.PutUint32(msg[8:], crc32.ChecksumIEEE(msg[:8]))
}

// resealMessage computes both CRCs of a whole message anew, after its lengths were tampered with.
func resealMessage(msg []byte) {
	resealPrelude(msg)
	body := msg[:len(msg)-4]
	binary.BigEndian.PutUint32(msg[len(body):], crc32.ChecksumIEEE(body))
}

// eventHeaders are the headers of an ordinary event, in the order of the recordings.
func eventHeaders(eventType string) []header {
	return []header{
		stringHeader(":event-type", eventType),
		stringHeader(":content-type", "application/json"),
		stringHeader(":message-type", "event"),
	}
}

// exceptionHeaders are the headers of an in-stream exception.
func exceptionHeaders(exceptionType string) []header {
	return []header{
		stringHeader(":exception-type", exceptionType),
		stringHeader(":content-type", "application/json"),
		stringHeader(":message-type", "exception"),
	}
}

// appendEvent writes an event of Converse: its payload is the event itself, and filler stands beside its members.
func appendEvent(dst []byte, kind string, payload []byte, pad int) []byte {
	payload = append(append(append(reopen(payload), `,"p":"`...), filler[:pad]...), `"}`...)
	return appendMessage(dst, eventHeaders(kind), payload)
}

var chunkPrefix = func() []byte {
	var b []byte
	b = append(b, "            "[:preludeSize]...) // filled in by sealMessage
	for _, h := range eventHeaders("chunk") {
		b = appendHeader(b, h)
	}
	return append(b, `{"bytes":"`...)
}()

var chunkHeaderLen = len(chunkPrefix) - preludeSize - len(`{"bytes":"`)

// filler is what `p` is a prefix of.
const filler = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

// appendChunk writes a chunk event whose bytes are payload, with pad bytes of filler. It is
// appendMessage for the case that is hot.
func appendChunk(dst, payload []byte, pad int) []byte {
	start := len(dst)
	dst = append(dst, chunkPrefix...)
	dst = base64.StdEncoding.AppendEncode(dst, payload)
	dst = append(dst, `","p":"`...)
	for pad > len(filler) {
		dst = append(dst, filler...)
		pad -= len(filler)
	}
	dst = append(dst, filler[:pad]...)
	return sealMessage(append(dst, `"}`...), start, chunkHeaderLen)
}
