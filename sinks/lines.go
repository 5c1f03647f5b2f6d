package sinks

import (
	"bufio"
	"errors"
	"io"
	"os"
)

// Lines yields the lines of a file of rows, newline included, up to size bytes (all of it if size is negative). A line
// is valid until the next. A last line without a newline is yielded too.
func Lines(path string, size int64) func(yield func(line []byte, err error) bool) {
	return func(yield func([]byte, error) bool) {
		file, err := os.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer file.Close()
		var r io.Reader = file
		if size >= 0 {
			r = io.LimitReader(file, size)
		}
		br := bufio.NewReaderSize(r, 256<<10)
		var buf []byte
		for {
			line, err := nextLine(br, &buf)
			if len(line) > 0 && !yield(line, nil) {
				return
			}
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
	}
}

// nextLine returns the next line with its newline, without copying it where it fits the reader's buffer.
func nextLine(br *bufio.Reader, buf *[]byte) ([]byte, error) {
	line, err := br.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return line, err
	}
	if cap(*buf) > 32<<20 {
		*buf = nil // one giant is no reason to keep its memory
	}
	*buf = append((*buf)[:0], line...)
	for errors.Is(err, bufio.ErrBufferFull) {
		line, err = br.ReadSlice('\n')
		*buf = append(*buf, line...)
	}
	return *buf, err
}
