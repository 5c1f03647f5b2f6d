package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// memory shows that a run's memory depends on what is in flight, not on how long the input is.
func memory(ctx context.Context, args []string) error {
	f, l := labFlags("memory")
	large := f.Int("n", 1_000_000, "records of the long run")
	small := f.Int("small", 50_000, "records of the short run")
	runs := f.Int("runs", 3, "runs of each, of which the median counts")
	streams := f.Int("streams", 64, "streams in flight")
	big := f.Int("big", 64, "records of 25 MB; 0 leaves that part out")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	server, err := l.serve(ctx, sim.Options{OutputTokens: 2, OutputSpread: 1, KeepRecords: -1})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()

	var t table
	t.row("records", "peak memory", "of each run", "wall time", "processor time")
	var faults faults
	peak := func(n int) (bytesize, error) {
		input := l.path("memory.jsonl")
		if err := prompts(input, n); err != nil {
			return 0, err
		}
		var all []spent
		for range *runs {
			took, err := l.peakOf(ctx, job{input: input, url: server.url, concurrency: *streams}, n)
			if err != nil {
				return 0, err
			}
			all = append(all, took)
		}
		peaks := pick(all, func(s spent) bytesize { return bytesize(s.peak) })
		t.row(n, median(peaks), each(peaks), median(pick(all, func(s spent) time.Duration { return s.wall })),
			median(pick(all, func(s spent) time.Duration { return s.cpu })))
		return median(peaks), nil
	}
	if *small > 0 && *large > 0 {
		short, err := peak(*small)
		if err != nil {
			return err
		}
		long, err := peak(*large)
		if err != nil {
			return err
		}
		t.row("ratio", ratio(long, short), "", "", "")
		if bound := short + short/10 + 15e6; long > bound {
			faults.add("%d records take %s, %d take %s: the bound is %s", *large, show(long), *small, show(short), show(bound))
		}
		if long >= 150e6 {
			faults.add("%d records take %s: the bound is 150 MB", *large, show(long))
		}
	}
	if *big > 0 {
		const size, buffer, overhead = 24_900_000, 256 << 20, 160e6
		input := l.path("giants.jsonl")
		if err := giants(input, *big, size); err != nil {
			return err
		}
		took, err := l.peakOf(ctx, job{input: input, url: server.url, concurrency: *streams, more: []string{"--max-buffer", "256MiB"}}, *big)
		if err != nil {
			return err
		}
		t.row(fmt.Sprintf("%d of 24.9 MB, --max-buffer 256MiB", *big), bytesize(took.peak), "", took.wall, took.cpu)
		if took.peak > buffer+overhead {
			faults.add("%d records of 24.9 MB take %s: the bound is %s", *big, show(bytesize(took.peak)), show(bytesize(buffer+overhead)))
		}
	}
	t.print(os.Stdout)
	return faults.err()
}

// peakOf runs a job of n records and throws its output away.
func (l *lab) peakOf(ctx context.Context, j job, n int) (spent, error) {
	dir, err := l.workdir("memory")
	if err != nil {
		return spent{}, err
	}
	defer func() { _ = os.RemoveAll(dir) }() // with the lab, if not now
	j.output = filepath.Join(dir, "rows.jsonl")
	return l.runBatchrun(ctx, j, tally{read: int64(n), succeeded: int64(n)})
}
