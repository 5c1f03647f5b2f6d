package main

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	hundred := make([]int, 100)
	for i := range hundred {
		hundred[99-i] = i + 1
	}
	tests := map[string]struct {
		values []int
		q      float64
		want   int
	}{
		"none":                  {nil, 0.5, 0},
		"one":                   {[]int{7}, 0.99, 7},
		"the middle":            {[]int{3, 1, 2}, 0.5, 2},
		"the lower of two":      {[]int{4, 1, 2, 3}, 0.5, 2},
		"all but one":           {hundred, 0.99, 99},
		"half":                  {hundred, 0.5, 50},
		"the largest":           {hundred, 1, 100},
		"the smallest":          {hundred, 0, 1},
		"more than one percent": {[]int{1, 2, 3}, 0.99, 3},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tt.values)
			if got := quantile(tt.values, tt.q); got != tt.want {
				t.Errorf("quantile(%v, %v) = %v, want %v", tt.values, tt.q, got, tt.want)
			}
			if !slices.Equal(before, tt.values) {
				t.Errorf("quantile changed its values to %v", tt.values)
			}
		})
	}
}

func TestAlternate(t *testing.T) {
	var order strings.Builder
	client := func(name string) func(context.Context) (string, error) {
		return func(context.Context) (string, error) {
			order.WriteString(name)
			return name, nil
		}
	}
	as, bs, err := alternate(t.Context(), 3, client("a"), client("b"))
	if err != nil || order.String() != "abbaab" {
		t.Errorf("alternate ran %s, %v, want abbaab", order.String(), err)
	}
	if strings.Join(as, "") != "aaa" || strings.Join(bs, "") != "bbb" {
		t.Errorf("alternate(a, b) = %v, %v", as, bs)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	var tab table
	tab.row("client", "time")
	tab.row("batchrun", 1500*time.Microsecond)
	tab.row("SDK loop", 75*time.Second)
	tab.print(&b)
	want := "" +
		"| client   | time    |\n" +
		"| ---      | ---     |\n" +
		"| batchrun | 1.50 ms |\n" +
		"| SDK loop | 75.0 s  |\n"
	if b.String() != want {
		t.Errorf("printed\n%swant\n%s", b.String(), want)
	}
}
