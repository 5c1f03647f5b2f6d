package jobs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/pipeline/input"
	"github.com/batchrun/batchrun/sinks"
)

// AdoptSpec says which files [Adopt] makes a run of.
type AdoptSpec struct {
	// Answers are the output files of a finished batch job: rows of any kind that package sinks knows; paths or globs. None: the
	// input of the run holds its own answers, as each line of Bedrock's output repeats its modelInput.
	Answers []string
	// Manifest is the job's manifest.json.out; "" for the one beside the first of the answers, if it is there. Its counts are held
	// against the rows.
	Manifest string
}

// manifestName is what Bedrock calls the summary of a batch job, see
// https://docs.aws.amazon.com/bedrock/latest/userguide/batch-inference-results.html.
const manifestName = "manifest.json.out"

// adoptBatch is how many rows are stored at once.
const adoptBatch = 1000

// Adopt makes a run of a batch job that ran elsewhere: output, error rows and state stand as if [Run] had been given spec and had got
// these answers. Run then sends with --retry-failed what failed there, and without it what has no answer. Records and
// answers are matched by id, or where an id was made up by the service, by equal modelInputs. Nothing is sent, and no model is asked.
//
// Its error is an *[ExitError]: 3 where some records failed, as [Run] would say; 4 where some have no answer.
func Adopt(ctx context.Context, spec Spec, adopt AdoptSpec, env Env) (Outcome, error) {
	if err := spec.Validate(); err != nil {
		return Outcome{}, refuse(err)
	}
	if spec.Output == "-" || spec.Fresh || spec.RetryFailed || len(spec.Input) == 0 {
		return Outcome{}, refuse(errors.New("a run is made of files: give -i and -o, without --fresh and --retry-failed"))
	}
	family, err := familyOf(spec)
	if err != nil {
		return Outcome{}, refuse(err)
	}
	if err := placesExist(&spec); err != nil {
		return Outcome{}, refuse(err)
	}
	from, err := findSources(spec.Input)
	if err != nil {
		return Outcome{}, refuse(err)
	}
	if from.stdin {
		return Outcome{}, refuse(errors.New("the standard input cannot be made a run of: name files with -i"))
	}
	defer from.forget()
	j := &job{
		spec: spec, env: env, from: from, family: family, api: cmp.Or(spec.API, bedrock.APIOf(spec.Model)),
		printer: report.NewPrinter(env.Stderr, report.StylePlain), adopts: true,
	}
	if from.template, j.template, err = loadTemplate(spec.Template); err != nil {
		return Outcome{}, refuse(err)
	}
	answers, err := findAnswers(ctx, adopt, from.files)
	if err != nil {
		return Outcome{}, refuse(err)
	}
	defer answers.close()
	if err := from.scan(ctx, spec.StatePath()); err != nil {
		return Outcome{}, refuse(err)
	}
	if err := answers.checkManifest(adopt, from); err != nil {
		return Outcome{}, refuse(err)
	}
	return j.adopt(ctx, answers)
}

// adopt stores the answers as a run's own.
func (j *job) adopt(ctx context.Context, answers *answers) (Outcome, error) {
	if err := j.open(j.from.frozen(), nil); err != nil {
		return Outcome{}, err
	}
	defer j.state.Close()
	if j.state.Resumed() {
		return Outcome{}, refuse(&adviceError{
			fmt.Errorf("%s: a run is there already", j.spec.Output), "name another output",
		})
	}
	if err := j.from.keep(j.state.Dir()); err != nil {
		return Outcome{}, &ExitError{Code: ExitFailed, Err: err}
	}
	left, err := j.storeAnswers(ctx, answers)
	if err != nil {
		if ctx.Err() != nil {
			return Outcome{}, &ExitError{Code: ExitInterrupted}
		}
		return Outcome{}, &ExitError{Code: ExitFailed, Err: err, Advice: "remove " + j.spec.Output + ", its error rows and " + j.spec.StatePath() + ", and try again"}
	}
	if unused := answers.unused(); unused > 0 {
		j.printer.Note(fmt.Sprintf("%d answers belong to no record of the input, and are left out", unused))
	}
	outcome := Outcome{j.account()}
	if left > 0 {
		return outcome, &ExitError{
			Code: ExitStopped, Err: fmt.Errorf("%d records have no answer", left), Advice: "batchrun run with the same -i, -o and -m sends them",
		}
	}
	code := ExitDone
	if c := j.state.Counts(); c.Failed+c.Rejected > 0 {
		code = ExitSomeFailed
	}
	if err := j.state.Finish(ctx, code); err != nil {
		return outcome, &ExitError{Code: ExitFailed, Err: err}
	}
	if code == ExitSomeFailed {
		return outcome, &ExitError{Code: code, Advice: "batchrun run with the same -i, -o and -m, and --retry-failed, sends what failed"}
	}
	return outcome, nil
}

// storeAnswers goes through the input and stores each record's answer. left is how many have none.
func (j *job) storeAnswers(ctx context.Context, answers *answers) (left int64, err error) {
	reader, err := j.from.open(j.state.Dir(), false, nil, j.state.Done)
	if err != nil {
		return 0, err
	}
	defer reader.Close()
	var batch []*pipeline.Result
	var held int64
	flush := func() error {
		err := j.state.Commit(ctx, batch)
		batch, held = nil, 0
		return err
	}
	for {
		rec, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return left, flush()
		}
		if err != nil {
			return left, err
		}
		res, err := answers.resultOf(rec, j.spec.Model)
		if err != nil {
			return left, err
		}
		if res == nil {
			left++
			continue
		}
		batch = append(batch, res)
		if held += rec.Size; len(batch) == adoptBatch || held > 32<<20 {
			if err := flush(); err != nil {
				return left, err
			}
		}
	}
}

// answers are the rows of a batch job, to be found by id or by their modelInput. In memory is only where they stand.
type answers struct {
	files   []*os.File
	names   []string
	byID    map[string]answerPlace
	byInput map[[sha256.Size]byte]answerPlace // of the modelInput, for ids that the service made up
	counts  struct{ ok, failed int64 }
	used    int64
}

// An answerPlace is where a row stands.
type answerPlace struct {
	file       int
	from, size int64
}

// findAnswers reads all rows once.
func findAnswers(ctx context.Context, adopt AdoptSpec, inputs []input.File) (_ *answers, err error) {
	names := adopt.Answers
	if len(names) == 0 {
		for _, f := range inputs {
			names = append(names, f.Path)
		}
	} else if names, err = input.Expand(names); err != nil {
		return nil, err
	}
	a := &answers{names: names, byID: map[string]answerPlace{}, byInput: map[[sha256.Size]byte]answerPlace{}}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	for i, name := range names { // uncompressed, as rows are read again where they stand
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		a.files = append(a.files, file)
		if err := a.index(ctx, i, name); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// index notes where the rows of a file stand.
func (a *answers) index(ctx context.Context, file int, name string) error {
	var offset, number int64
	for line, err := range sinks.Lines(name, -1) {
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		number++
		at := answerPlace{file, offset, int64(len(line))}
		offset += at.size
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		row, _, err := sinks.ParseAnyRow(line)
		if err == nil && !sinks.ValidJSON(line) {
			err = errors.New("not JSON")
		}
		if err != nil {
			return &adviceError{fmt.Errorf("%s:%d: %w", name, number, err), "answers are the .jsonl.out files of a batch job, uncompressed"}
		}
		if row.Error != nil {
			a.counts.failed++
		} else {
			a.counts.ok++
		}
		if row.HasID {
			if was, twice := a.byID[row.RecordID]; twice {
				return &adviceError{
					fmt.Errorf("%s:%d: a second answer for %q, the first is in %s", name, number, row.RecordID, a.names[was.file]),
					"records and answers are matched by id, so every id may come once only",
				}
			}
			a.byID[row.RecordID] = at
		}
		if key, ok := inputKey(row.ModelInput); ok {
			a.byInput[key] = at
		}
	}
	return nil
}

// inputKey is the same for modelInputs that differ in white space at most.
func inputKey(raw []byte) (key [sha256.Size]byte, ok bool) {
	var b bytes.Buffer
	if len(raw) == 0 || json.Compact(&b, raw) != nil {
		return key, false
	}
	return sha256.Sum256(b.Bytes()), true
}

// resultOf is the answer of a record as a result, nil where there is none.
func (a *answers) resultOf(rec *pipeline.Record, model string) (*pipeline.Result, error) {
	if rec.Fault != nil {
		return &pipeline.Result{Record: rec, ModelID: model, Err: &pipeline.RowError{Type: rec.Fault.Type, Message: rec.Fault.Message}}, nil
	}
	at, ok := a.byID[rec.ID]
	if !ok && rec.ID == rec.Place() { // it has none of its own, and the service made one up
		if key, keyed := inputKey(rec.Input); keyed {
			at, ok = a.byInput[key]
		}
	}
	if !ok {
		return nil, nil
	}
	line := make([]byte, at.size)
	if _, err := a.files[at.file].ReadAt(line, at.from); err != nil {
		return nil, fmt.Errorf("%s: %w", a.names[at.file], err)
	}
	row, _, err := sinks.ParseAnyRow(line)
	if err != nil {
		return nil, fmt.Errorf("%s: changed while it was being read: %w", a.names[at.file], err)
	}
	a.used++
	res := row.Result()
	res.ModelID = model
	body := rec.Input
	if body == nil {
		body = res.Record.Input
	}
	own := *rec // nobody writes to a record
	own.Metadata = withoutAnswer(rec.Metadata)
	res.Record, res.Request = &own, &pipeline.Request{Record: &own, Body: body}
	res.Attempts = max(res.Attempts, 1)
	return res, nil
}

// withoutAnswer is the metadata of a line that holds its own answer, without that.
func withoutAnswer(metadata []byte) json.RawMessage {
	var b []byte
	for name, value := range sinks.Members(metadata) {
		switch string(name) {
		case `"modelOutput"`, `"error"`:
			continue
		}
		b = append(append(append(append(b, ','), name...), ':'), value...)
	}
	if b == nil {
		return nil
	}
	b[0] = '{'
	return append(b, '}')
}

// unused is how many answers no record has asked for.
func (a *answers) unused() int64 { return a.counts.ok + a.counts.failed - a.used }

func (a *answers) close() {
	for _, f := range a.files {
		_ = f.Close()
	}
}

// A manifest is what Bedrock tells of a batch job.
type manifest struct {
	Total     *int64 `json:"totalRecordCount"`
	Processed *int64 `json:"processedRecordCount"`
	Succeeded *int64 `json:"successRecordCount"`
	Failed    *int64 `json:"errorRecordCount"`
}

// checkManifest holds the counts of the job's manifest against the rows and the input, so that a file that was not copied, or not
// whole, is noticed.
func (a *answers) checkManifest(adopt AdoptSpec, from *sources) error {
	path := adopt.Manifest
	if path == "" {
		path = filepath.Join(filepath.Dir(a.names[0]), manifestName)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && adopt.Manifest == "" {
		return nil
	}
	if err != nil {
		return err
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return fmt.Errorf("%s: not a manifest: %w", path, err)
	}
	var errs []error
	compare := func(name string, want *int64, got int64) {
		if want != nil && *want != got {
			errs = append(errs, &adviceError{
				fmt.Errorf("%s: %s is %d, and the files have %s", path, name, *want, strconv.FormatInt(got, 10)),
				"copy all files of the job again, and name them all",
			})
		}
	}
	compare("processedRecordCount", m.Processed, a.counts.ok+a.counts.failed)
	compare("successRecordCount", m.Succeeded, a.counts.ok)
	compare("errorRecordCount", m.Failed, a.counts.failed)
	if len(adopt.Answers) > 0 { // otherwise what was not processed is not there at all
		records, _ := from.records()
		compare("totalRecordCount", m.Total, records)
	}
	return errors.Join(errs...)
}
