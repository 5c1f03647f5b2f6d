package jobs

import (
	"io"

	"github.com/batchrun/batchrun/pipeline/bedrock"
)

// Env is what a run has of the world around it.
type Env struct {
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
	// Args are the command line, without the command's name, to be named as the one that resumes.
	Args []string
	// Remember is the folder in which what was learned of quotas is kept from one run to the next; "" keeps nothing.
	Remember string
	// Bedrock, where set, changes how the model is reached; for the demo and for tests.
	Bedrock func(*bedrock.Options)
}
