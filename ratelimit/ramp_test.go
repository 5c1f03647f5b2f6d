package ratelimit

import (
	"testing"
	"time"
)

// More than the first streams begin one after the other, until one is refused: then none is replaced by another for a while.
func TestRampStopsAtARefusal(t *testing.T) {
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
	r.refused(30)
	r.refused(20)
	r.refused(25)
	if got := r.ready(at(time.Second), 20, most).Sub(began); got != rampYoung {
		t.Errorf("after a refusal, a stream as those that are left waits until %v, want %v", got, rampYoung)
	}
	if got := r.ready(at(time.Second), 19, most); got.After(at(time.Second)) {
		t.Error("what has ended is not replaced")
	}
	if got := r.ready(at(rampYoung), 20, most); got.After(at(rampYoung)) {
		t.Error("it is stopped for ever")
	}
	if r.ready(at(rampYoung), most-1, most); r.on {
		t.Error("the ramp goes on when all may be in flight")
	}
	off := ramp{began: began}
	if off.refused(1); !off.ready(began, most, most).Equal(began) {
		t.Error("a job that knows its quota has a ramp")
	}
}
