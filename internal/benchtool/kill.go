package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// kill ends a run with SIGKILL at random moments and gives the same command again, until it ends by itself. Then the
// files must be those of a run that nobody disturbed, and no more may have been paid twice than what was in flight or
// younger than the commit interval: nothing where the run was interrupted and could drain.
func kill(ctx context.Context, args []string) error {
	f, l := labFlags("kill")
	kills := f.Int("n", 50, "kills at least, for each format")
	formats := f.String("format", "jsonl,parquet,retry,retry-parquet,interrupt",
		"jsonl, parquet: a first run; retry, retry-parquet: its round of --retry-failed; interrupt: SIGINT in place of SIGKILL")
	records := f.Int("records", 3000, "records of a job")
	streams := f.Int("streams", 32, "streams in flight")
	seed := f.Uint64("seed", uint64(time.Now().UnixNano()), "of the moments; printed when something is wrong") //nolint:gosec // any number will do
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()

	var t table
	t.row("run", "jobs", "kills", "answers paid twice", "allowed", "short jobs", "kills", "faults found")
	var verdict error
	for format := range strings.SplitSeq(*formats, ",") {
		k := &killing{
			lab: l, rng: rand.New(rand.NewPCG(*seed, uint64(len(format)))), streams: *streams,
			format: "jsonl", retry: strings.HasPrefix(format, "retry"), interrupt: format == "interrupt",
		}
		if strings.HasSuffix(format, "parquet") {
			k.format = "parquet"
		}
		if err := k.all(ctx, *records, *kills); err != nil {
			verdict = errors.Join(verdict, fmt.Errorf("%s, seed %d: %w", format, *seed, err))
		}
		t.row(format, k.jobs, k.kills, k.twice, k.allowed, k.shortJobs, k.shortKills, k.found.n)
	}
	t.print(os.Stdout)
	return verdict
}

// Exit codes: of a run that ends by itself, for some of its records fail, and of one that was interrupted.
const (
	someFailed  = 3
	interrupted = 130
)

// commitInterval is the default of --commit-interval, and commitTime what a commit may take beyond it on a slow disk.
const (
	commitInterval = 200 * time.Millisecond
	commitTime     = 200 * time.Millisecond
)

// A killing is what was done in one format.
type killing struct {
	*lab
	rng       *rand.Rand
	streams   int
	format    string
	retry     bool
	interrupt bool

	jobs, kills           int
	twice, allowed        int64 // answers
	shortJobs, shortKills int
	found                 faults
}

// all kills job after job until there were enough kills.
func (k *killing) all(ctx context.Context, records, enough int) error {
	input := k.path("kill.jsonl")
	if err := killInput(input, records, k.retry); err != nil {
		return err
	}
	want, err := readInput(input)
	if err != nil {
		return err
	}
	opts := sim.Options{
		FirstToken: sim.Latency{Mean: 25 * time.Millisecond, Sigma: 0.5}, InterToken: sim.Latency{Mean: time.Millisecond},
		OutputTokens: 20, OutputSpread: 10,
	}
	undisturbed, err := k.undisturbed(ctx, opts, input, want)
	if err != nil {
		return fmt.Errorf("undisturbed: %w", err)
	}
	for k.kills < enough {
		if err := k.once(ctx, opts, input, want, undisturbed); err != nil {
			return err
		}
	}
	if err := k.short(ctx, opts, undisturbed, enough); err != nil {
		return err
	}
	return k.found.err()
}

// killInput writes records that differ. Every fortieth fails, every sixtieth cannot be sent; for a round of
// --retry-failed every seventh fails at its first attempt only.
func killInput(path string, n int, retry bool) error {
	padding := strings.Repeat("what goes to the row as it is, so that sealing takes a moment; ", 20)
	return writeInput(path, n, func(w *bufio.Writer, i int) error {
		text := "Question " + strconv.Itoa(i) + ": who counts the boats?"
		switch {
		case i%60 == 17:
			_, err := fmt.Fprintf(w, `{"recordId":%q,"modelInput":"not an object","note":%q}`+"\n", recordID(i), padding)
			return err
		case i%40 == 5:
			text += " [[fault:ValidationException]]"
		case retry && i%7 == 3:
			text += " [[fault:ValidationException x1]]"
		}
		m := newMessage(recordID(i), text)
		m.Note = padding
		return writeLine(w, m)
	})
}

// undisturbed is what the rows have to be in the end.
func (k *killing) undisturbed(ctx context.Context, opts sim.Options, input string, want map[string]expected) (map[string]content, error) {
	server, j, err := k.begin(ctx, opts, input)
	if err != nil {
		return nil, err
	}
	defer func() { _ = server.stop() }()
	if k.retry {
		if err := k.firstRun(ctx, j); err != nil {
			return nil, err
		}
		j.more = append(j.more, "--retry-failed")
	}
	p, err := k.start(ctx, k.batchrun, j.args()...)
	if err != nil {
		return nil, err
	}
	took, err := p.wait()
	if err != nil {
		return nil, err
	}
	if took.exit != someFailed {
		return nil, p.failure(took.exit)
	}
	rows, err := rowsByID(j, want, &k.found)
	if err != nil {
		return nil, err
	}
	checkTruth(opts, rows, &k.found)
	contents := make(map[string]content, len(rows))
	for id, r := range rows {
		contents[id] = contentOf(r)
	}
	return contents, k.found.err()
}

// begin starts a server and lays out a job.
func (k *killing) begin(ctx context.Context, opts sim.Options, input string) (*server, job, error) {
	dir, err := k.workdir("kill")
	if err != nil {
		return nil, job{}, err
	}
	server, err := k.serve(ctx, opts)
	if err != nil {
		return nil, job{}, err
	}
	return server, job{input: input, output: filepath.Join(dir, "answers."+k.format), url: server.url, concurrency: k.streams}, nil
}

// firstRun is the run before a round of --retry-failed.
func (k *killing) firstRun(ctx context.Context, j job) error {
	_, _, err := k.run(ctx, someFailed, k.batchrun, j.args()...)
	return err
}

// once kills one job until it ends by itself, and checks it.
func (k *killing) once(ctx context.Context, opts sim.Options, input string, want map[string]expected, undisturbed map[string]content) error {
	server, j, err := k.begin(ctx, opts, input)
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()
	k.jobs++
	if k.retry {
		if err := k.firstRun(ctx, j); err != nil {
			return err
		}
		j.more = append(j.more, "--retry-failed")
	}
	if err := k.untilItEnds(ctx, server, j); err != nil {
		return fmt.Errorf("%s: after %d kills: %w", j.output, k.kills, err)
	}
	if err := k.check(ctx, j, want, undisturbed); err != nil {
		return err
	}
	account, err := server.account(ctx, true)
	if err != nil {
		return err
	}
	if account.RecordsDropped {
		return errors.New("the simulator has not kept all records")
	}
	for _, record := range account.PerRecord {
		k.twice += int64(max(0, record.Answers-1))
	}
	if k.twice > k.allowed {
		k.found.add("%d answers were paid twice, %d were in flight or younger than the commit interval", k.twice, k.allowed)
	}
	return nil
}

// check holds the files of a job that has ended against those of an undisturbed one.
func (k *killing) check(ctx context.Context, j job, want map[string]expected, undisturbed map[string]content) error {
	rows, err := rowsByID(j, want, &k.found)
	if err != nil {
		return err
	}
	for id, r := range rows {
		if diff := undisturbed[id].difference(contentOf(r)); diff != "" {
			k.found.add("%s: %s", id, diff)
		}
	}
	if err := k.verify(ctx, j); err != nil {
		k.found.add("%v", err)
	}
	if left := leftovers(filepath.Dir(j.output)); len(left) > 0 {
		k.found.add("left behind beside the output: %s", strings.Join(left, ", "))
	}
	return nil
}

// leftovers are files beside the output that belong to nobody.
func leftovers(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return []string{err.Error()}
	}
	var left []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			left = append(left, e.Name())
		}
	}
	return left
}

// untilItEnds starts the job again and again, and kills it at moments that are exponential around a mean, until it has
// come to its end.
func (k *killing) untilItEnds(ctx context.Context, s *server, j job) error {
	mean := 250 * time.Millisecond // beyond what a session needs to begin
	if k.retry {
		mean = 120 * time.Millisecond // there is less to do
	}
	for {
		p, err := k.start(ctx, k.batchrun, j.args()...)
		if err != nil {
			return err
		}
		young, ended, err := k.killAfter(ctx, s, p, time.Duration(k.rng.ExpFloat64()*float64(mean)))
		switch {
		case err != nil:
			return err
		case ended == nil:
			k.kills++
			if !k.interrupt {
				k.allowed += young + int64(k.streams)
			}
		case ended.exit != someFailed:
			return p.failure(ended.exit)
		default:
			return nil
		}
	}
}

// stop kills a process, or interrupts it. It may just have ended.
func (k *killing) stop(p *process) {
	if k.interrupt {
		_ = p.cmd.Process.Signal(os.Interrupt)
		return
	}
	_ = p.cmd.Process.Kill()
}

// stopped tells whether a process did not end by itself.
func stopped(s spent) bool { return s.exit < 0 || s.exit == interrupted }

// killAfter kills a process after a time and tells how many answers were then too young to be durable. ended is set
// where it came to its end before.
func (k *killing) killAfter(ctx context.Context, s *server, p *process, wait time.Duration) (young int64, ended *spent, err error) {
	done := make(chan struct{})
	var took spent
	var waitErr error
	go func() {
		defer close(done)
		took, waitErr = p.wait()
	}()
	// Answers are counted at the last moment that is older than a commit may be.
	quiet := max(0, wait-commitInterval-commitTime)
	sleep := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-done:
			return false
		}
	}
	var durable account
	if sleep(quiet) {
		if durable, err = s.account(ctx, false); err != nil {
			return 0, nil, err
		}
	}
	if !sleep(wait - quiet) {
		if waitErr == nil && ctx.Err() != nil {
			waitErr = context.Cause(ctx)
		}
		return 0, &took, waitErr
	}
	k.stop(p)
	<-done
	if waitErr != nil {
		return 0, nil, waitErr
	}
	if !stopped(took) {
		return 0, &took, nil
	}
	after, err := s.account(ctx, false)
	return after.Answers - durable.Answers, nil, err
}
