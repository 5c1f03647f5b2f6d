package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// spend gives runs a bound on what they may cost, fails their calls in many ways, kills them at random moments and gives the same
// command again, until they have used up the bound or their input. The server's own count of tokens, priced by the same table, must
// not pass the bound in any of them, and the same command once more must send nothing. Then it measures what a bound takes.
func spend(ctx context.Context, args []string) error {
	f, l := labFlags("spend")
	runs := f.Int("n", 200, "runs")
	pairs := f.Int("pairs", 3, "`pairs` of runs with a bound and without, that tell what it takes")
	from := f.Int("from", 0, "number of the first run, to see one again")
	parallel := f.Int("parallel", 4, "runs at a time")
	seed := f.Uint64("seed", uint64(time.Now().UnixNano()), "of everything that is drawn; printed when something is wrong") //nolint:gosec // any number will do
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	s := &spender{lab: l}
	if err := s.all(ctx, *from, *runs, *parallel, *seed); err != nil {
		return fmt.Errorf("seed %d: %w", *seed, err)
	}
	if *runs > 0 {
		s.print()
	}
	if err := s.found.err(); err != nil {
		return fmt.Errorf("seed %d: %w", *seed, err)
	}
	if *pairs == 0 {
		return nil
	}
	fmt.Println()
	return s.cost(ctx, *pairs)
}

// A spender keeps what the runs came to.
type spender struct {
	*lab
	mu    sync.Mutex
	ended []spree
	found faults
}

// A spree is one run, over all its sessions.
type spree struct {
	drawn
	sessions, kills, interrupts int
	exit                        int
	account                     account
	billed                      float64 // by the server's count
	said                        float64 // by the run itself
}

// drawn is what chance decides of a run.
type drawn struct {
	records, streams, maxTokens int
	api                         string
	input, output               float64 // price of a million tokens
	read, write                 float64 // the same, of a cache
	bound                       float64
	tokens                      int64 // a bound on these as well; 0 for none
	killsMost, interruptsMost   int
	more                        []string
	server                      sim.Options
}

func (s *spender) all(ctx context.Context, from, runs, parallel int, seed uint64) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(parallel)
	for i := from; i < from+runs; i++ {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(seed, uint64(i)))
			one, err := s.once(gctx, draw(rng), rng)
			if err != nil {
				return fmt.Errorf("run %d: %w", i, err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.ended = append(s.ended, one)
			s.check(i, &one)
			return nil
		})
	}
	return g.Wait()
}

// draw makes a run. Its bound is a part of what its input would cost, or a little more than that.
func draw(rng *rand.Rand) drawn {
	between := func(low, high int) int { return low + rng.IntN(high-low+1) }
	d := drawn{
		records: between(300, 2000), streams: between(1, 32), maxTokens: between(40, 400),
		api:   []string{"invoke-stream", "converse-stream", "invoke"}[rng.IntN(3)],
		input: float64(between(1, 40)) / 8, killsMost: max(0, rng.IntN(8)-2), interruptsMost: rng.IntN(2),
	}
	d.output = d.input * float64(between(1, 6))
	d.read, d.write = d.input/8, d.input*2
	length := between(20, 120)
	d.server = sim.Options{
		Seed: rng.Uint64(), OutputTokens: length, OutputSpread: length / 2,
		FirstToken: sim.Latency{Mean: time.Duration(between(1, 30)) * time.Millisecond, Sigma: 0.5},
		InterToken: sim.Latency{Mean: time.Duration(between(0, 300)) * time.Microsecond},
	}
	failing := rng.IntN(4) > 0
	for _, kind := range []string{
		"ThrottlingException", "ServiceUnavailableException", "InternalServerException", "ValidationException", "drop-before", "stall-headers",
		"throttlingException", "modelStreamErrorException", "truncate", "reset", "stall", "garbage", "ModelTimeoutException", "gateway-timeout",
	} {
		if failing && rng.IntN(3) == 0 {
			at := 0
			if strings.ToLower(kind[:1]) == kind[:1] {
				at = sim.AtRandom
			}
			d.server.Faults = append(d.server.Faults, sim.Fault{Kind: kind, Probability: 0.01 + 0.05*rng.Float64(), AtChunk: at})
		}
	}
	whole := float64(d.records) * (100*d.input + float64(min(length, d.maxTokens))*d.output) / 1e6
	d.bound = whole * (0.1 + rng.Float64())
	d.more = []string{"--api", d.api, "--first-token-timeout", "400ms", "--idle-timeout", "300ms", "--max-attempts", "3", "--drain", strconv.Itoa(between(1, 300)) + "ms"}
	if rng.IntN(4) == 0 {
		d.more = append(d.more, "--count-tokens")
	}
	if rng.IntN(4) == 0 {
		d.tokens = int64(float64(d.records*150) * (0.1 + rng.Float64()))
		d.more = append(d.more, "--max-tokens-total", strconv.FormatInt(d.tokens, 10))
	}
	return d
}

// cost is what the server has billed, by a reading of the prices of its own.
func (d *drawn) cost(u sim.Usage) float64 {
	return (float64(u.InputTokens)*d.input + float64(u.OutputTokens)*d.output +
		float64(u.CacheReadInputTokens)*d.read + float64(u.CacheWriteInputTokens)*d.write) / 1e6
}

// once lays out a run and starts it again and again until it ends by itself, and then once more.
func (s *spender) once(ctx context.Context, d drawn, rng *rand.Rand) (one spree, err error) {
	dir, err := s.workdir("spend")
	if err != nil {
		return one, err
	}
	defer func() {
		if !s.keep {
			_ = os.RemoveAll(dir)
		}
	}()
	server, err := s.serve(ctx, d.server)
	if err != nil {
		return one, err
	}
	defer func() { _ = server.stop() }()
	j, err := d.layOut(dir, server.url, rng)
	if err != nil {
		return one, err
	}
	one.drawn = d
	for {
		took, p, err := s.session(ctx, j, &one, rng)
		if err != nil {
			return one, err
		}
		if stopped(took) {
			continue
		}
		one.exit = took.exit
		if took.exit != 0 && took.exit != someFailed && took.exit != spentUp {
			return one, p.failure(took.exit)
		}
		break
	}
	if one.account, err = server.account(ctx, false); err != nil {
		return one, err
	}
	one.billed = d.cost(one.account.Billed)
	if one.said, err = saidSpent(j.output); err != nil {
		return one, err
	}
	return one, s.again(ctx, server, j, &one)
}

// spentUp is the exit code of a run that has used up its bound.
const spentUp = 4

// layOut writes the input and the prices of a run. Some prompts are of a cache, as the simulator's markers say: never more of it than
// their own text, which is all that there can be.
func (d *drawn) layOut(dir, url string, rng *rand.Rand) (job, error) {
	j := job{input: filepath.Join(dir, "in.jsonl"), output: filepath.Join(dir, "out.jsonl"), url: url, concurrency: d.streams}
	prices := filepath.Join(dir, "prices.yaml")
	table := fmt.Sprintf("currency: USD\nper: 1000000\nprices:\n  - {model: %q, input: %v, output: %v, cache_read: %v, cache_write_5m: %v, cache_write_1h: %v}\n",
		modelID, d.input, d.output, d.read, d.write, d.write)
	if err := os.WriteFile(prices, []byte(table), 0o600); err != nil {
		return j, err
	}
	j.more = append([]string{"--max-cost", strconv.FormatFloat(d.bound, 'f', 9, 64), "--prices", prices}, d.more...)
	return j, writeInput(j.input, d.records, func(w *bufio.Writer, i int) error {
		text := "Question " + strconv.Itoa(i) + ": " + strings.Repeat("who counts the boats? ", rng.IntN(30))
		if d.api == "invoke-stream" && rng.IntN(4) == 0 {
			text += fmt.Sprintf("[[cache:read=%d,write=%d]]", rng.IntN(len(text)/2), rng.IntN(len(text)/4))
		}
		if d.api == "converse-stream" {
			_, err := fmt.Fprintf(w, `{"recordId":%q,"modelInput":{"messages":[{"role":"user","content":[{"text":%q}]}],"inferenceConfig":{"maxTokens":%d}}}`+"\n", recordID(i), text, d.maxTokens)
			return err
		}
		m := newMessage(recordID(i), text)
		m.ModelInput.MaxTokens = d.maxTokens
		return writeLine(w, m)
	})
}

// session starts the run once, and kills or interrupts it while there are kills left.
func (s *spender) session(ctx context.Context, j job, one *spree, rng *rand.Rand) (took spent, p *process, err error) {
	if p, err = s.start(ctx, s.batchrun, j.args()...); err != nil {
		return took, nil, err
	}
	one.sessions++
	var end func() error
	switch {
	case one.kills < one.killsMost:
		end = p.cmd.Process.Kill
	case one.interrupts < one.interruptsMost:
		end = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	}
	if end != nil {
		// Beyond what a session needs to begin, so that most of them send.
		timer := time.AfterFunc(40*time.Millisecond+time.Duration(rng.ExpFloat64()*float64(250*time.Millisecond)), func() { _ = end() }) // it may just have ended
		defer timer.Stop()
	}
	took, err = p.wait()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case took.exit < 0:
		one.kills++
	case took.exit == interrupted:
		one.interrupts++
	}
	return took, p, err
}

// again gives the command once more after it has ended: it must end likewise, and send nothing.
func (s *spender) again(ctx context.Context, server *server, j job, one *spree) error {
	p, err := s.start(ctx, s.batchrun, j.args()...)
	if err != nil {
		return err
	}
	took, err := p.wait()
	if err != nil {
		return err
	}
	if took.exit != one.exit {
		return fmt.Errorf("it ended with %d, and once more: %w", one.exit, p.failure(took.exit))
	}
	after, err := server.account(ctx, false)
	if err == nil && after.Calls != one.account.Calls {
		err = fmt.Errorf("the same command once more sent %d calls", after.Calls-one.account.Calls)
	}
	return err
}

// saidSpent is what the summary of the last session says.
func saidSpent(output string) (float64, error) {
	data, err := os.ReadFile(filepath.Join(output+".batchrun", "summary.json"))
	if err != nil {
		return 0, err
	}
	var sum struct {
		Spending *struct{ Cost float64 }
	}
	if err := json.Unmarshal(data, &sum); err != nil {
		return 0, err
	}
	if sum.Spending == nil {
		return 0, errors.New("the summary says nothing of what was spent")
	}
	return sum.Spending.Cost, nil
}

// check holds what the server has billed against the bounds, and against what the run said. The summary shows six digits.
func (s *spender) check(i int, one *spree) {
	const digit = 1e-6
	u := one.account.Billed
	if one.billed > one.bound+1e-9 {
		s.found.add("run %d: %.6f were billed, the bound is %.6f: %+v", i, one.billed, one.bound, u)
	}
	if one.said < one.billed-digit {
		s.found.add("run %d: %.6f were billed, the run knows of %.6f", i, one.billed, one.said)
	}
	if one.said > one.bound+digit {
		s.found.add("run %d: says itself that it has spent %.6f of %.6f", i, one.said, one.bound)
	}
	if billed := u.InputTokens + u.OutputTokens + u.CacheReadInputTokens + u.CacheWriteInputTokens; one.tokens > 0 && billed > one.tokens {
		s.found.add("run %d: %d tokens were billed, the bound is %d", i, billed, one.tokens)
	}
}

// print shows how much of their bound the runs have used that were stopped by it.
func (s *spender) print() {
	var t table
	t.row("runs", "number", "sessions", "kills", "interrupts", "calls", "calls that failed", "passed its bound", "billed of the bound: least", "median", "most", "counted as spent: median")
	for _, of := range []struct {
		name string
		fits func(*spree) bool
	}{
		{"all", func(*spree) bool { return true }},
		{"that --max-cost stopped", func(one *spree) bool { return one.exit == spentUp && one.tokens == 0 }},
		{"of these, never killed", func(one *spree) bool {
			return one.exit == spentUp && one.tokens == 0 && one.kills+one.interrupts == 0
		}},
		{"and without failures", func(one *spree) bool {
			return one.exit == spentUp && one.tokens == 0 && one.kills+one.interrupts == 0 && len(one.server.Faults) == 0
		}},
	} {
		var some []spree
		var all spree
		var calls, failed int64
		passed := 0
		for _, one := range s.ended {
			if !of.fits(&one) {
				continue
			}
			some = append(some, one)
			all.sessions += one.sessions
			all.kills += one.kills
			all.interrupts += one.interrupts
			calls += one.account.Calls
			failed += one.account.Calls - one.account.Answers
			if one.billed > one.bound+1e-9 {
				passed++
			}
		}
		billed := pick(some, func(one spree) float64 { return one.billed / one.bound })
		said := pick(some, func(one spree) float64 { return one.said / one.bound })
		t.row(of.name, len(some), all.sessions, all.kills, all.interrupts, calls, failed, passed,
			quantile(billed, 0), median(billed), quantile(billed, 1), median(said))
	}
	t.print(os.Stdout)
}
