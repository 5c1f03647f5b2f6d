package bedrock

import (
	"bytes"
	"slices"
)

// This file has the parts of a chat completion that need more than appending: reasoning between tags, and probabilities.

// A tagReader finds where the answer begins in a text that may have reasoning in front, between two tags. It looks at every character
// once, for a tag may be split between chunks and its characters may be escaped.
type tagReader struct {
	state   tagState
	matched int // characters of the tag that is looked for
	end     int // once passed: where the answer begins
}

type tagState uint8

const (
	tagUndecided tagState = iota // too short to tell
	tagInside                    // the reasoning has begun
	tagPassed                    // what comes is the answer
)

// read takes the next piece of the text, of which there are so many bytes before it.
func (r *tagReader) read(piece []byte, before int, d *chatDialect) {
	for i := 0; i < len(piece) && r.state != tagPassed; {
		c, size := charOf(piece[i:])
		i += size
		if r.state == tagUndecided {
			if c != d.opens[r.matched] {
				r.state = tagPassed // an answer without reasoning
			} else if r.matched++; r.matched == len(d.opens) {
				r.state, r.matched = tagInside, 0
			}
			continue
		}
		if c != d.closes[r.matched] {
			r.matched = 0 // a tag has only one <, so that a new one can begin nowhere else
		}
		if c == d.closes[r.matched] {
			r.matched++
		}
		if r.matched == len(d.closes) {
			r.state, r.end = tagPassed, before+i
		}
	}
}

// charOf is the first character of the inside of a JSON string and its size there; 0 for one that is in no tag.
func charOf(raw []byte) (c byte, size int) {
	if raw[0] != '\\' || len(raw) < 2 {
		return raw[0], 1
	}
	switch raw[1] {
	case '/', '"', '\\':
		return raw[1], 2
	case 'u':
		r, ok := hex4(raw)
		if ok && r < 0x80 {
			return byte(r), 6
		}
		return 0, min(6, len(raw))
	}
	return 0, 2
}

// logprobs are lists that grow from chunk to chunk: {"content":[…]} of a chat, {"tokens":[…],"token_logprobs":[…]} of a text.
type logprobs struct {
	came  bool
	lists []logprob
	other object
}

type logprob struct{ key, list []byte }

func (l *logprobs) add(raw []byte) {
	if len(raw) == 0 {
		return
	}
	l.came = true
	if raw[0] != '{' {
		return
	}
	for _, m := range parseObject(raw) {
		if m.value[0] != '[' {
			l.other.keep([]member{m})
			continue
		}
		i := slices.IndexFunc(l.lists, func(p logprob) bool { return bytes.Equal(p.key, m.key) })
		if i < 0 {
			i = len(l.lists)
			l.lists = append(l.lists, logprob{key: m.key})
		}
		inside := bytes.TrimSpace(trimBrackets(m.value))
		if len(l.lists[i].list) > 0 && len(inside) > 0 {
			l.lists[i].list = append(l.lists[i].list, ',')
		}
		l.lists[i].list = append(l.lists[i].list, inside...)
	}
}

// append writes them as the last member of a choice, if there were any.
func (l *logprobs) append(dst []byte) []byte {
	switch {
	case !l.came:
		return dst
	case l.lists == nil && l.other == nil:
		return append(dst, `,"logprobs":null`...)
	}
	o := slices.Clone(l.other)
	for _, p := range l.lists {
		o.set(string(p.key), append(append([]byte{'['}, p.list...), ']'))
	}
	return o.append(append(dst, `,"logprobs":`...))
}
