package jobs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/jobs/learned"
	"github.com/batchrun/batchrun/jobs/limits"
	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/ratelimit"
)

// limitsOf is what the limiter is told of a job with a foundation model.
func limitsOf(s *Spec, foundation string) ratelimit.Options {
	burndown := s.Burndown
	if burndown == 0 {
		burndown = bedrock.Burndown(foundation)
	}
	return ratelimit.Options{
		RequestsPerMinute: float64(s.RPM), TokensPerMinute: float64(s.TPM), TokensPerDay: float64(s.TPD),
		Burndown: burndown, Concurrency: s.Concurrency, Probe: s.Probe,
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

// remember finds what an earlier run has learned, to begin with where nothing is stated, and says so.
func (j *job) remember(o *ratelimit.Options) {
	key := j.quotaKey()
	if j.spec.NoLearned || key.Account == "" {
		return
	}
	now := time.Now()
	entry, ok, err := learned.Store{Dir: j.env.Remember}.Load(key, now)
	if err != nil {
		j.printer.Note(fmt.Sprintf("what earlier runs have learned of quotas cannot be read: %v", err))
	}
	if !ok {
		return
	}
	o.Start = entry.Learned
	if o.RequestsPerMinute > 0 {
		o.Start.RequestsPerMinute = 0
	}
	if o.TokensPerMinute > 0 {
		o.Start.TokensPerMinute = 0
	}
	if note := report.StartNote(o.Start, now.Sub(entry.At)); note != "" {
		j.printer.Note(note)
	}
}

// quotaKey says whose quota the job uses.
func (j *job) quotaKey() learned.Key {
	return learned.Key{Account: j.model.Account(), Endpoint: j.model.Endpoint(), Region: j.model.Region(), Model: j.spec.Model}
}

// keepLearning saves what the limiter has learned until over is closed. What cannot be saved is told once.
func (s *session) keepLearning(over <-chan struct{}) {
	key := s.quotaKey()
	if key.Account == "" {
		return
	}
	learned.Store{Dir: s.env.Remember}.Keep(key, s.limiter.Learned, over, func(err error) {
		s.printer.Note(fmt.Sprintf("what was learned of the quota could not be kept: %v", err))
	})
}

// ReadLimits reads what the limiter of a run saw and did. place is the output of the run, or its state directory.
func ReadLimits(place string) (*limits.History, error) {
	dir := place
	if info, err := os.Stat(place); err != nil || !info.IsDir() {
		dir = state.DirPath(filepath.Clean(place))
	}
	holder := state.HeldBy(dir) // before reading, for a session that ends meanwhile
	h, err := limits.Read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &adviceError{
			fmt.Errorf("%s: nothing is kept of its limits: %s is not there", place, filepath.Join(dir, limits.Name)),
			"name the output of a run, or the directory it was given with --state",
		}
	}
	if err != nil {
		return nil, err
	}
	if holder == nil { // and after it, for one that began
		holder = state.HeldBy(dir)
	}
	if holder != nil {
		h.HeldSince(holder.Since)
	}
	return h, nil
}
