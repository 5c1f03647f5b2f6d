package main

import (
	"github.com/batchrun/batchrun/jobs"
	"github.com/spf13/cobra"
)

func schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a job file",
		Long: "Print the JSON Schema of a job file, for editors:\n\n" +
			"  batchrun schema > batchrun.schema.json\n" +
			"  # in the job file:\n" +
			"  # yaml-language-server: $schema=batchrun.schema.json",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(jobs.Schema())
			return err
		},
	}
}
