package main

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// A few of the runs that make spend does two hundred of: the bound holds by the server's own count, and the runs are what they
// are said to be.
func TestSpend(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command")
	}
	l := newLab(t)
	l.batchrun = filepath.Join(l.dir, "batchrun.exe")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", l.batchrun, "../../cmd/batchrun").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s := &spender{lab: l}
	if err := s.all(t.Context(), 0, 6, 3, 3); err != nil {
		t.Fatal(err)
	}
	if err := s.found.err(); err != nil {
		t.Error(err)
	}
	var all spree
	var failed int64
	stopped, used := 0, 0.0
	for _, one := range s.ended {
		all.kills += one.kills
		failed += one.account.Calls - one.account.Answers
		if one.exit == spentUp {
			stopped++
			used = max(used, one.billed/one.bound)
		}
	}
	if all.kills < 3 || failed < 50 || stopped < 3 || used < 0.5 || used > 1 {
		t.Errorf("%d kills, %d failed calls, %d of %d runs stopped by their bound, which billed up to %.2f of it", all.kills, failed, stopped, len(s.ended), used)
	}
}
