package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// storm lets everything go wrong at once that can go wrong with a call, and then demands of every record its one row,
// and of every result that it is the server's whole answer.
func storm(ctx context.Context, args []string) error {
	f, l := labFlags("storm")
	records := f.Int("n", 10_000, "records")
	streams := f.Int("streams", 64, "streams in flight")
	formats := f.String("format", "jsonl,parquet", "output formats")
	seed := f.Uint64("seed", 1, "of the server: which attempt is struck by what")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	input := l.path("storm.jsonl")
	if err := messages(input, *records); err != nil {
		return err
	}
	want, err := readInput(input)
	if err != nil {
		return err
	}
	var t table
	t.row("format", "records", "results", "error rows", "calls", "struck", "answered twice", "wall time", "faults found")
	var verdict error
	for _, format := range strings.Split(*formats, ",") {
		if err := l.stormOnce(ctx, &t, *seed, format, input, want, *streams); err != nil {
			verdict = fmt.Errorf("%s: %w", format, err)
		}
	}
	t.print(os.Stdout)
	return verdict
}

// stormFaults strike 19.5 % of all attempts.
func stormFaults() []sim.Fault {
	var all []sim.Fault
	share := func(p float64, list ...sim.Fault) {
		// Faults are drawn one after the other, each only where none before it has struck: at these shares the
		// difference does not matter.
		for _, f := range list {
			f.Probability = p / float64(len(list))
			all = append(all, f)
		}
	}
	share(0.10, sim.Fault{Kind: "ThrottlingException"}, sim.Fault{Kind: "throttlingException"})
	share(0.05,
		sim.Fault{Kind: "internalServerException", AtChunk: sim.AtRandom},
		sim.Fault{Kind: "modelStreamErrorException", AtChunk: sim.AtRandom},
		sim.Fault{Kind: "modelTimeoutException", AtChunk: sim.AtRandom, Upper: true},
		sim.Fault{Kind: "serviceUnavailableException", AtChunk: sim.AtRandom},
		sim.Fault{Kind: "validationException", AtChunk: 1},
		sim.Fault{Kind: "throttlingException", AtChunk: sim.AtRandom}, // after content: not a throttle any more
		sim.Fault{Kind: "unmodelled", AtChunk: sim.AtRandom},
		sim.Fault{Kind: "error-frame", AtChunk: sim.AtRandom},
	)
	share(0.03,
		sim.Fault{Kind: "truncate", AtChunk: sim.AtRandom}, sim.Fault{Kind: "truncate-inside", AtChunk: sim.AtRandom},
		sim.Fault{Kind: "end", AtChunk: sim.AtRandom}, sim.Fault{Kind: "end-inside", AtChunk: sim.AtRandom},
		sim.Fault{Kind: "rst-stream", AtChunk: sim.AtRandom}, sim.Fault{Kind: "empty"}, sim.Fault{Kind: "drop-before"},
	)
	share(0.01, sim.Fault{Kind: "reset", AtChunk: sim.AtRandom}, sim.Fault{Kind: "reset-before"})
	share(0.005,
		sim.Fault{Kind: "stall", AtChunk: sim.AtRandom}, sim.Fault{Kind: "stall-first-token"}, sim.Fault{Kind: "stall-headers"},
	)
	return all
}

func (l *lab) stormOnce(ctx context.Context, t *table, seed uint64, format, input string, want map[string]expected, streams int) error {
	server, err := l.serve(ctx, sim.Options{
		Seed: seed, FirstToken: sim.Latency{Mean: 10 * time.Millisecond, Sigma: 0.5}, InterToken: sim.Latency{Mean: time.Millisecond},
		OutputTokens: 20, OutputSpread: 19, Faults: stormFaults(),
	})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()
	dir, err := l.workdir("storm")
	if err != nil {
		return err
	}
	j := job{
		input: input, output: filepath.Join(dir, "answers."+format), url: server.url, concurrency: streams,
		more: []string{"--idle-timeout", "3s", "--first-token-timeout", "4s"},
	}
	p, err := l.start(ctx, l.batchrun, j.args()...)
	if err != nil {
		return err
	}
	took, err := p.wait()
	if err != nil {
		return err
	}
	if took.exit != 0 && took.exit != 3 {
		return p.failure(took.exit)
	}
	var found faults
	rows, err := rowsByID(j, want, &found)
	if err != nil {
		return err
	}
	checkTruth(server.opts, rows, &found)
	succeeded, failed := count(rows)
	var errorRows int64
	for _, kind := range slices.Sorted(maps.Keys(failed)) {
		errorRows += failed[kind]
		fmt.Fprintf(os.Stderr, "%s: %d error rows are %s\n", format, failed[kind], kind)
	}
	said, err := lastTally(p.stderr.String())
	if expect := (tally{read: int64(len(want)), succeeded: succeeded, failed: errorRows}); err != nil {
		found.add("%v", err)
	} else if said != expect {
		found.add("the account says %v, the files %v", said, expect)
	}
	if (took.exit == 3) != (errorRows > 0) {
		found.add("exit %d with %d error rows", took.exit, errorRows)
	}
	if err := l.verify(ctx, j); err != nil {
		found.add("%v", err)
	}
	account, err := server.account(ctx, true)
	if err != nil {
		return err
	}
	checkStruck(rows, account, &found)
	var struck int64
	for _, n := range account.Faults {
		struck += n
	}
	t.row(format, len(want), succeeded, errorRows, account.Calls, struck, account.AnsweredTwice, took.wall, found.n)
	return found.err()
}

// checkStruck holds rows against what the server did to their requests: a result needs one whole answer, no record
// may be answered twice, and an error row must not hide an answer.
func checkStruck(rows map[string]*row, a account, f *faults) {
	for id, r := range rows {
		record := a.PerRecord[sim.Key(modelID, r.ModelInput)]
		switch {
		case r.Error == nil && record.Answers != 1:
			f.add("%s has a result, the server answered it %d times", id, record.Answers)
		case r.Error != nil && record.Answers != 0:
			f.add("%s is an error row (%s), the server answered it %d times", id, r.Error.Type, record.Answers)
		case r.Error != nil && r.Error.Type != "ValidationException" && record.Faults < 5:
			f.add("%s failed (%s) after %d faults", id, r.Error.Type, record.Faults)
		}
	}
}
