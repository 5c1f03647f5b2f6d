package input

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxWindow bounds what a zstd frame may ask for: what the zstd command takes without --long=28 and above.
const maxWindow = 128 << 20

// errUTF16 and its like are found in the first bytes of a source.
var (
	errUTF16  = errors.New("is UTF-16 or UTF-32, and JSON Lines are UTF-8")
	errDamage = errors.New("compressed data is damaged")
	errCut    = errors.New("compressed data is cut short")
)

// A source is the text of one input: decompressed, and without its byte order mark.
type source struct {
	name   string
	text   io.Reader
	bom    []byte // what was dropped from the start of the text
	packed string // "gzip" or "zstd"
	file   *os.File
	zr     *zstd.Decoder
}

// openFile opens a file of the input, which must not be the standard input.
func openFile(f File) (*source, error) {
	if f.Path == Stdin {
		return nil, &Error{Source: f.Name, Err: errors.New("the standard input can be read once only"), hint: "save it to a file first"}
	}
	file, err := os.Open(f.Path)
	if err != nil {
		return nil, fileError(f.Name, err)
	}
	info, err := file.Stat()
	if err == nil {
		err = regular(f.Name, info)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	s, err := newSource(f.Name, file)
	if err != nil {
		file.Close()
		return nil, err
	}
	s.file = file
	return s, nil
}

// newSource looks at the first bytes of r and says how to read the rest.
func newSource(name string, r io.Reader) (*source, error) {
	s := &source{name: name}
	raw := bufio.NewReaderSize(r, 64<<10)
	head, err := raw.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, s.fault(1, err)
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		s.packed = "gzip"
		zr, err := gzip.NewReader(raw)
		if err != nil {
			return nil, s.fault(1, err)
		}
		s.text = zr
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}), isSkippable(head):
		s.packed = "zstd"
		// One decoder per source at a time, and without goroutines of its own.
		s.zr, err = zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, s.fault(1, err)
		}
		s.text = s.zr
	default:
		if what := foreign(head); what != "" {
			return nil, &Error{
				Source: name, Err: fmt.Errorf("is %s, not JSON Lines", what),
				hint: "files can be plain, gzip or zstd",
			}
		}
		s.text = raw
	}
	if err := s.dropMark(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// dropMark takes the byte order mark off the text.
func (s *source) dropMark() error {
	head := make([]byte, 0, 3)
	for len(head) < 3 {
		n, err := s.text.Read(head[len(head):3])
		head = head[:len(head)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return s.fault(1, err)
		}
	}
	switch {
	case bytes.Equal(head, []byte{0xef, 0xbb, 0xbf}):
		s.bom, head = head, nil
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}), bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return &Error{Source: s.name, Err: errUTF16, hint: "convert it: iconv -f UTF-16 -t UTF-8 " + s.name + " > FILE"}
	}
	s.text = io.MultiReader(bytes.NewReader(head), s.text)
	return nil
}

// fault is an error of the reader below, met at a line.
func (s *source) fault(line int64, err error) error {
	e := &Error{Source: s.name, Line: line, Err: err}
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		e.Err = path.Err
		return e
	}
	if s.packed == "" {
		if errors.Is(err, io.EOF) { // it must not look like the end of the input
			e.Err = fmt.Errorf("%w: %s", io.ErrUnexpectedEOF, err.Error())
		}
		return e
	}
	e.hint = "copy the file again, and check it: " + s.packed + " -t FILE"
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		e.Err = fmt.Errorf("the %s %w", s.packed, errCut)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		e.Err = fmt.Errorf("the zstd frame needs a window of more than %d MiB", maxWindow>>20)
		e.hint = "compress it again without --long"
	default:
		e.Err = fmt.Errorf("the %s %w: %w", s.packed, errDamage, err) // err is no io.EOF
	}
	return e
}

func (s *source) close() {
	if s.zr != nil {
		s.zr.Close()
	}
	if s.file != nil {
		s.file.Close()
	}
}

// isSkippable tells a zstd file that begins with a skippable frame.
func isSkippable(head []byte) bool {
	return len(head) >= 4 && head[0]&0xf0 == 0x50 && head[1] == 0x2a && head[2] == 0x4d && head[3] == 0x18
}

// foreign names the format of a file that is often taken for text.
func foreign(head []byte) string {
	for magic, what := range map[string]string{
		"PK\x03\x04": "a zip archive", "BZh": "bzip2", "\xfd7zXZ\x00": "xz", "PAR1": "Parquet", "7z\xbc\xaf": "a 7z archive",
	} {
		if bytes.HasPrefix(head, []byte(magic)) {
			return what
		}
	}
	return ""
}
