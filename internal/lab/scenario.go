package lab

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// A Scenario is a row of the table: a service, a job, who works on it, and what ours must reach.
type Scenario struct {
	Name string

	Rate     float64                                  // calls a second that the quota of tokens is for, when they settle at the mean of Workload; 0: no quota
	Requests float64                                  // quota of requests, as a multiple of Rate; 0: none
	Scale    func(at time.Duration) float64           // of both quotas, by the time; nil: 1
	Workload Workload                                 // of all records, but
	After    *Workload                                // of those in the second half of the time; nil: the same
	Idle     Span                                     // in which the source holds back
	IdleRate float64                                  // and yields this part of Rate
	Lasts    time.Duration                            // of the job, if the quota were used in full from the beginning
	Streams  int                                      // in flight at most, of each client
	Stated   func(tpm, rpm float64) ratelimit.Options // what ours is told; nil: nothing

	Joins    []time.Duration // when each runner begins; nil: one, at once
	Stranger bool            // the last one has the SDK's adaptive mode whoever the others are

	Slots  int     // provisioned
	Decode float64 // provisioned: as a multiple of what one stream can take
	Best   float64 // provisioned: of the capacity, what a fixed number of streams can use within Target.TTFT; 0: all, or so nearly

	Outage   Span
	Hang     Span
	Hangs    float64
	Noise    float64
	InStream float64

	Measured []Span // the share is the worst of these; a To of 0 is the end
	Fair     Span   // in which fairness is measured

	// Says is a fault in what the limiter of the first runner says of itself in the end, "" for none; nil: nobody asks.
	Says func(s ratelimit.Snapshot, o *Outcome) string

	Target Target
}

// A Target is what ours must reach in every shape and with every seed. Zero fields ask for nothing.
type Target struct {
	Share     float64           // of the quota times the bound
	ShareOf   map[Shape]float64 // in place of Share
	OfQuota   bool              // Share is of the quota, whatever the bound
	OfStated  float64           // Share is of this part of the quota, which is what was stated
	Throttled float64           // share of all calls refused, at most; negative: none
	Minute    float64           // share of the calls of any minute refused, at most, once the first stretch is measured
	Jain      float64
	Stranger  float64       // of an equal share, at least; shown beside it, without a target: who of ours has least, and what an observer would meet
	Probes    int           // in an outage, at most
	Back      time.Duration // to 95 % of the rate after an outage, and one duration more, at most
	Attempts  float64       // for each answer, at most: in the span of Hang, or of the whole run
	TTFT      float64       // p95 in units of the unloaded one, at most
	InFlight  float64       // in units of the streams that suffice, at most
}

// An Outcome is what was measured in one run of a scenario. Durations are of the bubble's clock.
type Outcome struct {
	Share     float64 // settled tokens by the quota's, or the work done by the capacity's: the worst stretch
	Bound     float64
	Sliding   float64 // what Bound would be on a sliding minute, over the whole run
	Throttled float64 // of all calls but the stranger's
	Settled   float64 // the same from the first measured stretch on
	Minute    float64 // in the worst minute of that
	Attempts  float64 // for each answer
	Makespan  float64 // until the last answer, by the ideal; 0 if the run was given up
	Jain      float64
	Stranger  float64 // of an equal share
	Least     float64 // of an equal share, whoever of the others has least
	Observed  float64 // of calls at random moments would be refused, beside a stranger
	Probes    int
	Back      time.Duration // negative: never
	TTFT      float64       // p95 in units of the unloaded one
	InFlight  float64       // in units of the streams that suffice
	Duration  time.Duration // mean, of an answer

	Records, Answered, ErrorRows, Calls int64
	Again                               int64  // records that were stored a second time
	Twice                               int64  // calls answered for a record that had been answered: paid twice
	Fault                               string // the end of a run that should not have ended so, or a fault in what the limiter says
}

// jitter is enough to keep the calls of a row apart in time, and too little to be seen in any figure.
const jitter = time.Millisecond

// patience is how many times the ideal makespan a run may take before it is given up.
const patience = 3

// Run plays a cell of a scenario in the synctest bubble that it is called in. The same seed makes the same records and the same faults.
func (sc *Scenario) Run(c Cell) *Outcome {
	ground := sc.lay(c.Shape, c.Seed)
	svc := NewService(ground.cfg)
	p := newPool(svc, ground.records, sc.hold)
	ctx, cancel := context.WithTimeout(context.Background(), patience*ground.ideal+sc.Outage.To-sc.Outage.From)
	defer cancel()

	joins := sc.Joins
	if joins == nil {
		joins = []time.Duration{0}
	}
	var (
		wg     sync.WaitGroup
		faults = make([]error, len(joins))
		first  *ratelimit.Limiter
	)
	for i, join := range joins {
		wg.Go(func() {
			if !wait(ctx, join+svc.jitter(i, none)) {
				return
			}
			is := c.Kind
			if sc.Stranger && i == len(joins)-1 {
				is = Adaptive
			}
			switch is {
			case Ours:
				limiter, err := ours(ctx, p, i, sc.Streams, ground.stated, c.Seed)
				if faults[i] = err; i == 0 {
					first = limiter
				}
			case Patient:
				newPatient(p, i, len(joins), sc.Rate, c.Patience, c.Seed).run(ctx, sc.Streams)
			default:
				loop(ctx, p, i, sc.Streams, newCaller(is, svc, i, sc.Streams, c.Seed))
			}
		})
	}
	observed := make(chan float64, 1)
	if sc.Stranger {
		go func() { observed <- svc.observe(ctx, sc.Fair) }()
	}
	wg.Wait()
	cancel()
	o := sc.measure(c.Shape, ground, svc, p, len(joins))
	if sc.Stranger {
		o.Observed = <-observed
	}
	for i, err := range faults {
		if err != nil {
			o.Fault = fmt.Sprintf("runner %d: %v", i, err)
		}
	}
	if sc.Says != nil && first != nil && o.Fault == "" {
		o.Fault = sc.Says(first.Snapshot(), o)
	}
	return o
}

// hold is what passes between two records of the source at a moment.
func (sc *Scenario) hold(at time.Duration) time.Duration {
	if !sc.Idle.has(at) {
		return 0
	}
	return time.Duration(float64(time.Second) / (sc.Rate * sc.IdleRate))
}

// A ground is a scenario with its numbers worked out.
type ground struct {
	cfg     Config
	stated  ratelimit.Options
	records int64
	ideal   time.Duration // the quota used in full from the beginning
	work    float64       // provisioned: seconds of a slot, or output tokens, of all records
}

// lay works out the numbers of a scenario: its quota, and as many records as use it up in the time that the job lasts.
func (sc *Scenario) lay(shape Shape, seed uint64) ground {
	cfg := Config{
		Seed: seed, Shape: shape, Slots: sc.Slots, Jitter: jitter,
		Hang: sc.Hang, Hangs: sc.Hangs, Noise: sc.Noise, InStream: sc.InStream,
		Workload: func(int64) Workload { return sc.Workload },
	}
	if sc.Outage.To > 0 {
		cfg.Outages = []Span{sc.Outage}
	}
	if sc.Rate == 0 {
		return sc.provision(cfg)
	}
	scale := sc.Scale
	if scale == nil {
		scale = func(time.Duration) float64 { return 1 }
	}
	mean := meanUse(sc.Workload, seed)
	cfg.Tokens = func(at time.Duration) float64 { return sc.Rate * mean * scale(at) }
	if sc.Requests > 0 {
		cfg.Requests = func(at time.Duration) float64 { return sc.Rate * sc.Requests * scale(at) }
	}
	g := ground{cfg: cfg}
	if sc.Stated != nil {
		g.stated = sc.Stated(60*sc.Rate*mean, 60*sc.Rate*sc.Requests)
	}
	g.records, g.ideal = sc.fill(&g.cfg)
	return g
}

// fill finds how many records use up the quota, and which of them are of the second kind.
func (sc *Scenario) fill(cfg *Config) (records int64, ideal time.Duration) {
	workload, change := sc.Workload, int64(math.MaxInt64)
	supply := func(at time.Duration) float64 {
		if sc.Idle.has(at) {
			return cfg.Tokens(at) * sc.IdleRate
		}
		return cfg.Tokens(at)
	}
	half, whole := Curve(supply).Area(0, sc.Lasts/2), Curve(supply).Area(0, sc.Lasts)
	requests := math.Inf(1)
	if cfg.Requests != nil {
		requests = cfg.Requests.Area(0, sc.Lasts)
	}
	for used := 0.0; used < whole && float64(records) < requests; records++ {
		if sc.After != nil && change == math.MaxInt64 && used >= half {
			workload, change = *sc.After, records
		}
		used += workload.draw(cfg.Seed, records).used(1)
	}
	cfg.Workload = func(record int64) Workload {
		if record >= change {
			return *sc.After
		}
		return sc.Workload
	}
	return records, sc.Lasts
}

func (sc *Scenario) provision(cfg Config) ground {
	if sc.Decode > 0 {
		cfg.Decode = sc.Decode / sc.Workload.Token.Seconds()
	}
	g := ground{cfg: cfg, ideal: sc.Lasts}
	whole := sc.capacity(cfg) * sc.Lasts.Seconds()
	for g.work < whole {
		g.work += sc.worth(sc.Workload.draw(cfg.Seed, g.records))
		g.records++
	}
	return g
}

// capacity is how much of what worth counts a provisioned service does in a second.
func (sc *Scenario) capacity(cfg Config) float64 {
	if sc.Slots > 0 {
		return float64(sc.Slots)
	}
	return cfg.Decode
}

// worth is what a record takes of a provisioned service: seconds of a slot, or output tokens.
func (sc *Scenario) worth(d demand) float64 {
	if sc.Slots > 0 {
		return (d.first + d.stream).Seconds()
	}
	return float64(d.output)
}

// meanUse is what a record settles at in the mean.
func meanUse(w Workload, seed uint64) float64 {
	const n = 20_000
	sum := 0.0
	for i := range int64(n) {
		sum += w.draw(seed, i).used(1)
	}
	return sum / n
}

func (sc *Scenario) measure(shape Shape, g ground, svc *Service, p *pool, runners int) *Outcome {
	calls := svc.Calls()
	end := g.ideal + sc.Outage.To - sc.Outage.From
	if p.emptied > 0 {
		end = min(end, p.emptied)
	}
	spans := sc.spans(end)
	own := calls // of those who are judged
	if sc.Stranger {
		own = without(calls, runners-1)
	}
	warm := spans[0].From
	o := &Outcome{
		Share: math.Inf(1), Bound: 1, Sliding: Bound(Sliding, calls),
		Throttled: refusedShare(own), Settled: refusedShare(arrived(own, Span{warm, end})), Minute: worstMinute(own, warm),
		Attempts: attemptsPerAnswer(own), Duration: meanDuration(calls),
		Records: p.n, Answered: p.answered, Again: p.again, Twice: answeredTwice(calls), ErrorRows: p.errorRows, Calls: int64(len(calls)),
	}
	if sc.Hang.To > 0 {
		o.Attempts = attemptsPerAnswer(arrived(calls, sc.Hang))
	}
	for _, in := range spans {
		share, bound := sc.share(shape, g, calls, in)
		if share/bound < o.Share/o.Bound {
			o.Share, o.Bound = share, bound
		}
	}
	if p.answered == p.n {
		ideal := time.Duration(float64(g.ideal)/Bound(shape, calls)) + o.Duration + sc.Outage.To - sc.Outage.From
		o.Makespan = p.last.Seconds() / ideal.Seconds()
	}
	if runners > 1 {
		sc.fairness(o, calls, runners)
	}
	if sc.Outage.To > 0 {
		o.Probes = len(arrived(calls, Span{sc.Outage.From + noticed, sc.Outage.To}))
		o.Back = back(calls, g.cfg.Tokens, sc.Outage.To)
	}
	if sc.Rate == 0 {
		in := arrived(calls, spans[0])
		o.TTFT = firstTokens(in, 0.95).Seconds() / sc.unloaded(g, in, 0.95).Seconds()
		o.InFlight = inFlight(calls, spans[0]) / sc.knee(g, calls)
	}
	return o
}

// noticed is the time that a client has to notice an outage: calls that come later are counted as probes.
const noticed = 10 * time.Second

// spans are the measured stretches, in whole minutes where they are that long, since some shapes count in these.
func (sc *Scenario) spans(end time.Duration) []Span {
	var out []Span
	for _, in := range sc.Measured {
		if in.To == 0 || in.To > end {
			in.To = end
		}
		if long := in.To - in.From; long > time.Minute {
			in.To = in.From + long.Truncate(time.Minute)
		}
		in.To = max(in.To, in.From+time.Second)
		out = append(out, in)
	}
	return out
}

// share is what was used of what there was in a span, and the most that could be.
func (sc *Scenario) share(shape Shape, g ground, calls []Call, in Span) (share, bound float64) {
	if sc.Rate == 0 {
		done := 0.0
		for i := range calls {
			if c := &calls[i]; c.Fate == Answered && in.has(c.End) {
				done += sc.worth(sc.Workload.draw(g.cfg.Seed, c.Record))
			}
		}
		return done / (sc.capacity(g.cfg) * (in.To - in.From).Seconds()), cmp.Or(sc.Best, 1)
	}
	share = settled(calls, in, -1) / g.cfg.Tokens.Area(in.From, in.To)
	bound = Bound(shape, arrived(calls, in))
	if g.cfg.Requests != nil { // whichever is used up more is the one that binds
		here := arrived(calls, in)
		requests := float64(len(here)-count(here, Refused)) / g.cfg.Requests.Area(in.From, in.To)
		if requests > share/bound {
			return requests, 1
		}
	}
	return share, bound
}

func (sc *Scenario) fairness(o *Outcome, calls []Call, runners int) {
	tokens := make([]float64, runners)
	sum := 0.0
	for i := range tokens {
		tokens[i] = settled(calls, sc.Fair, i)
		sum += tokens[i]
	}
	if sc.Stranger {
		o.Stranger = tokens[runners-1] / (sum / float64(runners))
		tokens = tokens[:runners-1]
	}
	o.Jain, o.Least = Jain(tokens), slices.Min(tokens)/(sum/float64(runners))
}

// unloaded is the q-quantile of the times to the first token of the same calls at a service that serves each at once.
func (sc *Scenario) unloaded(g ground, calls []Call, q float64) time.Duration {
	var all []time.Duration
	for i := range calls {
		if calls[i].FirstToken > 0 {
			all = append(all, sc.Workload.draw(g.cfg.Seed, calls[i].Record).first+DefaultRTT)
		}
	}
	return quantile(all, q)
}

// knee is the number of streams that suffice for all of the capacity: the slots, or as many as keep so many decoding that
// they take the whole rate.
func (sc *Scenario) knee(g ground, calls []Call) float64 {
	if sc.Slots > 0 {
		return float64(sc.Slots)
	}
	output, n := time.Duration(0), time.Duration(0)
	for i := range calls {
		if calls[i].Fate == Answered {
			output += sc.Workload.draw(g.cfg.Seed, calls[i].Record).stream
			n++
		}
	}
	decoding := (output / max(1, n)).Seconds()
	return sc.Decode * (1 + sc.Workload.FirstToken.Seconds()/decoding)
}
