package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Markers are what a prompt says between [[ and ]] about its own answer; see the package
// documentation for the list.
type markers struct {
	faults     []Fault
	tools      int // how many calls; 0 leaves it to the request
	toolEmpty  bool
	cite       bool
	refuse     bool
	redacted   bool
	tokens     int // -1: not said
	cacheRead  int64
	cacheWrite int64
	say        *string
	guardrail  guardrail
}

// A guardrail says what the simulated guardrail does.
type guardrail uint8

const (
	guardrailNone  guardrail = iota
	guardrailBlock           // the input is blocked
	guardrailTrace           // actions on events, trace on the last
)

// parseMarkers finds the markers in a request body. It works on the bytes as they came: a marker
// has no character that JSON must escape, but for the text of [[say:…]].
func parseMarkers(body []byte) (markers, *Error) {
	m := markers{tokens: -1}
	for {
		_, rest, found := bytes.Cut(body, []byte("[["))
		if !found {
			return m, nil
		}
		body = rest
		inside, rest, found := bytes.Cut(body, []byte("]]"))
		if !found {
			return m, nil
		}
		known, err := m.set(string(inside))
		if err != nil {
			return m, err
		}
		if known {
			body = rest
		}
	}
}

// set takes the inside of one marker. Brackets that hold anything else are ordinary text.
func (m *markers) set(inside string) (known bool, bad *Error) {
	name, arg, _ := strings.Cut(inside, ":")
	var err error
	switch name {
	case "fault":
		var f Fault
		if f, err = ParseFault(arg); err == nil {
			m.faults = append(m.faults, f)
		}
	case "tool":
		m.tools = 1
		if arg == "empty" {
			m.toolEmpty = true
		} else if arg != "" {
			m.tools, err = atMost(arg, 16)
		}
	case "tokens":
		m.tokens, err = atMost(arg, 1_000_000)
	case "cache":
		for pair := range strings.SplitSeq(arg, ",") {
			key, value, _ := strings.Cut(pair, "=")
			var n int64
			if n, err = strconv.ParseInt(value, 10, 64); err != nil {
				break
			}
			if key == "write" {
				m.cacheWrite = n
			} else {
				m.cacheRead = n
			}
		}
	case "say":
		var text string
		if err = json.Unmarshal([]byte(`"`+arg+`"`), &text); err == nil {
			m.say = &text
		}
	case "cite":
		m.cite = true
	case "refuse":
		m.refuse = true
	case "redacted":
		m.redacted = true
	case "guardrail":
		m.guardrail = guardrailTrace
		if arg == "block" {
			m.guardrail = guardrailBlock
		}
	default:
		return false, nil
	}
	if err != nil {
		return true, validation("simulator: marker [[%s]]: %v", inside, err)
	}
	return true, nil
}

// atMost reads a count.
func atMost(arg string, limit int) (int, error) {
	n, err := strconv.Atoi(arg)
	if err == nil && (n < 0 || n > limit) {
		err = fmt.Errorf("%d is not from 0 to %d", n, limit)
	}
	return n, err
}
