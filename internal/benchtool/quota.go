package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
	"golang.org/x/sync/errgroup"
)

// The requests of the quota rows: of about quotaUse tokens and quotaLasts each, quotaRate of them a second.
const (
	quotaMaxTokens = 480
	quotaOutput    = 210
	quotaRate      = 20
	quotaFirst     = 500 * time.Millisecond
	quotaToken     = 17 * time.Millisecond
	quotaStreams   = 128 // at most; about 80 are needed
)

// quota runs four rows of the laboratory (internal/lab) once for real: the command, the wire, the simulator, real time.
func quota(ctx context.Context, args []string) error {
	f, l := labFlags("quota")
	only := f.String("rows", "", "`words` that a row's name must contain")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	input := l.path("quota.jsonl")
	if err := questions(input, 20_000); err != nil {
		return err
	}
	// All rows at once: none of them is about speed.
	var g errgroup.Group
	outcomes := make([]quotaOutcome, len(quotaRows))
	for i, row := range quotaRows {
		if !strings.Contains(row.name, *only) {
			continue
		}
		g.Go(func() (err error) {
			outcomes[i], err = row.run(ctx, l, input)
			if err != nil {
				err = fmt.Errorf("%s: %w", row.name, err)
			}
			return err
		})
	}
	err := g.Wait()
	var t table
	t.row("row", "quota", "share", "bound", "throttled", "and", "verdict")
	for i, o := range outcomes {
		if o.verdict == "" {
			continue
		}
		t.row(quotaRows[i].name, quotaRows[i].shape, percent(o.share), percent(o.bound), percent(o.throttled), o.more, o.verdict)
		if o.verdict != "ok" {
			err = errors.Join(err, missed("%s: %s", quotaRows[i].name, o.verdict))
		}
	}
	t.print(os.Stdout)
	return err
}

// A quotaRow is one scenario with what it must reach.
type quotaRow struct {
	name    string
	shape   string // in words
	quota   sim.Quota
	stated  bool
	joins   time.Duration // a second runner comes after this; 0: none does
	dark    time.Duration // an outage of this length begins when the warm-up is over; 0: none does
	warm    time.Duration // what comes before it is not measured
	measure time.Duration

	share     float64 // of the bound, at least
	throttled float64 // of the attempts, at most
}

// A quotaOutcome is what it did reach.
type quotaOutcome struct {
	share, bound, throttled float64
	more, verdict           string
}

var quotaRows = []quotaRow{
	{
		name: "stated, right", shape: "sliding minute", quota: sim.Quota{Shape: sim.Sliding}, stated: true,
		warm: time.Minute, measure: 5 * time.Minute, share: 0.99, throttled: 0.0005,
	},
	{
		name: "nothing stated", shape: "bucket of 10 s", quota: sim.Quota{Shape: sim.Bucket, Window: 10 * time.Second},
		warm: 3 * time.Minute, measure: 5 * time.Minute, share: 0.975, throttled: 0.008,
	},
	{
		name: "two runners, one joining late", shape: "bucket of 60 s", quota: sim.Quota{Shape: sim.Bucket},
		joins: time.Minute, warm: 4 * time.Minute, measure: 6 * time.Minute, share: 0.965, throttled: 0.01,
	},
	{
		name: "an outage of 2 minutes", shape: "sliding minute", quota: sim.Quota{Shape: sim.Sliding}, stated: true,
		dark: 2 * time.Minute, warm: 90 * time.Second, measure: 4 * time.Minute,
	},
}

// run does the row against a server of its own.
func (q quotaRow) run(ctx context.Context, l *lab, input string) (quotaOutcome, error) {
	use, err := l.quotaUse(ctx, input)
	if err != nil {
		return quotaOutcome{}, err
	}
	q.quota.TPM = math.Round(use * quotaRate * 60)
	server, err := l.serve(ctx, sim.Options{
		Burndown: 1, OutputTokens: quotaOutput, OutputSpread: quotaOutput - 10, TokensPerChunk: 10, Quota: q.quota,
		FirstToken: sim.Latency{Mean: quotaFirst, Sigma: 0.2}, InterToken: sim.Latency{Mean: quotaToken},
	})
	if err != nil {
		return quotaOutcome{}, err
	}
	defer func() { _ = server.stop() }()

	began := time.Now()
	runners := []*quotaRunner{}
	begin := func() error {
		r, err := q.start(ctx, l, input, server)
		runners = append(runners, r)
		return err
	}
	if err := begin(); err != nil {
		return quotaOutcome{}, err
	}
	defer func() {
		for _, r := range runners {
			_ = r.process.cmd.Process.Kill() // where it is still there
		}
	}()
	if q.joins > 0 {
		if err := until(ctx, began.Add(q.joins)); err != nil {
			return quotaOutcome{}, err
		}
		if err := begin(); err != nil {
			return quotaOutcome{}, err
		}
	}
	if err := until(ctx, began.Add(q.warm)); err != nil {
		return quotaOutcome{}, err
	}
	var o quotaOutcome
	from := time.Now()
	before, err := server.account(ctx, false)
	if err != nil {
		return o, err
	}
	var dark quotaOutage
	if q.dark > 0 {
		if dark, err = q.outage(ctx, server, before, time.Since(began)); err != nil {
			return o, err
		}
	}
	if err := until(ctx, from.Add(q.measure)); err != nil {
		return o, err
	}
	after, err := server.account(ctx, false)
	if err != nil {
		return o, err
	}
	to := time.Now()
	o.share = (after.SettledTokens - before.SettledTokens) / (q.quota.TPM * to.Sub(from).Minutes())
	o.throttled = float64(after.Throttled-before.Throttled) / float64(after.Calls-before.Calls)
	var all []quotaUse
	var each []float64
	for _, r := range runners {
		uses, err := r.stop()
		if err != nil {
			return o, err
		}
		sum := 0.0
		for _, u := range uses {
			if u.at.After(from) && u.at.Before(to) {
				sum += u.used
			}
		}
		each = append(each, sum)
		all = append(all, uses...)
	}
	o.bound = 1
	if q.quota.Shape == sim.Sliding {
		o.bound = bound(all)
	}
	q.judge(&o, each, dark)
	return o, nil
}

// judge says what was reached and whether it is enough.
func (q quotaRow) judge(o *quotaOutcome, each []float64, dark quotaOutage) {
	var short []string
	if o.share < q.share*o.bound {
		short = append(short, "share below "+percent(q.share*o.bound))
	}
	if q.throttled > 0 && o.throttled > q.throttled {
		short = append(short, "throttled above "+percent(q.throttled))
	}
	if len(each) > 1 {
		j := jain(each)
		o.more = fmt.Sprintf("Jain %.3f", j)
		if j < 0.97 {
			short = append(short, "Jain below 0.97")
		}
	}
	if q.dark > 0 {
		o.more = fmt.Sprintf("%d probes, back after %.0f s, %d calls lost", dark.probes, dark.back.Seconds(), dark.lost)
		// The gap between probes grows to 40 s; then one call has to come through. What is lost are those in flight
		// when it began, and as many again to tell that it is an outage.
		if dark.probes > 40 || dark.lost > 2*quotaStreams+dark.probes || dark.back > 45*time.Second+quotaFirst+quotaOutput*quotaToken {
			short = append(short, fmt.Sprintf("more than 40 probes, %d calls lost or 45 s and one duration", 2*quotaStreams+dark.probes))
		}
	}
	if o.verdict = "ok"; len(short) > 0 {
		o.verdict = strings.Join(short, ", ")
	}
}

// A quotaOutage is what an outage has cost.
type quotaOutage struct {
	probes int64         // calls while it lasted, but for those that told of it
	back   time.Duration // from its end until the rate was 95 % of what it was
	lost   int64         // calls that brought no answer, throttled ones not counted
}

// outage lets every call fail for a while, and waits until all is as it was.
func (q quotaRow) outage(ctx context.Context, s *server, before account, age time.Duration) (quotaOutage, error) {
	var o quotaOutage
	usual := float64(before.Answers) / age.Seconds() * 0.95
	if err := s.call(ctx, "POST", "/control", strings.NewReader(`{"outage":true}`), nil); err != nil {
		return o, err
	}
	// Those in flight, and those that told of it, are no probes.
	if err := until(ctx, time.Now().Add(10*time.Second)); err != nil {
		return o, err
	}
	first, err := s.account(ctx, false)
	if err != nil {
		return o, err
	}
	if err := until(ctx, time.Now().Add(q.dark-10*time.Second)); err != nil {
		return o, err
	}
	last, err := s.account(ctx, false)
	if err != nil {
		return o, err
	}
	o.probes = last.Calls - first.Calls
	if err := s.call(ctx, "POST", "/control", strings.NewReader(`{"outage":false}`), nil); err != nil {
		return o, err
	}
	const over = 5 * time.Second
	ended := time.Now()
	for behind := last.Answers; ; {
		if err := until(ctx, time.Now().Add(over)); err != nil {
			return o, err
		}
		now, err := s.account(ctx, false)
		if err != nil {
			return o, err
		}
		if float64(now.Answers-behind) >= usual*over.Seconds() {
			o.back = time.Since(ended) - over
			o.lost = now.Calls - now.Throttled - now.InFlight - now.Answers
			return o, nil
		}
		if behind = now.Answers; time.Since(ended) > 2*time.Minute {
			o.back = time.Since(ended)
			return o, nil
		}
	}
}

// A quotaRunner is one run of batchrun.
type quotaRunner struct {
	job     job
	process *process
	lab     *lab
}

func (q quotaRow) start(ctx context.Context, l *lab, input string, s *server) (*quotaRunner, error) {
	dir, err := l.workdir("quota")
	if err != nil {
		return nil, err
	}
	j := job{
		input: input, output: filepath.Join(dir, "answers.jsonl"), url: s.url, concurrency: quotaStreams,
		more: []string{"--burndown", "1", "--drain", "10s"},
	}
	if q.stated {
		j.more = append(j.more, "--tpm", fmt.Sprint(q.quota.TPM))
	}
	p, err := l.start(ctx, l.batchrun, j.args()...)
	return &quotaRunner{j, p, l}, err
}

// A quotaUse is one answer: when its request began, how long it took, what it reserved and used.
type quotaUse struct {
	at             time.Time
	lasts          time.Duration
	reserved, used float64
}

// stop interrupts the run, and reads what it has answered.
func (r *quotaRunner) stop() ([]quotaUse, error) {
	_ = r.process.cmd.Process.Signal(os.Interrupt)
	took, err := r.process.wait()
	if err != nil {
		return nil, err
	}
	if took.exit != interrupted {
		return nil, r.process.failure(took.exit)
	}
	said, err := lastTally(r.process.stderr.String())
	if err != nil {
		return nil, err
	}
	if said.failed+said.rejected > 0 {
		return nil, fmt.Errorf("%v", said)
	}
	return quotaUses(r.job.output)
}

// quotaUses reads the answers of a file.
func quotaUses(path string) ([]quotaUse, error) {
	var all []quotaUse
	for row, err := range readRows(path) {
		if err != nil {
			return nil, err
		}
		at, err := time.Parse(time.RFC3339Nano, row.Timing.StartedAt)
		if err != nil {
			return nil, err
		}
		in, out := float64(row.Usage.InputTokens), float64(row.Usage.OutputTokens)
		all = append(all, quotaUse{at, time.Duration(row.Timing.TotalMs * float64(time.Millisecond)), in + quotaMaxTokens, in + out})
	}
	return all, nil
}

// quotaUse is the mean of what a record of the input uses, from a short run without any quota.
func (l *lab) quotaUse(ctx context.Context, input string) (float64, error) {
	server, err := l.serve(ctx, sim.Options{OutputTokens: quotaOutput, OutputSpread: quotaOutput - 10})
	if err != nil {
		return 0, err
	}
	defer func() { _ = server.stop() }()
	dir, err := l.workdir("quota-use")
	if err != nil {
		return 0, err
	}
	j := job{input: input, output: filepath.Join(dir, "answers.jsonl"), url: server.url, concurrency: 32}
	const records = 20_000
	if _, err := l.runBatchrun(ctx, j, tally{read: records, succeeded: records}); err != nil {
		return 0, err
	}
	all, err := quotaUses(j.output)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for _, u := range all {
		sum += u.used
	}
	return sum / float64(len(all)), nil
}

// bound is the share of a sliding minute that such requests can settle at: what they reserve and do not use is lost
// to others until they end.
func bound(all []quotaUse) float64 {
	var used, idle float64
	for _, u := range all {
		used += u.used
		idle += min(1, u.lasts.Minutes()) * (u.reserved - u.used)
	}
	return used / (used + idle)
}

// jain is Jain's index of fairness, 1 where all have the same.
func jain(each []float64) float64 {
	var sum, squares float64
	for _, x := range each {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(each)) * squares)
}

// questions writes n records of about 500 tokens.
func questions(path string, n int) error {
	text := strings.Repeat("The river turns slowly past old stone walls and nobody counts the boats. ", 27)
	return writeInput(path, n, func(w *bufio.Writer, i int) error {
		m := newMessage(recordID(i), fmt.Sprintf("%d: %s", i, text))
		m.ModelInput.MaxTokens = quotaMaxTokens
		return writeLine(w, m)
	})
}

func until(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func percent(x float64) string { return fmt.Sprintf("%.2f %%", 100*x) }
