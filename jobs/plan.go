package jobs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/batchrun/batchrun/jobs/plan"
	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/jobs/spend"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock"
)

// A PlanSpec is what [Plan] is told beside the job: what to expect of answers, and what they cost. Its zero value expects nothing.
type PlanSpec struct {
	Like         string  // output of an earlier run; "" for none
	ExpectOutput string  // tokens of an answer, see [plan.ParseTokens]; "" as Like, or at most
	ExpectTTFT   string  // until the first token, see [plan.ParseLatency]; "" as Like, or assumed
	ExpectSpeed  float64 // output tokens per second of one stream; 0: as Like, or assumed
	ModelUnits   int     // of provisioned throughput

	Now time.Time // for prices that come into force; zero: now
}

// Plan tells what [Run] with the same spec would send, how long it would take and what it would cost. It sends nothing, writes
// nothing and needs no credentials. What Run refuses it refuses in the same words: its error is an *[ExitError].
func Plan(ctx context.Context, spec Spec, what PlanSpec, env Env) (*plan.Report, error) {
	j, err := newJob(spec, env)
	if err != nil {
		return nil, err
	}
	defer j.from.forget()
	j.from.notice = nil // the report counts the forms of lines
	var notes []string
	model, err := j.newModel(ctx, j.modelOptions(func(note string) { notes = append(notes, note) }))
	if err != nil {
		return nil, err
	}
	defer model.Close()
	opt, err := what.options(&spec, model)
	if err != nil {
		return nil, refuse(err)
	}
	work := plan.NewWorkload(float64(spec.TPM))
	if work.Most, err = j.planMost(model, &opt); err != nil {
		return nil, refuse(err)
	}
	reader, err := j.from.open("", false, env.Stdin, nil)
	if err != nil {
		return nil, refuse(err)
	}
	defer reader.Close()
	if err := weigh(ctx, reader, model, work); err != nil {
		if ctx.Err() != nil {
			return nil, &ExitError{Code: ExitInterrupted}
		}
		return nil, refuse(err)
	}
	opt.RepeatedIDs = reader.RepeatedIDs()
	opt.Notes = append(notes, j.planNotes()...)
	rep, err := work.Plan(opt)
	if err != nil {
		return nil, &ExitError{Code: ExitFailed, Err: err}
	}
	if spec.Strict && rep.Records.Refused > 0 {
		rep.Warnings = append(rep.Warnings, "--strict ends the run at the first refused line")
	}
	return rep, nil
}

// planMost is what a bound on spending would hold for each request, by the very code that does; nil where neither a price nor a
// bound asks for it.
func (j *job) planMost(model *bedrock.Model, opt *plan.Options) (func(*pipeline.Request) (pipeline.Charge, error), error) {
	count := spend.Options{Most: model.Most, Now: func() time.Time { return opt.Now }}
	if opt.Prices != nil {
		t := newTariff(&j.spec, opt.Prices)
		err := t.find(model.Region(), model.Foundation(), opt.Now)
		if err != nil && j.spec.MaxCost > 0 {
			return nil, noBound(err)
		}
		if err == nil {
			count.Meter = t.at
		}
	}
	if count.Meter == nil && j.spec.MaxTokensTotal == 0 {
		return nil, nil //nolint:nilnil // nobody asks
	}
	ledger, err := spend.Open(count) // in memory
	if err != nil {
		return nil, err
	}
	return ledger.Most, nil
}

// weigh reads the input to its end.
func weigh(ctx context.Context, from pipeline.Source, model *bedrock.Model, work *plan.Workload) error {
	for {
		rec, err := from.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if rec.Fault != nil {
			work.Refuse(rec, rec.Fault)
			continue
		}
		req, err := model.Encode(rec)
		if fault, ok := errors.AsType[*pipeline.Fault](err); ok {
			work.Refuse(rec, fault)
			continue
		} else if err != nil {
			return err
		}
		work.Add(req)
	}
}

// options are what is expected and what it costs. All faults are told together.
func (what PlanSpec) options(spec *Spec, model *bedrock.Model) (plan.Options, error) {
	opt := plan.Options{
		Model: spec.Model, Family: model.Family(), Region: model.Region(), Tier: spec.ServiceTier, Latency: spec.PerformanceLatency, Limits: limitsOf(spec, model.Foundation()),
		PriceFile: spec.Prices, ModelUnits: what.ModelUnits, Now: what.Now,
		MaxCost: spec.MaxCost, MaxTokens: spec.MaxTokensTotal, CountsInput: spec.CountTokens,
	}
	if opt.Now.IsZero() {
		opt.Now = time.Now()
	}
	var bad SpecError
	spread := func(key, text string, parse func(string) (plan.Spread, error)) *plan.Spread {
		if text == "" {
			return nil
		}
		s, err := parse(text)
		if err != nil {
			bad.Faults = append(bad.Faults, Fault{Key: key, Message: fmt.Sprintf("%v, not %s", err, quote(text))})
			return nil
		}
		return &s
	}
	opt.Expect.Output = spread("expect-output", what.ExpectOutput, plan.ParseTokens)
	opt.Expect.FirstToken = spread("expect-ttft", what.ExpectTTFT, plan.ParseLatency)
	if opt.Expect.Speed = what.ExpectSpeed; !(opt.Expect.Speed >= 0 && opt.Expect.Speed <= 1e6) {
		bad.Faults = append(bad.Faults, Fault{Key: "expect-speed", Message: fmt.Sprintf("expected tokens per second from 0 to 1000000, not %v", opt.Expect.Speed)})
	}
	if what.ModelUnits < 0 {
		bad.Faults = append(bad.Faults, Fault{Key: "model-units", Message: fmt.Sprintf("expected at least 0, not %d", what.ModelUnits)})
	}
	var errs []error
	if bad.Faults != nil {
		errs = append(errs, &bad)
	}
	var err error
	if spec.Prices != "" {
		if opt.Prices, err = loadPrices(spec.Prices); err != nil {
			errs = append(errs, err)
		}
	}
	if what.Like != "" {
		if opt.Expect.Like, err = plan.ReadLike(what.Like, plan.Estimator(model)); err != nil {
			errs = append(errs, fmt.Errorf("--like: %w", err))
		}
	}
	return opt, errors.Join(errs...)
}

// priceFileMax is far more than any price table needs.
const priceFileMax = 1 << 20

func loadPrices(path string) (*price.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("--prices: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, priceFileMax))
	if err != nil {
		return nil, fmt.Errorf("--prices: %w", err)
	}
	return price.Load(path, data)
}

// planNotes tell where a run would not do what is planned.
func (j *job) planNotes() []string {
	var notes []string
	if j.spec.RetryFailed {
		notes = append(notes, "the plan is for all of the input, and --retry-failed sends the records of the error rows only")
	}
	if dir := j.spec.StatePath(); dir != "" && !j.spec.Fresh {
		if _, begun, err := state.ReadFrozen(dir); begun && err == nil {
			notes = append(notes, fmt.Sprintf("%s was begun before: the plan is for all of the input, and run goes on with what is left of it", j.spec.Output))
		}
	}
	return notes
}
