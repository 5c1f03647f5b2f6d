package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/jobs/convert"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/pipeline/input"
	"github.com/spf13/cobra"
)

// toRun is what --to says for a run of its own, in place of a format.
const toRun = "run"

func convertCommand() *cobra.Command {
	opt := convert.Options{}
	spec := jobs.Defaults()
	var adopt jobs.AdoptSpec
	cmd := &cobra.Command{
		Use:   "convert -i INPUT -o OUTPUT --to FORMAT",
		Short: "Turn requests or rows from one published format into another; make a run of a batch job",
		Long: "Turn files of requests, or of rows, into another format. The first line of the input tells which they are.\n\n" +
			"Requests: bedrock (in the format of --model), converse, openai, anthropic, chat.\n" +
			"Rows:     full, lean (also to and from Parquet), bedrock, openai, anthropic, text.\n\n" +
			"What cannot be said in the new format, and rows that are errors, go to STEM.errors.jsonl.\n\n" +
			"--to run makes a run of a finished batch job: of its input (-i), its output (--answers, and the manifest beside it).\n" +
			"What failed there is then sent in real time by batchrun run with the same -i, -o and -m, and --retry-failed.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage or refusal, 3 done but some lines went to the errors file,\n" +
			"4 a run whose input has lines without an answer.",
		Example: "  batchrun convert -i openai.jsonl -o bedrock.jsonl --to bedrock -m us.amazon.nova-lite-v1:0\n" +
			"  batchrun convert -i answers.parquet -o answers.jsonl --to full\n" +
			"  batchrun convert -i prompts.jsonl --answers job/prompts.jsonl.out -o answers.jsonl --to run -m MODEL\n" +
			"  batchrun run -i prompts.jsonl -o answers.jsonl -m MODEL --retry-failed",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opt.To == toRun {
				return adoptRun(cmd, spec, opt, adopt)
			}
			if len(adopt.Answers) > 0 || adopt.Manifest != "" || cmd.Flags().Changed("rows") {
				return &jobs.ExitError{Code: jobs.ExitUsage, Err: errors.New("--answers, --manifest and --rows go with --to run")}
			}
			return convertFiles(cmd, spec, opt)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVarP(&opt.Inputs, "input", "i", nil, "`path` or glob to read: JSONL, also .gz and .zst, or rows in Parquet; repeated (required)")
	f.StringVarP(&opt.Output, "output", "o", "", "`path` that does not exist yet, .jsonl or .parquet; - for standard output (required)")
	f.StringVar(&opt.To, "to", "", "`format`: "+strings.Join(append(convert.Kinds(), toRun), ", ")+" (required)")
	f.StringVarP(&opt.Model, "model", "m", "", "`id` of the model whose format requests get, or that they name")
	f.StringVar(&opt.Family, "family", "", "`name` of the model's family (default: told by the model id)")
	f.Int64Var(&opt.MaxTokens, "max-tokens", spec.MaxTokens, "longest answer where a request sets no limit and the format wants one")
	f.StringVar(&spec.Template, "template", "", "`Go template` of the prompt, or @FILE with one, for a table of columns")
	f.StringVar(&opt.Errors, "errors", "", "`path` for what cannot be converted and for error rows (default: STEM.errors.jsonl)")
	f.StringArrayVar(&adopt.Answers, "answers", nil, "with --to run: output `path` or glob of the batch job, repeated (default: the input holds its own answers)")
	f.StringVar(&adopt.Manifest, "manifest", "", "with --to run: `path` of the job's manifest (default: manifest.json.out beside the answers)")
	f.StringVar(&spec.Rows, "rows", spec.Rows, "with --to run: `kind` of its rows, as for batchrun run")
	return cmd
}

// adoptRun makes a run of a batch job.
func adoptRun(cmd *cobra.Command, spec jobs.Spec, opt convert.Options, adopt jobs.AdoptSpec) error {
	spec.Input, spec.Output, spec.Errors = opt.Inputs, opt.Output, opt.Errors
	spec.Model, spec.Family, spec.MaxTokens = opt.Model, opt.Family, opt.MaxTokens
	env := jobs.Env{Stderr: cmd.ErrOrStderr()}
	outcome, err := jobs.Adopt(cmd.Context(), spec, adopt, env)
	code := explain(env.Stderr, err)
	if outcome.Account != "" {
		fmt.Fprintln(env.Stderr, outcome.Account)
	}
	if code == jobs.ExitDone {
		return nil
	}
	return exitCode(code)
}

// convertFiles converts and says how it went; the account is the last line.
func convertFiles(cmd *cobra.Command, spec jobs.Spec, opt convert.Options) error {
	var err error
	if opt.Template, err = jobs.LoadTemplate(spec.Template); err != nil {
		return &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
	}
	stderr := cmd.ErrOrStderr()
	opt.Stdout = cmd.OutOrStdout()
	opt.Notice = func(s string) { fmt.Fprintf(stderr, "batchrun: %s\n", pipeline.Clip(s)) }
	if len(opt.Inputs) == 0 || slices.Contains(opt.Inputs, input.Stdin) {
		return &jobs.ExitError{Code: jobs.ExitUsage, Err: errors.New("no input"), Advice: "name files with -i"}
	}
	res, err := convert.Run(cmd.Context(), opt)
	if err != nil {
		return convertError(cmd.Context(), err)
	}
	if res.ErrorsPath != "" {
		fmt.Fprintf(stderr, "batchrun: %d lines are in %s\n", res.Errors, res.ErrorsPath)
	}
	fmt.Fprintf(stderr, "%d read = %d converted + %d errors\n", res.Read, res.Converted, res.Errors)
	if res.Errors > 0 {
		return exitCode(jobs.ExitSomeFailed)
	}
	return nil
}

// convertError gives an error of convert its exit code. Whatever it is, nothing was written.
func convertError(ctx context.Context, err error) error {
	_, usage := errors.AsType[*convert.UsageError](err)
	_, unread := errors.AsType[*input.Error](err)
	_, model := errors.AsType[*bedrock.ConfigError](err)
	switch {
	case ctx.Err() != nil:
		return &jobs.ExitError{Code: jobs.ExitInterrupted, Err: context.Cause(ctx)}
	case usage, unread, model:
		return &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
	}
	return &jobs.ExitError{Code: jobs.ExitFailed, Err: err}
}
