package lab

import (
	"fmt"
	"math"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// Rows are the scenarios of the table, in its order.
func Rows() []*Scenario {
	var rows []*Scenario
	add := func(groups ...[]*Scenario) {
		for _, g := range groups {
			rows = append(rows, g...)
		}
	}
	add(statedRows(), learnedRows(), movingRows(), fairRows(), longRows(), changingRows(), faultRows(), provisionedRows())
	return rows
}

const (
	// streams is enough for 20 calls a second of 3.7 s, and half as many again: what a user who has worked it out would set.
	streams = 128
	// lasts is the length of a job whose quota does not change.
	lasts = 20 * time.Minute
)

// from is one stretch, from a moment to the end.
func from(at time.Duration) []Span { return []Span{{From: at}} }

// quotaRow is a row with 20 calls a second and nothing else said.
func quotaRow(name string, warm time.Duration, t Target) *Scenario {
	return &Scenario{Name: name, Rate: 20, Workload: plain, Lasts: lasts, Streams: streams, Measured: from(warm), Target: t}
}

func tokensStated(part float64, probe bool) func(tpm, rpm float64) ratelimit.Options {
	return func(tpm, _ float64) ratelimit.Options {
		return ratelimit.Options{TokensPerMinute: tpm * part, Probe: probe}
	}
}

func bothStated(tpm, rpm float64) ratelimit.Options {
	return ratelimit.Options{TokensPerMinute: tpm, RequestsPerMinute: rpm}
}

func statedRows() []*Scenario {
	target := Target{Share: 0.99, Throttled: 0.0005}
	tokens := quotaRow("TPM and RPM stated, TPM binds", time.Minute, target)
	tokens.Requests, tokens.Stated = 1.25, bothStated
	requests := quotaRow("TPM and RPM stated, RPM binds", time.Minute, target)
	requests.Requests, requests.Stated = 0.8, bothStated
	return []*Scenario{tokens, requests}
}

func learnedRows() []*Scenario {
	target := Target{Share: 0.975, Throttled: 0.008}
	high := quotaRow("TPM stated twice too high", 3*time.Minute, target)
	high.Stated = tokensStated(2, false)
	low := quotaRow("TPM stated half too low", time.Minute, Target{Share: 0.99, OfStated: 0.5, Throttled: -1})
	low.Stated = tokensStated(0.5, false)
	// With less than the quota used, the job takes twice as long.
	probe := quotaRow("TPM stated half too low, Probe, from 10 min", 10*time.Minute, Target{Share: 0.975, Throttled: 0.008})
	probe.Stated = tokensStated(0.5, true)
	slow := quotaRow("nothing stated, 2 requests/s", 3*time.Minute, Target{Share: 0.95, Throttled: 0.015})
	slow.Rate, slow.Streams, slow.Lasts = 2, 32, 60*time.Minute
	return []*Scenario{quotaRow("nothing stated, 20 requests/s", 3*time.Minute, target), slow, high, low, probe}
}

func movingRows() []*Scenario {
	target := Target{Share: 0.97, ShareOf: map[Shape]float64{Sliding: 0.95}, OfQuota: true, Throttled: 0.008}
	row := func(name string, scale func(time.Duration) float64) *Scenario {
		sc := quotaRow(name, 3*time.Minute, target)
		sc.Scale, sc.Lasts = scale, 30*time.Minute
		return sc
	}
	step := func(before, after float64) func(time.Duration) float64 {
		return func(at time.Duration) float64 {
			if at < 15*time.Minute {
				return before
			}
			return after
		}
	}
	wander := func(at time.Duration) float64 { return 1 + 0.3*math.Sin(2*math.Pi*at.Minutes()/10) }
	return []*Scenario{
		row("nothing stated, the quota halves", step(1, 0.5)),
		row("nothing stated, the quota doubles", step(0.5, 1)),
		row("nothing stated, the quota wanders ±30 % over 10 min", wander),
	}
}

func fairRows() []*Scenario {
	const join = 5 * time.Minute
	row := func(name string, throttled float64, joins ...time.Duration) *Scenario {
		sc := quotaRow(name, 3*time.Minute, Target{Share: 0.965, Jain: 0.97, Throttled: throttled})
		sc.Joins, sc.Lasts = joins, 32*time.Minute
		sc.Fair = Span{join + 5*time.Minute, join + 25*time.Minute}
		return sc
	}
	two := row("two runners, one joins after 5 min", 0.01, 0, join)
	five := row("five runners, one joins after 5 min", 0.02, 0, 0, 0, 0, join)
	beside := row("one runner and a stranger in adaptive mode", 0.01, 0, 0)
	beside.Stranger, beside.Target.Jain, beside.Target.Stranger = true, 0, 0.5
	among := row("four runners, one of whom joins after 5 min, and a stranger in adaptive mode", 0.02, 0, 0, 0, join, 0)
	among.Stranger, among.Target.Stranger = true, 0.5
	return []*Scenario{two, five, beside, among}
}

func longRows() []*Scenario {
	row := func(name string, warm time.Duration, t Target) *Scenario {
		sc := quotaRow(name, warm, t)
		sc.Workload = longTailed
		return sc
	}
	stated := row("max_tokens 10 × the mean, TPM stated", time.Minute,
		Target{Share: 0.99, ShareOf: map[Shape]float64{Minute: 0.97, StrictMinute: 0.97}, Throttled: 0.0005})
	stated.Stated = tokensStated(1, false)
	stated.Says = func(s ratelimit.Snapshot, o *Outcome) string {
		if math.Abs(s.Reachable-o.Sliding) > 0.05 {
			return fmt.Sprintf("the limiter says that %.3f of the quota can be reached, by the calls it is %.3f", s.Reachable, o.Sliding)
		}
		return ""
	}
	learned := row("max_tokens 10 × the mean, nothing stated", 3*time.Minute,
		Target{Share: 0.95, ShareOf: map[Shape]float64{Minute: 0.94, StrictMinute: 0.94}, Throttled: 0.008})
	return []*Scenario{stated, learned}
}

func changingRows() []*Scenario {
	target := Target{Share: 0.975, Minute: 0.02}
	const half, settle = lasts / 2, 2 * time.Minute
	// The change may come a little before or after, by what the buckets held and what was not used.
	halves := []Span{{3 * time.Minute, half - time.Minute}, {half + time.Minute + settle, 0}}
	grow := quotaRow("nothing stated, records grow 10-fold half-way", 0, target)
	grow.After, grow.Measured = &large, halves
	shrink := quotaRow("nothing stated, records shrink 10-fold half-way", 0, target)
	shrink.Workload, shrink.After, shrink.Measured = large, &plain, halves
	shrink.Rate = 2
	idle := quotaRow("nothing stated, the source holds back to 0.3 for 5 min", 0, target)
	idle.Idle, idle.IdleRate = Span{6 * time.Minute, 11 * time.Minute}, 0.3
	idle.Measured = []Span{{3 * time.Minute, 6 * time.Minute}, {11*time.Minute + settle, 0}}
	return []*Scenario{grow, shrink, idle}
}

func faultRows() []*Scenario {
	outage := quotaRow("nothing stated, nothing answers for 20 min", 3*time.Minute, Target{Probes: 40, Back: 45 * time.Second, Attempts: 1.01})
	outage.Lasts, outage.Outage = 30*time.Minute, Span{15 * time.Minute, 35 * time.Minute}
	outage.Measured = []Span{{3 * time.Minute, 15 * time.Minute}}
	hang := quotaRow("TPM stated, 10 % of calls time out for 15 min", time.Minute, Target{Share: 0.95, Attempts: 1.12})
	hang.Lasts, hang.Streams = 30*time.Minute, 2*streams
	hang.Hang, hang.Hangs, hang.Stated = Span{5 * time.Minute, 20 * time.Minute}, 0.1, tokensStated(1, false)
	return []*Scenario{outage, hang}
}

func provisionedRows() []*Scenario {
	row := func(name string, t Target) *Scenario {
		return &Scenario{Name: name, Workload: plain, Lasts: lasts, Streams: 1024, Measured: from(5 * time.Minute), Target: t}
	}
	slots := func(name string, n int, t Target) *Scenario {
		sc := row(name, t)
		sc.Slots, sc.Streams = n, 4*n
		return sc
	}
	varies := slots("provisioned, 64 slots, first tokens vary", 64, Target{Share: 0.975, TTFT: 1.25})
	varies.Workload.Spread = 0.3
	few := slots("provisioned, 16 slots", 16, Target{Share: 0.99, TTFT: 1.4})
	few.Best = 0.987 // with a stream for each slot, which is idle for the round trip between two calls; one more stream waits too long
	shared := row("provisioned, a shared rate of 64 streams", Target{Share: 0.97, InFlight: 3})
	shared.Decode = 64
	return []*Scenario{
		slots("provisioned, 64 slots", 64, Target{Share: 0.975, TTFT: 1.25}),
		slots("provisioned, 256 slots", 256, Target{Share: 0.975, TTFT: 1.25}),
		few,
		varies,
		shared,
	}
}

// shapes are those that a row is played on.
func (sc *Scenario) shapes() []Shape {
	if sc.Rate == 0 {
		return []Shape{""}
	}
	return Shapes
}
