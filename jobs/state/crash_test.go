package state

import (
	"errors"
	"fmt"
	"testing"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

// A run that is killed at any step, then started again with the same command, ends as if nothing had happened,
// and nothing that was stored is sent again. The first pass and a retry round, both formats; kill -9 (what was written
// stays), a power cut (what was not fsynced is gone or zeros), and a step that fails once (a full disk, say).
func TestEveryStep(t *testing.T) {
	type fault struct {
		name        string
		once        bool
		then        int
		part        int
		cut, zeroed bool
	}
	faults := []fault{
		{name: "kill"},
		{name: "kill in a write", part: 17},
		{name: "power cut", cut: true},
		{name: "power cut in a write, zeros", part: 1 << 20, cut: true, zeroed: true},
		{name: "fails once", once: true, part: 9},
		{name: "fails once after writing all", once: true, part: 1 << 20},
		{name: "fails once, then kill", once: true, part: 1 << 20, then: 1},
		{name: "fails once, then kill later", once: true, then: 2},
		{name: "fails once after writing all, then kill", once: true, part: 1 << 20, then: 3},
		{name: "fails once, then power cut", once: true, part: 1 << 20, then: 3, cut: true},
		{name: "fails once, then kill much later", once: true, then: 5},
	}
	for _, format := range []string{JSONL, Parquet} {
		for _, retry := range []bool{false, true} {
			want := undisturbed(t, format, retry)
			for _, f := range faults {
				t.Run(fmt.Sprintf("%s/retry=%v/%s", format, retry, f.name), func(t *testing.T) {
					t.Parallel()
					hits := map[atomicfile.Op]int{}
					j := newJob(t, format)
					if retry {
						if err := j.run(j.options(nil), 0, func(int64) {}); err != nil {
							t.Fatal(err)
						}
					}
					before := save(t, j.dir) // the first pass is the same each time: it is run once
					stride := 1
					if testing.Short() {
						stride = 3
					}
					for step := 1; ; step += stride {
						before.restore(t, j.dir)
						d := &disk{failAt: step, once: f.once, then: f.then, part: f.part, synced: map[string]int64{}}
						opt := j.options(d)
						opt.RetryFailed = retry
						stored := map[int64]bool{}
						again := 0
						if f.once {
							again = 1
						}
						err := j.run(opt, again, func(pos int64) { stored[pos] = true })
						if d.hit == "" {
							if err != nil {
								t.Fatal(err)
							}
							t.Logf("%d steps: %v", step-1, hits)
							break
						}
						hits[d.hit]++
						if err != nil && !errors.Is(err, errCrash) {
							t.Fatalf("step %d (%s): %v", step, d.hit, err)
						}
						if f.cut {
							d.powerCut(t, j.dir, f.zeroed)
						}
						opt = j.options(nil)
						// The same command; but a retry that is finished would begin another round.
						opt.RetryFailed = retry && !finishedRetry(t, j)
						if err := j.run(opt, 0, func(pos int64) {
							if stored[pos] {
								t.Errorf("step %d (%s): position %d was stored, and sent again", step, d.hit, pos)
							}
						}); err != nil {
							t.Fatalf("step %d (%s): resuming: %v", step, d.hit, err)
						}
						if diff := diffMaps(want, j.outcome(t)); diff != "" {
							t.Errorf("step %d (%s): ends otherwise than undisturbed:\n%s", step, d.hit, diff)
						}
						j.verify(t)
						if t.Failed() {
							t.FailNow()
						}
					}
				})
			}
		}
	}
}

func undisturbed(t *testing.T, format string, retry bool) map[string]string {
	t.Helper()
	j := newJob(t, format)
	for _, again := range []bool{false, true} {
		opt := j.options(nil)
		opt.RetryFailed = again
		if again && !retry {
			break
		}
		if err := j.run(opt, 0, func(int64) {}); err != nil {
			t.Fatal(err)
		}
	}
	j.verify(t)
	return j.outcome(t)
}

// finishedRetry tells whether the retry round got to its end.
func finishedRetry(t *testing.T, j *job) bool {
	t.Helper()
	r, err := Open(j.options(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, ok := r.Finished()
	return ok && r.Round() == 1
}
