package pipeline

import (
	"context"
	"testing"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// Jobs that once waited for ever, or forgot a record while they waited. Each must end by itself with a row for
// every record, once the service is well.
func TestWaitingJobsGoOn(t *testing.T) {
	calls := 0 // of the case that counts them: a quarter of an hour of failures alone would end its job
	tests := map[string]struct {
		n, concurrency int
		size           int64
		script         func(at time.Duration, rec *Record, nth int) step
	}{
		"the buffer is full of records out of attempts": {200, 64, 20 << 20, func(at time.Duration, _ *Record, _ int) step {
			if at < 10*time.Minute {
				return fails(Overload, "ServiceUnavailableException")
			}
			return fine
		}},
		"the same after healthy calls": {5000, 256, 7 << 20, func(at time.Duration, _ *Record, _ int) step {
			if at > time.Second && at < 10*time.Minute {
				return fails(Overload, "ServiceUnavailableException")
			}
			return fine
		}},
		"throttles among the failures of an outage": {2000, 32, 0, func(at time.Duration, _ *Record, _ int) step {
			calls++
			switch {
			case at > 2*time.Hour:
				return fine
			case calls%7 == 0:
				return fails(Throttled, "ThrottlingException")
			}
			return fails(Overload, "ServiceUnavailableException")
		}},
		"the last record is the one to confirm": {1, 8, 0, func(_ time.Duration, _ *Record, nth int) step {
			if nth == 1 {
				return fails(JobFatal, "ExpiredTokenException")
			}
			return fine
		}},
		"the model falls asleep while a record is confirmed": {64, 32, 0, func(_ time.Duration, rec *Record, nth int) step {
			switch {
			case nth == 1 && rec.Pos == 5:
				return fails(JobFatal, "AccessDeniedException")
			case nth == 1 && rec.Pos < 32:
				return fails(NotReady, "ModelNotReadyException")
			}
			return fine
		}},
		"a model slower than the first probe's patience": {40, 8, 0, func(at time.Duration, _ *Record, _ int) step {
			if at < time.Minute {
				return fails(Overload, "ServiceUnavailableException")
			}
			return step{wait: 50 * time.Second, text: "slow"}
		}},
		"a poison record first": {200, 1, 0, func(_ time.Duration, rec *Record, _ int) step {
			if rec.Pos == 0 {
				return fails(Transient, "ModelErrorException")
			}
			return fine
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				start := time.Now()
				s := newSetup(t, tt.n, tt.concurrency, func(rec *Record, nth int) step { return tt.script(time.Since(start), rec, nth) })
				s.source.size = tt.size
				ctx, cancel := context.WithTimeout(t.Context(), 12*time.Hour)
				defer cancel()
				if err := s.run(ctx, t); err != nil || len(s.store.rows) != tt.n {
					t.Errorf("Run() = %v with %d rows after %v, want nil and %d", err, len(s.store.rows), time.Since(start), tt.n)
				}
			})
		})
	}
}

// In an outage there is no lack of input.
func TestOutageIsWhatHoldsTheRunUp(t *testing.T) {
	for typ, kind := range map[string]Kind{"ServiceUnavailableException": Overload, "ModelNotReadyException": NotReady} {
		bubble(t, func(t *testing.T) {
			start := time.Now()
			s := newSetup(t, 2000, 16, func(*Record, int) step {
				if at := time.Since(start); at > 10*time.Second && at < 5*time.Minute {
					return fails(kind, typ)
				}
				return step{wait: time.Second, text: "fine"}
			})
			if err := s.run(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			waited := s.cfg.Limiter.Snapshot().Waited
			if out, idle := waited[ratelimit.BoundByOutage], waited[ratelimit.BoundByInput]; out < 4*time.Minute || out > 6*time.Minute || idle > 30*time.Second {
				t.Errorf("%s for nearly five minutes: held up by it for %v, and by a lack of input for %v", typ, out, idle)
			}
		})
	}
}

func TestModelThatNeverWakesStopsTheJobWhateverComesBetween(t *testing.T) {
	bubble(t, func(t *testing.T) {
		calls := 0
		s := newSetup(t, 50, 8, func(*Record, int) step {
			if calls++; calls == 1 {
				return fails(NotReady, "ModelNotReadyException")
			}
			return fails(Transient, "InternalServerException")
		})
		start := time.Now()
		err := s.run(t.Context(), t)
		if err == nil || time.Since(start) > 2*patience {
			t.Errorf("Run() = %v after %v, want a stop after about %v", err, time.Since(start), patience)
		}
		if len(s.store.rows) != 0 {
			t.Errorf("%d rows, want none", len(s.store.rows))
		}
	})
}

// badSource gives one record that cannot be encoded.
type badSource struct{ *listSource }

func (b *badSource) Next(ctx context.Context) (*Record, error) {
	rec, err := b.listSource.Next(ctx)
	if err == nil && rec.Pos == 3 {
		rec.Input = []byte("bad")
	}
	return rec, err
}

func TestRecordThatWasNotSentIsNoneOfTheFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1000, 4, func(*Record, int) step { return fails(RecordFatal, "ValidationException") })
		s.cfg.Source = &badSource{s.source}
		if err := s.run(t.Context(), t); err == nil || s.model.total > firstSent+8 {
			t.Errorf("Run() = %v after %d calls, want a stop after about %d", err, s.model.total, firstSent)
		}
	})
}
