package main

import (
	"errors"
	"fmt"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/spf13/cobra"
)

func verifyCommand() *cobra.Command {
	var spec jobs.VerifySpec
	cmd := &cobra.Command{
		Use:   "verify OUTPUT [-i INPUT]",
		Short: "Prove from the files that every input line has exactly one row",
		Long: "Prove from the files alone that every input line has exactly one row, in the output or among the error rows, that\n" +
			"ids agree and that the journal agrees. Nothing is changed and nothing is sent. Exits 1 with the first differences.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			spec.Output = args[0]
			rep, err := jobs.Verify(cmd.Context(), spec)
			if err != nil {
				return &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
			}
			return tell(cmd, args[0], rep)
		},
	}
	cmd.Flags().StringArrayVarP(&spec.Inputs, "input", "i", nil, "the input, path or glob, repeated (default what the run's state names)")
	cmd.Flags().StringVar(&spec.Errors, "errors", "", "the error rows (default STEM.errors.jsonl)")
	cmd.Flags().StringVar(&spec.State, "state", "", "the run's directory (default OUTPUT.batchrun)")
	return cmd
}

// tell says what verify found.
func tell(cmd *cobra.Command, output string, rep *state.VerifyReport) error {
	out := cmd.OutOrStdout()
	for _, note := range rep.Notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "batchrun: %s\n", note)
	}
	for _, line := range rep.Differences {
		fmt.Fprintln(out, line)
	}
	if more := rep.Total - int64(len(rep.Differences)); more > 0 {
		fmt.Fprintf(out, "and %d more\n", more)
	}
	if rep.RepeatedIDs > 0 {
		fmt.Fprintf(out, "%d records have an id that an earlier one has; they are told apart by source and line\n", rep.RepeatedIDs)
	}
	if rep.Surplus > 0 {
		fmt.Fprintf(out, "rows that no line needs: %d, in no figure of the last line\n", rep.Surplus)
	}
	read, left := rep.Records, rep.Left
	if read < 0 { // the input is not there to be counted
		read, left = rep.Succeeded+rep.Failed+rep.Rejected, 0
	}
	fmt.Fprintln(out, jobs.Account(read, rep.Succeeded, rep.Failed, rep.Rejected, left))
	switch {
	case rep.OK():
		fmt.Fprintf(out, "%s: every line is accounted for\n", output)
		return nil
	case rep.State && !rep.Finished:
		return &jobs.ExitError{
			Code: jobs.ExitFailed, Err: fmt.Errorf("%s: the run is unfinished, %d lines are left and %d differences", output, left, rep.Total),
			Advice: "the command that began it goes on where it was",
		}
	}
	return &jobs.ExitError{Code: jobs.ExitFailed, Err: errors.New(output + ": not every line is accounted for")}
}
