package input

import (
	"bufio"
	"errors"
	"io"

	"github.com/cespare/xxhash/v2"
)

// MaxBody is the largest modelInput the service takes, in bytes.
const MaxBody = 25_000_000

// MaxLine is the longest line that is read, in bytes and without its line end: a body and its envelope.
const MaxLine = MaxBody + 1<<20

const blockSize = 128 << 10

// A line is one physical line, valid until the next is read.
type line struct {
	text    []byte // without its end; nil when it is too long
	size    int64  // bytes of the text
	raw     int64  // bytes with the line end
	tooLong bool
	blank   bool
	sum     uint64 // of a line that is too long
}

// hash is the xxHash64 of the line without its end.
func (l *line) hash() uint64 {
	if l.tooLong {
		return l.sum
	}
	return xxhash.Sum64(l.text)
}

// A lineReader cuts a text into lines. Lines shorter than a block are not copied.
type lineReader struct {
	br   *bufio.Reader
	long []byte // the one line buffer, used again and again
}

func newLineReader() *lineReader {
	return &lineReader{br: bufio.NewReaderSize(nil, blockSize)}
}

func (l *lineReader) reset(r io.Reader) { l.br.Reset(r) }

// next reads a line into ln; ok is false after the last. A line cut short by an error is not returned.
func (l *lineReader) next(ln *line) (ok bool, err error) {
	part, err := l.br.ReadSlice('\n')
	if err == nil || err == io.EOF && len(part) > 0 {
		*ln = whole(part)
		return true, nil
	}
	l.long = l.long[:0]
	for errors.Is(err, bufio.ErrBufferFull) {
		l.keep(part)
		if len(l.long) > MaxLine+len("\r\n") {
			return l.skip(ln)
		}
		part, err = l.br.ReadSlice('\n')
	}
	// Only io.EOF itself is a clean end: what merely wraps it is an error of the reader below.
	if err != nil && err != io.EOF {
		return false, err
	}
	if l.keep(part); len(l.long) == 0 {
		return false, nil
	}
	if *ln = whole(l.long); ln.size <= MaxLine {
		return true, nil
	}
	var d digest
	d.write(l.long)
	*ln = d.line()
	return true, nil
}

// skip reads the rest of a line that is too long, and keeps nothing of it.
func (l *lineReader) skip(ln *line) (ok bool, err error) {
	var d digest
	d.write(l.long)
	for {
		part, err := l.br.ReadSlice('\n')
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && err != io.EOF && !full {
			return false, err
		}
		if d.write(part); !full {
			*ln = d.line()
			return true, nil
		}
	}
}

// keep adds to the line buffer, which doubles up to what the longest line needs.
func (l *lineReader) keep(part []byte) {
	if need := len(l.long) + len(part); need > cap(l.long) {
		grown := make([]byte, len(l.long), max(need, min(2*cap(l.long), MaxLine+2*blockSize), 4*blockSize))
		copy(grown, l.long)
		l.long = grown
	}
	l.long = append(l.long, part...)
}

// whole makes a line of its bytes with the line end.
func whole(raw []byte) line {
	text := raw[:len(raw)-lineEnd(raw)]
	return line{text: text, size: int64(len(text)), raw: int64(len(raw)), blank: isBlank(text)}
}

// lineEnd is the length of the line end: LF, CRLF, a CR at the end of the file, or none.
func lineEnd(raw []byte) int {
	n := len(raw)
	if n > 0 && raw[n-1] == '\n' {
		n--
	}
	if n > 0 && raw[n-1] == '\r' {
		n--
	}
	return len(raw) - n
}

func isBlank(text []byte) bool {
	for _, c := range text {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

// A digest takes a line in parts. The last two bytes wait, as they may be its end.
type digest struct {
	sum      xxhash.Digest
	size     int64
	end      []byte
	hasText  bool
	started  bool
	heldBack [2]byte
}

func (d *digest) write(part []byte) {
	if !d.started {
		d.started = true
		d.sum.Reset()
	}
	all := part
	if len(d.end) > 0 {
		if len(part) >= 2 {
			d.add(d.end)
		} else {
			all = append(append([]byte(nil), d.end...), part...)
		}
	}
	keep := min(2, len(all))
	d.add(all[:len(all)-keep])
	d.end = d.heldBack[:copy(d.heldBack[:], all[len(all)-keep:])]
}

func (d *digest) add(text []byte) {
	d.sum.Write(text)
	d.size += int64(len(text))
	d.hasText = d.hasText || !isBlank(text)
}

func (d *digest) line() line {
	raw := d.size + int64(len(d.end))
	d.add(d.end[:len(d.end)-lineEnd(d.end)])
	return line{size: d.size, raw: raw, tooLong: true, blank: !d.hasText, sum: d.sum.Sum64()}
}
