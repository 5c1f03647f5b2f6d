// Benchtool measures the batchrun command, and torments it, from outside: the real binary against the simulator of
// pipeline/bedrock/sim in a process of its own, beside a hand-written loop over the AWS SDK.
//
//	go run ./internal/benchtool NAME [flags]
//
// NAME is one of the commands that it lists when called without any. Each prints a table in Markdown with both figures
// and their ratio, and exits 1 when its bound is missed. docs/benchmarks.md tells what each is for.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// A command is what a NAME does with its arguments.
type command struct {
	name, doc string
	run       func(ctx context.Context, args []string) error
	inAll     bool
}

// commands is filled by init, for the command all reads it.
var commands []command

func init() {
	commands = []command{
		{"clock", "first-token latency at 1, 50 and 200 streams against the server's own clock, beside the loop", clock, true},
		{"cost", "processor time of a run, beside the loop", cost, true},
		{"stream", "time, bytes and allocations of a chunk in every family, and processor time of a chunk in a run, beside the SDK's", stream, true},
		{"memory", "peak memory does not grow with the input, and --max-buffer holds", memory, true},
		{"gsm8k", "the 1,319 questions of GSM8K to JSONL and Parquet, checked from the files", gsm8k, true},
		{"storm", "every kind of fault at once, then every row is checked", storm, true},
		{"kill", "kill -9 again and again, then every row is checked", kill, true},
		{"spend", "runs with --max-cost, failures and kills: the server's own count of tokens never passes it", spend, true},
		{"quota", "four rows of the laboratory once for real: the command against the simulator's quotas, in real time", quota, false},
		{"duckdb", "FILE.parquet: columns, types and rows as DuckDB reads them (needs npm)", duckdb, false},
		{"js", "the AWS SDK for JavaScript reads the simulator's streams (needs npm)", js, true},
		{"all", "all of the above that need no argument, with a summary", all, false},
		{"serve", "the simulator, until standard input ends; prints its URL", serve, false},
		{"loop", "the hand-written loop over the AWS SDK", loop, false},
	}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "benchtool:", err)
		os.Exit(1)
	}
}

func dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 {
		for _, c := range commands {
			if c.name == args[0] {
				return c.run(ctx, args[1:])
			}
		}
	}
	fmt.Fprintln(os.Stderr, "usage: go run ./internal/benchtool NAME [flags]")
	for _, c := range commands {
		fmt.Fprintf(os.Stderr, "  %-8s %s\n", c.name, c.doc)
	}
	return flag.ErrHelp
}

// errMissed is the end of a benchmark whose bound is missed, or of a check that failed.
var errMissed = errors.New("missed")

func missed(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errMissed}, args...)...)
}
