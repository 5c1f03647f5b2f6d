package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// cost compares what a run costs the client's processor, journal and rows included, with the loop. The server answers
// at once, so that nothing but work is measured.
func cost(ctx context.Context, args []string) error {
	f, l := labFlags("cost")
	pairs := f.Int("pairs", 3, "alternating `pairs` of runs")
	records := f.Int("n", 5000, "records")
	chunks := f.Int("chunks", 50, "chunks with content in each answer")
	streams := f.Int("streams", 32, "streams in flight")
	bound := f.Float64("bound", 0.6, "largest ratio that passes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	server, err := l.serve(ctx, sim.Options{OutputTokens: *chunks, KeepRecords: -1})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()
	input := l.path("cost.jsonl")
	if err := messages(input, *records); err != nil {
		return err
	}

	ours, theirs, err := l.costs(ctx, *pairs, job{input: input, url: server.url, concurrency: *streams}, *records)
	if err != nil {
		return err
	}
	r := printCosts(os.Stdout, ours, theirs, "per call", *records)
	if r > *bound {
		return missed("the ratio is %.2f, the bound %.2f", r, *bound)
	}
	return nil
}

// costs runs a job of so many records with batchrun and with the loop in turns, each time to rows of its own.
func (l *lab) costs(ctx context.Context, pairs int, j job, records int) (ours, theirs []costed, err error) {
	n := int64(records)
	measure := func(loop bool) func(context.Context) (costed, error) {
		return func(ctx context.Context) (c costed, err error) {
			dir, err := l.workdir("cost")
			if err != nil {
				return c, err
			}
			j := j
			j.output = filepath.Join(dir, "rows.jsonl")
			if loop {
				c.spent, c.lost, err = l.runLoop(ctx, j)
			} else {
				c.spent, err = l.runBatchrun(ctx, j, tally{read: n, succeeded: n})
			}
			return c, err
		}
	}
	return alternate(ctx, pairs, measure(false), measure(true))
}

// printCosts prints what both took, in all and per unit, of which each run had so many. It returns the ratio of processor time.
func printCosts(w io.Writer, ours, theirs []costed, per string, units int) float64 {
	cpu := func(c costed) time.Duration { return c.cpu }
	user := func(c costed) time.Duration { return c.user }
	var t table
	t.row("client", "processor time", per, "of it in user mode", "wall time", "peak memory", "processor time of each run", "streams lost")
	for _, c := range []struct {
		name string
		runs []costed
	}{{"batchrun", ours}, {"SDK loop", theirs}} {
		used := median(pick(c.runs, cpu))
		t.row(c.name, used, used/time.Duration(units), median(pick(c.runs, user))/time.Duration(units), median(pick(c.runs, func(c costed) time.Duration { return c.wall })),
			bytesize(median(pick(c.runs, func(c costed) int64 { return c.peak }))), each(pick(c.runs, cpu)),
			each(pick(c.runs, func(c costed) int { return c.lost })))
	}
	r := ratio(median(pick(ours, cpu)), median(pick(theirs, cpu)))
	t.row("ratio", r, "", ratio(median(pick(ours, user)), median(pick(theirs, user))), "", "", "", "")
	t.print(w)
	return r
}

// costed is one run of a client.
type costed struct {
	spent
	lost int // streams that died under the loop
}
