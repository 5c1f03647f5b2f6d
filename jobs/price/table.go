package price

import (
	"math"
	"path"
	"slices"
	"strings"
	"time"
)

// A Table is a list of prices in one currency. It is not changed once it is loaded, so it may be used concurrently.
type Table struct {
	Currency string  // three letters
	Per      float64 // tokens that each price is for
	Entries  []Entry
}

// An Entry is what one model costs in one place. A price that is left out is [Absent].
type Entry struct {
	Model   string    // a pattern, see [Table.Find]
	Scope   []string  // Regions and geographies; none: everywhere
	Tier    string    // of service; "" is default
	Latency string    // "" is standard
	From    time.Time // midnight UTC; zero: always

	Rates
	CacheRead    float64
	CacheWrite5m float64
	CacheWrite1h float64

	Long       *LongContext
	Multiplier map[string]float64 // by tier, on every price of tokens

	Provisioned *Provisioned
	Reserved    *Reserved

	Line int // in the file, from 1
	per  float64
}

// Absent is a price that the table does not have.
const Absent = -1

// Rates are what tokens cost.
type Rates struct{ Input, Output float64 }

// LongContext has the rates of requests with more than Threshold tokens of input, for all of the request.
type LongContext struct {
	Threshold int64
	Rates
}

// Provisioned is the price of provisioned throughput.
type Provisioned struct {
	HourlyPerUnit float64 // of one model unit
	Commitment    string  // none, 1-month, 6-months
}

// Reserved is the price of a reservation of the reserved tier.
type Reserved struct{ Per1kTPMMonth float64 }

// A Use is how a model is called.
type Use struct {
	ModelID string // as it is invoked
	Region  string
	Tier    string // "" is default
	Latency string // "" is standard
	At      time.Time
}

// Find picks the entry for a use, with a multiplier for its tokens; ok is false where there is none. Of several that fit it
// takes the one that says most: first the one whose model has most letters beside *, then the one for the profile's geography
// before the one for the Region before the one for everywhere, then the one for the tier itself before one with a multiplier for
// it, then the one that came into force last.
func (t *Table) Find(u Use) (e *Entry, multiplier float64, ok bool) {
	tier, latency := orElse(u.Tier, "default"), orElse(u.Latency, "standard")
	base, geography := Base(u.ModelID)
	var best []int64
	for i := range t.Entries {
		c := &t.Entries[i]
		letters, fits := matches(c.Model, base)
		scope := scopeRank(c.Scope, geography, u.Region)
		factor, offered := c.at(tier)
		if !fits || scope < 0 || !offered || orElse(c.Latency, "standard") != latency || c.From.After(u.At) {
			continue
		}
		exact := int64(0)
		if orElse(c.Tier, "default") == tier {
			exact = 1
		}
		if rank := []int64{int64(letters), int64(scope), exact, c.From.Unix()}; e == nil || slices.Compare(rank, best) > 0 {
			e, multiplier, best = c, factor, rank
		}
	}
	return e, multiplier, e != nil
}

// at is the factor for a tier, if the entry has a price for it.
func (e *Entry) at(tier string) (float64, bool) {
	if orElse(e.Tier, "default") == tier {
		return 1, true
	}
	factor, ok := e.Multiplier[tier]
	return factor, ok && orElse(e.Tier, "default") == "default"
}

// Base is what patterns are held against: a model id without the ARN and the geography of a profile in front, and that geography.
func Base(modelID string) (base, geography string) {
	base = modelID
	if strings.HasPrefix(base, "arn:") {
		if parts := strings.SplitN(base, ":", 6); len(parts) == 6 {
			base = parts[5]
		}
		for _, kind := range []string{"foundation-model/", "inference-profile/"} {
			base = strings.TrimPrefix(base, kind)
		}
	}
	// us.anthropic.…, but not anthropic.claude…: a geography has a vendor and a model behind it.
	if geo, rest, found := strings.Cut(base, "."); found && isGeography(geo) && strings.Contains(rest, ".") {
		return rest, geo
	}
	return base, ""
}

// geographies are those of the profiles there are
// (https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html); amazon.nova-… must not look like one.
var geographies = []string{"us", "eu", "apac", "global", "us-gov", "jp", "au", "ca"}

func isGeography(s string) bool { return slices.Contains(geographies, s) }

// matches holds a pattern, in which * is any text, against a model. letters is how much of the pattern is not *; a
// pattern without * counts as longer than any with one.
func matches(pattern, model string) (letters int, ok bool) {
	if !strings.Contains(pattern, "*") {
		return math.MaxInt32, pattern == model
	}
	// The * of path.Match stops at a slash; of what else it knows nothing may stand in a pattern.
	ok, err := path.Match(strings.ReplaceAll(pattern, "/", ":"), strings.ReplaceAll(model, "/", ":"))
	return len(pattern) - strings.Count(pattern, "*"), ok && err == nil
}

// scopeRank is how well the scope of an entry fits, negative where it does not.
func scopeRank(scope []string, geography, region string) int {
	switch {
	case geography != "" && slices.Contains(scope, geography):
		return 2
	case region != "" && slices.Contains(scope, region):
		return 1
	case len(scope) == 0:
		return 0
	}
	return -1
}

// Tokens are the tokens of one request, or of many that are alike, as the service bills them.
type Tokens struct {
	Input        float64 // neither read from a cache nor written to one
	Output       float64
	CacheRead    float64
	CacheWrite5m float64
	CacheWrite1h float64
}

// An Amount is money by what it is for, in the currency of the table.
type Amount struct{ Input, Output, CacheRead, CacheWrite float64 }

// Total is the sum.
func (a Amount) Total() float64 { return a.Input + a.Output + a.CacheRead + a.CacheWrite }

// Plus is a and b together.
func (a Amount) Plus(b Amount) Amount {
	return Amount{a.Input + b.Input, a.Output + b.Output, a.CacheRead + b.CacheRead, a.CacheWrite + b.CacheWrite}
}

// Times is a, n times.
func (a Amount) Times(n float64) Amount {
	return Amount{a.Input * n, a.Output * n, a.CacheRead * n, a.CacheWrite * n}
}

// ByToken tells whether the entry has prices for tokens.
func (e *Entry) ByToken() bool { return e.Input >= 0 }

// Bill is what one request costs; none where the entry has no prices for tokens. Cache prices that the table does not
// have are those of input, in proportion with a long context.
func (e *Entry) Bill(t Tokens) Amount {
	if !e.ByToken() {
		return Amount{}
	}
	rates, scale := e.Rates, 1.0
	if e.Long != nil && t.Input+t.CacheRead+t.CacheWrite5m+t.CacheWrite1h > float64(e.Long.Threshold) {
		rates = e.Long.Rates
		if e.Input > 0 {
			scale = rates.Input / e.Input
		}
	}
	cache := func(price float64) float64 {
		if price < 0 {
			return rates.Input
		}
		return price * scale
	}
	return Amount{
		Input: t.Input * rates.Input, Output: t.Output * rates.Output, CacheRead: t.CacheRead * cache(e.CacheRead),
		CacheWrite: t.CacheWrite5m*cache(e.CacheWrite5m) + t.CacheWrite1h*cache(e.CacheWrite1h),
	}.Times(1 / e.per)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
