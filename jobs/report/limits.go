package report

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/guptarohit/asciigraph"
	"golang.org/x/term"

	"github.com/batchrun/batchrun/jobs/limits"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// Width is how many columns may be written on out: those of its terminal, or 80 where it is none.
func Width(out io.Writer) int {
	if file, ok := out.(*os.File); ok {
		if w, _, err := term.GetSize(int(file.Fd())); err == nil && w > 1 {
			return w - 1 // the last column stays free, as a terminal may go to the next line after it
		}
	}
	return defaultWidth
}

const (
	chartHeight  = 6
	leastColumns = 20 // of a chart

	// A sample tells of the time since the one before it, but for no longer than this: a machine may have slept.
	longestSample = 3 * limits.Every

	// Rows of the table of decisions: what is over is left out in its middle.
	firstDecisions, lastDecisions = 20, 40
)

// Limits draws what a run's limiter saw and did, as lines of at most width columns: charts of rates, paces and streams over time, what
// held requests back, and the decisions with their reasons; one session after the other. Words that the files hold
// stay longer where they are.
func Limits(h *limits.History, width int) string {
	var b strings.Builder
	for i := range h.Sessions {
		s := &h.Sessions[i]
		if i > 0 {
			fmt.Fprintf(&b, "\n%s later\n\n", span(max(0, s.At.Sub(h.Sessions[i-1].Last()))))
		}
		fmt.Fprintf(&b, "session %d of %d: %s, %s, %s\n", i+1, len(h.Sessions), s.At.UTC().Format("2006-01-02 15:04:05 UTC"), span(s.Last().Sub(s.At)), ended(s))
		sessionLimits(&b, s, width)
	}
	if len(h.Sessions) == 0 {
		b.WriteString("no session has begun yet\n")
	}
	return b.String()
}

func ended(s *limits.Session) string {
	switch {
	case s.EndedAt != nil:
		return plain(s.Ended, 60)
	case s.GoesOn:
		return "going on"
	}
	return "cut off"
}

func sessionLimits(b *strings.Builder, s *limits.Session, width int) {
	fmt.Fprintf(b, "%-13s%s\n", "model", plain(s.Model, 2048))
	fmt.Fprintf(b, "%-13s%s\n", "stated", stated(s))
	if s.Learned != nil {
		fmt.Fprintf(b, "%-13s%s\n", "began at", learnedWords(*s.Learned)+", learned earlier")
	}
	if bound := shareWords(s); bound != "" {
		fmt.Fprintf(b, "%-13s%s\n", "limited by", bound)
	}
	if n := len(s.Samples); n > 0 && s.Samples[n-1].Throttled > 0 {
		fmt.Fprintf(b, "%-13s%s\n", "throttled", count(s.Samples[n-1].Throttled))
	}
	if modes := modeWords(s); modes != "" {
		fmt.Fprintf(b, "%-13s%s\n", "held up", modes)
	}
	for _, chart := range charts(s) {
		if drawn := chart.draw(s, width); drawn != "" {
			b.WriteString("\n" + drawn)
		}
	}
	b.WriteString("\n" + decisionTable(s))
}

// stated are the quotas that the session was told of.
func stated(s *limits.Session) string {
	var parts []string
	for _, q := range []struct {
		value float64
		unit  string
	}{{s.RequestsPerMinute, "requests/min"}, {s.TokensPerMinute, "tokens/min"}, {s.TokensPerDay, "tokens/day"}} {
		if q.value > 0 {
			parts = append(parts, count(int64(q.value))+" "+q.unit)
		}
	}
	if parts == nil {
		parts = append(parts, "no quota")
	}
	if s.Probe {
		parts = append(parts, "more is looked for")
	}
	return strings.Join(append(parts, fmt.Sprintf("burndown %g", s.Burndown), streams(s.Concurrency)), ", ")
}

// learnedWords are learned values as people read them.
func learnedWords(l ratelimit.Learned) string {
	var parts []string
	if l.TokensPerMinute > 0 {
		parts = append(parts, figure(l.TokensPerMinute)+" tokens/min")
	}
	if l.RequestsPerMinute > 0 {
		parts = append(parts, figure(l.RequestsPerMinute)+" requests/min")
	}
	if l.Concurrency > 0 {
		parts = append(parts, streams(l.Concurrency))
	}
	return strings.Join(parts, ", ")
}

// StartNote says what a run begins with that an earlier one learned so long ago; "" for nothing.
func StartNote(l ratelimit.Learned, age time.Duration) string {
	from := learnedWords(l)
	if from == "" {
		return ""
	}
	return fmt.Sprintf("starting from %s, learned %s; --no-learned starts from nothing", from, humanize.RelTime(time.Time{}, time.Time{}.Add(age), "ago", "ahead"))
}

func streams(n int) string {
	if n == 1 {
		return "1 stream"
	}
	return count(int64(n)) + " streams"
}

// shareWords are the shares of time in which something held a session up, as people read them, the largest first.
func shareWords(s *limits.Session) string {
	shares := make([]Share, 0, len(s.BoundBy))
	for what, share := range s.BoundBy {
		if share >= leastShare {
			shares = append(shares, Share{what, share})
		}
	}
	return sharesText(sortShares(shares), &Quota{RequestsPerMinute: s.RequestsPerMinute, TokensPerMinute: s.TokensPerMinute})
}

// modeWords tells for how long the run did something else than to send what it had, the longest first: a flat line in a chart
// may be an outage.
func modeWords(s *limits.Session) string {
	spent := map[pipeline.Mode]time.Duration{}
	from := s.At
	for i := range s.Samples {
		sample := &s.Samples[i]
		if sample.Mode != pipeline.Running && sample.Mode != "" {
			spent[sample.Mode] += min(max(0, sample.At.Sub(from)), longestSample)
		}
		from = sample.At
	}
	modes := slices.SortedFunc(maps.Keys(spent), func(a, b pipeline.Mode) int {
		return cmp.Or(cmp.Compare(spent[b], spent[a]), cmp.Compare(a, b))
	})
	parts := make([]string, len(modes))
	for i, mode := range modes {
		parts[i] = fmt.Sprintf("%s for about %s", plain(string(mode), 60), span(spent[mode]))
	}
	return strings.Join(parts, ", ")
}

// A chart is one picture over the time of a session, of one line or two. A value that is not known is NaN.
type chart struct {
	title string
	lines []func(*limits.Sample) float64
}

// charts are those in which something is to be seen.
func charts(s *limits.Session) []chart {
	type value = func(*limits.Sample) float64
	var before int64
	throttled := make(map[*limits.Sample]float64, len(s.Samples))
	last := s.At
	for i := range s.Samples {
		sample := &s.Samples[i]
		throttled[sample] = float64(sample.Throttled-before) / max(sample.At.Sub(last).Minutes(), 1.0/60)
		before, last = sample.Throttled, sample.At
	}
	all := []chart{
		{"tokens/min: ─ settled, · pace", []value{
			func(x *limits.Sample) float64 { return known(x.TokenPace) },
			func(x *limits.Sample) float64 { return x.TokensPerMinute },
		}},
		{"requests/min: ─ sent, · pace", []value{
			func(x *limits.Sample) float64 { return known(x.RequestPace) },
			func(x *limits.Sample) float64 { return x.RequestsPerMinute },
		}},
		{"throttled/min", []value{func(x *limits.Sample) float64 { return throttled[x] }}},
		{"streams: ─ in flight, · limit", []value{
			func(x *limits.Sample) float64 { return known(float64(x.ConcurrencyLimit)) },
			func(x *limits.Sample) float64 { return float64(x.InFlight) },
		}},
	}
	return slices.DeleteFunc(all, func(c chart) bool {
		return !slices.ContainsFunc(s.Samples, func(x limits.Sample) bool { return x.TokensPerMinute+x.RequestsPerMinute > 0 }) || !c.shows(s)
	})
}

func known(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// shows tells whether a line of the chart ever leaves 0.
func (c *chart) shows(s *limits.Session) bool {
	for i := range s.Samples {
		for _, line := range c.lines {
			if line(&s.Samples[i]) > 0 {
				return true
			}
		}
	}
	return false
}

// draw makes the chart; "" where there are too few samples for one.
func (c *chart) draw(s *limits.Session, width int) string {
	if len(s.Samples) < 2 {
		return ""
	}
	label := func(v float64) string { return count(int64(math.Round(v))) }
	peak := 0.0 // of any sample: means over time are no larger, and so are their labels
	for i := range s.Samples {
		for _, line := range c.lines {
			if v := line(&s.Samples[i]); v > peak {
				peak = v
			}
		}
	}
	const axis = 5 // between label and line, and for what the last label on the time axis has beyond it
	columns := max(leastColumns, width-utf8.RuneCountInString(label(math.Ceil(peak)))-axis)
	lines, most := make([][]float64, len(c.lines)), 1.0
	for i, line := range c.lines {
		lines[i] = overTime(s, columns, line)
		for _, v := range lines[i] {
			if v > most {
				most = v
			}
		}
	}
	most = math.Ceil(round(most))
	title := c.title
	options := []asciigraph.Option{
		asciigraph.Height(int(min(chartHeight, most))), asciigraph.LowerBound(0), asciigraph.UpperBound(most), asciigraph.YAxisValueFormatter(label),
		asciigraph.XAxisRange(0, s.Last().Sub(s.At).Seconds()), asciigraph.XAxisTickCount(max(2, min(columns/16, 6))),
		asciigraph.XAxisValueFormatter(func(v float64) string { return span(time.Duration(v * float64(time.Second))) }),
	}
	if len(lines) == 2 {
		if slices.ContainsFunc(lines[0], func(v float64) bool { return !math.IsNaN(v) }) {
			options = append(options, asciigraph.SeriesChars(asciigraph.CreateCharSet("·")))
		} else { // without a pace there is one line only
			lines = lines[1:]
			title, _, _ = strings.Cut(title, ", ·")
		}
	}
	var b strings.Builder
	b.WriteString(title + "\n")
	for line := range strings.Lines(asciigraph.PlotMany(lines, options...) + "\n") {
		b.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	return b.String()
}

// overTime is a value in so many equal parts of the session: its mean in each, weighted by time. A sample tells of the time since
// the one before it, but for no longer than longestSample.
func overTime(s *limits.Session, columns int, value func(*limits.Sample) float64) []float64 {
	sums, weights := make([]float64, columns), make([]float64, columns)
	part := s.Last().Sub(s.At).Seconds() / float64(columns)
	from := s.At
	for i := range s.Samples {
		sample := &s.Samples[i]
		if oldest := sample.At.Add(-longestSample); from.Before(oldest) {
			from = oldest
		}
		a, z := from.Sub(s.At).Seconds()/part, sample.At.Sub(s.At).Seconds()/part
		from = sample.At
		v := value(sample)
		if math.IsNaN(v) {
			continue
		}
		for c := max(0, int(a)); c < columns && float64(c) < z; c++ {
			w := min(z, float64(c+1)) - max(a, float64(c))
			sums[c] += w * v
			weights[c] += w
		}
	}
	for c := range sums {
		if weights[c] <= 0 {
			sums[c] = math.NaN()
		} else {
			sums[c] /= weights[c]
		}
	}
	return sums
}

// controls are the controllers in words.
var controls = map[string]string{
	ratelimit.ControlTokens: "tokens/min", ratelimit.ControlRequests: "requests/min", ratelimit.ControlDay: "tokens/day",
	ratelimit.ControlService: "service", ratelimit.ControlConcurrency: "streams",
}

// A step is one decision, or several of one kind that follow each other.
type step struct {
	limits.Decision // the last of them
	from            float64
	times           int
}

// decisionTable shows what the controllers did, and why.
func decisionTable(s *limits.Session) string {
	if len(s.Decisions) == 0 {
		return "decisions    none: nothing moved a limit\n"
	}
	steps := stepsOf(s.Decisions)
	var b strings.Builder
	fmt.Fprintf(&b, "decisions    %s", count(int64(len(s.Decisions))))
	if s.Unwritten > 0 {
		fmt.Fprintf(&b, ", and %s more that were not written", count(s.Unwritten))
	}
	b.WriteString("; tokens, requests, refused: in the 60 s before\n")
	fmt.Fprintf(&b, "%-7s %-12s %-10s %9s %9s %9s %5s %5s  %s\n", "after", "what", "", "from", "to", "tokens", "req.", "ref.", "why")
	left := len(steps) - firstDecisions - lastDecisions
	for i := range steps {
		if left > 0 && i == firstDecisions {
			fmt.Fprintf(&b, "… %s rows are left out here; --output json has them\n", count(int64(left)))
		}
		if left > 0 && i >= firstDecisions && i < firstDecisions+left {
			continue
		}
		b.WriteString(steps[i].row(s.At))
	}
	return b.String()
}

func stepsOf(decisions []limits.Decision) []step {
	var steps []step
	for _, d := range decisions {
		if n := len(steps); n > 0 && steps[n-1].Control == d.Control && steps[n-1].Action == d.Action {
			steps[n-1].Decision = d
			steps[n-1].times++
			continue
		}
		steps = append(steps, step{Decision: d, from: d.From, times: 1})
	}
	return steps
}

func (x *step) row(start time.Time) string {
	what, ok := controls[x.Control]
	if !ok {
		what = plain(x.Control, 60)
	}
	action := plain(x.Action, 60)
	if x.times > 1 {
		action += fmt.Sprintf(" ×%d", x.times)
	}
	from, to := level(x.from), level(x.To)
	switch {
	case x.Action == "hold": // a wait
		from, to = "", figure(x.To)+"s"
	case x.Control == ratelimit.ControlService: // what its accounting is taken to be: the reason says it
		from, to = "", ""
	}
	return fmt.Sprintf("%-7s %-12s %-10s %9s %9s %9s %5s %5s  %s\n",
		span(x.At.Sub(start)), what, action, from, to, count(int64(x.Tokens)), count(int64(x.Requests)), count(int64(x.Refused)), plain(x.Reason, 200))
}

// level is a pace or a number of streams; 0 is none.
func level(v float64) string {
	if v == 0 {
		return "none"
	}
	if v == math.Trunc(v) {
		return count(int64(v))
	}
	return figure(v)
}
