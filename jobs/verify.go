package jobs

import (
	"context"
	"fmt"
	"os"

	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline/input"
)

// VerifySpec names the files that [Verify] holds against each other.
type VerifySpec struct {
	Output string
	Inputs []string // none: the files that the run's state names
	Errors string   // "": where the run put them
	State  string   // "": OUTPUT.batchrun
}

// Verify proves from the files that every input line has exactly one row. It changes nothing. The
// error is something that kept it from looking, never what it found.
func Verify(ctx context.Context, spec VerifySpec) (*state.VerifyReport, error) {
	paths := Spec{Output: spec.Output, Errors: spec.Errors, State: spec.State}
	opt := state.VerifyOptions{Output: spec.Output, Errors: paths.ErrorsPath(), Dir: paths.StatePath()}
	frozen, known, err := state.ReadFrozen(opt.Dir)
	if err != nil {
		return nil, err
	}
	if spec.Errors == "" {
		if opt.Errors, err = errorsOf(opt); err != nil {
			return nil, err
		}
	}
	files, err := verifyFiles(spec.Inputs, frozen.Input)
	if err != nil {
		return nil, err
	}
	if files == nil && !known {
		return nil, &adviceError{fmt.Errorf("%s: no state tells what its input was", spec.Output), "name the input with -i"}
	}
	if files != nil {
		opt.Lines = func(yield func(source string, line int64, id string, idKnown bool) error) error {
			return input.Lines(ctx, files, yield)
		}
	}
	return state.Verify(ctx, opt)
}

// errorsOf is where the run of a state directory put its error rows, if they are still there; otherwise, as after the
// files were moved together, where they are by default.
func errorsOf(opt state.VerifyOptions) (string, error) {
	_, path, err := state.ReadPaths(opt.Dir)
	if err != nil || path == "" {
		return opt.Errors, err
	}
	if _, err := os.Lstat(path); err != nil {
		return opt.Errors, nil
	}
	return path, nil
}

// verifyFiles finds the input. Its sources are called as the rows call them, wherever they are now; nil
// for the standard input of a run, which is not there any more.
func verifyFiles(named []string, frozen []state.Source) ([]input.File, error) {
	if len(named) == 0 {
		for _, s := range frozen {
			if s.Path == input.Stdin {
				return nil, nil
			}
			named = append(named, s.Path)
		}
		if len(named) == 0 {
			return nil, nil
		}
	}
	names, err := input.Expand(named)
	if err != nil {
		return nil, err
	}
	files := input.Files(names)
	for i := range files {
		if len(files) == len(frozen) {
			files[i].Name = frozen[i].Name
		}
	}
	return files, nil
}
