package eventstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// encode makes a frame of raw headers and a payload.
func encode(headers, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(overhead+len(headers)+len(payload)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(headers)))
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
	b = append(append(b, headers...), payload...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

func stringHeader(name, value string) []byte {
	b := append([]byte{byte(len(name))}, name...)
	b = append(b, valueString)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	return append(b, value...)
}

func chunkHeaders() []byte {
	return bytes.Join([][]byte{
		stringHeader(":event-type", "chunk"), stringHeader(":content-type", "application/json"), stringHeader(":message-type", "event"),
	}, nil)
}

// prelude is a prelude that claims what it is told to, with a good checksum.
func prelude(total, headers uint32) []byte {
	b := binary.BigEndian.AppendUint32(nil, total)
	b = binary.BigEndian.AppendUint32(b, headers)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b))
}

// readAll reads messages until the error, and gives their payloads joined by |.
func readAll(r io.Reader) (string, error) {
	d := NewDecoder(r)
	var got []string
	for {
		m, err := d.Next()
		if err != nil {
			return strings.Join(got, "|"), err
		}
		got = append(got, string(m.Payload))
	}
}

func ended(err error) string {
	var cut *TruncatedError
	var bad *FrameError
	switch {
	case err == io.EOF:
		return "end"
	case errors.As(err, &cut):
		return "cut"
	case errors.As(err, &bad):
		return "bad"
	}
	return "?"
}

func TestDecoder(t *testing.T) {
	one, two := encode(chunkHeaders(), []byte("one")), encode(nil, []byte("two"))
	both := append(bytes.Clone(one), two...)
	flip := func(b []byte, i int) []byte { b = bytes.Clone(b); b[i] ^= 1; return b }
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	errReset := errors.New("connection reset")
	tests := map[string]struct {
		r        io.Reader
		want     string
		end      string
		contains string
	}{
		"nothing at all":                       {bytes.NewReader(nil), "", "end", ""},
		"two messages":                         {bytes.NewReader(both), "one|two", "end", ""},
		"byte by byte":                         {iotest.OneByteReader(bytes.NewReader(both)), "one|two", "end", ""},
		"an end beside the last bytes":         {iotest.DataErrReader(bytes.NewReader(both)), "one|two", "end", ""},
		"an empty message":                     {bytes.NewReader(encode(nil, nil)), "", "end", ""},
		"clean end inside a message":           {bytes.NewReader(both[:len(both)-1]), "one", "cut", "unexpected EOF"},
		"clean end inside a prelude":           {bytes.NewReader(cat(one, two[:5])), "one", "cut", "5 bytes into"},
		"reset between messages":               {io.MultiReader(bytes.NewReader(one), iotest.ErrReader(errReset)), "one", "cut", "connection reset"},
		"reset inside a message":               {io.MultiReader(bytes.NewReader(both[:len(both)-3]), iotest.ErrReader(errReset)), "one", "cut", "connection reset"},
		"unexpected end between messages":      {io.MultiReader(bytes.NewReader(one), iotest.ErrReader(io.ErrUnexpectedEOF)), "one", "cut", "between"},
		"a reader that gives nothing":          {iotest.ErrReader(nil), "", "cut", "multiple Read calls"},
		"bit flipped in the length":            {bytes.NewReader(flip(both, 3)), "", "bad", "prelude checksum"},
		"bit flipped in the prelude checksum":  {bytes.NewReader(flip(both, 9)), "", "bad", "prelude checksum"},
		"bit flipped in the headers":           {bytes.NewReader(flip(both, 14)), "", "bad", "message checksum"},
		"bit flipped in the payload":           {bytes.NewReader(flip(both, len(both)-5)), "one", "bad", "message checksum"},
		"bit flipped in the message checksum":  {bytes.NewReader(flip(both, len(both)-1)), "one", "bad", "message checksum"},
		"HTML":                                 {strings.NewReader("<html><body>502 Bad Gateway</body></html>"), "", "bad", "prelude checksum"},
		"length below the minimum":             {bytes.NewReader(cat(prelude(15, 0), make([]byte, 10))), "", "bad", "below the minimum"},
		"length above the maximum":             {bytes.NewReader(prelude(MaxMessage+1, 0)), "", "bad", "above the maximum"},
		"headers that do not fit":              {bytes.NewReader(cat(prelude(20, 5), make([]byte, 8))), "", "bad", "do not fit"},
		"headers length that wraps around":     {bytes.NewReader(cat(prelude(20, 0xFFFFFFFF), make([]byte, 8))), "", "bad", "do not fit"},
		"header without a name":                {bytes.NewReader(encode([]byte{0, 7, 0, 0}, nil)), "", "bad", "without a name"},
		"header name past the end":             {bytes.NewReader(encode([]byte{9, 'a', 'b'}, nil)), "", "bad", "past the headers"},
		"header without a type":                {bytes.NewReader(encode([]byte{1, 'a'}, nil)), "", "bad", "past the headers"},
		"header of an unknown type":            {bytes.NewReader(encode([]byte{1, 'a', 10}, nil)), "", "bad", "unknown type 10"},
		"header value past the end":            {bytes.NewReader(encode([]byte{1, 'a', valueString, 0, 9, 'x'}, nil)), "", "bad", "past the headers"},
		"header value without its length":      {bytes.NewReader(encode([]byte{1, 'a', valueBytes, 0}, nil)), "", "bad", "past the headers"},
		"fixed header value past the end":      {bytes.NewReader(encode([]byte{1, 'a', valueUUID, 1, 2}, nil)), "", "bad", "past the headers"},
		"a long message whose end never comes": {bytes.NewReader(prelude(MaxMessage, 0)), "", "cut", "12 bytes into"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := readAll(tt.r)
			if got != tt.want || ended(err) != tt.end || !strings.Contains(err.Error(), tt.contains) {
				t.Errorf("read %q, then %s (%v); want %q, then %s (…%s…)", got, ended(err), err, tt.want, tt.end, tt.contains)
			}
		})
	}
}

func TestHeadersOfEveryType(t *testing.T) {
	headers := bytes.Join([][]byte{
		{1, 't', valueTrue},
		{1, 'f', valueFalse},
		{1, '8', valueInt8, 1},
		{1, 'h', valueInt16, 0, 1},
		{1, 'i', valueInt32, 0, 0, 0, 1},
		{1, 'l', valueInt64, 0, 0, 0, 0, 0, 0, 0, 1},
		{1, 'b', valueBytes, 0, 2, 'x', 'y'},
		{1, 'd', valueTimestamp, 0, 0, 0, 0, 0, 0, 0, 1},
		append([]byte{1, 'u', valueUUID}, make([]byte, 16)...),
		stringHeader(":message-type", "error"), stringHeader(":error-code", "boom"), stringHeader(":error-message", "it broke"),
		stringHeader(":exception-type", "xe"), stringHeader("custom", "kept"),
	}, nil)
	m, err := NewDecoder(bytes.NewReader(encode(headers, []byte("p")))).Next()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"b": "xy", "custom": "kept", ":message-type": "error"} {
		if got, ok := m.Header(name); !ok || string(got) != want {
			t.Errorf("Header(%q) = %q, %v, want %q", name, got, ok, want)
		}
	}
	if _, ok := m.Header("l"); ok {
		t.Error("Header gave a number for a string")
	}
	if string(m.ErrorCode) != "boom" || string(m.ErrorMessage) != "it broke" || string(m.ExceptionType) != "xe" || string(m.Payload) != "p" {
		t.Errorf("message read as %q %q %q %q", m.ErrorCode, m.ErrorMessage, m.ExceptionType, m.Payload)
	}
}

// A stream cut at any byte yields the messages before the cut, and ends as whole only between two of them.
func TestCutAtEveryByte(t *testing.T) {
	var stream []byte
	ends := map[int]int{0: 0}
	for i := range 5 {
		stream = append(stream, encode(chunkHeaders(), bytes.Repeat([]byte{'a' + byte(i)}, 7*i))...)
		ends[len(stream)] = i + 1
	}
	for cut := range len(stream) + 1 {
		d := NewDecoder(bytes.NewReader(stream[:cut]))
		n := 0
		var err error
		for ; err == nil; n++ {
			_, err = d.Next()
		}
		n--
		if whole, clean := ends[cut]; clean && (err != io.EOF || n != whole) || !clean && ended(err) != "cut" {
			t.Fatalf("cut at byte %d: %d messages, then %v", cut, n, err)
		}
		if _, again := d.Next(); again != err {
			t.Fatalf("cut at byte %d: the error %v became %v", cut, err, again)
		}
	}
}

// The buffer grows with what arrived: a claim of 24 MiB that is not followed by anything costs next to nothing.
func TestBufferFollowsArrival(t *testing.T) {
	d := NewDecoder(io.MultiReader(bytes.NewReader(prelude(MaxMessage, 0)), bytes.NewReader(make([]byte, 20_000))))
	if _, err := d.Next(); ended(err) != "cut" {
		t.Fatal(err)
	}
	if len(d.buf) > 64<<10 {
		t.Errorf("after 20 KB the buffer holds %d bytes", len(d.buf))
	}
	big := encode(nil, bytes.Repeat([]byte("x"), MaxMessage-overhead))
	m, err := NewDecoder(bytes.NewReader(append(big, encode(nil, []byte("next"))...))).Next()
	if err != nil || len(m.Payload) != MaxMessage-overhead {
		t.Errorf("the longest message: %d bytes, %v", len(m.Payload), err)
	}
}

func TestNoAllocationPerFrame(t *testing.T) {
	stream := bytes.Repeat(encode(chunkHeaders(), bytes.Repeat([]byte("x"), 200)), 1000)
	r := bytes.NewReader(stream)
	d := NewDecoder(r)
	allocs := testing.AllocsPerRun(5, func() {
		r.Reset(stream)
		d.Reset(r)
		for {
			if _, err := d.Next(); err != nil {
				break
			}
		}
	})
	if allocs > 1 {
		t.Errorf("%v allocations for 1000 frames", allocs)
	}
}

func FuzzDecoder(f *testing.F) {
	whole := append(encode(chunkHeaders(), []byte("one")), encode(nil, nil)...)
	f.Add(whole, 3)
	f.Add(whole[:len(whole)-2], 1)
	f.Add(encode([]byte{1, 'a', valueInt64, 1, 2, 3, 4, 5, 6, 7, 8}, []byte("x")), 100)
	f.Fuzz(func(t *testing.T, b []byte, step int) {
		got, err := readAll(bytes.NewReader(b))
		if ended(err) == "?" {
			t.Fatalf("unknown kind of error: %v", err)
		}
		// However the bytes arrive, the messages and the end are the same.
		slow, slowErr := readAll(&stepReader{b, max(1, step%17)})
		if got != slow || err.Error() != slowErr.Error() {
			t.Fatalf("in one piece %q %v, in steps %q %v", got, err, slow, slowErr)
		}
		// And as a payload, they come out as they went in.
		m, err := NewDecoder(bytes.NewReader(encode(chunkHeaders(), b))).Next()
		if err != nil || !bytes.Equal(m.Payload, b) || string(m.EventType) != "chunk" {
			t.Fatalf("payload came back as %q, %v", m.Payload, err)
		}
	})
}

type stepReader struct {
	b    []byte
	step int
}

func (r *stepReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(r.step, len(p))], r.b)
	r.b = r.b[n:]
	return n, nil
}

func BenchmarkFrame(b *testing.B) {
	stream := bytes.Repeat(encode(chunkHeaders(), bytes.Repeat([]byte("x"), 170)), 1000)
	r := bytes.NewReader(stream)
	d := NewDecoder(r)
	b.SetBytes(int64(len(stream) / 1000))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if n%1000 == 0 {
			r.Reset(stream)
			d.Reset(r)
		}
		if _, err := d.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
