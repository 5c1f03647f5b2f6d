package pipeline

import "time"

// Gaps between single probes: no more than 40 in twenty minutes of outage, and at most the cap and one call until the end of it
// is seen, however the jitter falls. A fifth of the longest gaps would break one or the other, so jitter has a bound of its own:
// runners that trip together are seconds apart by the time their gaps are long.
const (
	probeGapFirst  = time.Second
	probeGapGrowth = 1.6
	probeGapCap    = 40 * time.Second // jitter included
	probeJitter    = 0.2              // of a gap, up or down,
	probeJitterMax = 2 * time.Second  // and no more than this

	// probeTimeoutMin is the least a probe waits for its first token.
	probeTimeoutMin = 15 * time.Second

	// outagePatience is how long an outage costs no attempts although nothing is left that has not failed.
	outagePatience = time.Hour
	// cloggedPatience is the same where more would come if there were room for it.
	cloggedPatience = 6 * time.Hour
	// outageAtEndPatience is the same where few records told of the outage.
	outageAtEndPatience = 30 * time.Minute

	// patience is how long a model may take to wake up, and a service that never answered to answer.
	patience = 15 * time.Minute
)

// A gate is shut while the job as a whole waits: then one task at a time goes, as a probe.
type gate struct {
	mode    Mode
	since   time.Time
	failing time.Time // in Outage: when the first of the calls that tell of it began
	probeAt time.Time
	gap     time.Duration // before the next probe, but for jitter
	probing *task         // in flight
	confirm *task         // the one to send in Confirm
	probes  int           // sent so far
	timeout time.Duration // a probe's, for its first token

	patience time.Duration // how long an outage costs no attempts although nothing is left that has not failed
}

func (g *gate) open() bool { return g.mode == Running }

func (g *gate) shut(mode Mode, now time.Time, rand func() float64) {
	if g.mode != mode {
		g.since = now
	}
	g.mode, g.gap, g.probing, g.probes = mode, probeGapFirst, nil, 0
	g.probeAt = now.Add(jittered(g.gap, rand))
}

// wait sets the time of the next probe after one has failed.
func (g *gate) wait(now time.Time, rand func() float64) {
	g.probing = nil
	g.gap = min(time.Duration(float64(g.gap)*probeGapGrowth), probeGapCap-probeJitterMax)
	g.probeAt = now.Add(jittered(g.gap, rand))
}

// jittered is a gap a little longer or shorter, so that runners which met the same outage do not probe together.
func jittered(gap time.Duration, rand func() float64) time.Duration {
	most := min(probeJitter*float64(gap), float64(probeJitterMax))
	return gap + time.Duration((2*rand()-1)*most)
}

// A health window remembers how the last calls went, and who made them.
type health struct {
	size   int
	calls  []call
	next   int
	failed int
	streak int // failures since the last call that did not fail
}

type call struct {
	task    *task // of a failed call, while the record is not finished
	failed  bool
	again   bool // it was not the record's first
	started time.Time
}

func newHealth(concurrency int) *health { return &health{size: healthSize(concurrency)} }

func healthSize(concurrency int) int { return max(20, concurrency) }

func (h *health) add(t *task, failed bool, started time.Time) {
	if len(h.calls) < h.size {
		h.calls = append(h.calls, call{})
	}
	c := &h.calls[h.next]
	if c.failed {
		h.failed--
	}
	*c = call{failed: failed, again: t.sent != t.firstSent, started: started}
	if failed {
		c.task = t
		h.failed++
		h.streak++
	} else {
		h.streak = 0
	}
	h.next = (h.next + 1) % h.size
}

// wellSince reports whether at least a quarter of the calls begun after a moment did not fail. Nine in ten fail in an
// outage, and half of all records may be at fault.
func (h *health) wellSince(moment time.Time) bool {
	calls, well := 0, 0
	for _, c := range h.calls {
		if c.started.After(moment) {
			calls++
			if !c.failed {
				well++
			}
		}
	}
	return calls > 0 && well*4 >= calls
}

// ill reports whether nearly all of a full window failed: nine in ten. Five attempts would lose
// more than half of all records then.
func (h *health) ill() bool { return len(h.calls) == h.size && h.failed*10 >= h.size*9 }

// suspect reports whether the last calls, n in a row or nine in ten of those there were, failed:
// an outage may have begun that the window cannot tell yet.
func (h *health) suspect(n int) bool {
	return h.streak >= n || len(h.calls) > 0 && h.failed*10 >= len(h.calls)*9
}

// failingSince is when the first of the calls that failed began; zero if none did.
func (h *health) failingSince() time.Time {
	var first time.Time
	for _, c := range h.calls {
		if c.failed && (first.IsZero() || c.started.Before(first)) {
			first = c.started
		}
	}
	return first
}

// giveBack returns the attempts that the window's failures cost, and forgets it. It tells how many failures it had
// of first calls, and of others.
func (h *health) giveBack() (first, again int) {
	for _, c := range h.calls {
		switch {
		case !c.failed:
		case c.again:
			again++
		default:
			first++
		}
		if c.task != nil && c.task.attempts > 0 {
			c.task.attempts--
			c.task.owes = false
		}
	}
	h.forget()
	return first, again
}

// forget empties the window: what it saw tells nothing of the service as it is now.
func (h *health) forget() {
	for _, c := range h.calls {
		if c.task != nil {
			c.task.counted = false
		}
	}
	clear(h.calls)
	h.calls, h.next, h.failed, h.streak = h.calls[:0], 0, 0, 0
}

// A tally counts calls and those of them that failed.
type tally struct{ calls, failed int }

func (t *tally) add(failed bool) {
	t.calls++
	if failed {
		t.failed++
	}
}

// forget takes so many failed calls out: the service was not there.
func (t *tally) forget(failed int) {
	t.calls, t.failed = max(t.calls-failed, 0), max(t.failed-failed, 0)
}

// share is the part that failed; a quarter while few calls are known, that of so many weighing as much.
func (t *tally) share(few int) float64 {
	return (float64(t.failed) + float64(few)/4) / float64(t.calls+few)
}
