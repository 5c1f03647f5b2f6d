package ratelimit

import "time"

// A slot is what was admitted in one stretch of time.
type slot struct {
	held     float64 // tokens: reserved of those in flight, settled of those ended
	use      float64 // tokens: expected of those in flight, settled of those ended
	sent     float64 // requests sent, refused ones too
	accepted float64 // requests sent and not refused
	heads    float64 // requests refused, and the one before not
}

func (s *slot) add(d slot) {
	s.held += d.held
	s.use += d.use
	s.sent += d.sent
	s.accepted += d.accepted
	s.heads += d.heads
}

// A ledger is a sliding window in slots. A slot leaves it when all of it is older than the
// window, so what it counts is never less than the strict window and at most one slot more.
// A request is corrected in the slot in which it was admitted. Whole numbers only, so that
// sums stay exact.
type ledger struct {
	width time.Duration // of one slot
	epoch time.Time     // start of slot 0
	slots []slot        // ring: the current slot and those of the window before it
	cur   int64         // number of the current slot
	sum   slot
}

func newLedger(now time.Time, window, width time.Duration) ledger {
	n := int64(window/width) + 1
	// Slots before now are for what an earlier run sent.
	return ledger{width: width, epoch: now.Add(-time.Duration(n) * width), slots: make([]slot, n), cur: n}
}

// number tells the slot of a time.
func (l *ledger) number(t time.Time) int64 { return int64(t.Sub(l.epoch) / l.width) }

// advance drops what has left the window.
func (l *ledger) advance(now time.Time) {
	n := l.number(now)
	if n <= l.cur {
		return
	}
	if n-l.cur >= int64(len(l.slots)) {
		clear(l.slots)
		l.sum = slot{}
		l.cur = n
		return
	}
	for l.cur < n {
		l.cur++
		s := &l.slots[l.cur%int64(len(l.slots))]
		l.sum.add(slot{-s.held, -s.use, -s.sent, -s.accepted, -s.heads})
		*s = slot{}
	}
}

// oldest is the first slot still in the window.
func (l *ledger) oldest() int64 { return l.cur - int64(len(l.slots)) + 1 }

// add books d in slot n and reports whether that slot is still in the window.
func (l *ledger) add(n int64, d slot) bool {
	if n < l.oldest() || n > l.cur {
		return false
	}
	l.slots[n%int64(len(l.slots))].add(d)
	l.sum.add(d)
	return true
}

// freed tells when time alone will have brought what of() counts down to most.
func (l *ledger) freed(most float64, of func(*slot) float64) time.Time {
	sum := of(&l.sum)
	n := l.oldest()
	for ; sum > most && n < l.cur; n++ {
		sum -= of(&l.slots[n%int64(len(l.slots))])
	}
	if sum > most {
		n++
	}
	// Slot k leaves when slot k+len begins; n-1 is the last that has to.
	return l.epoch.Add(time.Duration(n-1+int64(len(l.slots))) * l.width)
}

// between sums what of() counts in the slots of the window from one number to another, both included.
func (l *ledger) between(from, to int64, of func(*slot) float64) float64 {
	var sum float64
	for n := max(from, l.oldest()); n <= min(to, l.cur); n++ {
		sum += of(&l.slots[n%int64(len(l.slots))])
	}
	return sum
}

func heldTokens(s *slot) float64       { return s.held }
func usedTokens(s *slot) float64       { return s.use }
func sentRequests(s *slot) float64     { return s.sent }
func acceptedRequests(s *slot) float64 { return s.accepted }
func headRequests(s *slot) float64     { return s.heads }
