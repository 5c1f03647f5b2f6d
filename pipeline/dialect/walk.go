package dialect

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/batchrun/batchrun/pipeline"
)

// A walk goes through a request and remembers the first thing that is wrong with it. After that it does
// nothing more, so that callers need not look at every step.
type walk struct{ fault *pipeline.Fault }

// refuse remembers what is wrong at a path such as body.messages[2].content.
func (w *walk) refuse(path, format string, args ...any) {
	if w.fault == nil {
		w.fault = &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Message: path + ": " + fmt.Sprintf(format, args...)}
	}
}

// untranslated refuses a field that has no counterpart.
func (w *walk) untranslated(path string) {
	w.refuse(path, "has no counterpart in the model's own format: leave it out, or give modelInput")
}

// object calls f for each member that is not null. Values are parts of raw.
func (w *walk) object(path string, raw []byte, f func(at, key string, value []byte)) {
	if w.fault != nil {
		return
	}
	if kind(raw) != "object" {
		w.refuse(path, "expected an object, not a JSON %s", kind(raw))
		return
	}
	w.members(path, raw, func(dec *jsontext.Decoder) bool {
		name, err := dec.ReadValue()
		if err != nil {
			w.refuse(path, "%v", plainError(err))
			return false
		}
		key := unquote(name)
		value, err := dec.ReadValue()
		if err != nil {
			w.refuse(path, "%v", plainError(err))
			return false
		}
		if value[0] != 'n' {
			end := int(dec.InputOffset())
			f(path+"."+key, key, raw[end-len(value):end:end])
		}
		return w.fault == nil
	})
}

// array calls f for each element.
func (w *walk) array(path string, raw []byte, f func(at string, value []byte)) {
	if w.fault != nil {
		return
	}
	if kind(raw) != "array" {
		w.refuse(path, "expected a list, not a JSON %s", kind(raw))
		return
	}
	n := 0
	w.members(path, raw, func(dec *jsontext.Decoder) bool {
		value, err := dec.ReadValue()
		if err != nil {
			w.refuse(path, "%v", plainError(err))
			return false
		}
		end := int(dec.InputOffset())
		f(path+"["+strconv.Itoa(n)+"]", raw[end-len(value):end:end])
		n++
		return w.fault == nil
	})
}

// members steps into an object or array and calls next until its end.
func (w *walk) members(path string, raw []byte, next func(*jsontext.Decoder) bool) {
	dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
	if _, err := dec.ReadToken(); err != nil {
		w.refuse(path, "%v", plainError(err))
		return
	}
	for {
		switch dec.PeekKind() {
		case '}', ']':
			return
		case 0:
			if _, err := dec.ReadToken(); err != nil {
				w.refuse(path, "%v", plainError(err))
			}
			return
		}
		if !next(dec) {
			return
		}
	}
}

func (w *walk) text(path string, raw []byte) string {
	if kind(raw) != "string" {
		w.refuse(path, "expected a string, not a JSON %s", kind(raw))
		return ""
	}
	return unquote(raw)
}

// texts reads a string or a list of strings.
func (w *walk) texts(path string, raw []byte) (list []string) {
	if kind(raw) == "string" {
		return []string{unquote(raw)}
	}
	w.array(path, raw, func(at string, value []byte) { list = append(list, w.text(at, value)) })
	return list
}

// count reads a whole number above zero.
func (w *walk) count(path string, raw []byte) int64 {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 1 {
		w.refuse(path, "expected a whole number of at least 1, not %s", shortly(raw))
		return 0
	}
	return n
}

func (w *walk) number(path string, raw []byte) *float64 {
	f, err := strconv.ParseFloat(string(raw), 64)
	if err != nil || kind(raw) != "number" || f < 0 {
		w.refuse(path, "expected a number of at least 0, not %s", shortly(raw))
		return nil
	}
	return &f
}

// mustBe refuses a field unless it says what holds anyway.
func (w *walk) mustBe(path string, raw []byte, harmless ...string) {
	compact := jsontext.Value(bytes.Clone(raw))
	if compact.Compact() == nil && slices.Contains(harmless, string(compact)) {
		return
	}
	w.untranslated(path)
}

// kind names the kind of a value.
func kind(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '{':
		return "object"
	case '[':
		return "array"
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// shortly shows a value in a message, which must not carry a prompt.
func shortly(raw []byte) string {
	if k := kind(raw); k != "number" || len(raw) > 24 {
		return "a JSON " + k
	}
	return string(raw)
}

func unquote(raw []byte) string {
	if bytes.IndexByte(raw, '\\') < 0 && len(raw) >= 2 {
		return string(raw[1 : len(raw)-1])
	}
	text, _ := jsontext.AppendUnquote(nil, raw) // its grammar has been checked
	return string(text)
}

// plainError is a decoder's error without its package.
func plainError(err error) string {
	const prefix = "jsontext: "
	text := err.Error()
	if len(text) > len(prefix) && text[:len(prefix)] == prefix {
		return text[len(prefix):]
	}
	return text
}
