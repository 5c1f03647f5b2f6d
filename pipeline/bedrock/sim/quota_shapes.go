package sim

import "time"

// bucket refills continuously up to limit; window is how long that takes from empty.
type bucket struct {
	limit  float64
	window time.Duration
	level  float64 // negative: in debt
	at     time.Time
}

func (b *bucket) fill(now time.Time) {
	b.level = min(b.limit, b.level+b.limit*float64(now.Sub(b.at))/float64(b.window))
	b.at = now
}

// tolerance absorbs rounding: a portion that is due at this very moment is admitted.
const tolerance = 1e-9

func (b *bucket) fits(now time.Time, n float64) bool {
	b.fill(now)
	return n <= b.level+tolerance*b.limit
}

func (b *bucket) take(_ time.Time, n float64) { b.level -= n }

func (b *bucket) settle(now, _ time.Time, n, used float64) {
	b.fill(now)
	b.level = min(b.limit, b.level+n-used)
}

// fixedWindow counts anew in each window since origin.
type fixedWindow struct {
	limit  float64
	window time.Duration
	origin time.Time
	strict bool
	index  int64 // of the window that used belongs to
	used   float64
}

func (f *fixedWindow) number(t time.Time) int64 { return int64(t.Sub(f.origin) / f.window) }

func (f *fixedWindow) turn(now time.Time) {
	if n := f.number(now); n != f.index {
		f.index, f.used = n, 0
	}
}

func (f *fixedWindow) fits(now time.Time, n float64) bool {
	f.turn(now)
	return f.used+n <= f.limit*(1+tolerance)
}

func (f *fixedWindow) take(_ time.Time, n float64) { f.used += n }

func (f *fixedWindow) settle(now, start time.Time, n, used float64) {
	f.turn(now)
	if f.strict && used < n && f.number(start) != f.index {
		return
	}
	f.used += used - n
}

// sliding counts what started within the last window. With a grain, starts are rounded up to it,
// which bounds memory.
type sliding struct {
	limit   float64
	window  time.Duration
	grain   time.Duration
	entries []entry // by start
	used    float64
}

type entry struct {
	start  time.Time
	amount float64
}

func (s *sliding) drop(now time.Time) {
	n := 0
	for n < len(s.entries) && now.Sub(s.entries[n].start) >= s.window {
		s.used -= s.entries[n].amount
		n++
	}
	s.entries = s.entries[n:]
	if len(s.entries) == 0 {
		s.entries, s.used = nil, 0 // no rounding error outlives an empty window
	}
}

func (s *sliding) fits(now time.Time, n float64) bool {
	s.drop(now)
	return s.used+n <= s.limit*(1+tolerance)
}

func (s *sliding) round(t time.Time) time.Time {
	if s.grain == 0 {
		return t
	}
	return t.Truncate(s.grain).Add(s.grain)
}

func (s *sliding) take(now time.Time, n float64) {
	start := s.round(now)
	s.used += n
	if last := len(s.entries) - 1; last >= 0 && s.entries[last].start.Equal(start) {
		s.entries[last].amount += n
		return
	}
	s.entries = append(s.entries, entry{start, n})
}

func (s *sliding) settle(now, start time.Time, n, used float64) {
	s.drop(now)
	start = s.round(start)
	low, high := 0, len(s.entries) // the first entry not before start
	for low < high {
		if mid := (low + high) / 2; s.entries[mid].start.Before(start) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	switch {
	case low < len(s.entries) && s.entries[low].start.Equal(start):
		s.entries[low].amount += used - n
		s.used += used - n
	case used > n: // its entry has left the window; what was used beyond it counts from now
		s.take(now, used-n)
	}
}
