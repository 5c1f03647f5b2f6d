package pipeline

import (
	"fmt"
	"math"
	"time"

	"github.com/dustin/go-humanize"
)

const (
	warmUpMost    = 2 * time.Minute
	forecastPart  = 20 // of the time there is: how long the pace is watched before it counts
	forecastLong  = 5  // warm-ups: how far a pace looks back
	forecastSteps = 8  // looks in a warm-up
	// forecastSure is the part of the records left by which a deadline must be missed or met for either to be said, and
	// forecastNews the factor by which a miss must change to be said again.
	forecastSure = 0.02
	forecastNews = 1.5
)

// A forecast tells from the pace of the last minutes whether a run ends before its deadline. It speaks only when
// that changes.
type forecast struct {
	deadline time.Time
	warmUp   time.Duration // as long as a pace must have been seen
	every    time.Duration // between two looks
	seen     []sample      // the oldest first
	last     time.Time     // when it looked last
	answered bool          // something was, since it began: before that there is no pace
	first    time.Duration // until the first answer: calls that began together end together, so a pace is seen no sooner

	missed  float64   // records that would be left, as said last; 0: none, or nothing was said
	said    bool      // something was
	pending time.Time // since when there is something else to say; zero: there is not
}

// A sample is how far a run was at a moment.
type sample struct {
	at   time.Time
	done int64
}

func newForecast(now, deadline time.Time) forecast {
	warmUp := min(warmUpMost, max(deadline.Sub(now.Round(0))/forecastPart, time.Millisecond))
	return forecast{deadline: deadline, warmUp: warmUp, every: max(warmUp/forecastSteps, time.Millisecond)}
}

// due reports whether it is time to look.
func (f *forecast) due(now time.Time) bool { return now.Sub(f.last) >= f.every }

// forget begins anew: the run waits.
func (f *forecast) forget(now time.Time) {
	f.seen, f.last, f.pending, f.answered = f.seen[:0], now, time.Time{}, false
}

// look takes how far the run is, and returns what there is to say about it, "" for nothing.
func (f *forecast) look(now time.Time, done, total int64) string {
	f.last = now
	if !f.answered && len(f.seen) > 0 && done > f.seen[0].done {
		f.answered, f.first = true, now.Sub(f.seen[0].at)
		f.seen = f.seen[:0] // until now calls were on their way
	}
	f.seen = append(f.seen, sample{now, done})
	for len(f.seen) > 1 && now.Sub(f.seen[1].at) >= forecastLong*f.warmUp {
		f.seen = f.seen[1:]
	}
	watched := now.Sub(f.seen[0].at)
	if watched < f.patience() {
		return ""
	}
	left, rest := float64(total-done), f.deadline.Sub(now.Round(0)).Seconds()
	pace := float64(done-f.seen[0].done) / watched.Seconds()
	short := left - pace*rest
	sure := max(1, forecastSure*left)
	again := f.missed > 0 && short < -sure
	cannot := short > sure && (f.missed == 0 || short > f.missed*forecastNews || short < f.missed/forecastNews)
	if !f.lasts(again || cannot, now, watched) {
		return ""
	}
	f.said = true
	if again {
		f.missed = 0
		return fmt.Sprintf("can finish by %s again", clock(f.deadline, now))
	}
	f.missed = short
	until := "nothing was answered lately"
	if pace > 0 && left/pace < (1000*dayLength).Seconds() {
		until = "would take until about " + clock(now.Add(time.Duration(left/pace*float64(time.Second))), now)
	}
	return fmt.Sprintf("cannot finish by %s at this rate: about %s of %s records would be left (%s)",
		clock(f.deadline, now), about(short), humanize.Comma(total), until)
}

// patience is how long the run must have been watched before its pace counts.
func (f *forecast) patience() time.Duration {
	if !f.answered {
		return forecastLong * f.warmUp
	}
	return min(max(f.warmUp, f.first), forecastLong*f.warmUp)
}

// lasts reports whether there has been something to say for as long as a pace looks back, so that the figures are of the new
// pace alone. The first word needs no more than its patience.
func (f *forecast) lasts(news bool, now time.Time, watched time.Duration) bool {
	switch {
	case !news:
		f.pending = time.Time{}
		return false
	case f.pending.IsZero():
		f.pending = now
	}
	if !f.said && watched < f.patience()+(forecastLong-2)*f.warmUp || now.Sub(f.pending) >= forecastLong*f.warmUp {
		f.pending = time.Time{}
		return true
	}
	return false
}

// about is a number with two digits that mean something.
func about(n float64) string {
	step := math.Pow(10, math.Floor(math.Log10(max(n, 1)))-1)
	return humanize.Comma(int64(math.Round(math.Round(n/step) * step)))
}
