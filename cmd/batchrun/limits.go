package main

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/jobs/report"
	"github.com/spf13/cobra"
)

func limitsCommand() *cobra.Command {
	output := "text"
	cmd := &cobra.Command{
		Use:   "limits OUTPUT|STATE",
		Short: "Draw what the limiter of a run saw and did: rates, paces, refusals, decisions",
		Long: "Draw what the limiter of a run saw and did, session by session: rates, paces, refusals and streams over time, what held\n" +
			"requests back for which share of the time, and every decision with its reason. It reads limits.jsonl in the run's\n" +
			"state directory, also while the run goes on. With --output json it prints all of it as one object.",
		Example: "  batchrun limits answers.jsonl\n" +
			"  batchrun limits answers.jsonl --output json | jq '.sessions[-1].boundBy'",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return &jobs.ExitError{Code: jobs.ExitUsage, Err: fmt.Errorf("--output: expected one of text, json, not %q", output)}
			}
			history, err := jobs.ReadLimits(args[0])
			if err != nil {
				return &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
			}
			for _, line := range history.Damaged {
				fmt.Fprintf(cmd.ErrOrStderr(), "batchrun: a damaged line was left out: %s\n", line)
			}
			out := cmd.OutOrStdout()
			if output == "text" {
				_, err := io.WriteString(out, report.Limits(history, report.Width(out)))
				return err
			}
			enc := json.NewEncoder(out)
			enc.SetEscapeHTML(false)
			enc.SetIndent("", "  ")
			return enc.Encode(history)
		},
	}
	cmd.Flags().StringVar(&output, "output", output, "`format` of what is printed: text or json")
	return cmd
}
