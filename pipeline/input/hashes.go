package input

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"sync"
)

// A hashCursor reads line hashes in their order.
type hashCursor struct {
	r   *bufio.Reader
	buf [HashSize]byte
}

func newHashCursor(at io.ReaderAt, pos int64) *hashCursor {
	return readHashes(io.NewSectionReader(at, pos*HashSize, math.MaxInt64-pos*HashSize))
}

func readHashes(r io.Reader) *hashCursor { return &hashCursor{r: bufio.NewReaderSize(r, 8<<10)} }

// next returns a hash; ok is false after the last. A torn one at the end counts as none.
func (c *hashCursor) next() (sum uint64, ok bool, err error) {
	switch _, err := io.ReadFull(c.r, c.buf[:]); err {
	case nil:
		return binary.LittleEndian.Uint64(c.buf[:]), true, nil
	case io.EOF, io.ErrUnexpectedEOF:
		return 0, false, nil
	default:
		return 0, false, fmt.Errorf("read the hashes of the lines: %w", err)
	}
}

// A hashWriter keeps at most 4 KiB from its file. It may be flushed while it is written to.
type hashWriter struct {
	mu  sync.Mutex
	out *bufio.Writer
}

func newHashWriter(w io.Writer) *hashWriter { return &hashWriter{out: bufio.NewWriterSize(w, 4<<10)} }

func (h *hashWriter) add(sum uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.out.Write(binary.LittleEndian.AppendUint64(h.out.AvailableBuffer(), sum))
	return sinkError(err)
}

func (h *hashWriter) flush() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return sinkError(h.out.Flush())
}

func sinkError(err error) error {
	if err != nil {
		return fmt.Errorf("write the hashes of the lines: %w", err)
	}
	return nil
}
