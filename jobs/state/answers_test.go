package state

import (
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// What answers have used is told apart by whether the session counted it, and survives.
func TestAnswers(t *testing.T) {
	ok := func(int64, int) string { return "ok" }
	j := &job{dir: t.TempDir(), format: JSONL, n: 10, fail: ok, blank: func(int64) bool { return false }}
	session := func(bounded bool, positions ...int64) (all, unbounded Used) {
		t.Helper()
		o := j.options(nil)
		o.Bounded = bounded
		r, err := Open(o)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var batch []*pipeline.Result
		for _, pos := range positions {
			batch = append(batch, j.result(pos, 0))
		}
		if err := r.Commit(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
		return r.Answers()
	}
	session(false, 0, 1)
	session(true, 2, 3, 4)
	all, unbounded := session(false, 5)
	if all.OutputTokens != 6*4 || unbounded.OutputTokens != 3*4 || unbounded.InputTokens != 3*3 {
		t.Errorf("all %+v, of these without a bound %+v; want 6 answers and 3", all, unbounded)
	}
}
