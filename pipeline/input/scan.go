package input

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"os"
	"time"
)

// HashSize is the bytes that [Scan] writes for each line.
const HashSize = 8

// A Print is what is remembered of a source, to know it again.
type Print struct {
	Name    string    `json:"name"`
	Size    int64     `json:"size"` // of the file as it is, compressed or not
	ModTime time.Time `json:"modTime"`
	Lines   int64     `json:"lines"`   // physical lines
	Records int64     `json:"records"` // lines that are not blank
	SHA256  string    `json:"sha256"`  // of the decompressed content, in hex
}

// Scan reads every source once and returns their prints. To hashes it writes the xxHash64 of each line without
// its line end, as 8 bytes, the lowest first, so that the hash of the line with position pos stands at 8*pos;
// hashes may be nil.
//
// A source that cannot be read to its end, or that changes meanwhile, is an [*Error].
func Scan(ctx context.Context, files []File, hashes io.Writer) ([]Print, error) {
	if hashes == nil {
		hashes = io.Discard
	}
	out := bufio.NewWriterSize(hashes, 64<<10)
	lines := newLineReader()
	prints := make([]Print, len(files))
	sum := make([]byte, HashSize)
	for i, f := range files {
		sha := sha256.New()
		var records int64
		info, n, err := eachLine(ctx, lines, f, sha, func(_ int64, ln *line) error {
			if !ln.blank {
				records++
			}
			binary.LittleEndian.PutUint64(sum, ln.hash())
			if _, err := out.Write(sum); err != nil {
				return fmt.Errorf("write the hashes of the lines: %w", err)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		prints[i] = Print{
			Name: f.Name, Size: info.Size(), ModTime: info.ModTime().UTC(), Lines: n, Records: records,
			SHA256: hex.EncodeToString(sha.Sum(nil)),
		}
	}
	if err := out.Flush(); err != nil {
		return nil, fmt.Errorf("write the hashes of the lines: %w", err)
	}
	return prints, nil
}

// Lines calls yield for every line that is not blank, with the id that a [Reader] gives to it; ok is false where
// the row says null. An error of yield ends it and is returned.
func Lines(ctx context.Context, files []File, yield func(source string, line int64, id string, ok bool) error) error {
	lines, p := newLineReader(), newParser()
	for _, f := range files {
		_, _, err := eachLine(ctx, lines, f, nil, func(n int64, ln *line) error {
			switch {
			case ln.blank:
				return nil
			case ln.tooLong:
				return yield(f.Name, n, "", false)
			}
			_ = p.parse(ln.text) // a faulty line has an id, too, or none
			id, ok := p.name(f.Name, n)
			return yield(f.Name, n, id, ok)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// eachLine reads a file to its end, or until yield returns an error, and feeds sha, if it is not nil, with all of it.
func eachLine(ctx context.Context, lines *lineReader, f File, sha hash.Hash, yield func(n int64, ln *line) error) (info os.FileInfo, n int64, err error) {
	src, err := openFile(f)
	if err != nil {
		return nil, 0, err
	}
	defer src.close()
	if info, err = src.file.Stat(); err != nil {
		return nil, 0, fileError(f.Name, err)
	}
	text := io.Reader(contextReader{ctx, src.text})
	if sha != nil {
		sha.Write(src.bom)
		side := newSideHash(text, sha)
		defer side.wait()
		text = side
	}
	lines.reset(text)
	var ln line
	for {
		ok, err := lines.next(&ln)
		if err != nil {
			if ctx.Err() != nil {
				return nil, n, context.Cause(ctx)
			}
			return nil, n, src.fault(n+1, err)
		}
		if !ok {
			break
		}
		n++
		if err := yield(n, &ln); err != nil {
			return nil, n, err
		}
	}
	after, err := src.file.Stat()
	if err != nil {
		return nil, n, fileError(f.Name, err)
	}
	if after.Size() != info.Size() || !after.ModTime().Equal(info.ModTime()) {
		return nil, n, &Error{Source: f.Name, Err: errGrows, hint: "wait until it is written"}
	}
	return info, n, nil
}

// A contextReader ends with its context, once for each block.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(b)
}

// A sideHash hashes what is read through it on a goroutine of its own, because without the SHA
// instructions of newer processors that is the slowest part of a scan.
type sideHash struct {
	r      io.Reader
	blocks chan []byte // to be hashed
	free   chan []byte
	done   chan struct{}
	closed bool
}

func newSideHash(r io.Reader, sha hash.Hash) *sideHash {
	s := &sideHash{r: r, blocks: make(chan []byte, 3), free: make(chan []byte, 4), done: make(chan struct{})}
	for range cap(s.free) {
		s.free <- nil
	}
	go func() {
		defer close(s.done)
		for b := range s.blocks {
			sha.Write(b)
			s.free <- b
		}
	}()
	return s
}

func (s *sideHash) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if n > 0 {
		s.blocks <- append((<-s.free)[:0], b[:n]...)
	}
	if err != nil {
		s.wait() // the sum is asked for after the last read
	}
	return n, err
}

// wait ends the goroutine.
func (s *sideHash) wait() {
	if !s.closed {
		s.closed = true
		close(s.blocks)
	}
	<-s.done
}
