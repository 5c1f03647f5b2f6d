package jobs

import (
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/jobs/spend"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
)

// bounded tells whether the run has a bound on what it may cost.
func (j *job) bounded() bool { return j.spec.MaxCost > 0 || j.spec.MaxTokensTotal > 0 }

// counted tells whether what the run spends is counted: for a bound, or to tell the cost by prices that have been found.
func (j *job) counted() bool { return j.bounded() || j.tariff != nil }

// loadTariff reads the prices, where there are any.
func (j *job) loadTariff() error {
	if j.spec.Prices == "" {
		return nil
	}
	table, err := loadPrices(j.spec.Prices)
	if err != nil {
		return err
	}
	j.tariff = newTariff(&j.spec, table)
	return nil
}

// newTariff is what calls of a run cost by a table; its prices are still to be found.
func newTariff(spec *Spec, table *price.Table) *tariff {
	return &tariff{
		table: table, file: spec.Prices,
		use: price.Use{ModelID: spec.Model, Tier: spec.ServiceTier, Latency: spec.PerformanceLatency},
	}
}

// priceModel finds the prices of the model, once its Region is known. Without a bound in money a table that has none is passed over.
func (j *job) priceModel(region, foundation string) error {
	if j.tariff == nil {
		return nil
	}
	err := j.tariff.find(region, foundation, time.Now())
	switch {
	case err == nil:
		return nil
	case j.spec.MaxCost > 0:
		return refuse(noBound(err))
	}
	j.printer.Warn(fmt.Sprintf("money is not counted: %v", err))
	j.tariff = nil
	return nil
}

// noBound says of what is paid for otherwise that a bound in money cannot hold it.
func noBound(err error) error {
	if otherwise, ok := errors.AsType[*otherwisePaidError](err); ok {
		return fmt.Errorf("--max-cost cannot bound it: %w", otherwise)
	}
	return err
}

// An otherwisePaidError says that a model is not paid for by the token.
type otherwisePaidError struct{ how string }

// Error says how it is paid for.
func (e *otherwisePaidError) Error() string { return e.how }

// Hint names the bounds that hold all the same.
func (e *otherwisePaidError) Hint() string { return byTheHour }

// A tariff is what calls of a run cost. Its method at may be called concurrently.
type tariff struct {
	table *price.Table
	file  string
	use   price.Use

	mu    sync.Mutex
	day   int64 // since 1970, UTC: prices come into force at its beginning
	meter price.Meter
}

const byTheHour = "--max-tokens-total bounds tokens, and --deadline the hours"

// find finds the prices of now.
func (t *tariff) find(region, foundation string, now time.Time) error {
	t.use.Region = region
	for _, paid := range []struct{ arn, how string }{
		{":provisioned-model/", "provisioned throughput is paid for by the hour, whatever it answers"},
		{":imported-model/", "an imported model is paid for by the minutes that its copies run, whatever they answer"},
	} {
		if strings.Contains(t.use.ModelID, paid.arn) {
			return &otherwisePaidError{paid.how}
		}
	}
	meter, err := t.lookup(now)
	if err != nil && foundation != t.use.ModelID && foundation != "" {
		// Of an application inference profile the table knows the model behind it.
		t.use.ModelID = foundation
		meter, err = t.lookup(now)
	}
	t.day, t.meter = dayOf(now), meter
	return err
}

// lookup asks the table. The service may answer by its default tier where it has no room in the one that was asked for, and by
// standard latency likewise: the dearer of them counts.
func (t *tariff) lookup(now time.Time) (price.Meter, error) {
	use := t.use
	use.At = now
	e, factor, ok := t.table.Find(use)
	if !ok {
		as := ""
		if use.Tier != "" {
			as = ", tier " + use.Tier
		}
		if use.Latency != "" {
			as += ", " + use.Latency + " latency"
		}
		return price.Meter{}, &adviceError{
			fmt.Errorf("%s has no price for %s in %s%s", t.file, use.ModelID, use.Region, as),
			"add it, or bound the tokens alone with --max-tokens-total",
		}
	}
	meter, ok := e.Meter(factor)
	if !ok {
		return price.Meter{}, &adviceError{fmt.Errorf("%s:%d has no prices by token for %s", t.file, e.Line, use.ModelID), byTheHour}
	}
	for _, use := range []price.Use{{Tier: "", Latency: use.Latency}, {Tier: use.Tier, Latency: ""}, {}} {
		use.ModelID, use.Region, use.At = t.use.ModelID, t.use.Region, now
		if e, factor, ok := t.table.Find(use); ok {
			if other, ok := e.Meter(factor); ok {
				meter = meter.Or(other)
			}
		}
	}
	return meter, nil
}

// at is what tokens cost at a time. Once found, prices do not vanish.
func (t *tariff) at(now time.Time) price.Meter {
	t.mu.Lock()
	defer t.mu.Unlock()
	if day := dayOf(now); day != t.day {
		if meter, err := t.lookup(now); err == nil {
			t.meter = meter
		}
		t.day = day
	}
	return t.meter
}

func dayOf(t time.Time) int64 { return t.Unix() / (24 * 60 * 60) }

// openLedger takes up the count of what the run has spent; nil where nothing is counted.
func (j *job) openLedger() (*spend.Ledger, error) {
	if !j.counted() {
		return nil, nil //nolint:nilnil // nothing is counted
	}
	opt := spend.Options{
		MaxMoney: pico(j.spec.MaxCost), MaxTokens: j.spec.MaxTokensTotal,
		Most: j.most, Counting: j.spec.CountTokens, Notice: j.printer.Warn,
	}
	if j.tariff != nil {
		opt.Currency, opt.Meter = j.tariff.table.Currency, j.tariff.at
	}
	if j.state != nil {
		opt.Path = filepath.Join(j.state.Dir(), spend.FileName)
		all, uncounted := j.state.Answers()
		opt.Rows = spend.Rows{All: usageOf(all), Uncounted: usageOf(uncounted)}
	}
	ledger, err := spend.Open(opt)
	if err == nil {
		return ledger, nil
	}
	if _, refused := errors.AsType[*spend.RefusedError](err); refused || errors.Is(err, journal.ErrCorrupt) {
		hint := "put it back as the run left it; --fresh starts again and counts from nothing"
		if !j.bounded() {
			hint += "; without --prices the run goes on, and nothing is counted"
		}
		return nil, refuse(&adviceError{err, hint})
	}
	return nil, &ExitError{Code: ExitFailed, Err: err, Advice: goesOn}
}

// most is what a call is billed at most. Where nobody can tell, a run without a bound is not to stop: there it counts as estimated.
func (j *job) most(req *pipeline.Request) (input, output int64, err error) {
	input, output, err = j.model.Most(req)
	if err != nil && !j.bounded() {
		return req.InputTokens, req.MaxTokens, nil
	}
	return input, output, err
}

// pico is an amount in parts of [price.Pico]. What is left of a budget may be next to nothing, but stays a bound.
func pico(amount float64) int64 {
	if amount <= 0 {
		return 0
	}
	return max(1, int64(math.Round(amount*price.Pico)))
}

func usageOf(u state.Used) pipeline.Usage {
	return pipeline.Usage{
		InputTokens: u.InputTokens, OutputTokens: u.OutputTokens,
		CacheReadInputTokens: u.CacheReadInputTokens, CacheWriteInputTokens: u.CacheWriteInputTokens,
	}
}

// spending is what was spent up to now, as it is shown; nil where nothing is counted.
func (s *session) spending() *report.Spending {
	if s.ledger == nil {
		return nil
	}
	now := s.ledger.Spent()
	money := func(pico int64) float64 { return math.Round(float64(pico)/(price.Pico/1e6)) / 1e6 }
	return &report.Spending{
		Currency: now.Currency,
		Cost:     money(now.Money), UnsureCost: money(now.UnsureMoney), HeldCost: money(now.HeldMoney), MaxCost: money(now.MaxMoney),
		Tokens: now.Tokens, UnsureTokens: now.UnsureTokens, HeldTokens: now.HeldTokens, MaxTokens: now.MaxTokens,
	}
}
