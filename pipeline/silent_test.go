package pipeline

import (
	"testing"
	"time"
)

// Streams that say nothing are told by what will end them: those without any content by one timeout, the others by another.
func TestSilentStreamsAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 5, 5, func(rec *Record, nth int) step {
			switch {
			case nth > 1 || rec.Pos == 4:
				return fine
			case rec.Pos == 0:
				return step{text: "one", hang: true}
			}
			return step{hang: true, wait: time.Hour}
		})
		s.cfg.FirstTokenTimeout, s.cfg.IdleTimeout = 10*time.Minute, 5*time.Minute
		r, err := New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- r.Run(t.Context()) }()
		start := time.Now()
		for _, want := range []struct {
			at              time.Duration
			silent, unbegun int
		}{{time.Minute, 0, 0}, {3 * time.Minute, 4, 3}, {6 * time.Minute, 3, 3}, {11 * time.Minute, 0, 0}} {
			time.Sleep(want.at - time.Since(start))
			if g := r.Gauges(); g.Silent != want.silent || g.Unbegun != want.unbegun {
				t.Errorf("after %v %d are silent, %d of them from the beginning; want %d and %d", want.at, g.Silent, g.Unbegun, want.silent, want.unbegun)
			}
		}
		if err := <-ended; err != nil {
			t.Errorf("Run() = %v", err)
		}
	})
}
