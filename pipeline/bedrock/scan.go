package bedrock

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strconv"
)

// maxDepth is how deep the scanner follows nested values; what lies deeper goes the slow way.
const maxDepth = 200

// A scanner walks through one JSON value without copying or allocating.
//
// It is as strict as encoding/json about syntax. Whatever it meets that it cannot take as it stands, be it bad syntax or
// merely unusual (an escape in a key, nesting beyond maxDepth), makes it odd: then all it returned is void, and
// the caller takes the slow way (canonical), which tells the two apart.
//
// Values are read in the order
//
//	for s.open('{'); s.key(&k); { … exactly one of str, number, raw, skip … }
type scanner struct {
	b     []byte
	i     int
	odd   bool
	first bool // no member of the object or array at hand was read yet
	slow  bool // b went through canonical: take any key and any depth
}

func (s *scanner) fail() { s.odd = true; s.i = len(s.b) }

func (s *scanner) space() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return
		}
	}
}

// peek is the first byte of the next value, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// open enters an object or array; it reports false, having consumed nothing, when something else stands here.
func (s *scanner) open(bracket byte) bool {
	if s.peek() != bracket {
		return false
	}
	s.i++
	s.first = true
	return true
}

// key reads the next key of an object; at its end it consumes the brace and reports false.
func (s *scanner) key(k *[]byte) bool {
	if s.plainKey(k) {
		return true
	}
	if !s.more('}') {
		return false
	}
	if s.peek() != '"' {
		s.fail()
		return false
	}
	raw, escaped := s.text()
	if escaped && !s.slow {
		s.fail()
	}
	if s.peek() != ':' {
		s.fail()
		return false
	}
	s.i++
	*k = raw
	return true
}

// plainKey reads the next key if it stands there as services write it, without space or escapes; else it consumes nothing.
func (s *scanner) plainKey(k *[]byte) bool {
	b, i := s.b, s.i
	if !s.first && i < len(b) && b[i] == ',' {
		i++
	} else if !s.first {
		return false
	}
	if i >= len(b) || b[i] != '"' {
		return false
	}
	start := i + 1
	end := start + plainPrefix(b[start:])
	if end+1 >= len(b) || b[end] != '"' || b[end+1] != ':' {
		return false
	}
	*k, s.i, s.first = b[start:end], end+2, false
	return true
}

// more steps to the next member; at the end it consumes the closing bracket and reports false.
func (s *scanner) more(closing byte) bool {
	c := s.peek()
	switch {
	case c == closing:
		s.i++
		s.first = false // the object around it has at least this one
		return false
	case s.first:
		s.first = false
		if c != 0 {
			return true
		}
	case c == ',':
		s.i++
		return true
	}
	s.fail()
	return false
}

// end reports whether nothing but space is left, and nothing was odd.
func (s *scanner) end() bool {
	s.space()
	return !s.odd && s.i == len(s.b)
}

// plain marks the bytes that stand for themselves inside a string.
var plain = func() (t [256]bool) {
	for c := 0x20; c < 256; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// plainPrefix is how many bytes at the start of b stand for themselves inside a string. It looks at eight at a time.
func plainPrefix(b []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^'"'*ones, x^'\\'*ones
		// A byte's highest bit is set where the byte is one of them or below a space. Above the lowest such byte
		// a borrow may set others, which nobody looks at:
		// https://graphics.stanford.edu/~seander/bithacks.html#HasLessInWord
		if found := ((quote-ones)&^quote | (slash-ones)&^slash | (x-' '*ones)&^x) & highs; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for i < len(b) && plain[b[i]] {
		i++
	}
	return i
}

// text reads a string, the cursor being on its opening quote, and returns what stands between the quotes.
func (s *scanner) text() (raw []byte, escaped bool) {
	b, start := s.b, s.i+1
	i := start + plainPrefix(b[start:])
	if i < len(b) && b[i] == '"' {
		s.i = i + 1
		return b[start:i], false
	}
	for i+1 < len(b) && b[i] == '\\' {
		switch b[i+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			i += 2
		case 'u':
			if i+6 > len(b) || !isHex(b[i+2]) || !isHex(b[i+3]) || !isHex(b[i+4]) || !isHex(b[i+5]) {
				s.fail()
				return nil, true
			}
			i += 6
		default:
			s.fail()
			return nil, true
		}
		i += plainPrefix(b[i:])
		if i < len(b) && b[i] == '"' {
			s.i = i + 1
			return b[start:i], true
		}
	}
	s.fail()
	return nil, true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// str reads a string as it stands between its quotes, escapes and all. Any other value is skipped and gives nil.
func (s *scanner) str() []byte {
	if s.peek() == '"' {
		raw, _ := s.text()
		if raw == nil && !s.odd {
			raw = []byte{}
		}
		return raw
	}
	s.skip()
	return nil
}

// word reads a string that is one of a few known words, with its escapes resolved. Any other value gives nil.
func (s *scanner) word() []byte {
	raw := s.str()
	if bytes.IndexByte(raw, '\\') >= 0 {
		return []byte(unescape(raw))
	}
	return raw
}

// raw reads any value and returns it as it stands.
func (s *scanner) raw() []byte {
	s.space()
	start := s.i
	s.skip()
	if s.odd {
		return nil
	}
	return s.b[start:s.i]
}

// number reads a number that is an integer, be it written as 3, 3.0 or 3e0. Any other value is skipped.
func (s *scanner) number() (n int64, ok bool) {
	return integer(s.raw())
}

// integer is the value of a number without a fractional part, in whatever way it is written.
func integer(raw []byte) (int64, bool) {
	if len(raw) == 0 || raw[0] != '-' && (raw[0] < '0' || raw[0] > '9') {
		return 0, false
	}
	if len(raw) <= 15 {
		n, digits := int64(0), raw
		if digits[0] == '-' {
			digits = digits[1:]
		}
		for i, c := range digits {
			if c < '0' || c > '9' {
				break
			}
			n = n*10 + int64(c-'0')
			if i == len(digits)-1 {
				if raw[0] == '-' {
					n = -n
				}
				return n, true
			}
		}
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || f != float64(int64(f)) || f > 1<<53 || f < -1<<53 {
		return 0, false
	}
	return int64(f), true
}

// skip reads any value.
func (s *scanner) skip() { s.value(0) }

func (s *scanner) value(depth int) {
	if depth > maxDepth && !s.slow {
		s.fail()
		return
	}
	switch c := s.peek(); c {
	case '"':
		s.text()
	case '{':
		s.open('{')
		for s.more('}') {
			if s.peek() != '"' {
				s.fail()
				return
			}
			s.text()
			if s.peek() != ':' {
				s.fail()
				return
			}
			s.i++
			s.value(depth + 1)
		}
	case '[':
		s.open('[')
		for s.more(']') {
			s.value(depth + 1)
		}
	case 't':
		s.literal("true")
	case 'f':
		s.literal("false")
	case 'n':
		s.literal("null")
	default:
		s.digits()
	}
}

func (s *scanner) literal(want string) {
	if len(s.b)-s.i < len(want) || string(s.b[s.i:s.i+len(want)]) != want {
		s.fail()
		return
	}
	s.i += len(want)
}

// digits reads a number by the grammar of JSON.
func (s *scanner) digits() {
	b, i := s.b, s.i
	run := func() bool {
		start := i
		for i < len(b) && '0' <= b[i] && b[i] <= '9' {
			i++
		}
		return i > start
	}
	if i < len(b) && b[i] == '-' {
		i++
	}
	ok := i < len(b) && b[i] == '0'
	if ok {
		i++
	} else {
		ok = run()
	}
	if ok && i < len(b) && b[i] == '.' {
		i++
		ok = run()
	}
	if ok && i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		ok = run()
	}
	if !ok {
		s.fail()
		return
	}
	s.i = i
}

// object enters an object; any other value is skipped.
func (s *scanner) object() bool {
	if s.open('{') {
		return true
	}
	s.skip()
	return false
}
