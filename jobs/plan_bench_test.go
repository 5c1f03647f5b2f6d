package jobs_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/pipeline/input"
)

// BenchmarkPlan plans a million lines of 600 bytes, next to what a run only needs to read them.
func BenchmarkPlan(b *testing.B) {
	const n = 1_000_000
	b.Run("plan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			spec := jobs.Defaults()
			spec.Input, spec.Output, spec.Model, spec.TPM = []string{"-"}, "-", claudeID, 4_000_000
			env := isolated("http://127.0.0.1:1")
			env.Stdin = &manyLines{n: n}
			rep, err := jobs.Plan(b.Context(), spec, jobs.PlanSpec{ExpectOutput: "200±100"}, env)
			if err != nil || rep.Records.ToSend != n {
				b.Fatalf("Plan = %+v, %v", rep, err)
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := input.Open(input.Options{Stdin: &manyLines{n: n}})
			if err != nil {
				b.Fatal(err)
			}
			for {
				if _, err := r.Next(b.Context()); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// manyLines are n lines of input that need no memory.
type manyLines struct {
	n, i int
	rest []byte
}

func (m *manyLines) Read(b []byte) (int, error) {
	if len(m.rest) == 0 {
		if m.i == m.n {
			return 0, io.EOF
		}
		m.rest = fmt.Appendf(m.rest[:0], `{"recordId":"record-%08d","modelInput":{"anthropic_version":"bedrock-2023-05-31","max_tokens":1024,"messages":[{"role":"user","content":[{"type":"text","text":"%s"}]}]},"tags":["a","b"]}`+"\n",
			m.i, blue[:len(blue)-m.i%200])
		m.i++
	}
	n := copy(b, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

var blue = strings.Repeat("Why is the sky blue, and why not green? ", 12)
