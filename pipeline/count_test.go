package pipeline

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// A countingModel counts tokens as its script says.
type countingModel struct {
	*fakeModel
	asked  atomic.Int64
	script func(ctx context.Context, nth int64) (int64, error)
}

func (m *countingModel) CountTokens(ctx context.Context, _ *Request) (int64, error) {
	return m.script(ctx, m.asked.Add(1))
}

func TestCountTokens(t *testing.T) {
	invalid := &InvokeError{Kind: RecordFatal, Type: "ValidationException", Message: "malformed"}
	tests := map[string]struct {
		script func(ctx context.Context, nth int64) (int64, error)
		asked  int64 // times, of 40 records; -1 for some but not all
		input  int64 // tokens reserved for the last record
		note   string
	}{
		"exact": {func(context.Context, int64) (int64, error) { return 77, nil }, 40, 77, ""},
		"the model has no count": {func(context.Context, int64) (int64, error) {
			return 0, errors.Join(ErrCannotCount, errors.New("no"))
		}, 1, 10, "tokens are not counted"},
		"every record is refused": {func(context.Context, int64) (int64, error) { return 0, invalid }, 5, 10, "tokens are not counted"},
		"one record is refused": {func(_ context.Context, nth int64) (int64, error) {
			if nth%2 == 0 {
				return 0, invalid
			}
			return 77, nil
		}, 40, 10, ""},
		"throttled": {func(context.Context, int64) (int64, error) {
			return 0, &InvokeError{Kind: Throttled, Type: "ThrottlingException"}
		}, -1, 10, ""},
		"no answer": {func(ctx context.Context, _ int64) (int64, error) {
			<-ctx.Done()
			return 0, &InvokeError{Kind: Interrupted}
		}, countFailures, 10, "tokens cannot be counted now, their number is estimated (no answer in 5s)"},
		"every count fails": {func(context.Context, int64) (int64, error) {
			return 0, &InvokeError{Kind: Transient, Type: "InternalServerException", Message: "failed"}
		}, countFailures, 10, "tokens cannot be counted now"},
		"some counts fail": {func(_ context.Context, nth int64) (int64, error) {
			if nth%countFailures != 0 {
				return 0, &InvokeError{Kind: Transient, Type: "InternalServerException", Message: "failed"}
			}
			return 77, nil
		}, 40, 77, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSetup(t, 40, 1, nil)
				m := &countingModel{fakeModel: s.model, script: tt.script}
				s.cfg.Model, s.cfg.CountTokens = m, true
				if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 40 {
					t.Errorf("Run() = %v with %d answers, want nil and 40", err, s.store.succeeded())
				}
				asked := m.asked.Load()
				if asked != tt.asked && tt.asked >= 0 || tt.asked < 0 && (asked < 1 || asked > 20) {
					t.Errorf("asked %d times, want %d", asked, tt.asked)
				}
				last := s.store.rows[39]
				if got := last.Request.InputTokens; got != tt.input {
					t.Errorf("%d input tokens reserved, want %d", got, tt.input)
				}
				if got := last.Timing.FirstToken; got != 100*time.Millisecond {
					t.Errorf("first token after %v, want 100ms: counting is not on the attempt's clock", got)
				}
				if notes := strings.Join(s.notices, "; "); tt.note == "" && notes != "" || !strings.HasPrefix(notes, tt.note) || len(s.notices) > 1 {
					t.Errorf("said %q, want %q once", notes, tt.note)
				}
			})
		})
	}
}

// The count is there before the permit is asked for: of a quota of 100,000 tokens a minute two calls of 60,000 do not go at
// the same time, which by their estimate they would.
func TestCountedTokensAreReserved(t *testing.T) {
	for _, exact := range []bool{true, false} {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 8, 4, nil)
			lim, err := ratelimit.New(ratelimit.Options{Concurrency: 4, TokensPerMinute: 100_000})
			if err != nil {
				t.Fatal(err)
			}
			count := func(context.Context, int64) (int64, error) { return 60_000, nil }
			s.cfg.Limiter, s.cfg.Model, s.cfg.CountTokens = lim, &countingModel{fakeModel: s.model, script: count}, exact
			if err := s.run(t.Context(), t); err != nil {
				t.Fatal(err)
			}
			if exact != (s.model.peak == 1) {
				t.Errorf("%d calls in flight at once with counted tokens %v", s.model.peak, exact)
			}
		})
	}
}

// A record for which the stated quota has no minute is sent all the same, and told of once.
func TestRecordLargerThanAMinuteIsTold(t *testing.T) {
	for tpm, want := range map[float64]int{59_000: 1, 100_000: 0} {
		bubble(t, func(t *testing.T) {
			s := newSetup(t, 4, 4, nil)
			lim, err := ratelimit.New(ratelimit.Options{Concurrency: 4, TokensPerMinute: tpm})
			if err != nil {
				t.Fatal(err)
			}
			count := func(context.Context, int64) (int64, error) { return 60_000, nil }
			s.cfg.Limiter, s.cfg.Model, s.cfg.CountTokens = lim, &countingModel{fakeModel: s.model, script: count}, true
			if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 4 {
				t.Errorf("Run() = %v with %d answers, want nil and 4", err, s.store.succeeded())
			}
			told := 0
			for _, note := range s.notices {
				if strings.Contains(note, "more than the 59000 of a whole minute") {
					told++
				}
			}
			if told != want || len(s.notices) != want {
				t.Errorf("a quota of %v: said %q, want it %d times", tpm, s.notices, want)
			}
		})
	}
}

func TestCountTokensNeedsACounter(t *testing.T) {
	s := newSetup(t, 1, 1, nil)
	s.cfg.CountTokens = true
	if _, err := New(s.cfg); err == nil {
		t.Error("New() took a model that cannot count")
	}
}
