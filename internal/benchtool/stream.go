package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// streamBounds are the largest figures that pass.
type streamBounds struct{ time, allocs, run float64 }

// stream measures reading: first the streams of every family from memory, by BenchmarkStream of pipeline/bedrock, whose baseline
// is the SDK's reader with encoding/json; then whole runs of long answers beside the loop, server and network included.
func stream(ctx context.Context, args []string) error {
	f, l := labFlags("stream")
	rounds := f.Int("rounds", 7, "`rounds` over all families, each of which measures batchrun and the SDK one after the other")
	benchtime := f.Duration("benchtime", 200*time.Millisecond, "`time` for each measurement of a round")
	only := f.String("only", "", "`regexp` of the families to measure")
	pairs := f.Int("pairs", 5, "alternating `pairs` of runs; 0 leaves them out")
	fast := longRun{what: "answers as fast as they can be sent"}
	f.IntVar(&fast.records, "n", 200, "records of a run")
	f.IntVar(&fast.chunks, "chunks", 2000, "chunks with content in each answer of a run")
	f.IntVar(&fast.streams, "streams", 32, "streams in flight in a run")
	paced := longRun{records: 128, chunks: 500, streams: 32}
	f.DurationVar(&paced.pace, "pace", 5*time.Millisecond, "`time` between two chunks in runs whose chunks come one by one")
	pacedPairs := f.Int("paced-pairs", 3, "alternating `pairs` of such runs; 0 leaves them out")
	var bounds streamBounds
	f.Float64Var(&bounds.time, "bound", 0.06, "largest share of the SDK's time that passes")
	f.Float64Var(&bounds.allocs, "allocs", 1, "most allocations a chunk that pass")
	f.Float64Var(&bounds.run, "run-bound", 0.35, "largest share of the loop's processor time that passes")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()

	all, err := l.readings(ctx, *rounds, *benchtime, *only)
	if err != nil {
		return err
	}
	over := printReadings(os.Stdout, all, bounds)
	if *pairs > 0 {
		r, err := l.longCosts(ctx, *pairs, fast)
		if err != nil {
			return err
		}
		if r > bounds.run {
			over = append(over, fmt.Sprintf("a chunk of a run takes %.2f of the loop's processor time, the bound is %.2f", r, bounds.run))
		}
	}
	if *pacedPairs > 0 { // without a bound: most of it is the system's share, the same for both
		paced.what = fmt.Sprintf("a chunk every %v in each stream", paced.pace)
		if _, err := l.longCosts(ctx, *pacedPairs, paced); err != nil {
			return err
		}
	}
	if len(over) > 0 {
		return missed("%s", strings.Join(over, "\n  "))
	}
	return nil
}

// A longRun is a run of long answers. At a pace every chunk comes by itself, as models send them, and costs system calls.
type longRun struct {
	what                     string
	records, chunks, streams int
	pace                     time.Duration // between two chunks; 0: no waiting
}

// longCosts makes such runs with both clients. It returns the ratio of what a chunk takes.
func (l *lab) longCosts(ctx context.Context, pairs int, run longRun) (float64, error) {
	server, err := l.serve(ctx, sim.Options{OutputTokens: run.chunks, InterToken: sim.Latency{Mean: run.pace}, KeepRecords: -1})
	if err != nil {
		return 0, err
	}
	defer func() { _ = server.stop() }()
	input := l.path("stream.jsonl")
	if err := messages(input, run.records); err != nil {
		return 0, err
	}
	ours, theirs, err := l.costs(ctx, pairs, job{input: input, url: server.url, concurrency: run.streams}, run.records)
	if err != nil {
		return 0, err
	}
	fmt.Printf("\n%d records of %d chunks, %d in flight, %s:\n\n", run.records, run.chunks, run.streams, run.what)
	return printCosts(os.Stdout, ours, theirs, "per chunk", run.records*run.chunks), nil
}

// A reading is what one way to read the streams of a family takes, per chunk.
type reading struct {
	wall, cpu     time.Duration // cpu is 0 where the system does not tell
	bytes, allocs float64
}

// time is the processor time, or what the clock says where the system does not tell.
func (r reading) time() time.Duration { return cmp.Or(r.cpu, r.wall) }

// readings are those of one family, one of each way a round.
type readings struct {
	family       string
	ours, theirs []reading
}

// readings runs BenchmarkStream round by round, so that both ways to read a family are measured next to each other again and
// again, whatever else the machine has to do.
func (l *lab) readings(ctx context.Context, rounds int, benchtime time.Duration, only string) ([]*readings, error) {
	binary := l.path("stream.test.exe")
	if _, err := output(ctx, "go", "test", "-C", l.repo, "-c", "-o", binary, "./pipeline/bedrock"); err != nil {
		return nil, err
	}
	var all []*readings
	for range rounds {
		p, _, err := l.run(ctx, 0, binary, "-test.run", "^$", "-test.bench", "^BenchmarkStream$/^("+orAny(only)+")$/", "-test.benchtime", benchtime.String())
		if err != nil {
			return nil, err
		}
		if err := addReadings(&all, p.stdout.String()); err != nil {
			return nil, err
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no family is called %q", only)
	}
	return all, nil
}

func orAny(pattern string) string {
	if pattern == "" {
		return ".*"
	}
	return pattern
}

// addReadings adds what one run of BenchmarkStream printed.
func addReadings(all *[]*readings, printed string) error {
	for line := range strings.Lines(printed) {
		fields := strings.Fields(line)
		if len(fields) == 0 || !strings.HasPrefix(fields[0], "BenchmarkStream/") {
			continue
		}
		family, way, _ := strings.Cut(strings.TrimPrefix(fields[0], "BenchmarkStream/"), "/")
		r, err := readingOf(fields[min(2, len(fields)):])
		if err != nil {
			return fmt.Errorf("%q: %w", line, err)
		}
		of := find(all, family)
		switch {
		case strings.HasPrefix(way, "batchrun"):
			of.ours = append(of.ours, r)
		case strings.HasPrefix(way, "sdk"):
			of.theirs = append(of.theirs, r)
		default:
			return fmt.Errorf("%q: %q is neither way to read", line, way)
		}
	}
	return nil
}

// find is the entry of a family, a new one if there is none.
func find(all *[]*readings, family string) *readings {
	for _, of := range *all {
		if of.family == family {
			return of
		}
	}
	of := &readings{family: family}
	*all = append(*all, of)
	return of
}

// readingOf takes apart the figures of a benchmark's line, VALUE UNIT VALUE UNIT …, and divides them by its chunks.
func readingOf(figures []string) (reading, error) {
	values := make(map[string]float64)
	for i := 0; i+1 < len(figures); i += 2 {
		v, err := strconv.ParseFloat(figures[i], 64)
		if err != nil {
			return reading{}, err
		}
		values[figures[i+1]] = v
	}
	chunks := values["chunks/op"]
	if chunks <= 0 || values["ns/op"] <= 0 {
		return reading{}, fmt.Errorf("no chunks/op or no ns/op")
	}
	return reading{
		wall: time.Duration(values["ns/op"] / chunks), cpu: time.Duration(values["cpu-ns/op"] / chunks),
		bytes: values["B/op"] / chunks, allocs: values["allocs/op"] / chunks,
	}, nil
}

// printReadings prints a row for each family, and returns what is over its bound. Times are processor time, all threads of it: a
// machine that has other work slows the clock of the wall, and of two ways to read not both alike.
func printReadings(w io.Writer, all []*readings, bounds streamBounds) (over []string) {
	var t table
	t.row("family", "ns", "B", "allocations", "SDK: ns", "B", "allocations", "ratio", "target", "", "by the wall clock: ns", "SDK: ns", "ratio")
	for _, of := range all {
		wall := func(r reading) time.Duration { return r.wall }
		size := func(r reading) float64 { return r.bytes }
		allocs := func(r reading) float64 { return r.allocs }
		share, many := of.ratio(reading.time), median(pick(of.ours, allocs))
		verdict := "reached"
		if share > bounds.time || many > bounds.allocs {
			verdict = "**missed**"
			over = append(over, fmt.Sprintf("%s: %.3f of the SDK's time with %.2f allocations a chunk, the bounds are %.2f and %g", of.family, share, many, bounds.time, bounds.allocs))
		}
		t.row(
			of.family, median(pick(of.ours, reading.time)).Nanoseconds(), fmt.Sprintf("%.0f", median(pick(of.ours, size))), many,
			median(pick(of.theirs, reading.time)).Nanoseconds(), fmt.Sprintf("%.0f", median(pick(of.theirs, size))), fmt.Sprintf("%.0f", median(pick(of.theirs, allocs))),
			fmt.Sprintf("%.3f", share), bounds.time, verdict,
			median(pick(of.ours, wall)).Nanoseconds(), median(pick(of.theirs, wall)).Nanoseconds(), fmt.Sprintf("%.3f", of.ratio(wall)),
		)
	}
	t.print(w)
	return over
}

// ratio is the median of the rounds' ratios of a figure: what else the machine had to do in a round slowed both.
func (of *readings) ratio(figure func(reading) time.Duration) float64 {
	var ratios []float64
	for i := range min(len(of.ours), len(of.theirs)) {
		ratios = append(ratios, ratio(figure(of.ours[i]), figure(of.theirs[i])))
	}
	return median(ratios)
}
