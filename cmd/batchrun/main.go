// Command batchrun fans prompts out over Amazon Bedrock's streaming invocations and keeps
// every answer once.
//
// This package has the flags, the signals, the exit codes and the words; what they mean is in
// package jobs and below.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/spf13/cobra"
)

func main() {
	// A closed pipe is an error of the write that meets it, never the end of a run.
	signal.Ignore(syscall.SIGPIPE)
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command. It returns the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := untilSignal(stderr)
	defer stop()
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	return explain(stderr, root.ExecuteContext(ctx))
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "batchrun",
		Short: "Run batches of prompts on Amazon Bedrock, streamed, paced and resumable",
		Long: "batchrun sends JSONL prompts to Amazon Bedrock's streaming invocations and writes every answer, with its\n" +
			"first-token latency, to JSONL or Parquet. It stays within quota, and the same command resumes a run that was cut short.\n\n" +
			"Try it without an account:  batchrun demo",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &jobs.ExitError{Code: jobs.ExitUsage, Err: err, Advice: fmt.Sprintf("see %s --help", cmd.CommandPath())}
	})
	root.AddCommand(runCommand(), planCommand(), verifyCommand(), limitsCommand(), convertCommand(), demoCommand(), simulateCommand(), schemaCommand(), versionCommand())
	for _, cmd := range root.Commands() {
		usageErrors(cmd)
	}
	return root
}

// usageErrors makes a wrong number of arguments exit as a wrong flag does.
func usageErrors(cmd *cobra.Command) {
	check := cmd.Args
	if check == nil {
		return
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return &jobs.ExitError{Code: jobs.ExitUsage, Err: err, Advice: fmt.Sprintf("see %s --help", cmd.CommandPath())}
		}
		return nil
	}
}

// signalEcho is how soon after the first signal another is taken for the same one: timeout(1) and others
// signal the process and then its group.
const signalEcho = 50 * time.Millisecond

// untilSignal gives a context that the first signal ends. The second ends the process at once:
// what was counted is durable, so the journal is good whatever is cut.
func untilSignal(stderr io.Writer) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) { // as nohup and a shell's & have them ignored
			signal.Notify(signals, s)
		}
	}
	done := make(chan struct{})
	go func() {
		var first time.Time
		for {
			select {
			case s := <-signals:
				if !first.IsZero() {
					if time.Since(first) < signalEcho {
						continue
					}
					os.Exit(jobs.ExitInterrupted)
				}
				first = time.Now()
				fmt.Fprintf(stderr, "batchrun: %v signal received: nothing more is sent, calls in flight may finish; once more ends at once\n", s)
				cancel(fmt.Errorf("%v signal received", s))
			case <-done:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}

// An exitCode ends the command without another word.
type exitCode int

// Error is never shown.
func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// explain turns an error into words, and into the exit code.
func explain(stderr io.Writer, err error) int {
	if err == nil {
		return jobs.ExitDone
	}
	if code, ok := errors.AsType[exitCode](err); ok {
		return int(code)
	}
	code := jobs.ExitFailed
	if exit, ok := errors.AsType[*jobs.ExitError](err); ok {
		code = exit.Code
		if exit.Err == nil {
			if hint := exit.Hint(); hint != "" {
				fmt.Fprintf(stderr, "batchrun: hint: %s\n", hint)
			}
			return code
		}
	} else if strings.HasPrefix(err.Error(), "unknown command") {
		code = jobs.ExitUsage
	}
	for line := range strings.Lines(words(err)) {
		fmt.Fprintf(stderr, "batchrun: %s\n", strings.TrimRight(line, "\n"))
	}
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(stderr, "batchrun: hint: %s\n", hint)
	}
	return code
}

// words is the error's text; what the service said in it is cut and escaped, other lines are kept.
func words(err error) string {
	if _, ok := errors.AsType[*pipeline.InvokeError](err); ok {
		return pipeline.Clip(err.Error())
	}
	return err.Error()
}

// hintOf is what to do about an error, if anything in it knows.
func hintOf(err error) string {
	var h interface{ Hint() string }
	if errors.As(err, &h) {
		return h.Hint()
	}
	return ""
}
