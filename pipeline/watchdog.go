package pipeline

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// Why our own clock ended an attempt; found by [context.Cause].
var (
	errFirstTokenTimeout = errors.New("no content came")
	errIdleTimeout       = errors.New("the stream fell silent")
	errAttemptTimeout    = errors.New("the attempt took too long")
	errDrainTimeout      = errors.New("the time to drain was over")
	errDeadline          = errors.New("the deadline came")
)

// A watchdog ends an attempt that stays silent. Events only store the time, and the timer
// looks at it when it fires: a stream of a thousand chunks sets no timer a thousand times.
type watchdog struct {
	start                     time.Time
	firstToken, idle, attempt time.Duration
	cancel                    context.CancelCauseFunc
	timer                     *time.Timer

	last    atomic.Int64 // of the last event, ns since start
	content atomic.Bool
}

func (w *watchdog) run() {
	w.timer = time.AfterFunc(w.attempt+time.Hour, w.fire) // fire reads w.timer, so it is set before it can run
	w.timer.Reset(w.next(0))
}

func (w *watchdog) stop() { w.timer.Stop() }

func (w *watchdog) fire() {
	age := time.Since(w.start)
	switch {
	case age >= w.attempt:
		w.cancel(errAttemptTimeout)
	case !w.content.Load() && age >= w.firstToken:
		w.cancel(errFirstTokenTimeout)
	case w.content.Load() && age >= time.Duration(w.last.Load())+w.idle:
		w.cancel(errIdleTimeout)
	default:
		w.timer.Reset(w.next(age))
	}
}

// next is how long to sleep at age until something could be due.
func (w *watchdog) next(age time.Duration) time.Duration {
	due := w.attempt
	if w.content.Load() {
		due = min(due, time.Duration(w.last.Load())+w.idle)
	} else {
		due = min(due, w.firstToken, age+w.idle) // content may come, and silence after it, before firstToken is over
	}
	return max(due-age, time.Millisecond)
}
