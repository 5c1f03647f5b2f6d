package report

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// count is a number as people read it.
func count(n int64) string { return humanize.Comma(n) }

// percent is a part of one; a little is never shown as none, nor nearly all as all.
func percent(part float64) string {
	p := 100 * part
	switch {
	case p <= 0:
		return "0%"
	case p < 0.1:
		return "<0.1%"
	case p < 9.95:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	case p > 99 && p < 100:
		return ">99%"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + "%"
}

// done is how far a run is: 100% only when nothing is left.
func done(part, whole int64) string {
	if whole <= 0 || part >= whole {
		return "100%"
	}
	return strconv.FormatInt(int64(float64(part)*100/float64(whole)), 10) + "%"
}

// figure shows a value with three digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 999.5:
		return humanize.Comma(int64(math.Round(v)))
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
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

// span is a long time, its two largest units.
func span(d time.Duration) string {
	d = d.Round(time.Second)
	days, d := d/(24*time.Hour), d%(24*time.Hour)
	h, m, s := int64(d/time.Hour), int64(d%time.Hour/time.Minute), int64(d%time.Minute/time.Second)
	two := func(v int64) string {
		if v < 10 {
			return "0" + strconv.FormatInt(v, 10)
		}
		return strconv.FormatInt(v, 10)
	}
	switch {
	case days > 0:
		return strconv.FormatInt(int64(days), 10) + "d" + two(h) + "h"
	case h > 0:
		return strconv.FormatInt(h, 10) + "h" + two(m) + "m"
	case m > 0:
		return strconv.FormatInt(m, 10) + "m" + two(s) + "s"
	}
	return strconv.FormatInt(s, 10) + "s"
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

// plain escapes what a terminal would obey, and cuts what is long: names come from the service and the user.
func plain(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
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
