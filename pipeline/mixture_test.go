package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// A mixture is a job in which several things go wrong at a time.
type mixture struct {
	n, concurrency int
	poison, flaky  float64       // shares of records that always fail, and of calls that fail
	from, outage   time.Duration // nothing is answered in it
	slow           bool          // answers take up to a minute
	size           int64         // of a record
	kind           string        // of all failures
	share          float64       // of retries
}

func newMixture(rng *rand.Rand) mixture {
	pick := func(of ...float64) float64 { return of[rng.IntN(len(of))] }
	return mixture{
		n: int(pick(1, 2, 3, 5, 10, 50, 300, 2000)), concurrency: int(pick(1, 2, 8, 32, 64)),
		poison: pick(0, 0, 0.01, 0.1, 0.5), flaky: pick(0, 0, 0.1, 0.3),
		from:   time.Duration(rng.IntN(60)) * time.Second,
		outage: time.Duration(pick(0, 1, 60, 1200)) * time.Second,
		slow:   rng.IntN(3) == 0, size: int64(pick(0, 0, 8<<20)),
		kind:  []string{"InternalServerException", TypeConnectionError, "ServiceUnavailableException"}[rng.IntN(3)],
		share: pick(0.01, 0.2, 1),
	}
}

// Whatever comes together: a job ends by itself, soon, with a row for each record, and what others were answered for is not
// lost. Only where next to nothing was ever answered may it stop, or take a few records for failed.
func TestMixturesOfFailures(t *testing.T) {
	seeds := 120
	if more, err := strconv.Atoi(os.Getenv("MIXTURES")); err == nil {
		seeds = more
	}
	for seed := range uint64(seeds) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newMixture(rng)
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { m.check(t, rng) })
		})
	}
}

func (m *mixture) check(t *testing.T, rng *rand.Rand) {
	bad := map[int64]bool{}
	for pos := range int64(m.n) {
		if rng.Float64() < m.poison {
			bad[pos] = true
		}
	}
	start := time.Now()
	s := newSetup(t, m.n, m.concurrency, func(rec *Record, _ int) step {
		at := time.Since(start)
		switch {
		case at >= m.from && at < m.from+m.outage, bad[rec.Pos], rng.Float64() < m.flaky:
			return fails(Transient, m.kind)
		case m.slow:
			return step{wait: 3 * time.Second, text: "x", gap: time.Duration(rng.IntN(60)) * time.Second}
		}
		return fine
	})
	jitter := rand.New(rand.NewPCG(rng.Uint64(), 2)) // the dispatcher's own: the script is asked by workers
	s.source.size, s.cfg.RetryShare, s.cfg.Rand = m.size, m.share, jitter.Float64
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	err := s.run(ctx, t)

	good := m.n - len(bad)
	lost := good - s.store.succeeded()
	within := 20*time.Minute + 2*m.outage
	if m.poison >= 0.5 { // looks like one outage after the other
		within = 20 * time.Hour
	}
	if m.slow {
		within += time.Duration(m.n/m.concurrency) * time.Minute
	}
	tolerated := max(4, m.n/25)
	if m.flaky > 0.2 {
		tolerated = max(4, m.n/10)
	}
	stop, stopped := errors.AsType[*StopError](err)
	switch took := time.Since(start); {
	case stopped && stop.Reason == StopNoService && (good == 0 || m.from == 0):
		return
	case err != nil, len(s.store.rows) != m.n, took > within, lost > tolerated:
		t.Errorf("%+v: Run() = %v after %v with %d rows and %d of %d lost, %d calls; %q",
			*m, err, took, len(s.store.rows), lost, good, s.model.total, s.notices[:min(len(s.notices), 6)])
	}
}
