package lab

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	table     = flag.Bool("table", false, "play the whole table (make bench-quota)")
	rowsFlag  = flag.String("rows", "", "`regexp` of the rows to play")
	seeds     = flag.Int("seeds", 3, "`n` seeds of each row and shape")
	baselines = flag.Bool("baselines", true, "play the other clients as well, with the first seed")
	worker    = flag.Bool("worker", false, "play the cells that come on standard input, one JSON object a line")
)

// TestTable plays the rows in as many processes as there are processors and fails when ours miss a target.
func TestTable(t *testing.T) {
	if !*table {
		t.Skip("takes minutes: make bench-quota")
	}
	begun := time.Now()
	rows := chosen(t)
	results := playAll(t, cells(rows))
	order := func(r Result) string { return fmt.Sprint(r.Shape, r.Seed) }
	slices.SortFunc(results, func(a, b Result) int { return strings.Compare(order(a), order(b)) })
	for _, sc := range rows {
		for _, r := range results {
			if r.Kind != Ours || r.Row != sc.Name {
				continue
			}
			if misses := sc.Target.Misses(r.Shape, r.Outcome); len(misses) > 0 {
				t.Errorf("%v: %s", r.Cell, strings.Join(misses, "; "))
			}
		}
	}
	fmt.Println()
	Print(os.Stdout, rows, results)
	fmt.Printf("\n%d runs in %v\n", len(results), time.Since(begun).Round(time.Second))
}

func chosen(t *testing.T) []*Scenario {
	t.Helper()
	match, err := regexp.Compile(*rowsFlag)
	if err != nil {
		t.Fatal(err)
	}
	rows := slices.DeleteFunc(Rows(), func(sc *Scenario) bool { return !match.MatchString(sc.Name) })
	if len(rows) == 0 {
		t.Fatalf("no row matches %q", *rowsFlag)
	}
	return rows
}

// cells are the runs of rows: row by row, so that what is seen first is whole. Baselines get the first seed only: nobody has to
// reach anything with them, and most of the time would be theirs.
func cells(rows []*Scenario) []Cell {
	kinds := Kinds
	if !*baselines {
		kinds = Kinds[:1]
	}
	var all []Cell
	for _, sc := range rows {
		for _, kind := range kinds {
			for _, shape := range sc.shapes() {
				for seed := range *seeds {
					if kind != Ours && seed > 0 {
						break
					}
					all = append(all, Cell{sc.Name, shape, uint64(seed + 1), kind})
				}
			}
		}
	}
	return all
}

// playAll plays cells in processes of one processor each: bubbles that share a process wait for each other, and with one
// processor the order of goroutines repeats better.
func playAll(t *testing.T, all []Cell) []Result {
	t.Helper()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		results []Result
		todo    = make(chan Cell, len(all))
	)
	for _, c := range all {
		todo <- c
	}
	close(todo)
	rows := byName()
	for range min(runtime.NumCPU(), len(all)) {
		wg.Go(func() {
			err := work(todo, func(r Result) {
				mu.Lock()
				defer mu.Unlock()
				results = append(results, r)
				fmt.Printf("%4d/%d %5.1fs %v: %s\n", len(results), len(all), r.Wall.Seconds(), r.Cell, brief(rows[r.Row], r))
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(results) != len(all) {
		t.Fatalf("%d of %d runs ended", len(results), len(all))
	}
	return results
}

func byName() map[string]*Scenario {
	rows := map[string]*Scenario{}
	for _, sc := range Rows() {
		rows[sc.Name] = sc
	}
	return rows
}

// brief tells a run in one line.
func brief(sc *Scenario, r Result) string {
	o := r.Outcome
	line := fmt.Sprintf("share %.1f %%, bound %.1f, throttled %.2f (%.2f once measured, worst minute %.1f), makespan %.3f",
		100*o.Share, 100*o.Bound, 100*o.Throttled, 100*o.Settled, 100*o.Minute, o.Makespan)
	for _, p := range sc.Target.points() {
		line += fmt.Sprintf(", %s %s", p.name, p.show(o))
	}
	if misses := sc.Target.Misses(r.Shape, o); r.Kind == Ours && len(misses) > 0 {
		line += " MISSED " + strings.Join(misses, "; ")
	}
	return line
}

// work has a process play cells, one after the other.
func work(todo <-chan Cell, done func(Result)) error {
	cmd := exec.Command(os.Args[0], "-test.run=^TestWorker$", "-worker", "-test.timeout=0")
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := bufio.NewReader(out)
	play := func(c Cell) error {
		if err := json.NewEncoder(in).Encode(c); err != nil {
			return err
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return err
		}
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			return fmt.Errorf("%s: %w", line, err)
		}
		done(r)
		return nil
	}
	for c := range todo {
		if err := play(c); err != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return fmt.Errorf("%v: %w\n%s", c, err, &stderr)
		}
	}
	in.Close()
	_, _ = lines.WriteTo(&stderr) // PASS
	return cmd.Wait()
}

// TestWorker is a process of TestTable.
func TestWorker(t *testing.T) {
	if !*worker {
		t.Skip("is started by TestTable")
	}
	rows := byName()
	for in := json.NewDecoder(os.Stdin); in.More(); {
		var c Cell
		if err := in.Decode(&c); err != nil {
			t.Fatal(err)
		}
		line, err := json.Marshal(play(t, rows[c.Row], c))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("%s\n", line)
	}
}

// play runs a cell in a bubble of its own.
func play(t *testing.T, sc *Scenario, c Cell) Result {
	t.Helper()
	r, begun := Result{Cell: c}, time.Now()
	synctest.Test(t, func(*testing.T) { r.Outcome = sc.Run(c.Shape, c.Seed, c.Kind) })
	r.Wall = time.Since(begun)
	return r
}
