package pipeline

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// stopReason is why a run stopped itself, "" if it did not.
func stopReason(err error) StopReason {
	if stop, ok := errors.AsType[*StopError](err); ok {
		return stop.Reason
	}
	return ""
}

// The deadline comes in the middle of the input: nothing is sent that could not end in time, and nothing in flight is lost.
func TestDeadlineStopsInTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		const limit = 10 * time.Minute
		var last time.Time // call begun
		s := newSetup(t, 100_000, 8, func(rec *Record, _ int) step {
			last = time.Now()
			return step{wait: time.Second, text: "x", gap: time.Duration(rec.Pos%9) * time.Second} // 1 to 9 s
		})
		start := time.Now()
		s.cfg.Deadline = start.Add(limit)
		err := s.run(t.Context(), t)
		if got := stopReason(err); got != StopDeadline || !strings.Contains(err.Error(), clock(s.cfg.Deadline, start)) {
			t.Fatalf("Run() = %v, want a stop for the deadline that names it", err)
		}
		if took := time.Since(start); took > limit || took < limit-10*time.Second {
			t.Errorf("took %v, want close to %v and not past it", took, limit)
		}
		if s.store.succeeded() != s.model.total {
			t.Errorf("%d of %d calls have a row, want all: they could end in time", s.store.succeeded(), s.model.total)
		}
		if early := limit - last.Sub(start); early < 9*time.Second || early > 10*time.Second {
			t.Errorf("the last call began %v before the deadline, want the 9 s that calls take", early)
		}
	})
}

func TestDeadline(t *testing.T) {
	const limit = time.Hour
	tests := map[string]struct {
		n       int
		passed  bool // at the start
		script  func(at time.Duration, rec *Record) step
		reason  StopReason
		rows    func(rows int) bool
		within  time.Duration
		say     string // in the stop's words
		drained bool   // every call has a row
	}{
		"what hangs is cut": {
			n: 100, script: func(_ time.Duration, rec *Record) step {
				if rec.Pos%2 == 1 {
					return step{wait: 2 * time.Hour, text: "late"}
				}
				return fine
			},
			reason: StopDeadline, rows: func(rows int) bool { return rows < 50 }, within: limit,
		},
		"all done before": {n: 100, rows: func(rows int) bool { return rows == 100 }, within: time.Minute, drained: true},
		"the last calls hang, nothing else is left": {
			n: 10, script: func(_ time.Duration, rec *Record) step {
				if rec.Pos >= 8 {
					return step{wait: 2 * time.Hour, text: "late"}
				}
				return fine
			},
			reason: StopDeadline, rows: func(rows int) bool { return rows == 8 }, within: limit,
		},
		"in an outage": {
			n: 1000, script: func(at time.Duration, _ *Record) step {
				if at > 10*time.Second {
					return fails(Overload, "ServiceUnavailableException")
				}
				return fine
			},
			reason: StopDeadline, rows: func(rows int) bool { return rows > 100 && rows < 1000 }, within: limit, say: "in an outage of the service",
		},
		"it has passed":          {n: 10, passed: true, reason: StopDeadline, rows: func(rows int) bool { return rows == 0 }, within: 0},
		"nothing ever came back": {n: 10, script: func(time.Duration, *Record) step { return step{wait: 2 * time.Hour} }, reason: StopDeadline, rows: func(rows int) bool { return rows == 0 }, within: limit},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				start := time.Now()
				s := newSetup(t, tt.n, 4, func(rec *Record, _ int) step {
					if tt.script == nil {
						return fine
					}
					return tt.script(time.Since(start), rec)
				})
				s.cfg.FirstTokenTimeout, s.cfg.Timeout = 3*time.Hour, 3*time.Hour
				s.cfg.Deadline = start.Add(limit)
				if tt.passed {
					s.cfg.Deadline = start.Add(-time.Second)
				}
				err := s.run(t.Context(), t)
				if got := stopReason(err); got != tt.reason || err != nil && !strings.Contains(err.Error(), tt.say) {
					t.Errorf("Run() = %v, want the stop %q with %q", err, tt.reason, tt.say)
				}
				if took := time.Since(start); took > tt.within+time.Second {
					t.Errorf("took %v, want at most %v", took, tt.within)
				}
				if !tt.rows(len(s.store.rows)) {
					t.Errorf("%d rows of %d records", len(s.store.rows), tt.n)
				}
				if tt.drained && len(s.store.rows) != s.model.total {
					t.Errorf("%d rows of %d calls", len(s.store.rows), s.model.total)
				}
				for pos, row := range s.store.rows {
					if row.Err != nil {
						t.Errorf("record %d became an error row: %+v", pos, row.Err)
					}
				}
			})
		})
	}
}

// A quota of the day that was stated and used up comes back a day after its use: a deadline before that ends the run at
// once. Where the service refused, nobody knows when, and the run waits until the deadline.
func TestQuotaOfTheDayBeforeADeadline(t *testing.T) {
	const limit = 8 * time.Hour
	setup := func(t *testing.T, tokensPerDay float64, script func(*Record, int) step) *setup {
		s := newSetup(t, 1000, 4, script)
		lim, err := ratelimit.New(ratelimit.Options{Concurrency: 4, TokensPerDay: tokensPerDay})
		if err != nil {
			t.Fatal(err)
		}
		s.cfg.Limiter, s.cfg.Deadline = lim, time.Now().Add(limit)
		return s
	}
	t.Run("stated", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			start := time.Now()
			s := setup(t, 3000, nil)
			err := s.run(t.Context(), t)
			if got := stopReason(err); got != StopDay || !strings.Contains(err.Error(), "the quota of the day is used up") {
				t.Errorf("Run() = %v, want a stop for the day's quota", err)
			}
			if took := time.Since(start); took > 15*time.Minute {
				t.Errorf("took %v: nothing was to be waited for", took)
			}
			if s.store.succeeded() != s.model.total || s.model.total < 50 {
				t.Errorf("%d answers of %d calls, want as many as the quota carries", s.store.succeeded(), s.model.total)
			}
		})
	})
	t.Run("stated, and back before the deadline", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			s := setup(t, 3000, nil)
			start := time.Now()
			earlier := start.Add(-23 * time.Hour) // two thirds of it
			s.cfg.Limiter.Restore(earlier, 10, 2000)
			s.cfg.DayUsedSince = func() time.Time {
				if time.Since(earlier) < dayLength {
					return earlier
				}
				return start
			}
			if err := s.run(t.Context(), t); stopReason(err) != StopDay {
				t.Errorf("Run() = %v, want a stop for the day's quota", err)
			}
			if took := time.Since(start); took < time.Hour || took > 90*time.Minute {
				t.Errorf("took %v, want about the hour after which the first part came back", took)
			}
			if got := s.store.succeeded(); got < 150 {
				t.Errorf("%d answers, want those of the whole quota", got)
			}
		})
	})
	t.Run("refused", func(t *testing.T) {
		bubble(t, func(t *testing.T) {
			start := time.Now()
			s := setup(t, 0, func(*Record, int) step {
				if time.Since(start) < time.Second {
					return fine
				}
				step := fails(Throttled, "ThrottlingException")
				step.wait = 3 * time.Second // a try is in flight when the run looks at the quota
				step.err.Daily = true
				return step
			})
			err := s.run(t.Context(), t)
			if got := stopReason(err); got != StopDeadline || !strings.Contains(err.Error(), "with the quota of the day used up") {
				t.Errorf("Run() = %v, want a stop for the deadline that names the quota", err)
			}
			if took := time.Since(start); took < limit-time.Minute || took > limit {
				t.Errorf("took %v, want %v: it may come back", took, limit)
			}
			told := func(m string) bool {
				return strings.HasPrefix(m, "the quota of the day is used up: waiting for it, until ")
			}
			if n := len(slices.DeleteFunc(slices.Clone(s.notices), func(m string) bool { return !told(m) })); n != 1 {
				t.Errorf("said %d times that it waits, want once; notices %q", n, s.notices)
			}
		})
	})
}

// What cannot be done is said when the pace is known, once, and again when it changes a good deal.
func TestForecast(t *testing.T) {
	start := time.Date(2026, 1, 2, 22, 0, 0, 0, time.Local)
	const total = 180_000
	at := func(hour, minute int) time.Time { return time.Date(2026, 1, 2, hour, minute, 0, 0, time.Local) }
	for name, tt := range map[string]struct {
		paces []float64 // records a second, of each hour
		want  []string
	}{
		"in time":  {[]float64{7, 7, 7, 7, 7, 7, 7, 7}, nil},
		"too slow": {[]float64{4.83, 4.83, 4.83, 4.83, 4.83, 4.83, 4.83, 4.83}, []string{"22:02 cannot finish by 06:00 at this rate: about 41,000 of 180,000 records would be left (would take until about 08:21)"}},
		"slow for an hour": {[]float64{7, 3, 9, 9, 9, 9, 9, 9}, []string{
			"23:12 cannot finish by 06:00 at this rate: about 79,000 of 180,000 records would be left (would take until about 13:",
			"00:16 can finish by 06:00 again",
		}},
		"nothing at all":          {[]float64{0, 0, 0, 0, 0, 0, 0, 0}, []string{"22:10 cannot finish by 06:00 at this rate: about 180,000 of 180,000 records would be left (nothing was answered lately)"}},
		"up and down by a little": {[]float64{6.2, 6.3, 6.2, 6.3, 6.2, 6.3, 6.2, 6.3}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForecast(start, at(30, 0))
			done, now := 0.0, start
			var got []string
			for _, pace := range tt.paces {
				for range int(time.Hour / time.Second) {
					now = now.Add(time.Second)
					done = min(done+pace, total)
					if f.due(now) {
						if notice := f.look(now, int64(done), total); notice != "" {
							got = append(got, now.Format("15:04 ")+notice)
						}
					}
				}
			}
			ok := len(got) == len(tt.want)
			for i := range min(len(got), len(tt.want)) {
				ok = ok && strings.HasPrefix(got[i], tt.want[i])
			}
			if !ok {
				t.Errorf("said\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

// Before the first answers there is no pace, however long a call takes, and calls that begin together end together.
func TestForecastWaitsForAnswers(t *testing.T) {
	start := time.Date(2026, 1, 2, 22, 0, 0, 0, time.Local)
	for name, tt := range map[string]struct {
		deadline, takes time.Duration
		total, inFlight int64
		by              time.Duration // when it must have been said; 0: never
	}{
		"well in time": {2 * time.Hour, 5 * time.Minute, 2000, 200, 0},
		"too many":     {time.Minute, 13 * time.Second, 600, 32, 28 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForecast(start, start.Add(tt.deadline))
			said := time.Duration(0)
			for past := time.Duration(0); past < tt.deadline && said == 0; past += 100 * time.Millisecond {
				now, done := start.Add(past), min(tt.inFlight*int64(past/tt.takes), tt.total)
				if done == tt.total {
					break
				}
				if f.due(now) && f.look(now, done, tt.total) != "" {
					said = past
				}
			}
			if said > tt.by || said == 0 && tt.by > 0 || said > 0 && said < tt.takes {
				t.Errorf("said after %v that it cannot finish, want it by %v and not before the first answers at %v", said, tt.by, tt.takes)
			}
		})
	}
}

// The run says it of itself, and not while it waits for the service.
func TestRunForetells(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		s := newSetup(t, 30_000, 4, func(*Record, int) step {
			if at := time.Since(start); at > time.Hour && at < 2*time.Hour {
				return fails(Overload, "ServiceUnavailableException")
			}
			return step{wait: time.Second, text: "x"} // 14,400 an hour
		})
		s.cfg.Deadline = start.Add(4 * time.Hour)
		s.cfg.Records = func() (done, total int64) {
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			return int64(len(s.store.rows)), 30_000
		}
		if err := s.run(t.Context(), t); err != nil {
			t.Errorf("Run() = %v, want nil: 43,200 would have been possible", err)
		}
		for _, m := range s.notices {
			if strings.Contains(m, "finish") {
				t.Errorf("said %q of a run that was well in time", m)
			}
		}
	})
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 30_000, 4, func(*Record, int) step { return step{wait: time.Second, text: "x"} })
		s.cfg.Deadline = time.Now().Add(time.Hour)
		s.cfg.Records = func() (done, total int64) {
			s.store.mu.Lock()
			defer s.store.mu.Unlock()
			return int64(len(s.store.rows)), 30_000
		}
		err := s.run(t.Context(), t)
		want := fmt.Sprintf("cannot finish by %s at this rate: about 16,000 of 30,000 records would be left", clock(s.cfg.Deadline, time.Now()))
		if stopReason(err) != StopDeadline || len(s.notices) == 0 || !strings.HasPrefix(s.notices[0], want) {
			t.Errorf("Run() = %v, notices %q; want a stop, and first %q", err, s.notices, want)
		}
		if len(s.notices) > 2 { // the other is that it stops
			t.Errorf("said too much: %q", s.notices)
		}
	})
}
