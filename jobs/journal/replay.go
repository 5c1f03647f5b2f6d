package journal

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const prefix = 9 // of a line: 8 hex digits and a space

// appendLine appends the line of an entry.
func appendLine(dst, entry []byte) []byte {
	sum := crc32.Checksum(entry, castagnoli)
	dst = hex.AppendEncode(dst, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	dst = append(dst, ' ')
	dst = append(dst, entry...)
	return append(dst, '\n')
}

// parseLine returns the entry of a line without its newline, or why there is none.
func parseLine(line []byte) (entry []byte, reason string) {
	if len(line) < prefix || line[prefix-1] != ' ' {
		return nil, "not a checksum, a space and JSON"
	}
	var want [4]byte
	// Upper-case digits are none of ours: a line reads back only as it was written.
	if bytes.ContainsAny(line[:8], "ABCDEF") {
		return nil, "the checksum is not 8 lower-case hex digits"
	}
	if _, err := hex.Decode(want[:], line[:8]); err != nil {
		return nil, "the checksum is not 8 lower-case hex digits"
	}
	sum := crc32.Checksum(line[prefix:], castagnoli)
	if want != [4]byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)} {
		return nil, "the checksum does not fit"
	}
	return line[prefix:], ""
}

// Replay reads a journal from r and hands each entry to f, in memory bounded by [MaxEntry]. It returns the
// length and the number of the whole lines: a torn last line is not an error and not part of it. path is for
// errors only.
func Replay(path string, r io.Reader, f func(line int64, entry []byte) error) (size, lines int64, err error) {
	return replay(path, r, false, f)
}

// ReplayStrict is [Replay] for who would rather stop than lose an entry. A line goes out in one write and its newline last, so only what
// follows the last newline is torn; a last line that has its newline, and does not fit, is damage like any other. Where zeros
// are in it, it is torn all the same: a power cut leaves them in place of what was not written yet, and no entry has any.
func ReplayStrict(path string, r io.Reader, f func(line int64, entry []byte) error) (size, lines int64, err error) {
	return replay(path, r, true, f)
}

func replay(path string, r io.Reader, strict bool, f func(line int64, entry []byte) error) (size, lines int64, err error) {
	br := bufio.NewReaderSize(r, 64<<10)
	var buf []byte
	bad := ""    // of the line before, which is torn if it proves to be the last
	torn := true // and may be
	for {
		line, long, err := readLine(br, &buf)
		if err != nil && !errors.Is(err, io.EOF) {
			return size, lines, err
		}
		eof := err != nil
		if len(line) == 0 && eof && torn {
			return size, lines, nil
		}
		if bad != "" {
			// The lines after a bad one: it was not torn but damaged, unless the rest is torn off with it.
			return size, lines, &CorruptError{Path: path, Line: lines + 1, Reason: bad}
		}
		if eof { // no newline: torn
			return size, lines, nil
		}
		entry, reason := parseLine(line)
		if long {
			reason = "the line is too long"
		}
		if reason != "" {
			bad, torn = reason, !strict || bytes.IndexByte(line, 0) >= 0
			continue
		}
		if f != nil {
			if err := f(lines+1, entry); err != nil {
				return size, lines, fmt.Errorf("%s:%d: %w", path, lines+1, err)
			}
		}
		size += int64(len(line)) + 1
		lines++
	}
}

// readLine returns the next line without its newline. With io.EOF it is the rest of the file. Of a line
// that is too long the beginning is returned.
func readLine(br *bufio.Reader, buf *[]byte) (line []byte, long bool, err error) {
	*buf = (*buf)[:0]
	for {
		part, err := br.ReadSlice('\n')
		if len(*buf) <= MaxEntry+prefix {
			*buf = append(*buf, part...)
		} else {
			long = true
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(*buf, []byte("\n")), long, nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return *buf, long, err
		}
	}
}
