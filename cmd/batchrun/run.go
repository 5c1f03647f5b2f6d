package main

import (
	"fmt"
	"io"
	"os"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/jobs/learned"
	"github.com/spf13/cobra"
)

func runCommand() *cobra.Command {
	flags := jobs.Defaults()
	cmd := &cobra.Command{
		Use:   "run [JOB.yaml] -i INPUT -o OUTPUT -m MODEL",
		Short: "Send every record of the input and keep every answer; the same command resumes",
		Long: "Send every record of the input to the model and keep every answer.\n\n" +
			"A run that was cut short goes on when the same command is given again. A job file has the same names as the\n" +
			"flags (batchrun schema prints its JSON Schema), and flags win over it.\n\n" +
			"Exit codes: 0 done, 1 failed, 2 usage or refusal, 3 done but some records failed, 4 stopped at its own bound and\n" +
			"resumable, 130 interrupted and resumable.",
		Example: "  batchrun run -i prompts.jsonl -o answers.jsonl -m us.anthropic.claude-sonnet-4-5-20250929-v1:0\n" +
			"  batchrun run nightly.yaml --tpm 400000\n" +
			"  batchrun run nightly.yaml --retry-failed",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec := flags
			if len(args) == 1 {
				file, err := loadJob(args[0])
				if err != nil {
					return err
				}
				spec = jobs.Merge(file, flags, cmd.Flags().Changed)
			}
			tuneMemory(int64(spec.MaxBuffer))
			return runJob(cmd, spec, jobs.Env{
				Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: cmd.ErrOrStderr(), Args: os.Args[1:],
				Remember: learned.Dir(os.Getenv),
			})
		},
	}
	flags.Register(cmd.Flags())
	cmd.Flags().SortFlags = false
	return cmd
}

// runJob runs a job and says how it ended; the account is the last line.
func runJob(cmd *cobra.Command, spec jobs.Spec, env jobs.Env) error {
	outcome, err := jobs.Run(cmd.Context(), spec, env)
	code := explain(env.Stderr, err)
	if outcome.Account != "" {
		fmt.Fprintln(env.Stderr, outcome.Account)
	}
	if code == jobs.ExitDone {
		return nil
	}
	return exitCode(code)
}

// loadJob reads a job file.
func loadJob(path string) (jobs.Spec, error) {
	data, err := readJob(path)
	if err != nil {
		return jobs.Spec{}, &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
	}
	spec, _, err := jobs.Load(path, data)
	if err != nil {
		return jobs.Spec{}, &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
	}
	return spec, nil
}

// jobFileMax is far more than any job file needs; what is larger is something else.
const jobFileMax = 1 << 20

func readJob(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, jobFileMax+1))
	if err == nil && len(data) > jobFileMax {
		err = fmt.Errorf("%s: larger than %d bytes: not a job file; the input goes with -i", path, jobFileMax)
	}
	return data, err
}
