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
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

var (
	table     = flag.Bool("table", false, "play the whole table (make bench-quota)")
	rowsFlag  = flag.String("rows", "", "`regexp` of the rows to play")
	seeds     = flag.Int("seeds", 3, "`n` seeds of each row and shape")
	baselines = flag.Bool("baselines", true, "play the other clients as well, the patient ones too, with the first seed")
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
	fmt.Println()
	PrintBest(os.Stdout, rows, results)
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
					all = append(all, Cell{Row: sc.Name, Shape: shape, Seed: uint64(seed + 1), Kind: kind})
				}
			}
		}
		if *baselines {
			all = append(all, patients(sc)...)
		}
	}
	return all
}

// patients are the runs that the best of patient clients is found in.
func patients(sc *Scenario) []Cell {
	var all []Cell
	for _, shape := range sc.shapes() {
		for _, how := range sc.patiences(shape) {
			all = append(all, Cell{Row: sc.Name, Shape: shape, Seed: 1, Kind: Patient, Patience: how})
		}
	}
	return all
}

// playAll plays cells in a process for each processor: bubbles that share a process wait for each other.
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
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1") // a goroutine that is stopped anywhere goes to the end of the line
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

// play runs a cell in a bubble of its own. It repeats: the SDK's jitter comes from a seed as well, and no garbage is collected
// meanwhile, if it is not too much, since that sends goroutines to the end of the line.
func play(t *testing.T, sc *Scenario, c Cell) Result {
	t.Helper()
	cryptotest.SetGlobalRandom(t, c.Seed)
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(garbage))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	r, begun := Result{Cell: c}, time.Now()
	synctest.Test(t, func(*testing.T) { r.Outcome = sc.Run(c) })
	r.Wall = time.Since(begun)
	return r
}

// garbage is how much memory a process may use before it collects what is not needed any more.
const garbage = 2 << 30

// TestLaboratory plays short rows and asks for what must hold of any limiter worth its name, so that the laboratory itself keeps
// working. What the limiter must reach is the table's business.
func TestLaboratory(t *testing.T) {
	short := func(name string, change func(sc *Scenario)) *Scenario {
		sc := quotaRow(name, 2*time.Minute, Target{Share: 0.9, Throttled: 0.05, Attempts: 1})
		sc.Lasts = 6 * time.Minute
		change(sc)
		return sc
	}
	rows := []*Scenario{
		short("stated", func(sc *Scenario) {
			sc.Stated, sc.Requests = bothStated, 1.25
			// It takes three refusals or four to tell how the service counts, whatever the length of the job.
			sc.Target = Target{Share: 0.97, Throttled: 0.001, Attempts: 1}
		}),
		short("nothing stated", func(*Scenario) {}),
		short("two runners", func(sc *Scenario) {
			sc.Joins, sc.Fair = make([]time.Duration, 2), Span{2 * time.Minute, 6 * time.Minute}
			sc.Target.Throttled = 0.05 // each looks for the whole quota at first
		}),
		short("an outage of five minutes", func(sc *Scenario) {
			sc.Outage = Span{3 * time.Minute, 8 * time.Minute}
			sc.Measured = []Span{{2 * time.Minute, 3 * time.Minute}}
			// What breaks and what trips the outage is more of a job this short, and its pace is still young: it has some 5 % to grow.
			sc.Target = Target{Share: 0.9, Probes: 20, Back: 60 * time.Second, Attempts: 1.05}
		}),
		short("every fault at once", func(sc *Scenario) {
			sc.Noise, sc.InStream, sc.Hang, sc.Hangs = 0.002, 0.3, Span{0, time.Hour}, 0.02
			sc.Target = Target{Share: 0.8, Attempts: 1.04}
		}),
	}
	for _, sc := range rows {
		for _, shape := range []Shape{Bucket10, Sliding} {
			c := Cell{Row: sc.Name, Shape: shape, Seed: 1, Kind: Ours}
			r := play(t, sc, c)
			t.Logf("%v: %s", c, brief(sc, r))
			if misses := sc.Target.Misses(shape, r.Outcome); len(misses) > 0 {
				t.Errorf("%v: %s", c, strings.Join(misses, "; "))
			}
		}
	}
}

// A cell played again comes out the same to the last digit, whoever plays it but the SDK in adaptive mode: see doc.go.
func TestRepeats(t *testing.T) {
	if raced {
		t.Skip("the race detector shuffles goroutines: go test ./internal/lab -run '^TestRepeats$'")
	}
	sc := quotaRow("two runners, one joins after a minute", time.Minute, Target{})
	sc.Lasts, sc.Joins, sc.Fair = 5*time.Minute, []time.Duration{0, time.Minute}, Span{2 * time.Minute, 5 * time.Minute}
	sc.Noise, sc.InStream, sc.Hang, sc.Hangs = 0.002, 0.3, Span{0, time.Hour}, 0.02
	for _, kind := range []Kind{Ours, Standard, AIMD, Patient} {
		c := Cell{Row: sc.Name, Shape: Bucket10, Seed: 1, Kind: kind, Patience: Patience{Part: 0.7, Rest: time.Second}}
		first := play(t, sc, c).Outcome
		for range 3 {
			if again := play(t, sc, c).Outcome; *again != *first {
				t.Errorf("%s: once %+v, and then %+v", kind, *first, *again)
			}
		}
		c.Seed++
		if other := play(t, sc, c).Outcome; *other == *first {
			t.Errorf("%s: another seed makes no difference", kind)
		}
	}
}

// Of sixteen slots no fixed number of streams can use more than the row says, within the time to the first token that it asks
// for: as many streams as slots leave each idle for a round trip after every call, and with one more first tokens come too late.
func TestBestOfSixteenSlots(t *testing.T) {
	var row *Scenario
	for _, sc := range provisionedRows() {
		if sc.Slots == 16 {
			row = sc
		}
	}
	for streams, wait := range map[int]bool{15: false, 16: false, 17: true, 18: true} {
		sc := *row
		sc.Streams = streams
		o := play(t, &sc, Cell{Row: sc.Name, Shape: "", Seed: 1, Kind: Standard}).Outcome
		if late := o.TTFT > sc.Target.TTFT; late != wait {
			t.Errorf("%d streams: the 95th percentile of first tokens is %.2f of an unloaded one; is that too late? %v, want %v", streams, o.TTFT, late, wait)
		}
		if !wait && o.Share > sc.Best+0.001 || streams == 16 && o.Share < sc.Best-0.001 {
			t.Errorf("%d streams use %.4f of the slots, the row says %v at most", streams, o.Share, sc.Best)
		}
	}
}

// The baselines finish their job, each in its own way: the standard retryer storms, the others back off.
func TestBaselines(t *testing.T) {
	sc := quotaRow("nothing stated", time.Minute, Target{Share: 0.8})
	sc.Lasts = 4 * time.Minute
	for kind, want := range map[Kind]struct{ least, most float64 }{Standard: {0.3, 0.9}, Adaptive: {0.001, 0.1}, AIMD: {0.001, 0.3}} {
		r := play(t, sc, Cell{Row: sc.Name, Shape: Minute, Seed: 1, Kind: kind})
		t.Logf("%s: %s", kind, brief(sc, r))
		if misses := sc.Target.Misses(Minute, r.Outcome); len(misses) > 0 {
			t.Errorf("%s: %s", kind, strings.Join(misses, "; "))
		}
		if got := r.Outcome.Throttled; got < want.least || got > want.most {
			t.Errorf("%s: %.3f of the calls were refused, want %v to %v", kind, got, want.least, want.most)
		}
	}
}

// Every part of a target is missed by an outcome that misses it, and only by that.
func TestTargetsAreMissed(t *testing.T) {
	target := Target{
		Share: 0.97, ShareOf: map[Shape]float64{Sliding: 0.95}, Throttled: 0.01, Minute: 0.02, Jain: 0.9, Stranger: 0.5,
		Probes: 40, Back: 45 * time.Second, Attempts: 1.01, TTFT: 1.25, InFlight: 3,
	}
	fine := Outcome{
		Share: 0.931, Bound: 0.95, Throttled: 0.01, Minute: 0.02, Jain: 0.9, Stranger: 0.5,
		Probes: 40, Back: 48 * time.Second, Duration: 3 * time.Second, Attempts: 1.01, TTFT: 1.25, InFlight: 3, Records: 5, Answered: 5,
	}
	tests := map[string]func(o *Outcome){
		"":                        func(*Outcome) {},
		"it stopped":              func(o *Outcome) { o.Fault = "it stopped" },
		"4 of 5 records answered": func(o *Outcome) { o.Answered = 4 },
		"1 records stored again":  func(o *Outcome) { o.Again = 1 },
		"2 answers paid twice":    func(o *Outcome) { o.Twice = 2 },
		"share 94.7 < 95.0 %":     func(o *Outcome) { o.Share = 0.9 },
		"throttled":               func(o *Outcome) { o.Throttled = 0.011 },
		"worst minute":            func(o *Outcome) { o.Minute = 0.021 },
		"Jain":                    func(o *Outcome) { o.Jain = 0.89 },
		"stranger":                func(o *Outcome) { o.Stranger = 0.49 },
		"probes 41":               func(o *Outcome) { o.Probes = 41 },
		"back after 49 s":         func(o *Outcome) { o.Back = 49 * time.Second },
		"back after never":        func(o *Outcome) { o.Back = -1 },
		"attempts":                func(o *Outcome) { o.Attempts = 1.02 },
		"TTFT p95":                func(o *Outcome) { o.TTFT = 1.3 },
		"in flight":               func(o *Outcome) { o.InFlight = 3.1 },
	}
	for want, change := range tests {
		o := fine
		change(&o)
		got := target.Misses(Sliding, &o)
		if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0], want)) {
			t.Errorf("Misses = %q, want one with %q", got, want)
		}
	}
	if got := target.Misses(Bucket60, &Outcome{Share: 0.96, Bound: 1, Jain: 1, Stranger: 1, Attempts: 1}); len(got) != 1 {
		t.Errorf("Misses on a bucket = %q, want its own share of 97 %%", got)
	}
	if got := (Target{Throttled: -1}).Misses(Minute, &Outcome{Bound: 1, Throttled: 0.0001}); len(got) != 1 {
		t.Errorf("Misses = %q, want that nothing may be throttled", got)
	}
}
