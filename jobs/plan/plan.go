package plan

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/ratelimit"
)

const (
	// most is how many requests are followed through virtual time; the rest goes at the rate of the later ones.
	most = 4 * keep
	// enough is how many requests are followed at least, over several rounds of a short job.
	enough = keep / 4
	// tenth is how many standard deviations lie between the mean of a normal distribution and its 10th percentile.
	tenth = 1.2816
	// apart is the part by which two figures have to differ to be told as two.
	apart = 0.01
	day   = 24 * time.Hour
)

// Options say how a workload would be run.
type Options struct {
	Model  string // as it is invoked
	Family string
	Region string
	// Tier and Latency are what the run asks the service for; "" is its default. Their prices are told.
	Tier, Latency string

	// Limits are those of the run: quotas, burndown and concurrency.
	Limits ratelimit.Options
	Expect Expect

	Prices     *price.Table // nil: costs are not told
	PriceFile  string       // its name
	ModelUnits int          // of provisioned throughput; 0: 1
	MaxCost    float64      // what the run may cost, in the table's currency; 0: any
	MaxTokens  int64        // that the run may be billed; 0: any
	// CountsInput says that a run with a bound asks the service for the tokens of an input, whatever it is.
	CountsInput bool
	Now         time.Time // for prices that come into force

	RepeatedIDs int64    // records whose id an earlier one has, about
	Notes       []string // what else the user should know, before the warnings of the plan itself
}

// A planner makes one report.
type planner struct {
	Options
	w        *Workload
	sample   []ratelimit.Cost
	scale    float64 // of the sample's inputs, to have the mean of all
	ratio    float64 // of input as counted to input as estimated
	read     float64 // parts of the input from and to caches
	write    float64
	requests int64

	output       *histogram // as expected
	most         *histogram // where every answer reaches its limit
	used         float64    // tokens of quota a request settles at, on average
	idle         float64    // tokens reserved and not used, on average, times the part of a minute for which they are
	spread       float64    // relative, from the mean of all outputs to their 10th and 90th percentile
	firstSeconds float64
	perSecond    float64 // output tokens per second of one stream
	total        time.Duration
}

// Plan makes the report.
func (w *Workload) Plan(o Options) (*Report, error) {
	if err := o.Limits.Validate(); err != nil {
		return nil, err
	}
	p := &planner{Options: o, w: w, requests: w.requests(), sample: w.sample.inOrder(), scale: 1, ratio: o.Expect.Like.ratio()}
	if p.Limits.Burndown == 0 {
		p.Limits.Burndown = 1
	}
	if p.Limits.Concurrency == 0 {
		p.Limits.Concurrency = ratelimit.DefaultConcurrency
	}
	p.read, p.write = o.Expect.Like.cached()
	p.expect()
	r := &Report{
		Model: o.Model, Family: o.Family, Region: o.Region,
		Records: Records{
			Read: p.requests + w.refused, ToSend: p.requests, Refused: w.refused,
			Prompts: w.prompts, Foreign: w.foreign, ModelInputs: p.requests - w.prompts - w.foreign, RepeatedIDs: o.RepeatedIDs,
		},
		Refused: w.refusals,
		Quota: Quota{
			RequestsPerMinute: o.Limits.RequestsPerMinute, TokensPerMinute: o.Limits.TokensPerMinute, TokensPerDay: o.Limits.TokensPerDay,
			Burndown: p.Limits.Burndown, Concurrency: p.Limits.Concurrency,
		},
		Warnings: []string{},
	}
	if p.requests > 0 {
		r.Tokens = p.tokens()
		var err error
		if r.Duration, err = p.duration(); err != nil {
			return nil, err
		}
		r.Cost = p.cost(r)
	}
	r.Warnings = append(r.Warnings, o.Notes...)
	p.warn(r)
	p.assume(r)
	return r, nil
}

// expect draws the answers of the sample.
func (p *planner) expect() {
	p.output, p.most = newHistogram(), newHistogram()
	if len(p.sample) == 0 {
		return
	}
	var inputs float64
	for _, c := range p.sample {
		inputs += float64(c.Input)
	}
	if inputs > 0 {
		p.scale = p.w.input.mean() / (inputs / float64(len(p.sample)))
	}
	var firsts, rests, tokens float64
	for i := range p.draws() {
		c := p.sample[i%len(p.sample)]
		a := p.Expect.answer(i, c.MaxTokens, 1)
		p.output.add(a.output)
		p.most.add(c.MaxTokens)
		used := ratelimit.Settles(p.usage(c, a.output), p.Limits.Burndown)
		p.used += used
		p.idle += max(0, ratelimit.Reserves(c)-used) * min(1, a.total.Minutes())
		firsts += a.first.Seconds()
		rests += (a.total - a.first).Seconds()
		tokens += float64(a.output)
	}
	n := p.output.count()
	p.used /= n
	p.idle /= n
	p.firstSeconds = firsts / n
	if rests > 0 {
		p.perSecond = tokens / rests
	}
	if p.Expect.known() {
		// The sum of many answers; and a mean that was learned from few rows is itself a guess.
		of := 1 / float64(p.requests)
		if p.Expect.Output == nil {
			of += 1 / float64(p.Expect.Like.Rows)
		}
		p.spread = min(tenth*p.output.deviation()*math.Sqrt(of)/p.output.mean(), 1)
	}
}

// draws is how many answers are drawn for means: each request of a short job has many, so that chance does not show.
func (p *planner) draws() int {
	each := (keep + len(p.sample) - 1) / len(p.sample)
	return each * len(p.sample)
}

// usage is what a request is expected to use.
func (p *planner) usage(c ratelimit.Cost, output int64) ratelimit.Usage {
	in := float64(c.Input) * p.scale * p.ratio
	read, write := math.Round(in*p.read), math.Round(in*p.write)
	return ratelimit.Usage{Input: int64(max(0, math.Round(in)-read-write)), CacheRead: int64(read), CacheWrite: int64(write), Output: output}
}

func (p *planner) tokens() *Tokens {
	t := &Tokens{
		Input:       p.w.input.distribution(p.requests),
		MaxTokens:   p.w.limit.distribution(p.requests),
		Reservation: p.w.reserve.distribution(p.requests),
		Output:      p.output.distribution(p.requests),
		OutputFrom:  p.Expect.from(),
		InputRatio:  round(p.ratio),
		Settled:     int64(math.Round(p.used * float64(p.requests))),
		Reachable:   round(p.reachable(p.idle)),
	}
	return t
}

// reachable is the share of a quota that such requests can settle at where each counts for a minute.
func (p *planner) reachable(idle float64) float64 {
	if p.used == 0 {
		return 1
	}
	return p.used / (p.used + idle)
}

// from says where the length of answers comes from.
func (e *Expect) from() string {
	switch {
	case e.Output != nil:
		return "--expect-output"
	case e.Like != nil:
		return fmt.Sprintf("the %s result rows of %s", comma(e.Like.Rows), e.Like.Path)
	}
	return "max_tokens, as nothing is known of the answers"
}

// duration follows the requests through virtual time.
func (p *planner) duration() (*Duration, error) {
	d := &Duration{}
	c, total, err := p.follow(p.returning, 1)
	if err != nil {
		return nil, err
	}
	p.total = total
	d.Seconds = round(total.Seconds())
	d.Low, d.High = d.Seconds, d.Seconds
	if p.spread > 0 {
		_, low, err := p.follow(p.returning, 1-p.spread)
		if err != nil {
			return nil, err
		}
		_, high, err := p.follow(p.returning, 1+p.spread)
		if err != nil {
			return nil, err
		}
		d.Low, d.High = round(low.Seconds()), round(high.Seconds())
	}
	d.Counting = d.Seconds
	if p.Limits.TokensPerMinute > 0 {
		_, counted, err := p.follow(func() service { return &counting{perMinute: p.Limits.TokensPerMinute} }, 1)
		if err != nil {
			return nil, err
		}
		d.Counting = round(counted.Seconds())
	}
	d.LimitedBy = limitedBy(c.limiter.Waited(c.now))
	d.Streams = round(c.busy.Seconds() / max(c.now.Seconds(), 1e-9))
	if minutes := total.Minutes(); minutes > 0 {
		d.RequestsPerMinute = round(float64(p.requests) / minutes)
		d.TokensPerMinute = round(p.used * float64(p.requests) / minutes)
	}
	if c.refuse > 0 {
		d.Refused = round(float64(c.refuse) / float64(c.refuse+c.requests))
	}
	d.FirstTokenSeconds, d.TokensPerSecond = round(p.firstSeconds), round(p.perSecond)
	return d, nil
}

func (p *planner) returning() service {
	if tpm := p.Limits.TokensPerMinute; tpm > 0 {
		return newReturning(tpm)
	}
	return open{}
}

// follow runs the workload, or as much of it as tells the rest, with answers stretched by scale. Of a short job it is
// chance which answers come last, and how long they are: it is followed several times, and the mean is told.
func (p *planner) follow(shape func() service, scale float64) (c *course, total time.Duration, err error) {
	n := int(min(p.requests, most))
	times := min(max(enough/n, 1), 16)
	places := rand.New(rand.NewPCG(5, 6))
	for range times {
		if c, err = p.once(shape(), n, places.IntN(1<<30), scale); err != nil {
			return nil, 0, err
		}
		took := c.now
		if rest := p.requests - int64(n); rest > 0 {
			took += time.Duration(float64(c.last-c.marked) / float64(n-keep) * float64(rest))
		}
		total += took / time.Duration(times)
	}
	return c, p.days(total, c.used/float64(n)*float64(p.requests)), nil
}

// once follows n requests, whose answers begin at a place of the sequence.
func (p *planner) once(s service, n, place int, scale float64) (*course, error) {
	limits := p.Limits
	limits.TokensPerDay = 0 // see days
	c, err := newCourse(limits, s, n, func(i int) planned {
		at := i % len(p.sample)
		if p.requests <= most { // each of the sample stands for its neighbours
			at = int(int64(i) * int64(len(p.sample)) / int64(n))
		}
		cost := p.sample[at]
		a := p.Expect.answer(place+i, cost.MaxTokens, scale)
		return planned{cost, p.usage(cost, a.output), a.first, a.total}
	})
	if err != nil {
		return nil, err
	}
	c.mark = keep
	return c, c.run()
}

// days adds the waits for the quota of the day: what it does not cover goes 24 hours after what it did.
func (p *planner) days(total time.Duration, used float64) time.Duration {
	quota := p.Limits.TokensPerDay
	if quota <= 0 || used <= quota {
		return total
	}
	full := math.Ceil(used/quota) - 1
	if need := total.Seconds() / used * quota; need >= day.Seconds() {
		return total // no day is long enough to use it up
	}
	return time.Duration(full*float64(day) + float64(total)*(used-full*quota)/used)
}

// limitedBy says what requests waited for, the longest first.
func limitedBy(waited map[string]time.Duration) []Share {
	var all time.Duration
	for _, d := range waited {
		all += d
	}
	shares := []Share{}
	for what, d := range waited {
		if part := float64(d) / max(1, float64(all)); part >= 0.005 {
			shares = append(shares, Share{what, round(part)})
		}
	}
	slices.SortFunc(shares, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.What, b.What))
	})
	return shares
}
