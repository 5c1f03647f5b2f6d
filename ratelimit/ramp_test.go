package ratelimit

import (
	"testing"
	"time"
)

// More than the first streams begin one after the other, until all of them may be in flight.
func TestRampBeginsStreamsOneByOne(t *testing.T) {
	began := time.Unix(1_800_000_017, 0)
	at := func(d time.Duration) time.Time { return began.Add(d) }
	const most = 400
	r := ramp{on: true, began: began}
	if !r.ready(began, rampFirst-1, most).Equal(began) {
		t.Error("the first streams wait")
	}
	if got := r.ready(began, rampFirst+9, most).Sub(began); got != 100*time.Millisecond {
		t.Errorf("the eleventh after them waits %v, want 100ms", got)
	}
	if got := r.ready(at(time.Second), 20, most); got.After(at(time.Second)) {
		t.Error("what has ended is not replaced")
	}
	if r.ready(at(5*time.Second), most-1, most); r.on {
		t.Error("the ramp goes on when all may be in flight")
	}
	off := ramp{began: began}
	if !off.ready(began, most, most).Equal(began) {
		t.Error("a job that knows its quota has a ramp")
	}
}

// A limiter that knows nothing begins so.
func TestJobBeginsWithFewStreams(t *testing.T) {
	now := time.Unix(1_800_000_017, 0)
	c := newCore(Options{Concurrency: 200, Start: Learned{Concurrency: 200}, Rand: func() float64 { return 0.5 }}, now)
	begin := func() (n int) {
		for c.admit(now, Cost{Input: 100, MaxTokens: 100}).ok {
			n++
		}
		return n
	}
	if n := begin(); n != rampFirst {
		t.Errorf("%d streams begin at once, want %d", n, rampFirst)
	}
	now = now.Add(100 * time.Millisecond)
	if n := begin(); n != rampRate/10 {
		t.Errorf("%d more begin within 100 ms, want %d", n, rampRate/10)
	}
}
