package plan

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/batchrun/batchrun/jobs/words"
)

// A Report is what a run would send, how long it would take and what it would cost. Its JSON names are stable and carry
// their units.
type Report struct {
	Model  string `json:"model"`
	Family string `json:"family"`
	Region string `json:"region,omitempty"`

	Records Records   `json:"records"`
	Refused []Refusal `json:"refused,omitempty"` // the first of them

	Tokens   *Tokens   `json:"tokens,omitempty"` // absent where nothing would be sent
	Quota    Quota     `json:"quota"`
	Duration *Duration `json:"duration,omitempty"` // absent where nothing would be sent
	Cost     *Cost     `json:"cost,omitempty"`     // absent without a price

	Warnings    []string `json:"warnings"`
	Assumptions []string `json:"assumptions,omitempty"`
}

// Records are the lines of the input by what would become of them; blank ones do not count.
type Records struct {
	Read        int64 `json:"read"`
	ToSend      int64 `json:"toSend"`
	Refused     int64 `json:"refused"` // would become error rows without being sent
	Prompts     int64 `json:"prompts"` // to send, in the short form
	ModelInputs int64 `json:"modelInputs"`
	Foreign     int64 `json:"foreign,omitempty"` // to send, from lines in the formats of others
	RepeatedIDs int64 `json:"repeatedIds"`       // about
}

// Tokens are those of all requests to be sent.
type Tokens struct {
	Input       Distribution `json:"input"` // as they are estimated before they are sent
	MaxTokens   Distribution `json:"maxTokens"`
	Reservation Distribution `json:"reservation"` // input + max_tokens
	Output      Distribution `json:"output"`      // as expected
	OutputFrom  string       `json:"outputFrom"`
	InputRatio  float64      `json:"inputRatio"` // tokens that the service counts for one that is estimated
	Settled     int64        `json:"settled"`    // what all of it takes of the token quota in the end, burndown included
	Reachable   float64      `json:"reachable"`  // the share of a quota such requests can use where each counts for a minute
}

// Quota is what holds the requests back; 0 is not stated.
type Quota struct {
	RequestsPerMinute float64 `json:"requestsPerMinute"`
	TokensPerMinute   float64 `json:"tokensPerMinute"`
	TokensPerDay      float64 `json:"tokensPerDay"`
	Burndown          float64 `json:"burndown"`
	Concurrency       int     `json:"concurrency"`
}

// Duration is how long a run would take, from its first request to its last answer.
type Duration struct {
	Seconds float64 `json:"seconds"`
	Low     float64 `json:"lowSeconds"` // between these two it is in eight of ten cases, as answers are not all alike
	High    float64 `json:"highSeconds"`
	// Counting is the duration where the service counts each request for a full minute, as reserved until it ends.
	Counting  float64 `json:"countingSeconds"`
	LimitedBy []Share `json:"limitedBy"`
	Refused   float64 `json:"refused,omitempty"` // the share of requests that the service refuses at first

	Streams           float64 `json:"streams"` // in flight, on average
	RequestsPerMinute float64 `json:"requestsPerMinute"`
	TokensPerMinute   float64 `json:"tokensPerMinute"` // of quota

	FirstTokenSeconds float64 `json:"firstTokenSeconds"` // as expected
	TokensPerSecond   float64 `json:"tokensPerSecond"`   // of one stream, as expected
}

// A Share is the part of the time that something took.
type Share struct {
	What  string  `json:"what"` // one of the ratelimit.BoundBy constants
	Share float64 `json:"share"`
}

// Cost is what a run would cost, in one currency.
type Cost struct {
	Currency string  `json:"currency"`
	Total    float64 `json:"total"`
	Low      float64 `json:"low"` // between these two it is in eight of ten cases
	High     float64 `json:"high"`
	Longest  float64 `json:"longest"` // where every answer reaches its max_tokens and nothing comes from a cache, inputs as estimated
	// AtMost is what no run costs more than that sends each record once, as a bound on spending would hold it: a token for each
	// byte of a request. 0 where nobody can tell.
	AtMost float64 `json:"atMost,omitempty"`

	Input      float64 `json:"input"`
	Output     float64 `json:"output"`
	CacheRead  float64 `json:"cacheRead"`
	CacheWrite float64 `json:"cacheWrite"`

	Price string             `json:"price"`           // the entry of the table
	Tiers map[string]float64 `json:"tiers,omitempty"` // the total at other tiers of service that have a price

	Provisioned *ProvisionedCost `json:"provisioned,omitempty"`
	Reserved    *ReservedCost    `json:"reserved,omitempty"`
}

// ProvisionedCost is the cost of provisioned throughput for as long as the run takes.
type ProvisionedCost struct {
	ModelUnits       int     `json:"modelUnits"`
	PerHour          float64 `json:"perHour"` // of all units
	Hours            float64 `json:"hours"`
	Total            float64 `json:"total"`
	PerMillionTokens float64 `json:"perMillionTokens"` // input and output
}

// ReservedCost is the cost of a reservation as large as the run's rate of tokens.
type ReservedCost struct {
	TokensPerMinute float64 `json:"tokensPerMinute"` // input and output
	PerMonth        float64 `json:"perMonth"`
}

// JSON renders the report as indented JSON with a line end.
func (r *Report) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// Account is the last line: what becomes of every line of the input.
func (r *Report) Account() string {
	return fmt.Sprintf("%d read = %d to send + %d refused", r.Records.Read, r.Records.ToSend, r.Records.Refused)
}

// Text renders the report for a terminal.
func (r *Report) Text() string {
	var b strings.Builder
	field := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s ", name)
		fmt.Fprintf(&b, format+"\n", args...)
	}
	fmt.Fprintf(&b, "plan: nothing was sent\n")
	model := plain(r.Model) + ", family " + r.Family
	if r.Region != "" {
		model += ", " + plain(r.Region)
	}
	field("model", "%s", model)
	field("records", "%s", r.Records.text())
	for _, line := range r.Refused {
		field("", "%s: %s: %s", plain(line.Place), line.Type, plain(line.Message))
	}
	if more := r.Records.Refused - int64(len(r.Refused)); more > 0 {
		field("", "and %s more", comma(more))
	}
	if t := r.Tokens; t != nil {
		b.WriteString(t.table())
		field("quota use", "%s tokens = input + output × %s", comma(t.Settled), figure(r.Quota.Burndown))
	}
	field("limits", "%s", r.Quota.text())
	if d := r.Duration; d != nil {
		d.text(field)
	}
	if c := r.Cost; c != nil {
		c.text(field)
	}
	for i, text := range r.Assumptions {
		field(onlyFirst(i, "assumed"), "%s", plain(text))
	}
	for i, text := range r.Warnings {
		field(onlyFirst(i, "warnings"), "%s", plain(text))
	}
	b.WriteString(r.Account() + "\n")
	return b.String()
}

func onlyFirst(i int, name string) string {
	if i > 0 {
		return ""
	}
	return name
}

func (n *Records) text() string {
	var forms, counted []string
	for _, form := range []struct {
		name  string
		count int64
	}{{"prompts", n.Prompts}, {"modelInput", n.ModelInputs}, {"in other formats", n.Foreign}} {
		if form.count > 0 {
			forms, counted = append(forms, form.name), append(counted, comma(form.count)+" "+form.name)
		}
	}
	s := comma(n.ToSend) + " to send"
	switch len(forms) {
	case 0:
	case 1:
		s += ", all " + forms[0]
	default:
		s += " = " + strings.Join(counted, " + ")
	}
	return s + fmt.Sprintf("; %s refused", comma(n.Refused))
}

func (t *Tokens) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %9s %9s %9s %9s %9s %15s\n", "tokens", "p50", "p90", "p99", "max", "mean", "total")
	for _, row := range []struct {
		name string
		*Distribution
	}{{"  input", &t.Input}, {"  max_tokens", &t.MaxTokens}, {"  reserved", &t.Reservation}, {"  output", &t.Output}} {
		fmt.Fprintf(&b, "%-12s %9s %9s %9s %9s %9s %15s\n", row.name,
			comma(row.P50), comma(row.P90), comma(row.P99), comma(row.Max), figure(row.Mean), comma(row.Total))
	}
	return b.String()
}

func (q *Quota) text() string {
	parts := []string{}
	for _, limit := range []struct {
		v    float64
		unit string
	}{{q.RequestsPerMinute, "requests/min"}, {q.TokensPerMinute, "tokens/min"}, {q.TokensPerDay, "tokens/day"}} {
		if limit.v > 0 {
			parts = append(parts, comma(int64(limit.v))+" "+limit.unit)
		}
	}
	if len(parts) == 0 {
		parts = append(parts, "no quota stated")
	}
	return strings.Join(append(parts, fmt.Sprintf("%s streams", comma(int64(q.Concurrency)))), ", ")
}

func (d *Duration) text(field func(name, format string, args ...any)) {
	s := span(d.Seconds)
	if low, high := span(d.Low), span(d.High); low != s || high != s {
		s += fmt.Sprintf(", %s to %s in 8 of 10 cases", low, high)
	}
	field("duration", "%s", s)
	if math.Abs(d.Counting-d.Seconds) > apart*d.Seconds {
		field("", "%s if the service counts each request for a full minute", span(d.Counting))
	}
	field("rate", "%s requests/min, %s tokens/min of quota, %s streams in flight",
		figure(d.RequestsPerMinute), figure(d.TokensPerMinute), figure(d.Streams))
	if len(d.LimitedBy) > 0 {
		parts := make([]string, len(d.LimitedBy))
		for i, share := range d.LimitedBy {
			parts[i] = bound(share.What) + " " + percent(share.Share)
		}
		field("limited by", "%s", strings.Join(parts, ", "))
	}
	if d.Refused > 0 {
		field("throttled", "%s of the requests at first", percent(d.Refused))
	}
}

func (c *Cost) text(field func(name, format string, args ...any)) {
	if c.Price != "" {
		defer field("price", "%s", plain(c.Price))
	}
	if c.Provisioned == nil || c.Total > 0 {
		s := fmt.Sprintf("%s %s", c.Currency, money(c.Total))
		if low, high := money(c.Low), money(c.High); low != high {
			s += fmt.Sprintf(", %s to %s in 8 of 10 cases", low, high)
		}
		if c.AtMost > 0 {
			s += ", at most " + atMost(c.AtMost)
		}
		field("cost", "%s", s)
		s = fmt.Sprintf("%s input + %s output", money(c.Input), money(c.Output))
		if c.CacheRead+c.CacheWrite > 0 {
			s += fmt.Sprintf(" + %s cache reads + %s cache writes", money(c.CacheRead), money(c.CacheWrite))
		}
		field("", "= %s", s)
		if longest := money(c.Longest); longest != money(c.Total) {
			field("", "%s where every answer reaches its max_tokens", longest)
		}
	}
	for _, tier := range sortedKeys(c.Tiers) {
		field("", "%s at the %s tier", money(c.Tiers[tier]), tier)
	}
	if p := c.Provisioned; p != nil {
		field("provisioned", "%s %s = %s h × %s for %d model units; %s per million tokens",
			c.Currency, money(p.Total), figure(p.Hours), money(p.PerHour), p.ModelUnits, money(p.PerMillionTokens))
	}
	if v := c.Reserved; v != nil {
		field("reserved", "%s %s a month for %s tokens/min in and out, the rate of this run",
			c.Currency, money(v.PerMonth), comma(int64(v.TokensPerMinute)))
	}
}

// latency is a short time of seconds.
func latency(s float64) string {
	if s < 1 {
		return fmt.Sprintf("%.0fms", s*1000)
	}
	return fmt.Sprintf("%.2fs", s)
}

// span is a time of seconds in its two largest units.
func span(s float64) string {
	if s < 10 {
		return fmt.Sprintf("%.1fs", s)
	}
	return words.Span(time.Duration(min(s, 1e9) * float64(time.Second)))
}
