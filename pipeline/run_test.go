package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// bubble runs a test on a clock of its own.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

func TestEveryRecordBecomesOneRow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 500, 8, func(rec *Record, nth int) step {
			switch {
			case rec.Pos%50 == 7:
				return fails(RecordFatal, "ValidationException")
			case rec.Pos%10 == 3 && nth < 3:
				return fails(Transient, "InternalServerException")
			case rec.Pos%10 == 4 && nth < 3:
				return step{wait: time.Second, text: "half an ans", err: &InvokeError{Kind: Transient, Type: TypeTruncatedStream}}
			case rec.Pos%10 == 5 && nth < 2:
				return fails(Overload, "ServiceUnavailableException")
			case rec.Pos%10 == 6 && nth < 4:
				return fails(Throttled, "ThrottlingException")
			case rec.Pos%100 == 8:
				return step{wait: time.Second, text: "never whole", empty: true}
			}
			return fine
		})
		s.source.faults = map[int]*Fault{0: {Type: TypeInvalidRecord, Message: "not JSON"}, 499: {Type: TypeRecordTooLarge}}
		if err := s.run(t.Context(), t); err != nil {
			t.Fatalf("Run() = %v", err)
		}
		if len(s.store.rows) != 500 {
			t.Fatalf("%d rows, want 500", len(s.store.rows))
		}
		for pos, row := range s.store.rows {
			want := ""
			switch {
			case pos == 0:
				want = TypeInvalidRecord
			case pos == 499:
				want = TypeRecordTooLarge
			case pos%50 == 7:
				want = "ValidationException"
			case pos%100 == 8:
				want = TypeTruncatedStream
			}
			got := ""
			if row.Err != nil {
				got = row.Err.Type
			} else if row.Response.Text != "fine" {
				t.Errorf("record %d has the text %q of another attempt", pos, row.Response.Text)
			}
			if got != want {
				t.Errorf("record %d: error %q, want %q", pos, got, want)
			}
		}
		for pos, n := range s.model.answered {
			if n > 1 {
				t.Errorf("record %d was answered, and paid, %d times", pos, n)
			}
		}
		if s.model.peak > 8 {
			t.Errorf("%d in flight, want at most 8", s.model.peak)
		}
	})
}

func TestTimesOfAnAttemptLeaveOutWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1, 1, func(_ *Record, nth int) step {
			if nth < 3 {
				return fails(Transient, "InternalServerException")
			}
			return fine
		})
		if err := s.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		row := s.store.rows[0]
		// Two failures of 10 ms, and half of 1 s and of 2 s between them.
		const waited = 20*time.Millisecond + 1500*time.Millisecond
		if got := row.Timing; got.FirstToken != 100*time.Millisecond || got.Total != 200*time.Millisecond || got.Elapsed != waited+200*time.Millisecond {
			t.Errorf("first token %v, total %v, elapsed %v; want 100ms, 200ms, 1.72s", got.FirstToken, got.Total, got.Elapsed)
		}
		if row.Attempts != 3 {
			t.Errorf("attempts = %d, want 3", row.Attempts)
		}
	})
}

func TestFailedRecordKeepsItsLongestHalfAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 40, 4, func(rec *Record, nth int) step {
			if rec.Pos != 5 {
				return fine
			}
			return step{wait: time.Second, text: strings.Repeat("x", max(0, 4-nth)), err: &InvokeError{Kind: Transient, Type: TypeTruncatedStream, Code: 0}}
		})
		if err := s.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		row := s.store.rows[5]
		if row.Err == nil || row.Err.Type != TypeTruncatedStream || !row.Err.Retryable || row.Partial != "xxx" || row.Attempts != 5 {
			t.Errorf("row %+v, error %+v; want a retryable TruncatedStream with partial xxx after 5 attempts", row, row.Err)
		}
	})
}

func TestThrottlingCostsNoAttempt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 30, 4, func(_ *Record, nth int) step {
			if nth <= 6 {
				return fails(Throttled, "ThrottlingException")
			}
			return fine
		})
		if err := s.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		for pos, row := range s.store.rows {
			if row.Err != nil || row.Attempts != 1 {
				t.Errorf("record %d: %v after %d attempts, want an answer after 1", pos, row.Err, row.Attempts)
			}
		}
	})
}

func TestRecordRefusedForItselfBecomesAnErrorRow(t *testing.T) {
	for name, n := range map[string]int{"while others are admitted": 400, "alone": 1} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSetup(t, n, 2, func(rec *Record, _ int) step {
					if rec.Pos == 0 {
						return fails(Throttled, "ThrottlingException")
					}
					return fine
				})
				if err := s.run(t.Context(), t); err != nil {
					t.Fatal(err)
				}
				row := s.store.rows[0]
				if row.Err == nil || row.Err.Type != "ThrottlingException" || !row.Err.Retryable {
					t.Fatalf("error = %+v, want a retryable ThrottlingException", row.Err)
				}
				if got := s.model.calls[0]; got < throttlesOwn || got > 2*throttlesOwn {
					t.Errorf("%d calls before it was given up, want about %d", got, throttlesOwn)
				}
			})
		})
	}
}

func TestQuotaOfTheDayPausesAndCostsNoRecord(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start, refused := time.Now(), 0
		s := newSetup(t, 60, 4, func(*Record, int) step {
			if at := time.Since(start); at > time.Second && at < 7*time.Hour {
				refused++
				step := fails(Throttled, "ThrottlingException")
				step.err.Daily = true
				return step
			}
			return fine
		})
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 60 {
			t.Errorf("Run() = %v with %d answers, want nil and 60", err, s.store.succeeded())
		}
		if refused > 100 {
			t.Errorf("%d calls while the day's quota was used up", refused)
		}
	})
}

func TestOutageCostsTimeAndNoRecord(t *testing.T) {
	const from, to = 30 * time.Second, 30*time.Second + 20*time.Minute
	for _, concurrency := range []int{1, 3, 32, 64} {
		t.Run(fmt.Sprint(concurrency), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				start, inOutage := time.Now(), 0
				s := newSetup(t, 400*concurrency, concurrency, func(*Record, int) step {
					if at := time.Since(start); at >= from && at < to {
						inOutage++
						return fails(Overload, "ServiceUnavailableException")
					}
					return fine
				})
				if err := s.run(t.Context(), t); err != nil {
					t.Fatal(err)
				}
				if got := s.store.succeeded(); got != 400*concurrency {
					t.Errorf("%d succeeded, want all %d", got, 400*concurrency)
				}
				if limit := 2*max(20, concurrency) + 40; inOutage > limit {
					t.Errorf("%d calls during the outage, want at most %d", inOutage, limit)
				}
				if len(s.notices) == 0 {
					t.Error("nobody was told")
				}
			})
		})
	}
}

func TestOnePoisonRecordIsNoOutage(t *testing.T) {
	for _, n := range []int{1, 2, 100} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSetup(t, n, 1, func(rec *Record, _ int) step {
					if rec.Pos == 0 {
						return fails(Transient, "ModelErrorException")
					}
					return fine
				})
				if err := s.run(t.Context(), t); err != nil {
					t.Fatal(err)
				}
				if row := s.store.rows[0]; row.Err == nil || row.Attempts != 5 || s.model.calls[0] != 5 {
					t.Errorf("%+v after %d calls, want an error row after 5", row, s.model.calls[0])
				}
				if got := s.store.succeeded(); got != n-1 {
					t.Errorf("%d succeeded, want %d", got, n-1)
				}
			})
		})
	}
}

func TestServiceThatNeverAnsweredStopsTheJob(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 100, 8, func(*Record, int) step { return fails(Transient, TypeConnectionError) })
		err := s.run(t.Context(), t)
		if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopNoService {
			t.Fatalf("Run() = %v, want a stop for no service", err)
		}
		if len(s.store.rows) != 0 {
			t.Errorf("%d rows, want none: they can be resumed", len(s.store.rows))
		}
	})
}

func TestModelNotReady(t *testing.T) {
	t.Run("wakes up", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			start := time.Now()
			s := newSetup(t, 50, 8, func(*Record, int) step {
				if time.Since(start) < 5*time.Minute {
					return fails(NotReady, "ModelNotReadyException")
				}
				return fine
			})
			if err := s.run(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			if got := s.store.succeeded(); got != 50 {
				t.Errorf("%d succeeded, want 50", got)
			}
			if s.model.total > 50+8+30 {
				t.Errorf("%d calls in all, want few while it sleeps", s.model.total)
			}
		})
	})
	t.Run("never", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 50, 8, func(*Record, int) step { return fails(NotReady, "ModelNotReadyException") })
			err := s.run(t.Context(), t)
			if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopNotReady || len(s.store.rows) != 0 {
				t.Errorf("Run() = %v with %d rows, want a stop and none", err, len(s.store.rows))
			}
		})
	})
}

func TestJobFatalIsConfirmedOnce(t *testing.T) {
	t.Run("credentials renewed", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			var s *setup
			s = newSetup(t, 100, 8, func(*Record, int) step {
				if s.model.total > 20 && s.model.refreshed == 0 {
					return fails(JobFatal, "ExpiredTokenException")
				}
				return fine
			})
			if err := s.run(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			if got := s.store.succeeded(); got != 100 {
				t.Errorf("%d succeeded, want 100", got)
			}
			for pos, row := range s.store.rows {
				if row.Attempts != 1 {
					t.Errorf("record %d: %d attempts, want 1", pos, row.Attempts)
				}
			}
		})
	})
	t.Run("confirmed", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			var s *setup
			s = newSetup(t, 100, 8, func(*Record, int) step {
				if s.model.total > 20 {
					return fails(JobFatal, "AccessDeniedException")
				}
				return step{wait: 10 * time.Minute / 2, text: "slow", gap: time.Minute}
			})
			err := s.run(t.Context(), t)
			if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopJobFatal {
				t.Fatalf("Run() = %v, want a job-fatal stop", err)
			}
			if got := len(s.store.rows); got != 20 || s.store.succeeded() != 20 {
				t.Errorf("%d rows, want the 20 that were in flight or done, all answers", got)
			}
			if s.model.refreshed != 1 {
				t.Errorf("credentials refreshed %d times, want once", s.model.refreshed)
			}
		})
	})
}

func TestFirstRecordsAllRefused(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1000, 4, func(*Record, int) step { return fails(RecordFatal, "ValidationException") })
		err := s.run(t.Context(), t)
		if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopAllRefused {
			t.Fatalf("Run() = %v, want a stop", err)
		}
		if s.model.total > firstSent+4 {
			t.Errorf("%d sent, want about %d", s.model.total, firstSent)
		}
	})
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1000, 4, func(rec *Record, _ int) step {
			if rec.Pos == 10 {
				return fine
			}
			return fails(RecordFatal, "ValidationException")
		})
		if err := s.run(t.Context(), t); err != nil || len(s.store.rows) != 1000 {
			t.Errorf("Run() = %v with %d rows, want nil and 1000: one of the first was answered", err, len(s.store.rows))
		}
	})
}

func TestInterruptDrainsThenCuts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1000, 4, func(rec *Record, _ int) step {
			if rec.Pos%2 == 0 {
				return step{wait: 10 * time.Second, text: "in time"}
			}
			return step{wait: time.Hour, text: "late"}
		})
		s.cfg.FirstTokenTimeout = 2 * time.Hour
		s.cfg.Timeout = 3 * time.Hour
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		start := time.Now()
		if err := s.run(ctx, t); !errors.Is(err, ErrInterrupted) {
			t.Fatalf("Run() = %v, want ErrInterrupted", err)
		}
		if got, want := time.Since(start), 30*time.Second; got != want {
			t.Errorf("took %v, want %v: 5 s and the 25 s to drain", got, want)
		}
		if got := len(s.store.rows); got != 2 || s.store.succeeded() != 2 {
			t.Errorf("%d rows, want the two that came while draining", got)
		}
	})
}

func TestOwnTimeoutsAreNamed(t *testing.T) {
	tests := map[string]struct {
		step step
		want string
	}{
		"no content":       {step{wait: time.Hour, text: "x"}, TypeFirstTokenTimeout},
		"silence after it": {step{wait: time.Second, text: "x", hang: true}, TypeIdleTimeout},
		"far too long":     {step{wait: time.Second, text: "x", gap: 119 * time.Second}, TypeAttemptTimeout},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSetup(t, 30, 2, func(rec *Record, _ int) step {
					if rec.Pos == 3 {
						return tt.step
					}
					return fine
				})
				s.cfg.FirstTokenTimeout, s.cfg.IdleTimeout, s.cfg.Timeout = time.Minute, 30*time.Second, 100*time.Second
				if tt.want == TypeAttemptTimeout {
					s.cfg.IdleTimeout = 200 * time.Second
				}
				if err := s.run(t.Context(), t); err != nil {
					t.Fatal(err)
				}
				row := s.store.rows[3]
				if row.Err == nil || row.Err.Type != tt.want || row.Err.Code != 0 || !row.Err.Retryable || !strings.Contains(row.Err.Message, "raise --") {
					t.Errorf("error = %+v, want %s with the flag to raise", row.Err, tt.want)
				}
			})
		})
	}
}

func TestStoreThatFails(t *testing.T) {
	t.Run("for a while", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 200, 4, nil)
			start := time.Now()
			s.store.fail = func() error {
				if at := time.Since(start); at > time.Second && at < 11*time.Second {
					return errors.New("no space left on device")
				}
				return nil
			}
			if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 200 {
				t.Errorf("Run() = %v with %d rows, want nil and 200", err, len(s.store.rows))
			}
			if s.model.total != 200 {
				t.Errorf("%d calls, want 200: nothing is paid twice", s.model.total)
			}
		})
	})
	t.Run("with room for a little", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 400, 100, nil)
			s.store.room = 37
			err := s.run(t.Context(), t)
			if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopStore {
				t.Fatalf("Run() = %v, want a stop", err)
			}
			if got := len(s.store.rows); got != 37 {
				t.Errorf("%d stored, want the 37 that fit", got)
			}
		})
	})
	t.Run("for good", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 10000, 4, nil)
			start := time.Now()
			s.store.fail = func() error {
				if time.Since(start) > time.Second {
					return errors.New("no space left on device")
				}
				return nil
			}
			err := s.run(t.Context(), t)
			if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopStore {
				t.Fatalf("Run() = %v, want a stop", err)
			}
			if got := time.Since(start); got < 26*time.Second || got > 28*time.Second {
				t.Errorf("gave up after %v, want the 25 s of drain", got)
			}
			if extra := s.model.total - len(s.store.rows); extra > 4+10 {
				t.Errorf("%d sent that were not stored, want a few", extra)
			}
		})
	})
}

func TestResultsAreCommittedInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 5, 1, func(*Record, int) step {
			return step{wait: 900 * time.Millisecond, text: "x", gap: 100 * time.Millisecond}
		})
		start := time.Now()
		if err := s.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		for i, at := range s.store.times[:4] {
			if got, want := at.Sub(start), time.Duration(i+1)*time.Second+200*time.Millisecond; got != want {
				t.Errorf("batch %d durable after %v, want %v", i, got, want)
			}
		}
	})
}

func TestMemoryIsBounded(t *testing.T) {
	t.Run("records in wait", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			var healthy atomic.Bool
			s := newSetup(t, 5000, 4, func(rec *Record, _ int) step {
				if rec.Pos%2 == 0 || healthy.Load() {
					return fine
				}
				return fails(Transient, "ModelErrorException")
			})
			s.cfg.Rand = func() float64 { return 0.99 }
			s.cfg.MaxAttempts = 1000
			time.AfterFunc(time.Hour, func() {
				if read := s.source.read.Load(); read > 2*(256+4)+1000 {
					t.Errorf("%d read with half of them waiting", read)
				}
				healthy.Store(true)
			})
			if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 5000 {
				t.Errorf("Run() = %v with %d answers", err, s.store.succeeded())
			}
		})
	})
	t.Run("bytes", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 100, 16, nil)
			s.source.size = 25_000_000
			s.cfg.MaxBuffer = 100_000_000
			if err := s.run(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			if s.model.peak != 4 {
				t.Errorf("%d in flight, want the 4 that fit", s.model.peak)
			}
		})
	})
	t.Run("one always passes", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 3, 16, nil)
			s.source.size = 25_000_000
			s.cfg.MaxBuffer = 1000
			if err := s.run(t.Context(), t); err != nil || s.model.peak != 1 {
				t.Errorf("Run() = %v with %d in flight, want nil and 1", err, s.model.peak)
			}
		})
	})
}

func TestSourceThatFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 50, 4, nil)
		s.source.end = errors.New("prompts.jsonl.gz:51: unexpected EOF")
		err := s.run(t.Context(), t)
		if stop, ok := errors.AsType[*StopError](err); !ok || stop.Reason != StopSource {
			t.Fatalf("Run() = %v, want a stop", err)
		}
		if got := s.store.succeeded(); got != 50 {
			t.Errorf("%d stored, want the 50 that were read", got)
		}
	})
}

func TestBackoffIsFullJitter(t *testing.T) {
	tests := []struct {
		n    int
		rand float64
		want time.Duration
	}{
		{1, 0, 0},
		{1, 0.5, 500 * time.Millisecond},
		{2, 0.5, time.Second},
		{6, 0.5, 16 * time.Second},
		{7, 0.5, 30 * time.Second},
		{1000, 1, time.Minute},
		{0, 1, time.Second},
	}
	for _, tt := range tests {
		if got := backoff(tt.n, func() float64 { return tt.rand }); got != tt.want {
			t.Errorf("backoff(%d) at %v = %v, want %v", tt.n, tt.rand, got, tt.want)
		}
	}
}

func TestAdmissionsSince(t *testing.T) {
	var a admissions
	for _, size := range []int64{5, 9, 3, 7, 2} { // seq 1 to 5
		a.admit(size)
	}
	tests := []struct {
		seq, size int64
		want      bool
	}{
		{0, 9, true},
		{1, 9, true},
		{2, 9, false},
		{0, 10, false},
		{3, 7, true},
		{4, 7, false},
		{4, 2, true},
		{5, 1, false},
		{2, 8, false},
		{1, 8, true},
	}
	for _, tt := range tests {
		if got := a.since(tt.seq, tt.size); got != tt.want {
			t.Errorf("since(%d, %d) = %v, want %v", tt.seq, tt.size, got, tt.want)
		}
	}
}

func TestClip(t *testing.T) {
	tests := map[string]string{
		"plain":          "plain",
		"a\x1b[31mred\n": `a\x1b[31mred\n`,
		"né 日本":          "né 日本",
		"bad \xff utf8":  `bad \ufffd utf8`,
	}
	for in, want := range tests {
		if got := Clip(in); got != want {
			t.Errorf("Clip(%q) = %q, want %q", in, got, want)
		}
	}
	if got := Clip(strings.Repeat("日", 500)); len(got) > 203 {
		t.Errorf("Clip left %d bytes", len(got))
	}
}
