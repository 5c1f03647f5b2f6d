package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// A Cell is one run of the table.
type Cell struct {
	Row   string
	Shape Shape
	Seed  uint64
	Kind  Kind

	Patience Patience `json:",omitzero"` // of patient clients
}

// String names the cell.
func (c Cell) String() string {
	name := fmt.Sprintf("%s | %s | seed %d | %s", c.Row, c.Shape, c.Seed, c.Kind)
	if c.Kind == Patient {
		return fmt.Sprintf("%s (%v)", name, c.Patience)
	}
	return name
}

// A Result is a cell with what was measured in it.
type Result struct {
	Cell
	Outcome *Outcome
	Wall    time.Duration // on the real clock
}

// wanted is the share that must be reached in a shape.
func (t Target) wanted(shape Shape) float64 {
	if s, ok := t.ShareOf[shape]; ok {
		return s
	}
	return t.Share
}

// reached is the share that the target is about.
func (t Target) reached(o *Outcome) float64 {
	switch {
	case t.OfQuota:
		return o.Share
	case t.OfStated > 0:
		return o.Share / (o.Bound * t.OfStated)
	}
	return o.Share / o.Bound
}

// Misses are the parts of the target that a run did not reach, as phrases. Every record has to be answered once, always.
func (t Target) Misses(shape Shape, o *Outcome) []string {
	var misses []string
	unless := func(ok bool, format string, args ...any) {
		if !ok {
			misses = append(misses, fmt.Sprintf(format, args...))
		}
	}
	unless(o.Fault == "", "%s", o.Fault)
	unless(o.Answered == o.Records, "%d of %d records answered, %d error rows", o.Answered, o.Records, o.ErrorRows)
	unless(o.Again == 0, "%d records stored again", o.Again)
	unless(o.Twice == 0, "%d answers paid twice", o.Twice)
	unless(t.reached(o) >= t.wanted(shape), "share %.1f < %.1f %%", 100*t.reached(o), 100*t.wanted(shape))
	unless(t.Throttled == 0 || o.Throttled <= max(0, t.Throttled), "throttled %.2f > %.2f %%", 100*o.Throttled, 100*max(0, t.Throttled))
	for _, p := range t.points() {
		unless(p.ok(o), "%s %s", p.name, p.show(o))
	}
	return misses
}

// A point is a part of a target beside share and throttles.
type point struct {
	name, target string
	worse        func(a, b *Outcome) bool
	ok           func(o *Outcome) bool
	show         func(o *Outcome) string
}

// points are those that the target asks for.
func (t Target) points() []point {
	var points []point
	most := func(name string, limit, unit float64, format string, value func(*Outcome) float64) {
		if limit == 0 {
			return
		}
		points = append(points, point{
			name: name, target: fmt.Sprintf("≤ "+format, limit*unit),
			worse: func(a, b *Outcome) bool { return value(a) > value(b) },
			ok:    func(o *Outcome) bool { return value(o) <= limit },
			show:  func(o *Outcome) string { return fmt.Sprintf(format, value(o)*unit) },
		})
	}
	least := func(name string, limit float64, value func(*Outcome) float64) {
		if limit == 0 {
			return
		}
		points = append(points, point{
			name: name, target: fmt.Sprintf("≥ %.3g", limit),
			worse: func(a, b *Outcome) bool { return value(a) < value(b) },
			ok:    func(o *Outcome) bool { return value(o) >= limit },
			show:  func(o *Outcome) string { return fmt.Sprintf("%.3f", value(o)) },
		})
	}
	most("worst minute", t.Minute, 100, "%.1f %%", func(o *Outcome) float64 { return o.Minute })
	least("Jain", t.Jain, func(o *Outcome) float64 { return o.Jain })
	least("stranger", t.Stranger, func(o *Outcome) float64 { return o.Stranger })
	if t.Stranger > 0 {
		points = append(points, told("least of ours", "%.3f", 1, func(a, b float64) bool { return a < b }, func(o *Outcome) float64 { return o.Least }))
		points = append(points, told("an observer meets", "%.1f %%", 100, func(a, b float64) bool { return a > b }, func(o *Outcome) float64 { return o.Observed }))
	}
	most("probes", float64(t.Probes), 1, "%.0f", func(o *Outcome) float64 { return float64(o.Probes) })
	if t.Back > 0 {
		points = append(points, t.backAgain())
	}
	most("attempts", t.Attempts, 1, "%.3f", func(o *Outcome) float64 { return o.Attempts })
	most("TTFT p95", t.TTFT, 1, "%.2f ×", func(o *Outcome) float64 { return o.TTFT })
	most("in flight", t.InFlight, 1, "%.2f ×", func(o *Outcome) float64 { return o.InFlight })
	return points
}

// told is a point without a target.
func told(name, format string, unit float64, worse func(a, b float64) bool, value func(*Outcome) float64) point {
	return point{
		name: name, target: "no target",
		worse: func(a, b *Outcome) bool { return worse(value(a), value(b)) },
		ok:    func(*Outcome) bool { return true },
		show:  func(o *Outcome) string { return fmt.Sprintf(format, value(o)*unit) },
	}
}

func (t Target) backAgain() point {
	late := func(o *Outcome) time.Duration {
		if o.Back < 0 {
			return 1000 * time.Hour
		}
		return o.Back - o.Duration
	}
	return point{
		name: "back after", target: fmt.Sprintf("≤ %.0f s + a duration", t.Back.Seconds()),
		worse: func(a, b *Outcome) bool { return late(a) > late(b) },
		ok:    func(o *Outcome) bool { return late(o) <= t.Back },
		show: func(o *Outcome) string {
			if o.Back < 0 {
				return "never"
			}
			return fmt.Sprintf("%.0f s", o.Back.Seconds())
		},
	}
}

// worst are the worst figures of some runs, each by itself.
type worst struct {
	all []Result
	t   Target
}

// by is the outcome than which none is worse.
func (w worst) by(worse func(a, b Result) bool) Result {
	found := w.all[0]
	for _, r := range w.all[1:] {
		if worse(r, found) {
			found = r
		}
	}
	return found
}

// share and throttled are the two figures that every row has, in percent.
func (w worst) share() string {
	margin := func(r Result) float64 { return w.t.reached(r.Outcome) - w.t.wanted(r.Shape) }
	low := w.by(func(a, b Result) bool { return margin(a) < margin(b) })
	high := w.by(func(a, b Result) bool { return a.Outcome.Throttled > b.Outcome.Throttled })
	return fmt.Sprintf("%.1f / %.2f", 100*w.t.reached(low.Outcome), 100*high.Outcome.Throttled)
}

// points are the worst of the other figures.
func (w worst) points(targets bool) string {
	var out []string
	for _, p := range w.t.points() {
		worst := p.show(w.by(func(a, b Result) bool { return p.worse(a.Outcome, b.Outcome) }).Outcome)
		if targets {
			worst += fmt.Sprintf(" (%s)", p.target)
		}
		out = append(out, p.name+" "+worst)
	}
	return strings.Join(out, ", ")
}

// bound is the lowest and the highest.
func (w worst) bound() string {
	low := w.by(func(a, b Result) bool { return a.Outcome.Bound < b.Outcome.Bound }).Outcome.Bound
	high := w.by(func(a, b Result) bool { return a.Outcome.Bound > b.Outcome.Bound }).Outcome.Bound
	if high-low < 0.0005 {
		return fmt.Sprintf("%.1f", 100*low)
	}
	return fmt.Sprintf("%.1f–%.1f", 100*low, 100*high)
}

// makespan is the longest, in units of the ideal.
func (w worst) makespan() string {
	if len(w.all) == 0 {
		return "–"
	}
	never := func(r Result) float64 {
		if r.Outcome.Makespan == 0 {
			return 1e9
		}
		return r.Outcome.Makespan
	}
	long := w.by(func(a, b Result) bool { return never(a) > never(b) })
	if long.Outcome.Makespan == 0 {
		return fmt.Sprintf("> %d", patience)
	}
	return fmt.Sprintf("%.3f", long.Outcome.Makespan)
}

func (t Target) words() string {
	var out []string
	if t.Share > 0 {
		shares := []string{fmt.Sprintf("≥ %.3g", 100*t.Share)}
		for _, s := range Shapes {
			if v, ok := t.ShareOf[s]; ok {
				shares = append(shares, fmt.Sprintf("%s %.3g", s, 100*v))
			}
		}
		share := strings.Join(shares, ", ")
		switch {
		case t.OfQuota:
			share += " of the quota"
		case t.OfStated > 0:
			share += " of what is stated"
		}
		out = append(out, share)
	}
	if t.Throttled != 0 {
		out = append(out, fmt.Sprintf("≤ %.3g", 100*max(0, t.Throttled)))
	}
	return strings.Join(out, " / ")
}

// Print writes the table in Markdown: one line for each row that has results, the worst of them over shapes and seeds.
func Print(w io.Writer, rows []*Scenario, results []Result) {
	tw := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	line := func(cells ...string) { fmt.Fprintf(tw, "| %s\t|\n", strings.Join(cells, "\t| ")) }
	line("scenario", "ours: share % / throttled %", "target", "also (target)", "verdict", "bound %", "makespan ours, standard, adaptive, AIMD",
		"standard", "adaptive", "AIMD")
	line(strings.Split(strings.Repeat("--- ", 10), " ")[:10]...)
	for _, sc := range rows {
		of := map[Kind]worst{}
		for _, k := range Kinds {
			of[k] = worst{t: sc.Target}
		}
		missed := 0
		for _, r := range results {
			if r.Row != sc.Name {
				continue
			}
			k := of[r.Kind]
			k.all = append(k.all, r)
			of[r.Kind] = k
			if r.Kind == Ours && len(sc.Target.Misses(r.Shape, r.Outcome)) > 0 {
				missed++
			}
		}
		mine := of[Ours]
		if len(mine.all) == 0 {
			continue
		}
		verdict := "reached"
		if missed > 0 {
			verdict = fmt.Sprintf("**missed** in %d of %d", missed, len(mine.all))
		}
		cells := []string{sc.Name, mine.share(), sc.Target.words(), mine.points(true), verdict, mine.bound()}
		spans := []string{}
		for _, k := range Kinds {
			spans = append(spans, of[k].makespan())
		}
		cells = append(cells, strings.Join(spans, ", "))
		for _, k := range Kinds[1:] {
			cells = append(cells, of[k].figures())
		}
		line(cells...)
	}
	_ = tw.Flush() // to a terminal
}

// figures are all that a baseline is told of with.
func (w worst) figures() string {
	if len(w.all) == 0 {
		return "–"
	}
	if points := w.points(false); points != "" {
		return w.share() + "; " + points
	}
	return w.share()
}
