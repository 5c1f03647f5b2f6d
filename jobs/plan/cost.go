package plan

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/batchrun/batchrun/jobs/price"
)

// tiersShown are the tiers of service whose price is told beside the one a run has; batch is Bedrock's own batch inference.
var tiersShown = []string{"batch", "flex", "priority"}

// cost bills the sample and multiplies. It is nil where the table has no price.
func (p *planner) cost(r *Report) *Cost {
	if p.Prices == nil {
		return nil
	}
	use := price.Use{ModelID: p.Model, Region: p.Region, Tier: p.Tier, Latency: p.Latency, At: p.Now}
	e, factor, ok := p.Prices.Find(use)
	if !ok {
		where := ""
		if p.Region != "" {
			where = " in " + p.Region
		}
		if p.Tier != "" {
			where += ", tier " + p.Tier
		}
		if p.Latency != "" {
			where += ", " + p.Latency + " latency"
		}
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s has no price for %s%s: the cost is not told", p.PriceFile, p.Model, where))
		return nil
	}
	c := &Cost{Currency: p.Prices.Currency, Price: p.named(e)}
	if e.ByToken() {
		p.byToken(c, e, factor)
		p.otherTiers(c, use)
	}
	if e.Provisioned != nil {
		c.Provisioned = p.provisioned(e)
	}
	if e.Reserved != nil {
		rate := float64(r.Tokens.Output.Total)
		rate = (rate + p.inputs()) / max(p.total.Minutes(), 1e-9)
		c.Reserved = &ReservedCost{TokensPerMinute: round(rate), PerMonth: round(rate / 1000 * e.Reserved.Per1kTPMMonth)}
	}
	return c
}

// named says which entry a price is from.
func (p *planner) named(e *price.Entry) string {
	s := fmt.Sprintf("%s:%d, %s", p.PriceFile, e.Line, e.Model)
	if len(e.Scope) > 0 {
		s += " in " + strings.Join(e.Scope, ", ")
	}
	if !e.From.IsZero() {
		s += ", from " + e.From.Format(time.DateOnly)
	}
	return s
}

// bill is what all requests cost: as expected, and where every answer reaches its limit. Both go by estimates of the input.
func (p *planner) bill(e *price.Entry, factor float64) (expected, longest price.Amount) {
	draws := p.draws()
	for i := range draws {
		c := p.sample[i%len(p.sample)]
		u := p.usage(c, p.Expect.answer(i, c.MaxTokens, 1).output)
		t := price.Tokens{
			Input: float64(u.Input), Output: float64(u.Output),
			CacheRead: float64(u.CacheRead), CacheWrite5m: float64(u.CacheWrite),
		}
		expected = expected.Plus(e.Bill(t))
		t.Output = float64(c.MaxTokens)
		// What was read from a cache once may not be there again.
		t.Input, t.CacheRead = t.Input+t.CacheRead, 0
		longest = longest.Plus(e.Bill(t))
	}
	all := factor * float64(p.requests) / float64(draws)
	return expected.Times(all), longest.Times(all)
}

func (p *planner) byToken(c *Cost, e *price.Entry, factor float64) {
	expected, longest := p.bill(e, factor)
	if p.w.ceiled() {
		c.AtMost = math.Ceil(p.w.mostMoney/(price.Pico/1e6)) / 1e6 // never less than it is
	}
	if over := max(longest.Total(), expected.Total()); c.AtMost > 0 && over > c.AtMost { // a sample may say more than is possible
		expected, longest = expected.Times(c.AtMost/over), longest.Times(c.AtMost/over)
	}
	c.Input, c.Output = cents(expected.Input), cents(expected.Output)
	c.CacheRead, c.CacheWrite = cents(expected.CacheRead), cents(expected.CacheWrite)
	c.Total, c.Longest = cents(expected.Total()), cents(max(longest.Total(), expected.Total()))
	c.Low = cents(expected.Total() - p.spread*expected.Output)
	c.High = min(cents(expected.Total()+p.spread*expected.Output), c.Longest)
}

// otherTiers tells what the same would cost elsewhere, where the table has a price.
func (p *planner) otherTiers(c *Cost, use price.Use) {
	for _, tier := range tiersShown {
		if tier == p.Tier {
			continue
		}
		use.Tier = tier
		e, factor, ok := p.Prices.Find(use)
		if !ok || !e.ByToken() {
			continue
		}
		if c.Tiers == nil {
			c.Tiers = map[string]float64{}
		}
		expected, _ := p.bill(e, factor)
		c.Tiers[tier] = cents(expected.Total())
	}
}

func (p *planner) provisioned(e *price.Entry) *ProvisionedCost {
	units := max(1, p.ModelUnits)
	hourly := float64(units) * e.Provisioned.HourlyPerUnit
	total := hourly * p.total.Hours()
	tokens := p.inputs() + p.output.mean()*float64(p.requests)
	return &ProvisionedCost{
		ModelUnits: units, PerHour: cents(hourly), Hours: cents(p.total.Hours()), Total: cents(total),
		PerMillionTokens: cents(total / max(1, tokens) * 1e6),
	}
}

// inputs are the tokens of all inputs, as the service counts them.
func (p *planner) inputs() float64 { return p.w.input.sum * p.ratio }

// cents cuts what floating point adds: a millionth of the currency is less than any token costs.
func cents(v float64) float64 { return math.Round(v*1e6) / 1e6 }
