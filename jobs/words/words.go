// Package words says numbers, times and names as people read them, the same in every report.
//
// Its functions are pure and may be called from anywhere at once.
package words

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// Count is a number with its thousands apart.
func Count(n int64) string { return humanize.Comma(n) }

// Figure shows a value of at least 0 with three digits that mean something.
func Figure(v float64) string {
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

// Money is an amount of at least 0 to the cent; a smaller one than a unit has two digits that mean something.
func Money(v float64) string {
	switch {
	case v >= 1 || v == 0:
		return humanize.FormatFloat("#,###.##", v)
	case v >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', int(math.Ceil(1-math.Log10(v))), 64)
}

// Percent is a part of one; a little is never shown as none, nor nearly all as all.
func Percent(part float64) string {
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

// Span is a long time, its two largest units, in whole seconds at the least.
func Span(d time.Duration) string {
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

// Plain escapes what a terminal would obey, and cuts what is longer than so many bytes: names come from the service and the user.
func Plain(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}
