package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// A Quota is what a session knew of its quotas at its end. Rates are per minute; what is 0 or absent is not known.
type Quota struct {
	// What was stated.
	RequestsPerMinute float64 `json:"statedRequestsPerMinute,omitempty"`
	TokensPerMinute   float64 `json:"statedTokensPerMinute,omitempty"`
	TokensPerDay      float64 `json:"statedTokensPerDay,omitempty"`

	// Learned is what refusals have taught, of what was not stated and has held requests back.
	Learned *ratelimit.Learned `json:"learned,omitempty"`
	// MayBeMore says that what was stated was filled for minutes without one refusal, and that nobody looked for more.
	MayBeMore bool `json:"mayBeMore,omitempty"`
	// RefusedAbove are rates that the service refused to pass, where clearly more was stated.
	RefusedAbove *Rates `json:"refusedAbove,omitempty"`
	// InputError is how far estimates of input tokens were off, on average, as a part of what they turned out to be.
	InputError float64 `json:"inputTokenError,omitempty"`
	// MaxTokens is about a max_tokens that holds much more of a quota of tokens than answers use; nil where it does not.
	MaxTokens *Oversize `json:"oversizedMaxTokens,omitempty"`
}

// Rates are per minute; what is 0 is not known.
type Rates struct {
	RequestsPerMinute float64 `json:"requestsPerMinute,omitempty"`
	TokensPerMinute   float64 `json:"tokensPerMinute,omitempty"`
}

// Oversize is what a max_tokens far above the length of the answers costs, on a service that counts what is reserved for a whole
// minute. Tokens are output tokens.
type Oversize struct {
	Reachable float64 `json:"reachableShare"`            // of the quota, at most; from 0 to 1
	MaxTokens int64   `json:"maxTokens,omitempty"`       // as the records have it, on average
	OutputP99 int64   `json:"outputTokensP99,omitempty"` // 99 of 100 answers are no longer
	// Enough is a max_tokens that leaves room for answers like these, and EnoughReachable the share that it would allow.
	Enough          int64   `json:"enoughMaxTokens,omitempty"`
	EnoughReachable float64 `json:"enoughReachableShare,omitempty"`
}

const (
	// What can be used of a quota is told where it is less.
	reachableEnough = 0.95
	// Estimates of the input are told where they are off by more.
	inputErrorMuch = 0.1
)

// NewQuota sums up what a limiter knows, which was made with o and is now at s, having learned l. It is nil where no quota was
// stated and none was met.
func NewQuota(o ratelimit.Options, s ratelimit.Snapshot, l ratelimit.Learned) *Quota {
	bound := func(cause string) bool { return s.Share(cause) >= leastShare }
	q := Quota{RequestsPerMinute: o.RequestsPerMinute, TokensPerMinute: o.TokensPerMinute, TokensPerDay: o.TokensPerDay}
	if o.RequestsPerMinute > 0 || !bound(ratelimit.BoundByRequests) {
		l.RequestsPerMinute = 0
	}
	if o.TokensPerMinute > 0 || !bound(ratelimit.BoundByTokens) {
		l.TokensPerMinute = 0
	}
	l.RequestsPerMinute, l.TokensPerMinute = round(l.RequestsPerMinute), round(l.TokensPerMinute)
	if l.RequestsPerMinute > 0 || l.TokensPerMinute > 0 {
		q.Learned = &l
	}
	if above := (Rates{round(s.RefusedAboveRequests), round(s.RefusedAboveTokens)}); above != (Rates{}) && !o.Probe {
		q.RefusedAbove = &above
	}
	if bound(ratelimit.BoundByTokens) && s.Reachable < reachableEnough {
		q.MaxTokens = &Oversize{
			Reachable: round(s.Reachable), MaxTokens: int64(math.Round(s.MaxTokens)), OutputP99: int64(math.Round(s.OutputP99)),
			Enough: s.EnoughMaxTokens, EnoughReachable: round(s.ReachableThen),
		}
	}
	if q.MayBeMore = s.MayBeMore && !o.Probe; bound(ratelimit.BoundByTokens) {
		q.InputError = round(s.InputError)
	}
	if q == (Quota{}) {
		return nil
	}
	return &q
}

// lines are what there is to say of it, in the order of what it is worth. The quota to ask for is the one that the service names, so
// where the attempts were refused in the name of another than was learned, that is said.
func (q *Quota) lines(a *Attempts) []string {
	if q == nil {
		return nil
	}
	var lines []string
	if q.Learned != nil {
		for _, part := range []struct {
			value float64
			quota string
		}{{q.Learned.TokensPerMinute, pipeline.QuotaTokens}, {q.Learned.RequestsPerMinute, pipeline.QuotaRequests}} {
			if part.value > 0 {
				lines = append(lines, fmt.Sprintf("learned: about %s %s/min%s", about(part.value), part.quota, a.advice(part.quota)))
			}
		}
	}
	if above := q.RefusedAbove; above != nil {
		for _, part := range []struct {
			stated, above float64
			quota         string
		}{{q.TokensPerMinute, above.TokensPerMinute, pipeline.QuotaTokens}, {q.RequestsPerMinute, above.RequestsPerMinute, pipeline.QuotaRequests}} {
			if part.above > 0 {
				lines = append(lines, fmt.Sprintf("stated %s %s/min, but the service refused this run more than about %s (learned)%s: others may use the rest",
					count(int64(part.stated)), part.quota, about(part.above), named(a.instead(part.quota))))
			}
		}
	}
	if q.MayBeMore {
		lines = append(lines, "the stated quota was filled without one refusal: there may be more, --probe looks for it")
	}
	if q.MaxTokens != nil {
		lines = append(lines, q.MaxTokens.text())
	}
	if q.InputError >= inputErrorMuch {
		lines = append(lines, fmt.Sprintf("input tokens were estimated %s off on average, and reservations with them", percent(q.InputError)))
	}
	return lines
}

// quotaFlags state a quota.
var quotaFlags = map[string]string{pipeline.QuotaTokens: "--tpm", pipeline.QuotaRequests: "--rpm"}

// advice is what to do with a quota that was learned. One that the service does not name is another in disguise, and to state it would
// hold larger or smaller records to what was true of these.
func (a *Attempts) advice(quota string) string {
	other := a.instead(quota)
	if other == "" {
		return "; state it with " + quotaFlags[quota]
	}
	return fmt.Sprintf(" with records like these%s; state the quota of %s with %s", named(other), other, quotaFlags[other])
}

func (o *Oversize) text() string {
	most := fmt.Sprintf("on a sliding quota %s is the most that can be used", share(o.Reachable))
	if o.MaxTokens == 0 || o.OutputP99 == 0 {
		return "max_tokens is far above the length of the answers: " + most
	}
	text := fmt.Sprintf("max_tokens %s, p99 of outputs %s: %s", count(o.MaxTokens), count(o.OutputP99), most)
	if o.Enough > 0 && o.Enough < o.MaxTokens {
		text += fmt.Sprintf("; %s would allow %s", count(o.Enough), share(o.EnoughReachable))
	}
	return text
}

// share is a part of one with a digit behind the point: 84.7%.
func share(part float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", 100*part), ".0") + "%" }

// about is a value with three digits that mean something, the rest zeros: 118,000.
func about(v float64) string {
	if v < 1000 {
		return figure(v)
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-2)
	return count(int64(math.Round(v/unit) * unit))
}
