package lab

import (
	"slices"
	"time"
)

// A Shape is a way in which a service may refill a quota of so much a minute. AWS does not say which is its own.
type Shape string

// The shapes.
const (
	Bucket60     Shape = "bucket of 60 s" // fills continuously, holds a minute of quota, starts full
	Bucket10     Shape = "bucket of 10 s" // the same with ten seconds
	Minute       Shape = "minute"         // empty at every full minute; what comes back counts in the minute in which it comes
	StrictMinute Shape = "strict minute"  // the same, and what comes back after its own minute is lost
	Sliding      Shape = "sliding minute" // what was taken in the last 60 s, each counted for 60 s
)

// Shapes are all of them.
var Shapes = []Shape{Bucket60, Bucket10, Minute, StrictMinute, Sliding}

// held says whether a shape takes what is reserved and not used away from others until the request ends, or for good:
// then the accounting itself bounds what can be used. The others give it all back.
func (s Shape) held() bool { return s == Sliding || s == StrictMinute }

const window = time.Minute

// A Curve is a quota in units a second, by the time since the service began. It is asked every second and must not
// jump but at whole ones.
type Curve func(at time.Duration) float64

// Area is what a curve gives from one moment to another.
func (c Curve) Area(from, to time.Duration) float64 {
	sum := 0.0
	for from < to {
		next := min(to, from.Truncate(time.Second)+time.Second)
		sum += c((from+next)/2) * (next - from).Seconds()
		from = next
	}
	return sum
}

// Until is the moment by which a curve has given so much since its beginning.
func (c Curve) Until(area float64) time.Duration {
	at := time.Duration(0)
	for area > 0 {
		rate := c(at + time.Second/2)
		if area <= rate {
			return at + time.Duration(area/rate*float64(time.Second))
		}
		area -= rate
		at += time.Second
	}
	return at
}

// A quota admits what fits. Times are since the service began and never fall.
type quota interface {
	// fits says whether n may be taken now.
	fits(now time.Duration, n float64) bool
	// take takes it.
	take(now time.Duration, n float64)
	// settle replaces what was taken at a moment by what was used.
	settle(now, began time.Duration, taken, used float64)
}

// newQuota makes a quota; phase moves the minutes of those that have any.
func newQuota(shape Shape, curve Curve, phase time.Duration) quota {
	switch shape {
	case Bucket60:
		return newBucket(curve, 60)
	case Bucket10:
		return newBucket(curve, 10)
	case Minute, StrictMinute:
		return &minutes{curve: curve, phase: phase, strict: shape == StrictMinute}
	case Sliding:
		return &sliding{curve: curve}
	}
	panic("lab: no shape " + string(shape))
}

// A bucket fills continuously and holds so many seconds of its quota. It may go into debt.
type bucket struct {
	curve   Curve
	seconds float64
	level   float64
	last    time.Duration
}

func newBucket(curve Curve, seconds float64) *bucket {
	return &bucket{curve: curve, seconds: seconds, level: curve(0) * seconds}
}

func (b *bucket) fits(now time.Duration, n float64) bool {
	b.level = min(b.curve(now)*b.seconds, b.level+b.curve.Area(b.last, now))
	b.last = now
	return b.level >= n
}

func (b *bucket) take(_ time.Duration, n float64) { b.level -= n }

func (b *bucket) settle(now, _ time.Duration, taken, used float64) {
	b.fits(now, 0)
	b.level += taken - used
}

// minutes starts from nothing at every full minute.
type minutes struct {
	curve  Curve
	phase  time.Duration
	strict bool
	index  time.Duration // of the minute that used belongs to
	used   float64
}

func (m *minutes) of(at time.Duration) time.Duration { return (at + m.phase) / window }

func (m *minutes) advance(now time.Duration) {
	if i := m.of(now); i != m.index {
		m.index, m.used = i, 0
	}
}

func (m *minutes) fits(now time.Duration, n float64) bool {
	m.advance(now)
	return m.used+n <= m.curve(now)*window.Seconds()
}

func (m *minutes) take(_ time.Duration, n float64) { m.used += n }

func (m *minutes) settle(now, began time.Duration, taken, used float64) {
	m.advance(now)
	if m.strict && m.of(began) != m.index {
		return
	}
	m.used += used - taken
}

// sliding counts what was taken in the last minute.
type sliding struct {
	curve   Curve
	entries []entry
	sum     float64 // of whole numbers, so exact
}

type entry struct {
	at time.Duration
	n  float64
}

func (s *sliding) fits(now time.Duration, n float64) bool {
	for len(s.entries) > 0 && now-s.entries[0].at >= window {
		s.sum -= s.entries[0].n
		s.entries = s.entries[1:]
	}
	return s.sum+n <= s.curve(now)*window.Seconds()
}

func (s *sliding) take(now time.Duration, n float64) {
	s.entries = append(s.entries, entry{now, n})
	s.sum += n
}

func (s *sliding) settle(_, began time.Duration, taken, used float64) {
	i, _ := slices.BinarySearchFunc(s.entries, began, func(e entry, at time.Duration) int { return int(e.at - at) })
	for ; i < len(s.entries) && s.entries[i].at == began; i++ {
		if s.entries[i].n == taken {
			s.entries[i].n = used
			s.sum += used - taken
			return
		}
	}
}
