package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// gsm8k sends real questions, to JSONL and to Parquet, and checks what came of them from the files alone.
func gsm8k(ctx context.Context, args []string) error {
	f, l := labFlags("gsm8k")
	data := f.String("data", "", "gsm8k-claude.jsonl or its `directory`; ../shared/data beside the repository by default")
	withDuckDB := f.Bool("duckdb", false, "read the Parquet file with DuckDB as well (needs npm)")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	path := *data
	switch {
	case path == "" && f.Arg(0) != "":
		path = f.Arg(0)
	case path == "":
		path = filepath.Join(l.repo, "..", "shared", "data")
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		path = filepath.Join(path, "gsm8k-claude.jsonl")
	}
	input, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	want, err := readInput(input)
	if err != nil {
		return err
	}
	server, err := l.serve(ctx, sim.Options{
		FirstToken: sim.Latency{Mean: 20 * time.Millisecond, Sigma: 0.4}, InterToken: sim.Latency{Mean: time.Millisecond},
		OutputTokens: 60, OutputSpread: 30,
	})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()

	var t table
	t.row("format", "records", "rows", "wall time", "processor time", "peak memory", "faults")
	var verdict error
	for _, format := range []string{"jsonl", "parquet"} {
		dir, err := l.workdir("gsm8k")
		if err != nil {
			return err
		}
		n := int64(len(want))
		j := job{input: input, output: filepath.Join(dir, "answers."+format), url: server.url, concurrency: 32}
		took, err := l.runBatchrun(ctx, j, tally{read: n, succeeded: n})
		if err != nil {
			return err
		}
		var found faults
		rows, err := rowsByID(j, want, &found)
		if err != nil {
			return err
		}
		checkTruth(server.opts, rows, &found)
		if err := l.verify(ctx, j); err != nil {
			found.add("%v", err)
		}
		if format == "parquet" && *withDuckDB {
			if err := l.readWithDuckDB(ctx, j.output, len(want)); err != nil {
				found.add("%v", err)
			}
		}
		t.row(format, len(want), len(rows), took.wall, took.cpu, bytesize(took.peak), found.n)
		if err := found.err(); err != nil {
			verdict = fmt.Errorf("%s: %w", format, err)
		}
	}
	t.print(os.Stdout)
	return verdict
}
