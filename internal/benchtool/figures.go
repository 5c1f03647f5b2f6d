package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// median is the middle one, of an even number the lower of the middle two. It does not change values.
func median[T cmp.Ordered](values []T) T { return quantile(values, 0.5) }

// quantile is the value that a share q of all values, at least, does not exceed; the zero value where there is none.
func quantile[T cmp.Ordered](values []T, q float64) T {
	if len(values) == 0 {
		var none T
		return none
	}
	sorted := slices.Sorted(slices.Values(values))
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

// alternate measures two clients n times in turns, each first in every other pair, so that neither has the machine at
// a better time.
func alternate[T any](ctx context.Context, n int, a, b func(context.Context) (T, error)) (as, bs []T, err error) {
	for i := range n {
		first, second := a, b
		if i%2 == 1 {
			first, second = b, a
		}
		x, err := first(ctx)
		if err != nil {
			return nil, nil, err
		}
		y, err := second(ctx)
		if err != nil {
			return nil, nil, err
		}
		if i%2 == 1 {
			x, y = y, x
		}
		as, bs = append(as, x), append(bs, y)
	}
	return as, bs, nil
}

// pick gives one figure of each measurement.
func pick[T any, F any](all []T, figure func(T) F) []F {
	var out []F
	for _, v := range all {
		out = append(out, figure(v))
	}
	return out
}

// A table is printed as Markdown, in columns that line up.
type table struct {
	rows [][]string
}

func (t *table) row(cells ...any) {
	var row []string
	for _, c := range cells {
		row = append(row, show(c))
	}
	t.rows = append(t.rows, row)
}

func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	for i, row := range t.rows {
		fmt.Fprintf(tw, "| %s\t|\n", strings.Join(row, "\t| "))
		if i == 0 {
			fmt.Fprintf(tw, "| %s\t|\n", strings.Join(slices.Repeat([]string{"---"}, len(row)), "\t| "))
		}
	}
	_ = tw.Flush() // to a terminal
}

// show writes a figure for people.
func show(v any) string {
	switch v := v.(type) {
	case time.Duration:
		if v != 0 && v.Abs() < 100*time.Microsecond {
			return fmt.Sprintf("%.2f µs", v.Seconds()*1e6)
		}
		if v.Abs() < 10*time.Second {
			return fmt.Sprintf("%.2f ms", v.Seconds()*1000)
		}
		return fmt.Sprintf("%.1f s", v.Seconds())
	case float64:
		return fmt.Sprintf("%.2f", v)
	case bytesize:
		return fmt.Sprintf("%.1f MB", float64(v)/1e6)
	}
	return fmt.Sprint(v)
}

// bytesize is an amount of memory that is shown in megabytes.
type bytesize int64

// each lists figures with the same unit.
func each[T any](values []T) string {
	var out []string
	for _, v := range values {
		out = append(out, show(v))
	}
	return strings.Join(out, ", ")
}

func ratio[T time.Duration | bytesize](a, b T) float64 { return float64(a) / float64(b) }
