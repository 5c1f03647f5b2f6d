package pipeline

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Clip makes a message of the service fit for a terminal: at most 200 bytes, control
// characters escaped.
func Clip(s string) string {
	const limit = 200
	var b strings.Builder
	for i, r := range s {
		piece := s[i : i+max(1, runeLen(s[i:]))]
		if !strconv.IsPrint(r) || r == utf8.RuneError {
			piece = strings.Trim(strconv.QuoteRuneToASCII(r), "'")
		}
		if b.Len()+len(piece) > limit {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
	}
	return b.String()
}

func runeLen(s string) int {
	_, n := utf8.DecodeRuneInString(s)
	return n
}
