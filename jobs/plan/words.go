package plan

import (
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/batchrun/batchrun/jobs/words"
	"github.com/batchrun/batchrun/ratelimit"
)

// What every report says alike.
var (
	comma   = words.Count
	money   = words.Money
	percent = words.Percent
)

// figure is [words.Figure], but whole numbers stay so: most that a plan shows have been given.
func figure(v float64) string {
	if v < 999.5 && v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return words.Figure(v)
}

// atMost is an upper bound of money in words, its last digit rounded up: what is shown is never less than what is meant.
func atMost(v float64) string {
	digit := 0.01
	if v > 0 && v < 0.1 {
		digit = math.Pow10(-int(math.Ceil(1 - math.Log10(v)))) // two that mean something
	}
	return money(math.Ceil(v/digit-1e-6) * digit)
}

// bound is one of the ratelimit.BoundBy constants in words.
func bound(what string) string {
	switch what {
	case ratelimit.BoundByRequests:
		return "requests/min"
	case ratelimit.BoundByTokens:
		return "tokens/min"
	case ratelimit.BoundByConcurrency:
		return "--concurrency"
	case ratelimit.BoundByService:
		return "throttling"
	case ratelimit.BoundByInput:
		return "the last answers" // nobody waits: everything has been sent
	}
	return what
}

// plain escapes what a terminal would obey.
func plain(s string) string { return words.Plain(s, len(s)) }

func sortedKeys(m map[string]float64) []string { return slices.Sorted(maps.Keys(m)) }
