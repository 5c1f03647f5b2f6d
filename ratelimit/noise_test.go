package ratelimit

import (
	"math/rand/v2"
	"testing"
	"time"
)

// tryNoise plays some seconds of a trial, with ten requests in every quarter of a second, and returns how many were sent. Before it 5 % were refused.
func tryNoise(q *noise, l *ledger, from uint64, secs int, refused func(quarter int) int) (n uint64, now time.Time) {
	begin := l.epoch.Add(time.Duration(l.cur) * l.width)
	q.try(begin, from, 100, 5, false)
	for quarter := range 4 * secs {
		now = begin.Add(time.Duration(quarter+1) * l.width)
		l.advance(now)
		r := refused(quarter)
		l.add(l.cur, slot{sent: 10, accepted: float64(10 - r)})
		from += 10
		q.refused(from, r)
	}
	return from, now
}

// atRandom refuses one request in twenty.
func atRandom(seed uint64) func(int) int {
	r := rand.New(rand.NewPCG(seed, 1))
	return func(int) (n int) {
		for range 10 {
			if r.Float64() < 0.05 {
				n++
			}
		}
		return n
	}
}

// inSpells refuses one request in five for a second in four.
func inSpells(quarter int) int {
	if quarter%16 < 4 {
		return 2
	}
	return 0
}

// TestNoiseDoesNotComeInSpells: both are refused as often as before a cut, and one of them by what others have left of a quota.
func TestNoiseDoesNotComeInSpells(t *testing.T) {
	const seeds = 100
	found := 0
	for seed := range uint64(seeds) {
		q, l := noise{}, newLedger(epoch, time.Minute, secondSlot)
		n, now := tryNoise(&q, &l, 0, 30, atRandom(seed))
		if q.judge(now, n, &l) {
			found++
		}
	}
	if found < 0.9*seeds {
		t.Errorf("noise was found in %d of %d trials, want 90 or more", found, seeds)
	}
	q, l := noise{}, newLedger(epoch, time.Minute, secondSlot)
	n, now := tryNoise(&q, &l, 0, 30, inSpells)
	if q.judge(now, n, &l) || q.open {
		t.Errorf("%v of %v refused, for a second in four, are taken for noise", q.share, n)
	}
}

// TestTrialsAddUp: what is too little in one trial to tell noise by is enough in the next, and so is what tells that there is none.
func TestTrialsAddUp(t *testing.T) {
	for _, tt := range []struct {
		name    string
		refused func(int) int
		want    bool
	}{
		{"at random", atRandom(3), true},
		{"in spells at first", inSpells, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			q, l := noise{}, newLedger(epoch, time.Minute, secondSlot)
			n, now := tryNoise(&q, &l, 0, 8, tt.refused)
			if q.judge(now, n, &l) {
				t.Fatal("judged by 8 seconds")
			}
			q.drop(n, &l)
			n, now = tryNoise(&q, &l, n, 15, func(quarter int) int { return (quarter % 2) * (quarter / 2 % 2) })
			if got := q.judge(now, n, &l); got != tt.want {
				t.Errorf("judge() = %v, want %v", got, tt.want)
			}
		})
	}
}
