package state

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// formatRanges writes positions as ranges: 0-31,40. It sorts them.
func formatRanges(pos []int64) string {
	if len(pos) == 0 {
		return ""
	}
	slices.Sort(pos)
	var b []byte
	for i := 0; i < len(pos); {
		j := i + 1
		for j < len(pos) && pos[j] == pos[j-1]+1 {
			j++
		}
		if len(b) > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, pos[i], 10)
		if j > i+1 {
			b = append(b, '-')
			b = strconv.AppendInt(b, pos[j-1], 10)
		}
		i = j
	}
	return string(b)
}

// eachRange calls f with the first and last position of each range.
func eachRange(ranges string, f func(first, last int64) error) error {
	if ranges == "" {
		return nil
	}
	for part := range strings.SplitSeq(ranges, ",") {
		a, b, two := strings.Cut(part, "-")
		if !two {
			b = a
		}
		first, err1 := strconv.ParseInt(a, 10, 64)
		last, err2 := strconv.ParseInt(b, 10, 64)
		if err1 != nil || err2 != nil || first < 0 || last < first {
			return fmt.Errorf("%q is not a range of positions", part)
		}
		if err := f(first, last); err != nil {
			return err
		}
	}
	return nil
}
