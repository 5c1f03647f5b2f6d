package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/limits"
	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/jobs/spend"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// summaryName is the summary of the last session, in the state directory.
const summaryName = "summary.json"

// A session sends what is left of a job.
type session struct {
	*job
	reader    *reader
	limiter   *ratelimit.Limiter
	limits    ratelimit.Options // of the limiter
	collector *report.Collector
	runner    *pipeline.Runner
	counts    func() state.Counts
	ledger    *spend.Ledger // nil where what is spent is not counted
	metrics   *metrics      // nil without --metrics-addr
	log       *limits.Log   // nil without a state directory
	started   time.Time
}

// newSession ties a reader and a store to the model.
func (j *job) newSession(r *reader, store pipeline.Store, counts func() state.Counts) (*session, error) {
	opt := limitsOf(&j.spec, j.model.Foundation())
	j.remember(&opt)
	s := &session{job: j, reader: r, collector: report.NewCollector(), counts: counts, started: time.Now()}
	if j.state != nil {
		s.log = limits.NewLog(j.state.Dir(), j.limitsStart(s.started, &opt), j.printer.Note)
		opt.Watch = s.log.Watch
	}
	limiter, err := ratelimit.New(opt)
	if err != nil {
		return nil, refuse(err)
	}
	s.limiter, s.limits = limiter, opt
	if s.ledger, err = j.openLedger(); err != nil {
		return nil, err
	}
	if j.state != nil {
		for at, used := range j.state.Usage(time.Now().Add(-24 * time.Hour)) {
			limiter.Restore(at, used.Requests, float64(used.InputTokens+used.CacheWriteInputTokens)+float64(used.OutputTokens)*opt.Burndown)
		}
	}
	watching := observers{s.collector}
	if s.log != nil {
		watching = append(watching, s.log)
	}
	if j.metrics != nil {
		s.metrics = newMetrics(counts, func() pipeline.Gauges { return s.runner.Gauges() }, limiter.Snapshot)
		if s.ledger != nil {
			s.metrics.spends(s.spending)
		}
		watching = append(watching, s.metrics)
	}
	cfg := pipeline.Config{
		Source: r, Model: j.model, Store: store, Limiter: limiter, Observer: watching, Notify: j.printer.Note,
		ModelID: j.spec.Model, Concurrency: j.spec.Concurrency, MaxAttempts: j.spec.MaxAttempts, RetryShare: j.spec.RetryBudget,
		CountTokens:       j.spec.CountTokens,
		FirstTokenTimeout: j.spec.FirstTokenTimeout, IdleTimeout: j.spec.IdleTimeout, Timeout: j.spec.Timeout,
		MaxBuffer: int64(j.spec.MaxBuffer), Drain: j.spec.Drain, CommitInterval: j.spec.CommitInterval,
		Deadline: j.deadline, DayUsedSince: j.dayUsedSince, Records: func() (done, total int64) { return s.progress() },
		Proven: counts().Succeeded > 0, Retry: j.state != nil && j.state.ToRetry() > 0,
	}
	if s.ledger != nil {
		cfg.Spending = s.ledger
	}
	if s.runner, err = pipeline.New(cfg); err != nil {
		return nil, &ExitError{Code: ExitFailed, Err: err}
	}
	return s, nil
}

// dayUsedSince is the first minute of the last 24 hours in which tokens were used, now if there is none.
func (j *job) dayUsedSince() time.Time {
	now := time.Now()
	if j.state != nil {
		for at := range j.state.Usage(now.Add(-24 * time.Hour)) {
			return at
		}
	}
	return now
}

// run does what is left and says how it ended.
func (s *session) run(ctx context.Context) (Outcome, error) {
	if s.metrics != nil {
		defer s.metrics.serve(s.job.metrics)()
	}
	over := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() { s.printer.Run(s.view, over) })
	if s.log != nil {
		beside.Go(func() { s.log.Run(s.limiter.Snapshot, s.runner.Gauges, over) })
	}
	beside.Go(func() { s.keepLearning(over) })
	err := s.runner.Run(ctx)
	end := s.ending(err)
	if s.ledger != nil {
		if err := s.ledger.Close(); err != nil { // what is lost counts at its hold
			s.printer.Warn(fmt.Sprintf("what the last calls have cost could not be noted, and counts as the most they may have: %v", err))
		}
	}
	if failure := s.keep(ctx, err == nil || end.finishes, end.code); failure != nil {
		end = ending{code: ExitFailed, err: failure, hint: goesOn}
	}
	close(over)
	beside.Wait()
	if s.log != nil {
		s.log.Close(end.word())
	}
	return s.conclude(end)
}

// keep notes what the session has found out, and seals the output once every record is done.
func (s *session) keep(ctx context.Context, done bool, code int) error {
	if s.state == nil {
		return nil
	}
	if err := s.learnStdin(); err != nil || !done {
		return err
	}
	return s.state.Finish(context.WithoutCancel(ctx), code)
}

// learnStdin remembers how long the standard input was, once it was read to its end.
func (s *session) learnStdin() error {
	if !s.from.stdin || s.from.whole || !s.reader.ended.Load() {
		return nil
	}
	if err := s.reader.Flush(); err != nil {
		return err
	}
	seen := s.reader.Progress()
	in := s.from.frozen()
	in[0].Lines, in[0].Records = seen.Position, seen.Records
	sum, err := fileSum(filepath.Join(s.state.Dir(), hashesName))
	if err != nil {
		return err
	}
	in[0].SHA256 = sum // of its lines' hashes: the bytes themselves are gone
	return s.state.LearnInput(in)
}

// progress is how many records are done, and how many there are, -1 while that is not known.
func (s *session) progress() (done, total int64) {
	done, total = s.counts().Total(), -1
	if n, known := s.from.records(); known {
		total = n
	}
	if s.state != nil { // in a retry round the records that wait for it have a row already
		done -= s.state.ToRetry()
	}
	return done, total
}

// view is the session at this moment.
func (s *session) view() report.View {
	c := s.counts()
	v := report.View{
		Elapsed: time.Since(s.started), Failed: c.Failed, Rejected: c.Rejected,
		Recent: s.collector.Recent(), Gauges: s.runner.Gauges(), Binding: s.limiter.Snapshot().Binding,
	}
	v.Done, v.Total = s.progress()
	v.Spending = s.spending()
	if s.state != nil {
		v.Failed -= s.state.ToRetry()
	}
	return v
}

// read is how many records the input has, as far as it is known.
func (s *session) read() int64 {
	if total, known := s.from.records(); known {
		return total
	}
	return max(s.reader.Progress().Records, s.counts().Total())
}

// conclude shows and keeps the summary.
func (s *session) conclude(end ending) (Outcome, error) {
	sum := s.summary(end)
	s.show(sum)
	if s.state != nil {
		if err := writeSummary(filepath.Join(s.state.Dir(), summaryName), sum); err != nil {
			s.printer.Note(fmt.Sprintf("the summary could not be kept: %v", err))
		}
	}
	return Outcome{sum.Account()}, end.exit()
}

// show prints the summary in the style of the progress.
func (s *session) show(sum *report.Summary) {
	switch s.printer.Style() {
	case report.StyleNone:
	case report.StyleJSON:
		enc := json.NewEncoder(s.env.Stderr)
		enc.SetEscapeHTML(false)
		_ = enc.Encode(struct { // as with every line on stderr, one that cannot be written changes nothing
			Event string `json:"event"`
			*report.Summary
		}{"summary", sum})
	default:
		_, _ = io.WriteString(s.env.Stderr, sum.Body())
	}
}

// summary is what there is to say at the end.
func (s *session) summary(end ending) *report.Summary {
	c, limiter := s.counts(), s.limiter.Snapshot()
	sum := &report.Summary{
		Ended: end.word(), Model: s.spec.Model,
		Session: report.NewSession(s.collector, limiter, s.reader.RepeatedIDs()),
		Records: report.Counts{Read: s.read(), Succeeded: c.Succeeded, Failed: c.Failed, Rejected: c.Rejected},
		Output:  s.spec.Output, Spending: s.spending(),
	}
	sum.Session.Quota = report.NewQuota(s.limits, limiter, s.limiter.Learned())
	sum.Records.Left = sum.Records.Read - c.Total()
	sum.Session.Connections = s.model.Connections()
	if c.Failed+c.Rejected > 0 {
		sum.Errors = s.spec.ErrorsPath()
	}
	if s.state == nil { // rows that were only streamed cannot be taken up again
		return sum
	}
	sum.State = s.spec.StatePath()
	next := sum.Records
	next.Left += s.state.ToRetry()
	sum.Next = report.NextSteps(next, againArgs(s.env.Args, s.spec.Deadline), s.verifyArgs())
	if stop, ok := errors.AsType[*pipeline.StopError](end.err); ok && stop.Reason == pipeline.StopSpending && next.Left > 0 {
		sum.Next[0].Why = "with a higher bound, " + sum.Next[0].Why
	}
	return sum
}

// verifyArgs is the command line that verifies the run.
func (s *session) verifyArgs() []string {
	args := []string{"verify", s.spec.Output}
	if !s.from.stdin {
		for _, name := range s.spec.Input {
			args = append(args, "-i", name)
		}
	}
	if s.spec.Errors != "" {
		args = append(args, "--errors", s.spec.Errors)
	}
	if s.spec.State != "" {
		args = append(args, "--state", s.spec.State)
	}
	return args
}

// ending tells what the end of the pipeline means for the job.
func (s *session) ending(err error) ending {
	left, again := s.read()-s.counts().Total(), startsOver
	if s.state != nil {
		left += s.state.ToRetry()
		again = goesOn
	}
	end := endingOf(err, s.counts(), left, again)
	if end.code == ExitStopped && absoluteDeadline(s.spec.Deadline) {
		end.hint = "with a later --deadline " + again
	}
	return end
}

// writeSummary replaces the summary of an earlier session.
func writeSummary(path string, sum *report.Summary) error {
	return atomicfile.Write(path, 0o600, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(sum)
	})
}

// fileSum is the SHA-256 of a file, in hex.
func fileSum(path string) (string, error) {
	f, err := private.OpenPrivate(path, os.O_RDONLY)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
