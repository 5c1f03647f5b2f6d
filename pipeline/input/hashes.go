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
type hashCursor struct{ r *bufio.Reader }

func newHashCursor(at io.ReaderAt, pos int64) *hashCursor {
	return readHashes(io.NewSectionReader(at, pos*HashSize, math.MaxInt64-pos*HashSize))
}

func readHashes(r io.Reader) *hashCursor { return &hashCursor{bufio.NewReaderSize(r, 8<<10)} }

// next returns a hash and io.EOF after the last. A torn one at the end counts as none.
func (c *hashCursor) next() (uint64, error) {
	b, err := c.r.Peek(HashSize)
	if err != nil {
		return 0, err
	}
	sum := binary.LittleEndian.Uint64(b)
	c.r.Discard(HashSize)
	return sum, nil
}

// hashError is an error of the hashes of earlier lines, which must be there.
func hashError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read the hashes of the lines: %w", err)
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
