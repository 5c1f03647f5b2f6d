package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/jobs/limits"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/ratelimit"
)

// limitsOf is what the limiter is told of a job.
func limitsOf(s *Spec) ratelimit.Options {
	burndown := s.Burndown
	if burndown == 0 {
		burndown = bedrock.Burndown(s.Model)
	}
	return ratelimit.Options{
		RequestsPerMinute: float64(s.RPM), TokensPerMinute: float64(s.TPM), TokensPerDay: float64(s.TPD),
		Burndown: burndown, Concurrency: s.Concurrency,
	}
}

// limitsStart is the first line of the session in the log of the limiter.
func (j *job) limitsStart(at time.Time, o *ratelimit.Options) limits.Start {
	start := limits.Start{
		At: at, Model: j.spec.Model, Region: j.model.Region(), Concurrency: o.Concurrency,
		RequestsPerMinute: o.RequestsPerMinute, TokensPerMinute: o.TokensPerMinute, TokensPerDay: o.TokensPerDay,
		Burndown: o.Burndown, Probe: o.Probe,
	}
	if o.Start != (ratelimit.Learned{}) {
		start.Learned = &o.Start
	}
	return start
}

// ReadLimits reads what the limiter of a run saw and did. place is the output of the run, or its state directory.
func ReadLimits(place string) (*limits.History, error) {
	dir := place
	if info, err := os.Stat(place); err != nil || !info.IsDir() {
		dir = state.DirPath(filepath.Clean(place))
	}
	h, err := limits.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &adviceError{
			fmt.Errorf("%s: nothing is kept of its limits: %s is not there", place, filepath.Join(dir, limits.Name)),
			"name the output of a run, or the directory it was given with --state",
		}
	}
	return h, err
}
