package bedrock

import (
	"bytes"
	"strings"
)

const (
	bytesPerToken = 4
	// blobMin is the length from which a string without spaces, under a key that holds media, is taken for media.
	blobMin = 256

	imageTokens = 1600 // what an image costs at most on Claude
	// Of a document the service counts pages, about 50 KB and 2,000 tokens each.
	documentBytesPerToken = 25
	// Of a video or sound it counts seconds.
	mediaBytesPerToken = 500
)

// A weight is what a request will be counted as before it is answered.
type weight struct {
	text  int64 // bytes of keys and values that are not media
	media int64 // tokens
	limit int64 // of the answer, as the body says; -1 if it does not

	images  int64 // of media, those that are images
	encoded int64 // of all media, bytes as they stand in the body
	opaque  bool  // there are media of which bytes do not tell how much they are
}

func (w weight) tokens() int64 { return (w.text+bytesPerToken-1)/bytesPerToken + w.media }

// weigh walks once through a body. It copies nothing and jumps from quote to quote, so that a body of many
// megabytes costs little; that the body is valid JSON is for others to check. It reports false for a
// body that is not an object.
func weigh(body []byte, f *family) (weight, bool) {
	w := weight{limit: -1}
	i := 0
	for i < len(body) && isSpace(body[i]) {
		i++
	}
	if i == len(body) || body[i] != '{' {
		return w, false
	}
	var (
		depth       = 0
		outer, last []byte // the key at depth 1, and the latest key at all
	)
	for i < len(body) {
		switch c := body[i]; {
		case c == '"':
			end := stringEnd(body, i+1)
			s := body[i+1 : end]
			i = end + 1
			for i < len(body) && isSpace(body[i]) {
				i++
			}
			if i < len(body) && body[i] == ':' {
				last = s
				if depth == 1 {
					outer = s
				}
				w.text += int64(len(s)) + 2
			} else if !w.takeMedia(last, s) {
				w.text += int64(len(s))
			}
		case c == '{' || c == '[':
			depth++
			i++
		case c == '}' || c == ']':
			depth--
			i++
		case c == '-' || c >= '0' && c <= '9':
			start := i
			for i < len(body) && strings.IndexByte("+-.eE0123456789", body[i]) >= 0 {
				i++
			}
			w.text += int64(i - start)
			if depth <= 2 {
				w.takeLimit(f, depth, outer, last, body[start:i])
			}
		default:
			i++
		}
	}
	return w, true
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// stringEnd is the place of the quote that ends the string whose inside begins at i.
func stringEnd(b []byte, i int) int {
	for {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n
		back := 0
		for b[i-1-back] == '\\' {
			back++
		}
		if back%2 == 0 {
			return i
		}
		i++
	}
}

// takeLimit notes the answer's limit if this number is it.
func (w *weight) takeLimit(f *family, depth int, outer, key, number []byte) {
	for _, path := range f.limits {
		parent, child, nested := strings.Cut(path, ".")
		switch {
		case nested && depth == 2 && string(outer) == parent && string(key) == child,
			!nested && depth == 1 && string(key) == path:
			if n, ok := integer(number); ok && n >= 0 {
				w.limit = n
			}
			return
		}
	}
}

// takeMedia counts a string that is an image, a document or the like in base64.
func (w *weight) takeMedia(key, s []byte) bool {
	if len(s) < blobMin {
		return false
	}
	switch string(key) {
	case "data", "bytes", "images":
	case "url", "image_url": // data:image/png;base64,…
		_, encoded, ok := bytes.Cut(s[:blobMin], []byte(";base64,"))
		if !ok || !bytes.HasPrefix(s, []byte("data:")) {
			return false
		}
		if s = s[blobMin-len(encoded):]; len(s) < blobMin {
			return false
		}
	default:
		return false
	}
	for _, c := range s[:blobMin] {
		if !base64Char[c] {
			return false
		}
	}
	w.encoded += int64(len(s))
	raw := int64(len(s)) / 4 * 3
	switch head := bytes.ReplaceAll(s[:8], []byte(`\/`), []byte("/")); string(head[:4]) {
	case "iVBO", "/9j/", "R0lG", "UklG": // PNG, JPEG, GIF, WebP
		w.images++
		w.media += imageTokens
	case "JVBE": // PDF
		w.opaque = true
		w.media += max(imageTokens, raw/documentBytesPerToken)
	default:
		if string(key) == "images" {
			w.images++
			w.media += imageTokens
			break
		}
		w.opaque = true
		w.media += max(imageTokens, raw/mediaBytesPerToken)
	}
	return true
}

// base64Char has the backslash too: some writers of JSON escape every slash, and some base64 comes with line breaks.
var base64Char = func() (t [256]bool) {
	for _, c := range `\ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=` {
		t[c] = true
	}
	return t
}()
