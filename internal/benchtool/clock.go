package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// clock compares the first-token latency that a client measures with the server's own record of the same request. The
// server answers its first token 200 ms after a request has arrived; whatever a client adds to that is its own.
func clock(ctx context.Context, args []string) error {
	f, l := labFlags("clock")
	pairs := f.Int("pairs", 3, "alternating `pairs` of runs")
	levels := f.String("streams", "1,50,200", "streams in flight")
	perStream := f.Int("per-stream", 30, "records for each stream in flight; 1 stream alone gets 50")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	server, err := l.serve(ctx, sim.Options{
		HeaderDelay:  sim.Latency{Mean: 20 * time.Millisecond}, // at once would kill streams of the loop: aws/aws-sdk-go-v2#1825
		FirstToken:   sim.Latency{Mean: 200 * time.Millisecond},
		InterToken:   sim.Latency{Mean: 5 * time.Millisecond},
		OutputTokens: 35, OutputSpread: 15,
	})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()

	var t table
	t.row("streams", "client", "TTFT p50", "TTFT p99", "server p99", "error p50", "error p99", "of each run", "p99 after the first wave", "peak in flight", "wall time", "streams lost")
	var verdict error
	for level := range strings.SplitSeq(*levels, ",") {
		streams, err := strconv.Atoi(level)
		if err != nil {
			return err
		}
		records := max(50, streams**perStream)
		ours, theirs, err := l.clockAt(ctx, server, streams, records, *pairs)
		if err != nil {
			return err
		}
		clockRow(&t, streams, "batchrun", ours)
		clockRow(&t, streams, "SDK loop", theirs)
		a, b := median(pick(ours, clocked.p99)), median(pick(theirs, clocked.p99))
		compare := func(figure func(clocked) time.Duration) float64 {
			return ratio(median(pick(ours, figure)), median(pick(theirs, figure)))
		}
		t.row(streams, "ratio", "", "", "", compare(clocked.p50), compare(clocked.p99), "", compare(clocked.later), "", "", "")
		if streams == 200 && a >= b {
			verdict = missed("at 200 streams the error's p99 is %s, the loop's %s", show(a), show(b))
		}
	}
	t.print(os.Stdout)
	return verdict
}

// clocked is one run of a client.
type clocked struct {
	seen   []time.Duration // as the client measured it
	truth  []time.Duration // as the server did
	errors []time.Duration
	wave   int   // how many of them were the first on their connections
	peak   int64 // streams in flight, as the server saw it
	wall   time.Duration
	lost   int
}

func (c clocked) p50() time.Duration   { return quantile(c.errors, 0.50) }
func (c clocked) p99() time.Duration   { return quantile(c.errors, 0.99) }
func (c clocked) later() time.Duration { return quantile(c.errors[min(c.wave, len(c.errors)):], 0.99) }

func clockRow(t *table, streams int, client string, runs []clocked) {
	at := func(q float64, values func(clocked) []time.Duration) time.Duration {
		return median(pick(runs, func(c clocked) time.Duration { return quantile(values(c), q) }))
	}
	seen := func(c clocked) []time.Duration { return c.seen }
	truth := func(c clocked) []time.Duration { return c.truth }
	t.row(streams, client, at(0.5, seen), at(0.99, seen), at(0.99, truth),
		median(pick(runs, clocked.p50)), median(pick(runs, clocked.p99)),
		each(pick(runs, clocked.p99)),
		median(pick(runs, clocked.later)), median(pick(runs, func(c clocked) int64 { return c.peak })),
		median(pick(runs, func(c clocked) time.Duration { return c.wall })), each(pick(runs, func(c clocked) int { return c.lost })))
}

func (l *lab) clockAt(ctx context.Context, s *server, streams, records, pairs int) (ours, theirs []clocked, err error) {
	input := l.path(fmt.Sprintf("clock-%d.jsonl", streams))
	if err := messages(input, records); err != nil {
		return nil, nil, err
	}
	measure := func(ctx context.Context, loop bool) (clocked, error) {
		dir, err := l.workdir("clock")
		if err != nil {
			return clocked{}, err
		}
		j := job{input: input, output: dir + "/rows.jsonl", url: s.url, concurrency: streams}
		if err := s.reset(ctx); err != nil {
			return clocked{}, err
		}
		c := clocked{wave: streams}
		var took spent
		if loop {
			took, c.lost, err = l.runLoop(ctx, j)
		} else {
			took, err = l.runBatchrun(ctx, j, tally{read: int64(records), succeeded: int64(records)})
		}
		if err != nil {
			return clocked{}, err
		}
		c.wall = took.wall
		return c, c.read(ctx, s, j.output)
	}
	return alternate(ctx, pairs,
		func(ctx context.Context) (clocked, error) { return measure(ctx, false) },
		func(ctx context.Context) (clocked, error) { return measure(ctx, true) })
}

// read takes the client's times from its rows, in their order, and the server's from its account. A request that was sent more than
// once is left out: the server remembers its last attempt only.
func (c *clocked) read(ctx context.Context, s *server, rows string) error {
	account, err := s.account(ctx, true)
	if err != nil {
		return err
	}
	c.peak = account.PeakInFlight
	for r, err := range readRows(rows) {
		if err != nil {
			return err
		}
		record, ok := account.PerRecord[sim.Key(modelID, r.ModelInput)]
		if !ok {
			return fmt.Errorf("%s: the server has not seen this request", *r.RecordID)
		}
		if r.Timing.FirstTokenMs == 0 || record.Attempts != 1 {
			continue
		}
		seen := time.Duration(r.Timing.FirstTokenMs * float64(time.Millisecond))
		c.seen, c.truth = append(c.seen, seen), append(c.truth, record.FirstToken)
		c.errors = append(c.errors, (seen - record.FirstToken).Abs())
	}
	return nil
}
