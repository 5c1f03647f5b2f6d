package pipeline

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// While there are new records, retries are at most the stated share of them, a window of calls and the trickle beside.
func TestRetriesStayWithinTheirShare(t *testing.T) {
	for _, tt := range []struct {
		share  float64
		failed int // of a hundred first calls
	}{{0.2, 30}, {0.2, 45}, {0.05, 10}} {
		t.Run(fmt.Sprintf("%v of %d%%", tt.share, tt.failed), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				const n, concurrency = 20_000, 32
				start, first, retries := time.Now(), 0, 0
				var worst float64
				s := newSetup(t, n, concurrency, func(rec *Record, nth int) step {
					if nth == 1 {
						first++
					} else {
						retries++
					}
					if first < 350 { // later on, no more can be held back
						bound := tt.share*float64(first) + float64(concurrency) + trickle*time.Since(start).Seconds() + 1
						worst = max(worst, float64(retries)-bound)
					}
					if rec.Pos < 1000 && nth == 1 && int(rec.Pos*37%100) < tt.failed {
						return fails(Transient, "InternalServerException")
					}
					return fine
				})
				s.cfg.RetryShare = tt.share
				if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != n {
					t.Errorf("Run() = %v with %d answers, want nil and %d", err, s.store.succeeded(), n)
				}
				if worst > 0 || len(s.notices) > 0 {
					t.Errorf("%.1f retries more than their share, notices %q", worst, s.notices)
				}
			})
		})
	}
}

// A retry without budget waits, is told of, and goes in the end.
func TestRetriesWithoutBudgetAreGauged(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 3000, 8, func(rec *Record, nth int) step {
			if rec.Pos < 400 && rec.Pos%2 == 0 && nth == 1 {
				return fails(Transient, "InternalServerException")
			}
			return fine
		})
		s.cfg.RetryShare = 0.01
		r, err := New(s.cfg)
		if err != nil {
			t.Fatal(err)
		}
		deferred, seen := 0, make(chan struct{})
		go func() {
			defer close(seen)
			for range 200 {
				time.Sleep(100 * time.Millisecond)
				deferred = max(deferred, r.Gauges().Deferred)
			}
		}()
		if err := r.Run(t.Context()); err != nil || s.store.succeeded() != 3000 {
			t.Errorf("Run() = %v with %d answers, want nil and 3000", err, s.store.succeeded())
		}
		<-seen
		if deferred < 50 {
			t.Errorf("at most %d retries were seen to wait for budget, want most of the 200", deferred)
		}
	})
}

// The end of a job has nothing but retries. It must not crawl: 250 of them go as fast as they are answered, and
// at a stated pace while they are not.
func TestEndOfAJobDoesNotCrawl(t *testing.T) {
	tests := map[string]struct {
		script func(rec *Record, nth int) step
		within time.Duration
	}{
		"the service answers again": {func(rec *Record, nth int) step {
			if nth == 1 && rec.Pos%4 != 0 { // the whole input is 300 records
				return fails(Overload, "ServiceUnavailableException")
			}
			return fine
		}, 45 * time.Second},
		"two of three calls go on failing": {func(rec *Record, nth int) step {
			if (rec.Pos+int64(nth))%3 != 0 {
				return fails(Overload, "ServiceUnavailableException")
			}
			return fine
		}, 6 * time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			// Failures that come together by chance pass for an outage, some times in a row: one run may take longer, most do not.
			var late []time.Duration
			const runs = 9
			for range runs {
				bubble(t, func(t *testing.T) {
					s := newSetup(t, 300, 32, tt.script)
					s.cfg.RetryShare = 0.01
					start := time.Now()
					if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 300 {
						t.Errorf("Run() = %v with %d answers, want nil and 300", err, s.store.succeeded())
					}
					if took := time.Since(start); took > tt.within {
						late = append(late, took)
					}
				})
			}
			if len(late) > runs/2 {
				t.Errorf("of %d runs these took more than %v: %v", runs, tt.within, late)
			}
		})
	}
}

// A source that pauses, as a pipe may, does not keep retries waiting for the trickle.
func TestSlowSourceDoesNotHoldRetriesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 101, 4, func(rec *Record, nth int) step {
			if rec.Pos < 100 && nth == 1 && rec.Pos%2 == 0 {
				return fails(Transient, "InternalServerException")
			}
			return fine
		})
		s.cfg.RetryShare = 0.01
		s.cfg.Source = &pausingSource{s.source, 100, time.Hour}
		start := time.Now()
		time.AfterFunc(30*time.Minute, func() {
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			if got := s.store.succeeded(); got != 100 {
				t.Errorf("%d answers after %v, want all 100 there were", got, time.Since(start))
			}
		})
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 101 {
			t.Errorf("Run() = %v with %d answers, want nil and 101", err, s.store.succeeded())
		}
	})
}

// A pausingSource says nothing for a while after so many records.
type pausingSource struct {
	*listSource
	after int64
	pause time.Duration
}

func (p *pausingSource) Next(ctx context.Context) (*Record, error) {
	if p.read.Load() == p.after {
		time.Sleep(p.pause)
	}
	return p.listSource.Next(ctx)
}

// A record that fails by itself goes behind the others: its attempts past the second come when nothing new is left, and
// it still gets all of them.
func TestPoisonRecordsAreSetAside(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n, poison = 2000, 20
		var s *setup
		early := 0
		s = newSetup(t, n, 8, func(rec *Record, nth int) step {
			if rec.Pos%10 != 5 || rec.Pos >= 10*poison {
				return fine
			}
			if nth > 2 && s.source.read.Load() < n {
				early++
			}
			return fails(Transient, "InternalServerException")
		})
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != n-poison {
			t.Errorf("Run() = %v with %d answers, want nil and %d", err, s.store.succeeded(), n-poison)
		}
		if early > 0 {
			t.Errorf("%d calls of records that fail by themselves went before new ones", early)
		}
		for pos := int64(5); pos < 10*poison; pos += 10 {
			if got := s.model.calls[pos]; got != 5 {
				t.Errorf("record %d had %d attempts, want 5", pos, got)
			}
		}
	})
}

// The night's outage of twenty minutes: no record lost, few probes, and the old pace at once.
func TestTwentyMinutesWithoutService(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n, concurrency = 20_000, 64
		const from, to, span = 20 * time.Second, 20*time.Second + 20*time.Minute, 5 * time.Second
		start, probes := time.Now(), 0
		var back time.Time // when it was seen to answer again
		var before, first, second int
		s := newSetup(t, n, concurrency, func(*Record, int) step {
			at := time.Since(start)
			switch {
			case at >= from && at < to:
				if at > from+time.Second {
					probes++
				}
				return fails(Overload, "ServiceUnavailableException")
			case at < from && at >= from-span:
				before++
			case !back.IsZero() && time.Since(back) < span:
				first++
			case !back.IsZero() && time.Since(back) < 2*span:
				second++
			}
			return fine
		})
		s.cfg.Notify = func(notice string) {
			if notice == "the service answers again" {
				back = time.Now()
			}
		}
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != n {
			t.Errorf("Run() = %v with %d answers, want nil and all %d", err, s.store.succeeded(), n)
		}
		per := float64(s.model.total) / n
		t.Logf("%d probes, %.4f attempts per record, seen %v after it was back; calls in %v: %d before, then %d and %d",
			probes, per, back.Sub(start)-to, span, before, first, second)
		if probes == 0 || probes > 40 {
			t.Errorf("%d probes, want at most 40", probes)
		}
		if per > 1.01 {
			t.Errorf("%.4f attempts per record, want at most 1.01", per)
		}
		if late := back.Sub(start) - to; late > probeGapCap+time.Second {
			t.Errorf("seen %v after the service was back", late)
		}
		if float64(first) < 0.95*float64(before) || float64(second) < 0.95*float64(before) {
			t.Errorf("%d and %d calls in the two times %v after the outage, want the %d of before", first, second, span, before)
		}
	})
}

// One call in ten times out for a quarter of an hour. What was sent in that time needs 1/(1-0.1) calls for each record,
// whatever is done about it, and no more than that.
func TestOneCallInTenTimesOut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const n, from, to = 40_000, time.Minute, 16 * time.Minute
		start, calls := time.Now(), 0
		inside := map[int64]int{} // calls of records first sent inside it
		s := newSetup(t, n, 64, func(rec *Record, nth int) step {
			calls++
			at := time.Since(start)
			if nth == 1 && at >= from && at < to {
				inside[rec.Pos] = 0
			}
			if _, ok := inside[rec.Pos]; ok {
				inside[rec.Pos]++
			}
			if at >= from && at < to && calls*7%10 == 0 {
				return step{wait: time.Hour, text: "late"}
			}
			return step{wait: time.Second, text: "fine", gap: time.Second}
		})
		s.cfg.FirstTokenTimeout = 30 * time.Second
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != n {
			t.Errorf("Run() = %v with %d answers, want nil and all %d", err, s.store.succeeded(), n)
		}
		all := 0
		for _, c := range inside {
			all += c
		}
		per := float64(all) / float64(len(inside))
		t.Logf("%d records sent inside it, %.4f attempts each, %v in all", len(inside), per, time.Since(start))
		if per > 1.12 || len(inside) < 1000 {
			t.Errorf("%.4f attempts for each of %d records, want at most 1.12", per, len(inside))
		}
	})
}
