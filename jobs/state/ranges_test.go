package state

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRangesReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfDistinct(rapid.Int64Range(0, 60), rapid.ID[int64]).Draw(t, "positions")
		var got []int64
		err := eachRange(formatRanges(slices.Clone(want)), func(first, last int64) error {
			for p := first; p <= last; p++ {
				got = append(got, p)
			}
			return nil
		})
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("want %v, got %v, %v", want, got, err)
		}
	})
	for _, bad := range []string{"x", "3-", "-3", "5-3", "1,,2", "-1-3", ","} {
		if err := eachRange(bad, func(int64, int64) error { return nil }); err == nil {
			t.Errorf("%q was taken for ranges", bad)
		}
	}
}

func TestHistoryKeepsADay(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := history{from: now.Add(-historySpan)}
	h.add(now.Add(-25*time.Hour), Used{Requests: 100})
	h.add(now.Add(-time.Hour), Used{Requests: 1, InputTokens: 5})
	h.add(now.Add(-time.Hour).Add(time.Second), Used{Requests: 2})
	h.add(now, Used{Requests: 4})
	h.add(now.Add(-time.Hour), Used{Requests: 8}) // the clock was set back
	r := &Run{p: &progress{used: h}}
	var got []int64
	var at []time.Time
	for t, u := range r.Usage(now.Add(-2 * time.Hour)) {
		got, at = append(got, u.Requests), append(at, t)
	}
	if want := []int64{3, 12}; !slices.Equal(got, want) {
		t.Errorf("requests by minute %v, want %v", got, want)
	}
	if want := []time.Time{now.Add(-time.Hour).Add(time.Second), now}; !slices.Equal(at, want) {
		t.Errorf("last used in them at %v, want %v", at, want)
	}
	for i := range 10000 {
		h.add(now.Add(time.Duration(i)*time.Minute), Used{Requests: 1})
	}
	if n := len(h.minutes); n < 1440 || n > 2*1440 {
		t.Errorf("%d minutes are kept", n)
	}
}
