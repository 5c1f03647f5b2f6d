package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/dustin/go-humanize"
	"golang.org/x/term"
)

// An Outcome is what to print last.
type Outcome struct {
	// Account is read = succeeded + failed + rejected + left; "" where nothing was opened.
	Account string
}

// Run does a job, or goes on with it: the same spec again resumes. The error is nil when every record
// of the input has a result, and an *[ExitError] otherwise. What is to be seen on the way goes to
// env.Stderr.
func Run(ctx context.Context, spec Spec, env Env) (Outcome, error) {
	j, err := newJob(spec, env)
	if err != nil {
		return Outcome{}, err
	}
	defer j.from.forget()
	if err := j.loadTariff(); err != nil {
		return Outcome{}, refuse(err)
	}
	j.deadline, j.late = deadlineOf(spec.Deadline, time.Now())
	if spec.Output == "-" {
		return j.stream(ctx)
	}
	return j.run(ctx)
}

// newJob refuses what can be refused before anything is opened.
func newJob(spec Spec, env Env) (*job, error) {
	if len(spec.Input) == 0 && isTerminal(env.Stdin) {
		return nil, refuse(&adviceError{errors.New("no input: the standard input is a terminal"), "name the input with -i, or pipe it in"})
	}
	if err := spec.Validate(); err != nil {
		return nil, refuse(err)
	}
	family, err := familyOf(spec)
	if err != nil {
		return nil, refuse(err)
	}
	if err := placesExist(&spec); err != nil {
		return nil, refuse(err)
	}
	from, err := findSources(spec.Input)
	if err != nil {
		return nil, refuse(err)
	}
	style, err := report.ParseStyle(spec.Progress)
	if err != nil {
		return nil, refuse(err)
	}
	j := &job{spec: spec, env: env, from: from, family: family, api: spec.API, printer: report.NewPrinter(env.Stderr, style)}
	if from.template, j.template, err = loadTemplate(spec.Template); err != nil {
		return nil, refuse(err)
	}
	from.notice = j.printer.Note
	return j, nil
}

// placesExist checks that the folders of what is written are there. They are not made: a typing error would be.
func placesExist(spec *Spec) error {
	if spec.Output == "-" {
		return nil
	}
	var errs []error
	seen := map[string]bool{}
	for _, path := range []string{spec.Output, spec.ErrorsPath(), spec.StatePath()} {
		dir := filepath.Dir(path)
		if seen[dir] {
			continue
		}
		seen[dir] = true
		if info, err := os.Stat(dir); err != nil {
			errs = append(errs, &adviceError{fmt.Errorf("%s: its folder cannot be used: %w", path, err), "mkdir -p " + dir})
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("%s: %s is not a folder", path, dir))
		}
	}
	return errors.Join(errs...)
}

// familyOf tells the family before anything is read or opened; "" where it has to be looked up, which [job.connect] does.
func familyOf(spec Spec) (string, error) {
	switch {
	case spec.API == bedrock.ConverseStream:
		return converseFamily, nil
	case spec.Family != "":
		return spec.Family, nil
	}
	family, err := bedrock.FamilyOf(spec.Model)
	if err != nil && bedrock.CanLookup(spec.Model) {
		return "", nil
	}
	return family, err
}

// converseFamily stands for the one format of Converse in the frozen settings of a run.
const converseFamily = "converse"

// A job is one session of a run.
type job struct {
	spec Spec
	// deadline is when it has to be over, zero for never; late is why it cannot be.
	deadline time.Time
	late     error
	env      Env
	from     *sources
	family   string // "" until it is known
	api      string // "" until it is known
	template string // its text, "" for none
	printer  *report.Printer
	model    *bedrock.Model
	state    *state.Run   // nil for a stream of rows
	metrics  net.Listener // nil without --metrics-addr
	tariff   *tariff      // nil where money is not counted
	adopts   bool         // the results come from elsewhere
}

// run opens the state, does what is left of the job, and says how it ended.
func (j *job) run(ctx context.Context) (Outcome, error) {
	dir := j.spec.StatePath()
	old, resumes, err := state.ReadFrozen(dir)
	if err != nil {
		return Outcome{}, refuse(err)
	}
	again := resumes && !j.spec.Fresh
	if j.late != nil && (!again || j.spec.RetryFailed) {
		return Outcome{}, refuse(j.late)
	}
	if err := j.listen(); err != nil {
		return Outcome{}, refuse(err)
	}
	defer j.unlisten()
	var offline error // why the model cannot be called
	if again {
		offline, err = j.resume(ctx, dir, old)
	} else {
		err = j.begin(ctx, dir)
	}
	if err != nil {
		if ctx.Err() != nil {
			err = &ExitError{Code: ExitInterrupted}
		}
		return Outcome{}, err
	}
	defer j.state.Close()
	outcome, err := j.opened(ctx, offline)
	if outcome.Account == "" {
		outcome.Account = j.account()
	}
	return outcome, err
}

// begin starts a run: credentials first, then the input, and only then is a file made.
func (j *job) begin(ctx context.Context, dir string) error {
	if err := j.connect(ctx); err != nil {
		return err
	}
	if err := j.from.scan(ctx, dir); err != nil {
		return refuse(err)
	}
	return j.open(j.from.frozen(), nil)
}

// assume takes what has to be looked up, and could not be, for what it was: a run that is finished says so without any account.
func (j *job) assume(old state.Frozen) {
	if old.Model != j.spec.Model {
		return
	}
	if j.family == "" {
		j.family = old.Family
	}
	if j.api == "" {
		j.api = old.API
	}
}

// resume opens a run that is there. How the input differs, if it does, is told beside all other
// differences. A run that is finished says so without a model; offline is what is said of any other.
func (j *job) resume(ctx context.Context, dir string, old state.Frozen) (offline, err error) {
	offline = j.connect(ctx)
	if offline != nil {
		j.assume(old)
	}
	if offline != nil && j.spec.RetryFailed { // opening would begin a round
		return nil, offline
	}
	differs := j.from.resume(ctx, dir, old.Input)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	in := j.from.frozen()
	if differs != nil {
		in = old.Input
	}
	return offline, j.open(in, differs)
}

// opened does what is left of a run that is open.
func (j *job) opened(ctx context.Context, offline error) (Outcome, error) {
	if code, done := j.state.Finished(); done {
		return j.alreadyDone(ctx, code)
	}
	if j.late != nil {
		return Outcome{}, refuse(j.late)
	}
	if offline != nil {
		return Outcome{}, offline
	}
	if err := j.from.keep(j.state.Dir()); err != nil {
		return Outcome{}, &ExitError{Code: ExitFailed, Err: err, Advice: goesOn}
	}
	return j.work(ctx)
}

// account counts the rows there are, where no session could.
func (j *job) account() string {
	c := j.state.Counts()
	read, known := j.from.records()
	if !known {
		read = c.Total()
	}
	return Account(read, c.Succeeded, c.Failed, c.Rejected, read-c.Total())
}

// open opens the state directory, or says why not.
func (j *job) open(in []state.Source, inputErr error) error {
	var err error
	j.state, err = state.Open(state.Options{
		Dir: j.spec.StatePath(), Output: j.spec.Output, Errors: j.spec.ErrorsPath(),
		Frozen:       j.frozen(in),
		CompareInput: func(_, _ []state.Source) error { return inputErr },
		Fresh:        j.spec.Fresh, RetryFailed: j.spec.RetryFailed, PaidElsewhere: j.adopts, Counted: j.counted(),
		Command: "batchrun run -o " + j.spec.Output, Settings: j.settings(),
	})
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*state.MismatchError](err); ok {
		return refuse(&adviceError{err, "give what it was started with, or another output, or --fresh to start again (old files are moved aside)"})
	}
	if _, ok := errors.AsType[*state.LockedError](err); ok {
		return refuse(&adviceError{err, "wait for it, or stop it"})
	}
	if refused, ok := errors.AsType[*state.RefusedError](err); ok {
		return refuse(&adviceError{err, refused.Hint})
	}
	return &ExitError{Code: ExitFailed, Err: err}
}

// frozen is what may not change between the sessions of a run.
func (j *job) frozen(in []state.Source) state.Frozen {
	format, _ := j.spec.OutputFormat() // validated
	f := state.Frozen{
		Input: in, Model: j.spec.Model, Family: j.family, API: j.api,
		MaxTokens: j.spec.MaxTokens, Format: format, Rows: j.spec.Rows, Defaults: j.spec.guardrail(),
	}
	if j.template != "" {
		if f.Defaults == nil {
			f.Defaults = map[string]string{}
		}
		f.Defaults["template"] = templateMark(j.template)
	}
	return f
}

// settings is what may change, for the log of sessions.
func (j *job) settings() map[string]string {
	s := &j.spec
	return map[string]string{
		"concurrency": strconv.Itoa(s.Concurrency), "max-attempts": strconv.Itoa(s.MaxAttempts),
		"retry-budget": fmt.Sprint(s.RetryBudget), "deadline": s.Deadline, "count-tokens": strconv.FormatBool(s.CountTokens),
		"rpm": strconv.FormatInt(s.RPM, 10), "tpm": strconv.FormatInt(s.TPM, 10), "tpd": strconv.FormatInt(s.TPD, 10),
		"service-tier": s.ServiceTier, "performance-config-latency": s.PerformanceLatency, "request-metadata": strings.Join(s.RequestMetadata, ","),
		"burndown": fmt.Sprint(s.Burndown), "probe": strconv.FormatBool(s.Probe), "region": s.Region, "endpoint-url": s.EndpointURL,
		"max-cost": fmt.Sprint(s.MaxCost), "max-tokens-total": strconv.FormatInt(s.MaxTokensTotal, 10), "prices": s.Prices,
		"first-token-timeout": s.FirstTokenTimeout.String(), "idle-timeout": s.IdleTimeout.String(), "timeout": s.Timeout.String(),
	}
}

// modelOptions are the options of the model. Warn is told what no error reports.
func (j *job) modelOptions(warn func(string)) bedrock.Options {
	opt := bedrock.Options{
		API: j.spec.API, Tuning: j.spec.tuning(),
		ModelID: j.spec.Model, Family: j.spec.Family,
		Region: j.spec.Region, Profile: j.spec.Profile, EndpointURL: j.spec.EndpointURL,
		MaxTokens: j.spec.MaxTokens, Concurrency: j.spec.Concurrency, HTTPVersion: j.spec.HTTPVersion,
		Warn: warn,
	}
	if j.env.Bedrock != nil {
		j.env.Bedrock(&opt)
	}
	return opt
}

// newModel makes the model, which sends nothing.
func (j *job) newModel(ctx context.Context, opt bedrock.Options) (*bedrock.Model, error) {
	model, err := bedrock.New(ctx, opt)
	if err != nil {
		return nil, refuse(err)
	}
	j.family, j.api = model.Family(), model.API()
	return model, nil
}

// lookup finds the foundation model behind an ARN that does not tell it, where nobody has named its family. Converse needs it for the
// burndown only, and goes on without.
func (j *job) lookup(ctx context.Context, opt *bedrock.Options) error {
	if opt.Family != "" || !bedrock.CanLookup(opt.ModelID) {
		return nil
	}
	foundation, err := bedrock.Lookup(ctx, *opt)
	switch {
	case err == nil:
		opt.Foundation = foundation
		j.printer.Note(fmt.Sprintf("%s is %s", opt.ModelID, foundation))
	case ctx.Err() != nil:
		return &ExitError{Code: ExitInterrupted}
	case opt.API == bedrock.ConverseStream && errors.Is(err, bedrock.ErrUnknownFamily):
		j.printer.Note(fmt.Sprintf("%v; what its output tokens take of a quota is not known, --burndown says it", err))
	default:
		return refuse(err)
	}
	return nil
}

// connect makes the model and resolves its credentials.
func (j *job) connect(ctx context.Context) error {
	opt := j.modelOptions(j.printer.Note)
	opt.WarnCost = j.printer.Warn
	if err := j.lookup(ctx, &opt); err != nil {
		return err
	}
	model, err := j.newModel(ctx, opt)
	if err != nil {
		return err
	}
	if err := j.priceModel(model.Region(), model.Foundation()); err != nil {
		return err
	}
	if err := model.Prepare(ctx); err != nil {
		if ctx.Err() != nil {
			return &ExitError{Code: ExitInterrupted}
		}
		return refuse(err)
	}
	j.model = model
	return nil
}

// work sends what is left and stores what comes.
func (j *job) work(ctx context.Context) (Outcome, error) {
	for _, note := range j.state.Notes() {
		j.printer.Note(note)
	}
	if changed, costs := j.changed(); costs {
		j.printer.Warn("changed since the last session: " + changed)
	} else if changed != "" {
		j.printer.Note("changed since the last session: " + changed)
	}
	if j.spec.Fresh && j.bounded() {
		j.printer.Warn("--fresh: what the run before has spent does not count any more")
	}
	if note := j.diskNote(); note != "" {
		j.printer.Note(note)
	}
	reader, err := j.from.open(j.state.Dir(), j.spec.Strict, j.env.Stdin, j.state.Done)
	if err != nil {
		return Outcome{}, &ExitError{Code: ExitFailed, Err: err}
	}
	defer reader.Close()
	j.checkStrictly(reader)
	s, err := j.newSession(reader, hashesFirst{j.state, reader}, j.state.Counts)
	if err != nil {
		return Outcome{}, err
	}
	return s.run(ctx)
}

// checkStrictly makes the reader find what only the model's format rules out. It costs a second encoding, so it is for --strict.
func (j *job) checkStrictly(r *reader) {
	if j.spec.Strict {
		r.check = func(rec *pipeline.Record) error {
			_, err := j.model.Encode(rec)
			return err
		}
	}
}

// costly are the settings that say what a call costs, and how much all of them may.
var costly = []string{"max-cost", "max-tokens-total", "prices", "region", "service-tier", "performance-config-latency"}

// changed names the settings that are not what they were in the session before: they may change, and are told. costs tells whether one
// of them is about money.
func (j *job) changed() (text string, costs bool) {
	sessions := j.state.Sessions()
	if len(sessions) < 2 {
		return "", false
	}
	before, now := sessions[len(sessions)-2].Settings, sessions[len(sessions)-1].Settings
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if before[name] != now[name] {
			parts = append(parts, fmt.Sprintf("--%s %q, was %q", name, now[name], before[name]))
			costs = costs || slices.Contains(costly, name)
		}
	}
	return strings.Join(parts, "; "), costs
}

// hashesFirst makes the hashes of the lines read durable before their records count.
type hashesFirst struct {
	*state.Run
	reader *reader
}

// Commit is a pipeline.Store's.
func (f hashesFirst) Commit(ctx context.Context, batch []*pipeline.Result) error {
	if err := f.reader.Sync(); err != nil {
		return err
	}
	err := f.Run.Commit(ctx, batch)
	if errors.Is(err, state.ErrAlreadyDone) {
		return fmt.Errorf("%w: %w", pipeline.ErrPermanent, err)
	}
	return err
}

// diskNote says beforehand what a Parquet output needs beside its spool.
func (j *job) diskNote() string {
	format, _ := j.spec.OutputFormat()
	if format != state.Parquet {
		return ""
	}
	need := max(state.EstimateDisk(j.frozen(j.from.frozen()), 0), 0)
	free, known := state.FreeDisk(j.spec.StatePath())
	note := fmt.Sprintf("Parquet is written at the end: until then rows are kept in %s, and while it is sealed both are there (at most about %s)",
		j.spec.StatePath(), humanize.IBytes(uint64(need)))
	if known && free < need {
		note += fmt.Sprintf("; only %s are free", humanize.IBytes(uint64(max(free, 0))))
	}
	return note
}

// alreadyDone is the end of a run that had ended before: nothing is sent.
func (j *job) alreadyDone(ctx context.Context, code int) (Outcome, error) {
	if err := j.sameStdin(ctx); err != nil {
		if ctx.Err() != nil {
			return Outcome{}, &ExitError{Code: ExitInterrupted}
		}
		return Outcome{}, refuse(err)
	}
	c := j.state.Counts()
	j.printer.Note(fmt.Sprintf("%s: this run is finished; nothing was sent", j.spec.Output))
	return Outcome{Account(c.Total(), c.Succeeded, c.Failed, c.Rejected, 0)}, ending{code: code}.exit()
}

// sameStdin reads what is piped into a finished run, to see that it is what the run was over.
func (j *job) sameStdin(ctx context.Context) error {
	if !j.from.stdin {
		return nil
	}
	r, err := j.from.open(j.state.Dir(), false, j.env.Stdin, func(int64) bool { return true })
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if _, err := r.Next(ctx); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// Account is the last line a run prints.
func Account(read, succeeded, failed, rejected, left int64) string {
	return report.Account(read, succeeded, failed, rejected, left)
}

// An adviceError is an error with what to do about it.
type adviceError struct {
	error
	advice string
}

// Unwrap gives the error without the advice.
func (e *adviceError) Unwrap() error { return e.error }

// Hint is the advice.
func (e *adviceError) Hint() string { return e.advice }

func isTerminal(r any) bool {
	f, ok := r.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
