package state

import (
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// What answers have used is told apart by whether the session counted it, and survives.
func TestAnswers(t *testing.T) {
	ok := func(int64, int) string { return "ok" }
	j := &job{dir: t.TempDir(), format: JSONL, n: 10, fail: ok, blank: func(int64) bool { return false }}
	session := func(counted bool, positions ...int64) (all, uncounted Used) {
		t.Helper()
		o := j.options(nil)
		o.Counted = counted
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
	all, uncounted := session(false, 5)
	if all.OutputTokens != 6*4 || uncounted.OutputTokens != 3*4 || uncounted.InputTokens != 3*3 {
		t.Errorf("all %+v, of these not counted %+v; want 6 answers and 3", all, uncounted)
	}
}
