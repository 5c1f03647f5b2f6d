package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// Text renders the summary as lines for a terminal. The last of them is the account.
func (s *Summary) Text() string { return s.Body() + s.Account() + "\n" }

// Body is Text without its last line, for a caller who has more to say before that.
func (s *Summary) Body() string {
	var b strings.Builder
	field := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-13s", name)
		fmt.Fprintf(&b, format+"\n", args...)
	}
	n := &s.Session
	wall := time.Duration(n.WallSeconds * float64(time.Second))
	fmt.Fprintf(&b, "%s after %s: %s answers in this session\n", plain(s.Ended, 200), span(wall), count(n.Attempts.Succeeded))
	field("output", "%s", plain(s.Output, 4096))
	if s.Errors != "" {
		field("errors", "%s", plain(s.Errors, 4096))
	}
	if s.State != "" {
		field("state", "%s", plain(s.State, 4096))
	}
	b.WriteString(n.table())
	if n.Attempts.Succeeded > 0 {
		field("tokens", "%s", n.tokens())
	}
	if s.Spending != nil {
		field("spent", "%s", s.Spending.text())
	}
	if n.Attempts.Total > 0 {
		field("attempts", "%s", n.Attempts.text())
		field("connections", "%s opened", count(n.Connections))
	}
	for i, line := range n.silences() {
		field(pick(i == 0, "silent", ""), "%s", line)
	}
	if len(n.LimitedBy) > 0 {
		field("limited by", "%s", sharesText(n.LimitedBy, n.Quota))
	}
	for i, line := range n.Quota.lines(&n.Attempts) {
		name := ""
		if i == 0 {
			name = "quota"
		}
		field(name, "%s", line)
	}
	if n.RepeatedIDs > 0 {
		field("repeated ids", "about %s", count(n.RepeatedIDs))
	}
	if n.hasTimes() {
		b.WriteString("Percentiles come from an HDR histogram with 3 digits and are of this session only.\n")
	}
	for i, next := range s.Next {
		name := ""
		if i == 0 {
			name = "next"
		}
		field(name, "%s  # %s", next.Command, next.Why)
	}
	return b.String()
}

func (n *Session) hasTimes() bool {
	return n.TTFT != nil || n.Total != nil || n.InterToken != nil
}

// silences are the streams that were given up because nothing came, with the flag that says when: where many hang, a shorter time gives
// their places to others.
func (n *Session) silences() []string {
	var lines []string
	if hung := n.Attempts.ByError[pipeline.TypeFirstTokenTimeout]; hung > 0 {
		line := count(hung) + " given up before their first token (" + firstTokenFlag + ")"
		if n.TTFT != nil {
			line += "; 99 of 100 answers began within " + latency(time.Duration(n.TTFT.P99*float64(time.Millisecond)))
		}
		lines = append(lines, line)
	}
	if stuck := n.Attempts.ByError[pipeline.TypeIdleTimeout]; stuck > 0 {
		lines = append(lines, count(stuck)+" given up in the middle of an answer ("+idleFlag+")")
	}
	return lines
}

// table shows the distributions side by side, without those of nothing.
func (n *Session) table() string {
	rows := []struct {
		name string
		*Distribution
	}{
		{"first token ms", n.TTFT},
		{"  reused conn.", n.TTFTReused},
		{"total ms", n.Total},
		{"inter-token ms", n.InterToken},
		{"output tok/s", n.OutputSpeed},
	}
	var b strings.Builder
	for _, row := range rows {
		if row.Distribution == nil {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "%-14s %9s %9s %9s %9s %9s %11s\n", "", "p50", "p90", "p99", "max", "mean", "count")
		}
		fmt.Fprintf(&b, "%-14s %9s %9s %9s %9s %9s %11s\n", row.name,
			figure(row.P50), figure(row.P90), figure(row.P99), figure(row.Max), figure(row.Mean), count(row.Count))
	}
	return b.String()
}

func (n *Session) tokens() string {
	t := &n.Tokens
	s := fmt.Sprintf("%s in, %s out", count(t.Input), count(t.Output))
	if n.OutputPerSecond > 0 {
		s += fmt.Sprintf(" (%s/s)", figure(n.OutputPerSecond))
	}
	if t.CacheRead+t.CacheWrite > 0 {
		s += fmt.Sprintf(", cache %s read, %s written", count(t.CacheRead), count(t.CacheWrite))
	}
	return s
}

// text lists what became of the attempts, the most frequent errors first.
func (a *Attempts) text() string {
	parts := []string{count(a.Succeeded) + " ok"}
	names := make([]string, 0, len(a.ByError))
	for name := range a.ByError {
		names = append(names, name)
	}
	slices.SortFunc(names, func(x, y string) int {
		if d := a.ByError[y] - a.ByError[x]; d != 0 {
			return int(max(-1, min(1, d)))
		}
		return strings.Compare(x, y)
	})
	for _, name := range names {
		parts = append(parts, fmt.Sprintf("%s %s", count(a.ByError[name]), plain(name, 60)))
	}
	s := count(a.Total) + " = " + strings.Join(parts, " + ")
	if a.Throttled > 0 && a.Total > 0 {
		s += fmt.Sprintf(" (%s throttled%s)", percent(float64(a.Throttled)/float64(a.Total)), a.reasons())
	}
	return s
}

// reasons are the words of the service for what it throttled.
func (a *Attempts) reasons() string {
	var parts []string
	for _, quota := range []string{pipeline.QuotaTokens, pipeline.QuotaRequests} {
		if n := a.ThrottledFor[quota]; n > 0 {
			parts = append(parts, count(n)+" for too many "+quota)
		}
	}
	if parts == nil {
		return ""
	}
	return ": " + strings.Join(parts, ", ")
}

// instead is the quota that the service named where it is never this one; "" where it named this one too, or none.
func (a *Attempts) instead(quota string) string {
	for other, n := range a.ThrottledFor {
		if other != quota && n > 0 && a.ThrottledFor[quota] == 0 {
			return other
		}
	}
	return ""
}

// named says that the service named another quota than the one that was learned.
func named(other string) string {
	if other == "" {
		return ""
	}
	return fmt.Sprintf(" (the service said: too many %s)", other)
}

// sharesText names shares of the time. q is what was known of the quotas; nil for nothing.
func sharesText(shares []Share, q *Quota) string {
	parts := make([]string, len(shares))
	for i := range shares {
		parts[i] = shares[i].words(q)
	}
	return strings.Join(parts, ", ")
}
