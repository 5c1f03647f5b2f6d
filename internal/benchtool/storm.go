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
	dark := f.Bool("outages", false, "let the service fail altogether five times as well, in five ways; takes longer")
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
	opts := sim.Options{
		Seed: *seed, FirstToken: sim.Latency{Mean: 10 * time.Millisecond, Sigma: 0.5}, InterToken: sim.Latency{Mean: time.Millisecond},
		OutputTokens: 20, OutputSpread: 19, Faults: stormFaults(),
	}
	if *dark {
		for i, kind := range []string{"", "drop-before", "ModelNotReadyException", "ThrottlingException", "stall-headers"} {
			opts.Outages = append(opts.Outages, sim.Outage{After: time.Duration(2+6*i) * time.Second, For: 3 * time.Second, Kind: kind})
		}
	}
	var t table
	t.row("format", "records", "results", "error rows", "calls", "struck", "answered twice", "wall time", "faults found")
	var verdict error
	for format := range strings.SplitSeq(*formats, ",") {
		if err := l.stormOnce(ctx, &t, opts, format, input, want, *streams); err != nil {
			verdict = fmt.Errorf("%s: %w", format, err)
		}
	}
	t.print(os.Stdout)
	return verdict
}

// stormFaults strike nearly a quarter of all attempts.
func stormFaults() []sim.Fault {
	var all []sim.Fault
	// Faults are drawn one after the other, each only where none before it has struck: at these shares the difference
	// does not matter.
	share := func(p float64, at int, kinds ...string) {
		for _, kind := range kinds {
			all = append(all, sim.Fault{Kind: kind, AtChunk: at, Probability: p / float64(len(kinds))})
		}
	}
	share(0.10, 0, "ThrottlingException", "throttlingException")
	share(0.025, 0, inStream...)
	share(0.025, sim.AtRandom, inStream...) // after content a throttle is none any more
	share(0.03, sim.AtRandom, "truncate", "truncate-inside", "end", "end-inside", "rst-stream", "empty", "drop-before")
	share(0.01, sim.AtRandom, "reset", "reset-before")
	share(0.005, sim.AtRandom, "stall", "stall-first-token", "stall-headers")
	share(0.02, sim.AtRandom, "bad-prelude-crc", "bad-message-crc", "garbage", "short-length", "long-headers", "huge-length",
		"no-bytes", "not-base64", "not-json", "not-json-event", "not-json-error", "html", "bad-gateway", "gateway-timeout", "bare-429")
	// These harm nobody: the answer comes whole, and has to be kept.
	share(0.01, sim.AtRandom, "unknown-event", "unknown-headers", "unknown-message", "no-message-type", "big-pad")
	share(0.01, sim.AtEnd, "repeat-terminal", "stall", "truncate", "end", "reset", "rst-stream")
	return all
}

// inStream are the exceptions within a stream, the last two such as the service does not model.
var inStream = []string{
	"internalServerException", "modelStreamErrorException", "modelTimeoutException", "serviceUnavailableException",
	"validationException", "throttlingException", "unmodelled", "error-frame",
}

func (l *lab) stormOnce(ctx context.Context, t *table, opts sim.Options, format, input string, want map[string]expected, streams int) error {
	server, err := l.serve(ctx, opts)
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

// maxAttempts is the default of --max-attempts.
const maxAttempts = 5

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
		case r.Error != nil && r.Error.Type != "ValidationException" && (r.Attempts != maxAttempts || record.Faults < maxAttempts):
			f.add("%s failed (%s) after %d attempts and %d faults", id, r.Error.Type, r.Attempts, record.Faults)
		}
	}
}
