package bedrock

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Text travels through this package as it stands between the quotes of its JSON string, escapes and all. Pieces in that form
// are joined by appending, even where an escape pair is split between two chunks, and they go into the assembled
// body without being decoded and encoded again.

// appendUnescaped decodes the inside of a JSON string, as encoding/json does: what is not valid becomes U+FFFD.
func appendUnescaped(dst *strings.Builder, raw []byte) {
	dst.Grow(len(raw))
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			i = len(raw)
		}
		appendValid(dst, raw[:i])
		if raw = raw[i:]; len(raw) < 2 {
			return
		}
		c := raw[1]
		if c == 'u' {
			var r rune
			r, raw = unescapeRune(raw)
			dst.WriteRune(r)
			continue
		}
		raw = raw[2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		}
		dst.WriteByte(c)
	}
}

// unescapeRune decodes \uXXXX, or a surrogate pair of them, at the start of raw.
func unescapeRune(raw []byte) (rune, []byte) {
	r, ok := hex4(raw)
	if !ok {
		return utf8.RuneError, raw[min(2, len(raw)):]
	}
	raw = raw[6:]
	if !utf16.IsSurrogate(r) {
		return r, raw
	}
	if low, ok := hex4(raw); ok {
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, raw[6:]
		}
	}
	return utf8.RuneError, raw
}

func hex4(raw []byte) (r rune, ok bool) {
	if len(raw) < 6 || raw[0] != '\\' || raw[1] != 'u' {
		return 0, false
	}
	for _, c := range raw[2:6] {
		if !isHex(c) {
			return 0, false
		}
		switch {
		case c <= '9':
			c -= '0'
		default:
			c = c | 0x20 - 'a' + 10
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

func appendValid(dst *strings.Builder, raw []byte) {
	if utf8.Valid(raw) {
		dst.Write(raw)
		return
	}
	for _, r := range string(raw) { // ranging turns every bad byte into U+FFFD
		dst.WriteRune(r)
	}
}

// unescape is the text of the inside of a JSON string.
func unescape(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw)
	}
	var b strings.Builder
	appendUnescaped(&b, raw)
	return b.String()
}

// appendRawString appends the inside of a JSON string with its quotes, made valid UTF-8.
func appendRawString(dst, raw []byte) []byte {
	dst = append(dst, '"')
	if utf8.Valid(raw) {
		dst = append(dst, raw...)
	} else {
		for _, r := range string(raw) {
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}

// appendString appends s as a JSON string.
func appendString(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s) // the error is invalid UTF-8, which it replaces all the same
	return dst
}

var errNotJSON = errors.New("not valid JSON")

// canonical is the slow way: it says whether b is JSON at all, and if so returns it with keys that are
// free of needless escapes, for a scanner in its slow mode.
func canonical(b []byte) ([]byte, error) {
	if !json.Valid(b) {
		return nil, errNotJSON
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != '"' {
			out = append(out, b[i])
			i++
			continue
		}
		end := i + 1
		for b[end] != '"' {
			if b[end] == '\\' {
				end++
			}
			end++
		}
		raw := b[i+1 : end]
		i = end + 1
		next := bytes.TrimLeft(b[i:], " \t\r\n")
		if len(next) > 0 && next[0] == ':' && bytes.IndexByte(raw, '\\') >= 0 {
			out = appendString(out, unescape(raw))
			continue
		}
		out = append(append(append(out, '"'), raw...), '"')
	}
	return out, nil
}

// tidy makes b fit for one line: without line breaks between its tokens. It returns b itself if it was.
func tidy(b []byte) []byte {
	if bytes.IndexByte(b, '\n') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return b
	}
	var out bytes.Buffer
	if json.Compact(&out, b) != nil {
		return b
	}
	return out.Bytes()
}
