package ratelimit

import (
	"math"
	"slices"
	"time"
)

const (
	clearlyLess = 0.9   // of what is stated
	nearCuts    = 0.1   // of the mean of the last cuts: no further off is a reading that is believed
	alike       = 1.04  // times the least of the last ceilings, or less, is the most of them: simulated, beside a rival they are seldom
	amongLikes  = 0.016 // of the requests are refused, or more: that may be a rival as well
)

// refusedAbove is the rate per minute above which the service refuses, where clearly more is stated: as a reading of the quota's
// windows has it, of tokens, or as the last cuts of requests agree, of which there are no readings. It is 0 where they do not, and where refusals may not be those
// of the quota: beside a rival, or where they come whatever the pace.
func (c *core) refusedAbove(now time.Time, p *pace) float64 {
	rate := p.confirmed()
	switch q := p.exact(); {
	case rate == 0 || math.IsInf(p.stated, 1) || c.rivals.state != alone || c.noise.lately(now):
		return 0
	case q != nil && math.Abs(q.rate-rate) < nearCuts*rate:
		rate = q.rate
	case p == &c.tokenPace, slices.Max(p.ceilings[:]) > alike*slices.Min(p.ceilings[:]), c.rivals.before >= amongLikes:
		return 0
	}
	if rate > clearlyLess*p.stated {
		return 0
	}
	return minute * rate
}
