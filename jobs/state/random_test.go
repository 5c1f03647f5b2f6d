package state

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/batchrun/batchrun/sinks"
)

// Random jobs, cut short again and again at random steps in random ways, over a first pass and two retry rounds,
// end as if nothing had happened.
func TestRandomCrashes(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 30
	}
	for seed := range runs {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(uint64(seed), 7))
			format := []string{JSONL, Parquet}[rnd.IntN(2)]
			kind := sinks.Full
			if format == JSONL {
				kind = sinks.Rows(sinks.Kinds()[rnd.IntN(len(sinks.Kinds()))])
			}
			fate := make([]int, 200) // the round in which a record succeeds; 9 never, 10 rejected
			for i := range fate {
				fate[i] = []int{0, 0, 0, 1, 2, 3, 9, 10}[rnd.IntN(8)]
			}
			shape := func(dir string) *job {
				j := newJobIn(dir, format)
				j.rows = kind
				j.n, j.batch = int64(2+seed%60), 1+seed%9
				j.fail = func(pos int64, round int) string {
					switch {
					case fate[pos] == 10:
						return "rejected"
					case fate[pos] > round:
						return "failed"
					}
					return "ok"
				}
				return j
			}
			calm, wild := shape(tempDir(t)), shape(tempDir(t))
			for round := range 3 {
				opt := calm.options(nil)
				opt.RetryFailed = round > 0
				if err := calm.run(opt, 0, func(int64) {}); err != nil {
					t.Fatal(err)
				}
				storedNow := map[int64]bool{}
				for try := 0; ; try++ {
					d := &disk{failAt: 1 + rnd.IntN(60), once: rnd.IntN(2) == 0, then: rnd.IntN(12), part: rnd.IntN(300), synced: map[string]int64{}}
					if try > 25 {
						d.failAt = 0
					}
					opt := wild.options(d)
					opt.RetryFailed = round > 0
					err := wild.run(opt, rnd.IntN(2), func(pos int64) {
						if storedNow[pos] {
							t.Errorf("round %d: position %d is sent twice", round, pos)
						}
						storedNow[pos] = true
					})
					if err == nil {
						break
					}
					if !errors.Is(err, errCrash) {
						t.Fatalf("round %d, try %d: %v", round, try, err)
					}
					if rnd.IntN(2) == 0 {
						d.powerCut(t, wild.dir, rnd.IntN(2) == 0)
					}
					if done, err := roundDone(wild, round); err != nil {
						t.Fatal(err)
					} else if done {
						break
					}
				}
				if diff := diffMaps(calm.outcome(t), wild.outcome(t)); diff != "" {
					t.Fatalf("round %d ends otherwise than undisturbed:\n%s", round, diff)
				}
				wild.verify(t)
			}
		})
	}
}

// roundDone tells whether a round was finished although the command failed after that: the same command would
// then, with --retry-failed, begin another round.
func roundDone(j *job, round int) (bool, error) {
	r, err := Open(j.options(nil))
	if err != nil {
		return false, err
	}
	defer r.Close()
	_, ok := r.Finished()
	return ok && r.Round() == round, nil
}
