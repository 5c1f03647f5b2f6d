package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// What the runs are that a bound is measured by: enough calls to see it, and none of which the bound stops.
const (
	boundedCalls   = 6000
	boundedStreams = 32
	boundNeverMet  = "1000"
)

// A counted is one run of these.
type counted struct {
	spent
	file int64 // bytes of its spending file, 0 without one
}

// cost runs the same job with a bound and without one in turns, and prints what each took.
func (s *spender) cost(ctx context.Context, pairs int) error {
	server, err := s.serve(ctx, sim.Options{FirstToken: sim.Latency{Mean: 20 * time.Millisecond}, KeepRecords: -1})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()
	input, prices := s.path("bounded.jsonl"), s.path("prices.yaml")
	if err := messages(input, boundedCalls); err != nil {
		return err
	}
	table := fmt.Sprintf("currency: USD\nper: 1000000\nprices:\n  - {model: %q, input: 1, output: 5}\n", modelID)
	if err := os.WriteFile(prices, []byte(table), 0o600); err != nil {
		return err
	}
	measure := func(more ...string) func(context.Context) (counted, error) {
		return func(ctx context.Context) (c counted, err error) {
			dir, err := s.workdir("bounded")
			if err != nil {
				return c, err
			}
			j := job{input: input, output: filepath.Join(dir, "out.jsonl"), url: server.url, concurrency: boundedStreams, more: more}
			if c.spent, err = s.runBatchrun(ctx, j, tally{read: boundedCalls, succeeded: boundedCalls}); err != nil {
				return c, err
			}
			if info, err := os.Stat(filepath.Join(j.output+".batchrun", "spending")); err == nil {
				c.file = info.Size()
			}
			return c, nil
		}
	}
	with, without, err := alternate(ctx, pairs, measure("--max-cost", boundNeverMet, "--prices", prices), measure())
	if err != nil {
		return err
	}
	printCounted(with, without)
	return nil
}

func printCounted(with, without []counted) {
	var t table
	t.row("run", "wall time", "processor time", "a call", "processor time of each run", "bytes of the spending file a call")
	for _, of := range []struct {
		name string
		runs []counted
	}{{"with --max-cost", with}, {"without", without}} {
		used := pick(of.runs, func(c counted) time.Duration { return c.cpu })
		t.row(of.name, median(pick(of.runs, func(c counted) time.Duration { return c.wall })), median(used), median(used)/boundedCalls, each(used),
			median(pick(of.runs, func(c counted) int64 { return c.file }))/boundedCalls)
	}
	t.print(os.Stdout)
}
