package bedrock

import (
	"bytes"
	"slices"
)

// A member is one key of a JSON object with its value, both as they stood.
type member struct{ key, value []byte }

// An object keeps the order of its keys.
type object []member

// parseObject copies a JSON object. Of a key that comes twice the last value counts.
func parseObject(raw []byte) object {
	if len(raw) == 0 {
		return nil
	}
	own := append([]byte(nil), raw...)
	s := scanner{b: own, slow: true}
	if !s.open('{') {
		return nil
	}
	var o object
	var k []byte
	for s.key(&k) {
		if bytes.IndexByte(k, '\\') >= 0 { // an escape that is not needed hides no key
			quoted := appendString(nil, unescape(k))
			k = quoted[1 : len(quoted)-1]
		}
		o.set(string(k), s.raw())
	}
	if s.odd {
		return nil
	}
	return o
}

func (o object) get(key string) []byte {
	for i := range o {
		if string(o[i].key) == key {
			return o[i].value
		}
	}
	return nil
}

func (o *object) set(key string, value []byte) { o.setAfter("", key, value) }

// setAfter replaces the value of a key in its place; a new key goes behind another, or to the end.
func (o *object) setAfter(before, key string, value []byte) {
	at := len(*o)
	for i := range *o {
		switch string((*o)[i].key) {
		case key:
			(*o)[i].value = value
			return
		case before:
			at = i + 1
		}
	}
	*o = append(*o, member{})
	copy((*o)[at+1:], (*o)[at:])
	(*o)[at] = member{[]byte(key), value}
}

// merge lays the members of other over o.
func (o *object) merge(other object) {
	for _, m := range other {
		o.set(string(m.key), m.value)
	}
}

// keep merges members that do not belong to o: it copies what is new. Neither a null nor an empty string replaces a value: some
// servers of chat completions repeat every member in every chunk, with "" for what they have said already.
func (o *object) keep(list []member) {
	for _, m := range list {
		i := slices.IndexFunc(*o, func(own member) bool { return bytes.Equal(own.key, m.key) })
		switch {
		case i < 0:
			*o = append(*o, member{bytes.Clone(m.key), bytes.Clone(m.value)})
		case bytes.Equal((*o)[i].value, m.value), string(m.value) == "null", string(m.value) == `""`:
		default:
			(*o)[i].value = append((*o)[i].value[:0], m.value...)
		}
	}
}

// first is the value of the first of these members that is a whole number, 0 if none is.
func (o object) first(keys ...string) int64 {
	for _, k := range keys {
		if n, ok := o.integer(k); ok {
			return n
		}
	}
	return 0
}

// unwrapped is o without the keys that Bedrock itself adds.
func (o object) unwrapped() object {
	return slices.DeleteFunc(o, func(m member) bool { return isBedrocks(m.key) })
}

func (o object) append(dst []byte) []byte {
	dst = append(dst, '{')
	for i, m := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRawString(dst, m.key)
		dst = append(dst, ':')
		dst = append(dst, m.value...)
	}
	return append(dst, '}')
}

// str is the text of a member that is a string, "" for any other.
func (o object) str(key string) string {
	v := o.get(key)
	if len(v) < 2 || v[0] != '"' {
		return ""
	}
	return unescape(v[1 : len(v)-1])
}

// integer is the value of a member that is a whole number.
func (o object) integer(key string) (int64, bool) { return integer(o.get(key)) }
