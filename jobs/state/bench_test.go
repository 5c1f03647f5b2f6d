package state

import (
	"context"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

// BenchmarkCommit is one batch of 32 results of about 300 bytes: encode, two fsyncs, one journal entry.
func BenchmarkCommit(b *testing.B) {
	j := newJobIn(b.TempDir(), JSONL)
	opt := j.options(nil)
	opt.Frozen.Input = []Source{{Name: "a.jsonl"}}
	r, err := Open(opt)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	j.n = 1 << 60 // all lines are of the first source
	j.fail = func(int64, int) string { return "ok" }
	var pos int64
	batch := make([]*pipeline.Result, 32)
	for b.Loop() {
		b.StopTimer()
		for i := range batch {
			batch[i] = j.result(pos, 0)
			pos++
		}
		b.StartTimer()
		if err := r.Commit(context.Background(), batch); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplay is one entry of 32 records: what opening a run costs for each.
func BenchmarkReplay(b *testing.B) {
	p := newProgress(newJobIn("", JSONL).options(nil).Now())
	line := []byte(`{"type":"commit","at":"2026-01-02T03:04:05Z","ok":"0-13,15-31","failed":"14","output":{"size":1,"tail":1,"crc":7},"used":{"requests":32}}`)
	for b.Loop() {
		if err := p.replay(1, line); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		p = newProgress(p.since)
		b.StartTimer()
	}
}
