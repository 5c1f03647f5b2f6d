package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/examples"
	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
	"github.com/spf13/cobra"
)

// The model of the demo, and a quota so tight that it is refused now and then.
const demoModel = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"

func demoCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Run the shipped example prompts on an embedded server: no account, no network",
		Long: "Run the shipped example prompts on an embedded rehearsal of Bedrock, once to JSONL and once to Parquet, in a new\n" +
			"temporary directory. It needs no account and no network, and reads no AWS setting.",
		Args: cobra.NoArgs,
		RunE: demo,
	}
}

func demo(cmd *cobra.Command, _ []string) error {
	dir, err := os.MkdirTemp("", "batchrun-demo-")
	if err != nil {
		return err
	}
	server, err := sim.Start(sim.Options{
		Seed:       1,
		FirstToken: sim.Latency{Mean: 250 * time.Millisecond, Sigma: 0.4},
		InterToken: sim.Latency{Mean: 8 * time.Millisecond, Sigma: 0.5},
		Faults: []sim.Fault{
			{Kind: "ThrottlingException", Probability: 0.25, Times: 1},
			{Kind: "throttlingException", Probability: 0.1, Times: 1},
			{Kind: "truncate", Probability: 0.15, AtChunk: 3, Times: 1},
		},
	})
	if err != nil {
		return err
	}
	defer server.Close()

	prompts := filepath.Join(dir, "prompts.jsonl")
	if err := os.WriteFile(prompts, examples.Prompts, 0o600); err != nil {
		return err
	}
	out := cmd.ErrOrStderr()
	fmt.Fprintf(out, "batchrun: demo in %s, on an embedded rehearsal of Bedrock that throttles and cuts streams now and then\n", dir)
	for _, name := range []string{"answers.jsonl", "table.parquet"} {
		spec := jobs.Defaults()
		spec.Input, spec.Output, spec.Model = []string{prompts}, filepath.Join(dir, name), demoModel
		spec.EndpointURL, spec.Concurrency, spec.MaxTokens = server.URL(), 8, 256
		fmt.Fprintf(out, "\n$ batchrun run -i %s -o %s -m %s\n", prompts, spec.Output, demoModel)
		err := runJob(cmd, spec, jobs.Env{
			Stdin: cmd.InOrStdin(), Stdout: cmd.OutOrStdout(), Stderr: out,
			Bedrock: func(o *bedrock.Options) { o.IgnoreEnvironment, o.Region = true, "us-east-1" },
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(cmd.OutOrStdout(), spec.Output)
	}
	fmt.Fprintf(out, "\nbatchrun: the answers are in %s; on an account of yours the same job is\n\n  batchrun run -i %s -o answers.jsonl -m %s\n", dir, prompts, demoModel)
	return nil
}
