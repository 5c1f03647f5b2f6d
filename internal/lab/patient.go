package lab

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// A Patience is how a patient client behaves. It knows the quota and among how many it is shared, so that it has nothing to learn: it sends
// evenly, never faster and never slower, and only rests.
type Patience struct {
	Part       float64       // of an equal share of the quota, which it sends
	Rest       time.Duration // after a refusal, more or less by a quarter
	FullMinute bool          // rests until the service's next full minute instead, which no real client can know
}

// String tells it in words.
func (h Patience) String() string {
	if h.FullMinute {
		return fmt.Sprintf("%g, until the full minute", h.Part)
	}
	return fmt.Sprintf("%g, %v", h.Part, h.Rest)
}

// patiences are those that the best is looked for among, on a row and a shape: none where there is no stranger.
func (sc *Scenario) patiences(shape Shape) []Patience {
	if !sc.Stranger {
		return nil
	}
	var all []Patience
	for _, part := range []float64{0.5, 0.7, 0.85, 1} {
		for _, rest := range []time.Duration{500 * time.Millisecond, time.Second, 4 * time.Second, 16 * time.Second} {
			all = append(all, Patience{Part: part, Rest: rest})
		}
		if shape == Minute || shape == StrictMinute {
			all = append(all, Patience{Part: part, FullMinute: true})
		}
	}
	return all
}

// A patient client sends one record after the other from the pool, those that were refused first.
type patient struct {
	Patience
	p      *pool
	client int
	every  time.Duration // between two calls
	rng    *rand.Rand

	mu    sync.Mutex
	again []int64 // records that failed
	until time.Time
}

// newPatient makes one of so many clients that share a quota of rate calls a second.
func newPatient(p *pool, client, clients int, rate float64, how Patience, seed uint64) *patient {
	return &patient{
		Patience: how, p: p, client: client,
		every: time.Duration(float64(time.Second) * float64(clients) / (how.Part * rate)),
		rng:   rand.New(rand.NewPCG(seed, uint64(client)<<32|4)),
	}
}

// run sends until the pool is used up, or ctx ends, with at most so many streams in flight. A call that finds none free is put off.
func (c *patient) run(ctx context.Context, streams int) {
	var calls sync.WaitGroup
	defer calls.Wait()
	free := make(chan struct{}, streams)
	// Clients that begin together would send in step for ever.
	for pause := time.Duration(c.rng.Float64() * float64(c.every)); wait(ctx, pause); pause = c.every {
		if !c.rested(ctx) {
			return
		}
		record, ok := c.next(ctx, &calls)
		if !ok {
			return
		}
		free <- struct{}{}
		calls.Go(func() {
			c.call(ctx, record)
			<-free
		})
	}
}

// rested waits for the end of the rest. It reports false when ctx ended first.
func (c *patient) rested(ctx context.Context) bool {
	for {
		c.mu.Lock()
		left := time.Until(c.until)
		c.mu.Unlock()
		if left <= 0 {
			return true
		}
		if !wait(ctx, left) {
			return false
		}
	}
}

// next is the record to send. When the source has no more, what is in flight may still fail.
func (c *patient) next(ctx context.Context, calls *sync.WaitGroup) (int64, bool) {
	if record, ok := c.failed(); ok {
		return record, true
	}
	if record, err := c.p.take(ctx); err == nil {
		return record, true
	}
	calls.Wait()
	return c.failed()
}

func (c *patient) failed() (record int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.again) == 0 {
		return 0, false
	}
	record, c.again = c.again[0], c.again[1:]
	c.p.takenAgain()
	return record, true
}

func (c *patient) call(ctx context.Context, record int64) {
	st, err := openWithin(ctx, c.p.svc, c.client, record)
	if err == nil {
		if e := st.rest(ctx); e != nil {
			err = e
		}
	}
	if err == nil {
		c.p.done(record)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = append(c.again, record)
	if isThrottle(err) {
		c.until = time.Now().Add(c.pause())
	}
}

// pause is how long to rest after a refusal that has just come.
func (c *patient) pause() time.Duration {
	if c.FullMinute {
		return c.p.svc.untilFullMinute()
	}
	return time.Duration(float64(c.Rest) * (0.75 + c.rng.Float64()/2))
}

// leastPart is what each patient client has to get of an equal share to be compared with: who sends next to nothing is refused less.
const leastPart = 0.4

// compares says whether patient clients did in a run what is asked of ours in a row with a stranger, throttles and Jain's index apart.
func (sc *Scenario) compares(r Result) bool {
	o, t := r.Outcome, sc.Target
	return o.Answered == o.Records && o.Least >= leastPart && o.Stranger >= t.Stranger && t.reached(o) >= t.wanted(r.Shape)
}

func byThrottled(a, b Result) int { return cmp.Compare(a.Outcome.Throttled, b.Outcome.Throttled) }

// PrintBest writes a table in Markdown with a line for each row and shape in which patient clients have played: who of those that compare was
// refused least, and beside it the run of ours that was refused most. It writes nothing when none have played.
func PrintBest(w io.Writer, rows []*Scenario, results []Result) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(cells ...string) { fmt.Fprintf(tw, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	headed := false
	for _, sc := range rows {
		for _, shape := range sc.shapes() {
			of := func(kind Kind) []Result {
				return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return r.Row != sc.Name || r.Shape != shape || r.Kind != kind })
			}
			patients := of(Patient)
			if len(patients) == 0 {
				continue
			}
			if !headed {
				line("scenario", "shape", "best patient client: part, rest", "throttled %", "least of them, stranger, Jain", "throttled %, whatever they get",
					"ours: throttled %", "least of ours, stranger, Jain", "target: throttled %")
				line(strings.Split(strings.Repeat("--- ", 9), " ")[:9]...)
				headed = true
			}
			line(append([]string{sc.Name, string(shape)}, sc.beside(patients, of(Ours))...)...)
		}
	}
	_ = tw.Flush() // to a terminal
}

// beside tells the best of patient clients, the worst of ours, and whether the target is below the best.
func (sc *Scenario) beside(patients, mine []Result) []string {
	figures := func(r Result) []string {
		o := r.Outcome
		return []string{fmt.Sprintf("%.2f", 100*o.Throttled), fmt.Sprintf("%.3f, %.3f, %.3f", o.Least, o.Stranger, o.Jain)}
	}
	least := slices.MinFunc(patients, byThrottled)
	best := []string{fmt.Sprintf("none of %d compares", len(patients)), "–", "–"}
	target := fmt.Sprintf("≤ %.3g", 100*sc.Target.Throttled)
	compare := slices.DeleteFunc(slices.Clone(patients), func(r Result) bool { return !sc.compares(r) })
	if len(compare) > 0 {
		of := slices.MinFunc(compare, byThrottled)
		best = append([]string{of.Patience.String()}, figures(of)...)
		if sc.Target.Throttled < of.Outcome.Throttled {
			target += ": below the best"
		}
	}
	best = append(best, fmt.Sprintf("%.2f (%.3f)", 100*least.Outcome.Throttled, least.Outcome.Least))
	ours := []string{"–", "–"}
	if len(mine) > 0 {
		ours = figures(slices.MaxFunc(mine, byThrottled))
	}
	return append(append(best, ours...), target)
}
