package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/jobs/plan"
)

func planCommand() *cobra.Command {
	flags := jobs.Defaults()
	var (
		what jobs.PlanSpec
		as   string
	)
	cmd := &cobra.Command{
		Use:   "plan [JOB.yaml] -i INPUT -o OUTPUT -m MODEL",
		Short: "Tell what a run would send, how long it would take and what it would cost; nothing is sent",
		Long: "Tell what a run would send, how long it would take and what it would cost. Nothing is sent and nothing is written, and\n" +
			"no credentials are needed. The job file and the flags are those of run, and what run refuses is refused in the same words.\n\n" +
			"Say what to expect of the answers: --like has the output of an earlier run, finished or not, and takes their length,\n" +
			"their latency and their share of caching from it; --expect-… say it in figures. With neither, every answer is\n" +
			"taken to reach its max_tokens.\n\n" +
			"No prices come with the program. --prices is a table of your own; see the package documentation of jobs/price.\n\n" +
			"Exit codes: 0 planned, 1 failed, 2 usage or what run would refuse, 130 interrupted. Warnings change none of them.",
		Example: "  batchrun plan nightly.yaml --like out/last-night.jsonl --prices prices.yaml\n" +
			"  batchrun plan -i prompts.jsonl -o answers.jsonl -m us.anthropic.claude-sonnet-4-5-20250929-v1:0 \\\n" +
			"      --tpm 400000 --expect-output 300±150",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if as != "text" && as != "json" {
				return &jobs.ExitError{Code: jobs.ExitUsage, Err: fmt.Errorf("--as: expected one of text, json, not %q", as)}
			}
			spec := flags
			if len(args) == 1 {
				file, err := loadJob(args[0])
				if err != nil {
					return err
				}
				spec = jobs.Merge(file, flags, cmd.Flags().Changed)
			}
			tuneMemory(int64(spec.MaxBuffer))
			rep, err := jobs.Plan(cmd.Context(), spec, what, jobs.Env{
				Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(), Args: os.Args[1:],
			})
			if err != nil {
				return err
			}
			return printPlan(cmd, rep, as)
		},
	}
	f := cmd.Flags()
	flags.Register(f)
	f.SortFlags = false
	f.StringVar(&what.Like, "like", "", "`output` of an earlier run, JSONL or Parquet, whose answers are like those to come")
	f.StringVar(&what.ExpectOutput, "expect-output", "", "`tokens` of an answer: 200, 200±50 or lognormal(200,0.8) (default as --like, or max_tokens)")
	f.StringVar(&what.ExpectTTFT, "expect-ttft", "", "`time` until the first token: 800ms, 1s±300ms or lognormal(1s,0.4) (default as --like, or 1s)")
	f.Float64Var(&what.ExpectSpeed, "expect-speed", 0, "output tokens per second of one stream (default as --like, or 60)")
	f.IntVar(&what.ModelUnits, "model-units", 0, "model units of provisioned throughput (default 1)")
	f.StringVar(&as, "as", "text", "`form` of the plan: text or json")
	return cmd
}

// printPlan writes the plan to standard output.
func printPlan(cmd *cobra.Command, rep *plan.Report, as string) error {
	out := []byte(rep.Text())
	if as == "json" {
		var err error
		if out, err = rep.JSON(); err != nil {
			return err
		}
	}
	_, err := cmd.OutOrStdout().Write(out)
	return err
}
