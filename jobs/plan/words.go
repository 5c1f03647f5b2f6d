package plan

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/batchrun/batchrun/ratelimit"
)

// comma is a number as people read it.
func comma(n int64) string { return humanize.Comma(n) }

// figure shows a value with three digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 999.5:
		return humanize.Comma(int64(math.Round(v)))
	case v >= 99.95 || v == math.Trunc(v):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// money shows an amount to the cent, and smaller ones with two digits that mean something.
func money(v float64) string {
	switch {
	case v >= 1 || v == 0:
		return humanize.FormatFloat("#,###.##", v)
	case v >= 0.1:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'f', int(math.Ceil(1-math.Log10(v))), 64)
}

// percent is a part of one; a little is never shown as none, nor nearly all as all.
func percent(part float64) string {
	p := 100 * part
	switch {
	case p > 0 && p < 0.1:
		return "<0.1%"
	case p < 9.95 && p > 0:
		return strconv.FormatFloat(p, 'f', 1, 64) + "%"
	case p > 99 && p < 100:
		return ">99%"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + "%"
}

// bound is one of the ratelimit.BoundBy constants in words.
func bound(what string) string {
	switch what {
	case ratelimit.BoundByRequests:
		return "requests/min"
	case ratelimit.BoundByTokens:
		return "tokens/min"
	case ratelimit.BoundByConcurrency:
		return "streams"
	case ratelimit.BoundByService:
		return "throttling"
	case ratelimit.BoundByWorkers:
		return "the last answers" // nobody waits: everything has been sent
	}
	return what
}

// plain escapes what a terminal would obey.
func plain(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) < 0 {
		return s
	}
	quoted := strconv.Quote(s)
	return quoted[1 : len(quoted)-1]
}

func sortedKeys(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }
