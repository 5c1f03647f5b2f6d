package pipeline

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// Records that always fail are what is left at the end of any job. They are no outage: the job ends with their error
// rows, and soon.
func TestRecordsThatAlwaysFailAreNoOutage(t *testing.T) {
	http500 := fails(Transient, "InternalServerException")
	cut := step{wait: 50 * time.Millisecond, text: "half", empty: true}
	reset := fails(Transient, TypeConnectionError)
	tests := []struct {
		bad, good, concurrency, attempts int
		retry                            bool
		step                             step
		within                           time.Duration
	}{
		{10, 200, 32, 5, false, http500, 2 * time.Minute},
		{10, 200, 32, 5, false, cut, 2 * time.Minute},
		{10, 200, 32, 5, false, reset, 2 * time.Minute},
		{6, 50, 8, 5, false, http500, 2 * time.Minute},
		{30, 300, 8, 3, false, http500, 2 * time.Minute},
		{60, 600, 64, 5, false, cut, 2 * time.Minute},
		{3, 30, 1, 5, false, http500, 2 * time.Minute},
		{25, 60, 1, 5, false, http500, 6 * time.Minute},
		{12, 0, 32, 5, false, cut, 2 * time.Minute},    // nothing but them, but every answer had begun
		{69, 0, 32, 5, true, http500, 5 * time.Minute}, // a round of --retry-failed
		{1, 0, 32, 5, false, http500, time.Minute},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%d of %d, %d workers, %s", tt.bad, tt.bad+tt.good, tt.concurrency, errType(tt.step)), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				n := tt.bad + tt.good
				s := newSetup(t, n, tt.concurrency, func(rec *Record, _ int) step {
					if rec.Pos*int64(tt.bad)%int64(n) < int64(tt.bad) { // spread evenly
						return tt.step
					}
					return fine
				})
				s.cfg.MaxAttempts, s.cfg.Retry, s.cfg.Proven = tt.attempts, tt.retry, tt.retry
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
				defer cancel()
				if err := s.run(ctx, t); err != nil {
					t.Errorf("Run() = %v after %v, notices %q", err, time.Since(start), s.notices)
				}
				if took := time.Since(start); took > tt.within {
					t.Errorf("took %v, want at most %v; notices %q", took, tt.within, s.notices)
				}
				if len(s.store.rows) != n || s.store.succeeded() != tt.good {
					t.Errorf("%d rows and %d answers, want %d and %d", len(s.store.rows), s.store.succeeded(), n, tt.good)
				}
			})
		})
	}
}

func errType(s step) string {
	if s.err != nil {
		return s.err.Type
	}
	return TypeTruncatedStream
}

// The end of a job is where an outage and records at fault look most alike. As long as three records are left, an
// outage costs no record; fewer become error rows that say they can be sent again.
func TestOutageAtTheEndOfAJob(t *testing.T) {
	for _, left := range []int{1, 3, 4, 10, 40} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const healthy = 200
				n := healthy + left
				start, began := time.Now(), time.Time{}
				s := newSetup(t, n, 16, func(rec *Record, _ int) step {
					if rec.Pos < healthy {
						return fine
					}
					if began.IsZero() {
						began = time.Now()
					}
					if time.Since(began) < 20*time.Minute {
						return fails(Overload, "ServiceUnavailableException")
					}
					return fine
				})
				if err := s.run(t.Context(), t); err != nil {
					t.Errorf("Run() = %v after %v", err, time.Since(start))
				}
				if got := s.store.succeeded(); got != n && left >= 3 || got < healthy || len(s.store.rows) != n {
					t.Errorf("%d rows and %d answers, want all %d", len(s.store.rows), got, n)
				}
				for pos, row := range s.store.rows {
					if row.Err != nil && !row.Err.Retryable {
						t.Errorf("record %d: %+v, want it retryable", pos, row.Err)
					}
				}
			})
		})
	}
}

// Half of all records are at fault, each fails at once, and every other takes its time: to look at, one outage after the
// other. Whatever room there is fills with records that failed, none of which can prove the service well. It must end.
func TestHalfOfAllRecordsAtFault(t *testing.T) {
	tests := map[string]struct {
		n, concurrency int
		size           int64
	}{
		"as many as may be held": {2000, 8, 0},
		"as large as the buffer": {300, 2, 8 << 20},
		"both":                   {2000, 64, 1 << 20},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				atFault := func(pos int64) bool { return pos%200 >= 100 } // in rows
				s := newSetup(t, tt.n, tt.concurrency, func(rec *Record, _ int) step {
					if atFault(rec.Pos) {
						return fails(Transient, TypeConnectionError)
					}
					return step{wait: 10 * time.Second, text: "fine", gap: time.Second}
				})
				s.source.size = tt.size
				start := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
				defer cancel()
				if err := s.run(ctx, t); err != nil || len(s.store.rows) != tt.n {
					t.Errorf("Run() = %v with %d of %d rows after %v; notices %q", err, len(s.store.rows), tt.n, time.Since(start), s.notices[:min(3, len(s.notices))])
				}
				if got := s.store.succeeded(); got != tt.n/2 && tt.n%200 == 0 {
					t.Errorf("%d answers, want %d", got, tt.n/2)
				}
			})
		})
	}
}

// An outage of a minute, while streams from before it still end well: the window of calls never shows it. It must cost no
// record all the same.
func TestShortOutageAmongLongStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		s := newSetup(t, 300, 32, func(rec *Record, _ int) step {
			if at := time.Since(start); at >= 7*time.Second && at < 67*time.Second {
				return fails(Transient, "InternalServerException")
			}
			return step{wait: 3 * time.Second, text: "x", gap: time.Duration(rec.Pos*7%60) * time.Second}
		})
		s.source.size = 8 << 20
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 300 {
			t.Errorf("Run() = %v with %d answers, want nil and all 300; notices %q", err, s.store.succeeded(), s.notices)
		}
	})
}
