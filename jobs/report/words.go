package report

import (
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/jobs/words"
)

// What every report says alike.
var (
	count   = words.Count
	figure  = words.Figure
	money   = words.Money
	percent = words.Percent
	span    = words.Span
	plain   = words.Plain
)

// done is how far a run is: 100% only when nothing is left.
func done(part, whole int64) string {
	if whole <= 0 || part >= whole {
		return "100%"
	}
	return strconv.FormatInt(int64(float64(part)*100/float64(whole)), 10) + "%"
}

// latency is a short time.
func latency(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return span(d)
	case d >= time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 2, 64) + "s"
	case d >= 10*time.Millisecond:
		return strconv.FormatInt(d.Round(time.Millisecond).Milliseconds(), 10) + "ms"
	}
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 1, 64) + "ms"
}

// rate is a number for each second, or for each minute or hour where that reads better.
func rate(perSecond float64) string {
	switch {
	case perSecond <= 0:
		return "0/s"
	case perSecond >= 1:
		return figure(perSecond) + "/s"
	case perSecond*60 >= 1:
		return figure(perSecond*60) + "/min"
	}
	return figure(perSecond*3600) + "/h"
}

// quote makes a word that a shell takes as it is.
func quote(word string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:,=+@%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !safe(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
