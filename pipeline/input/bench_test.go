package input

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
)

// prompts is a file as evaluations have it: 600-byte records with two other fields.
func prompts(b testing.TB, n int, pack func(...string) string) ([]File, int64) {
	b.Helper()
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `{"recordId":"record-%08d","modelInput":{"anthropic_version":"bedrock-2023-05-31","max_tokens":1024,"messages":[{"role":"user","content":[{"type":"text","text":"%s"}]}]},"expected":"%d","tags":["a","b"]}`+"\n",
			i, strings.Repeat("Why is the sky blue, and why not green? ", 10), i)
	}
	content := text.String()
	if pack != nil {
		content = pack(content)
	}
	return files(b, content), int64(text.Len())
}

func BenchmarkScan(b *testing.B) {
	for name, pack := range map[string]func(...string) string{"plain": nil, "gzip": gz, "zstd": zst} {
		b.Run(name, func(b *testing.B) {
			list, size := prompts(b, 100_000, pack)
			b.SetBytes(size)
			for b.Loop() {
				if _, err := Scan(context.Background(), list, io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func benchReader(b *testing.B, o Options, records int) {
	b.ReportAllocs()
	for b.Loop() {
		r, err := Open(o)
		if err != nil {
			b.Fatal(err)
		}
		var n int
		for {
			_, err := r.Next(context.Background())
			if err == io.EOF {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != records {
			b.Fatalf("%d records", n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*max(records, 1)), "ns/record")
}

func BenchmarkReader(b *testing.B) {
	list, size := prompts(b, 100_000, nil)
	var hashes bytes.Buffer
	if _, err := Scan(context.Background(), list, &hashes); err != nil {
		b.Fatal(err)
	}
	b.Run("all", func(b *testing.B) {
		b.SetBytes(size)
		benchReader(b, Options{Files: list}, 100_000)
	})
	b.Run("verified", func(b *testing.B) {
		b.SetBytes(size)
		benchReader(b, Options{Files: list, Hashes: bytes.NewReader(hashes.Bytes())}, 100_000)
	})
	b.Run("skipped", func(b *testing.B) {
		b.SetBytes(size)
		benchReader(b, Options{Files: list, Hashes: bytes.NewReader(hashes.Bytes()), Skip: func(int64) bool { return true }}, 0)
	})
}

func BenchmarkLines(b *testing.B) {
	list, size := prompts(b, 100_000, nil)
	b.SetBytes(size)
	for b.Loop() {
		if err := Lines(context.Background(), list, func(string, int64, string, bool) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// One record costs at most four allocations.
func TestAllocations(t *testing.T) {
	for name, line := range map[string]string{
		"modelInput": `{"recordId":"r1","modelInput":{"a":[1,2,3]},"x":1,"y":"2"}`,
		"prompt":     `{"id":"r1","prompt":"Why is the \"sky\" blue?","system":"Be brief.","temperature":0.5,"maxTokens":9,"x":1}`,
	} {
		r, err := Open(Options{Stdin: io.MultiReader(strings.NewReader(strings.Repeat(line+"\n", 3000)))})
		if err != nil {
			t.Fatal(err)
		}
		got := testing.AllocsPerRun(2000, func() {
			if rec, err := r.Next(context.Background()); err != nil || rec.Fault != nil {
				t.Fatal(rec, err)
			}
		})
		if got > 4 {
			t.Errorf("%s: %v allocations, want at most 4", name, got)
		}
		t.Logf("%s: %v allocations", name, got)
		r.Close()
	}
}
