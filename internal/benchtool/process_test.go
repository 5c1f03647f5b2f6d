package main

import (
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// TestMain lets the test binary stand for the tool, for the children it starts of itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "loop") {
		main()
		return
	}
	os.Exit(m.Run())
}

func newLab(t *testing.T) *lab {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &lab{dir: t.TempDir(), self: self}
}

// The loop reads what the server in another process says, and the measurements are those of the loop's process.
func TestLoopAgainstServer(t *testing.T) {
	l := newLab(t)
	server, err := l.serve(t.Context(), sim.Options{
		HeaderDelay: sim.Latency{Mean: 10 * time.Millisecond}, FirstToken: sim.Latency{Mean: 50 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.stop(); err != nil {
			t.Error(err)
		}
	}()
	input := l.path("in.jsonl")
	if err := messages(input, 20); err != nil {
		t.Fatal(err)
	}
	j := job{input: input, output: l.path("out.jsonl"), url: server.url, concurrency: 4}
	took, lost, err := l.runLoop(t.Context(), j)
	if err != nil || lost != 0 {
		t.Fatalf("the loop lost %d: %v", lost, err)
	}
	if took.cpu <= 0 || took.wall < 250*time.Millisecond || took.peak <= 0 && runtime.GOOS != "windows" {
		t.Errorf("took %+v", took)
	}
	var c clocked
	if err := c.read(t.Context(), server, j.output); err != nil {
		t.Fatal(err)
	}
	if len(c.errors) != 20 || quantile(c.truth, 0) < 50*time.Millisecond || quantile(c.seen, 0) < quantile(c.truth, 0) {
		t.Errorf("%d times, the smallest seen %v, in truth %v", len(c.errors), quantile(c.seen, 0), quantile(c.truth, 0))
	}
	a, err := server.account(t.Context(), false)
	if err != nil || a.Answers != 20 || a.Records != 20 {
		t.Errorf("the server gave %d answers to %d requests: %v", a.Answers, a.Records, err)
	}
	for r, err := range readRows(j.output) {
		if err != nil {
			t.Fatal(err)
		}
		truth, err := sim.Truth(server.opts, modelID, r.ModelInput)
		if err != nil || r.Text == nil || *r.Text != truth.Text || r.Usage.OutputTokens != truth.Usage.OutputTokens {
			t.Errorf("%s: row %+v, want %+v, %v", *r.RecordID, r, truth, err)
		}
	}
}
