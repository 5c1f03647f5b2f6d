package report

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// A Summary is what there is to say at the end of a session. Its JSON names are stable and carry their units.
type Summary struct {
	// Ended says how: "finished", "interrupted", or what stopped the run.
	Ended   string `json:"ended"`
	Model   string `json:"model"`
	Records Counts `json:"records"`
	// Session is of this session only, unlike Records.
	Session Session `json:"session"`

	Spending *Spending `json:"spending,omitempty"` // nil where nothing is counted

	Output string `json:"output"`
	Errors string `json:"errors,omitempty"` // where there are error rows
	State  string `json:"state,omitempty"`

	Next []Next `json:"next,omitempty"` // what to type now, the likeliest first
}

// Counts are the records of a run by what became of them, over all its sessions.
type Counts struct {
	Read      int64 `json:"read"`
	Succeeded int64 `json:"succeeded"`
	Failed    int64 `json:"failed"`   // sent, and not answered
	Rejected  int64 `json:"rejected"` // could not be sent
	Left      int64 `json:"left"`     // without a row yet
}

// A Session is one sitting of a run.
type Session struct {
	StartedAt   time.Time `json:"startedAt"`
	WallSeconds float64   `json:"wallSeconds"`
	Stats
	// OutputPerSecond are the output tokens of all answers in each second of wall time; absent where there are none.
	OutputPerSecond float64 `json:"totalOutputTokensPerSecond,omitempty"`
	LimitedBy       []Share `json:"limitedBy,omitempty"` // the largest first
	Quota           *Quota  `json:"quota,omitempty"`     // nil where none was stated, nor met
	RepeatedIDs     int64   `json:"repeatedIds"`         // about
}

// A Share is the part of the time that something took.
type Share struct {
	What  string  `json:"what"`
	Share float64 `json:"share"` // 0 to 1
}

// words are the share as people read it. Where no quota was stated, a pace that held requests back was learned: the service
// may count something else. A limit of streams below --concurrency is learned as well.
func (s *Share) words(q *Quota) string {
	learned := ""
	switch {
	case s.What == ratelimit.BoundByTokens && (q == nil || q.TokensPerMinute == 0),
		s.What == ratelimit.BoundByRequests && (q == nil || q.RequestsPerMinute == 0),
		s.What == ratelimit.BoundByStreams:
		learned = " (learned)"
	}
	return fmt.Sprintf("%s%s %s", plain(bound(s.What), 60), learned, percent(s.Share))
}

// A Next is a command to type.
type Next struct {
	Command string `json:"command"`
	Why     string `json:"why"`
}

// NewSession is the session that a collector and a limiter have seen, ended now.
func NewSession(c *Collector, limiter ratelimit.Snapshot, repeatedIDs int64) Session {
	wall := time.Since(c.start)
	s := Session{
		StartedAt: c.start.UTC().Round(0), WallSeconds: round(wall.Seconds()), Stats: c.Stats(),
		LimitedBy: LimitedBy(limiter), RepeatedIDs: repeatedIDs,
	}
	if wall > 0 {
		s.OutputPerSecond = round(float64(s.Tokens.Output) / wall.Seconds())
	}
	return s
}

// leastShare is what a share of the time must be to be told.
const leastShare = 0.005

// LimitedBy says what requests waited for, the longest first. What took less than one part in two hundred is left out.
func LimitedBy(s ratelimit.Snapshot) []Share {
	var shares []Share
	for what := range s.Waited {
		if share := s.Share(what); share >= leastShare {
			shares = append(shares, Share{what, round(share)})
		}
	}
	return sortShares(shares)
}

// sortShares puts the largest first.
func sortShares(shares []Share) []Share {
	slices.SortFunc(shares, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), strings.Compare(a.What, b.What))
	})
	return shares
}

// NextSteps says what to type after a run that was started with args, the command line without batchrun.
// Verify is the command line, likewise, that verifies it; none where nothing can. What would start the run again is left out.
func NextSteps(c Counts, args, verify []string) []Next {
	var next []Next
	args = slices.DeleteFunc(slices.Clone(args), func(arg string) bool { return arg == "--fresh" || arg == "--fresh=true" })
	if c.Left > 0 {
		next = append(next, Next{command(args), "goes on where it was"})
	}
	if c.Failed > 0 && c.Left == 0 {
		if !slices.Contains(args, "--retry-failed") {
			args = append(args, "--retry-failed")
		}
		next = append(next, Next{command(args), "sends the failed ones again"})
	}
	if c.Left == 0 && len(verify) > 0 {
		next = append(next, Next{command(verify), "proves that every line has its row"})
	}
	return next
}

// command is a command line that a shell takes.
func command(args []string) string {
	var b strings.Builder
	b.WriteString("batchrun")
	for _, arg := range args {
		b.WriteString(" " + quote(arg))
	}
	return b.String()
}

// Account is the last line that a run prints.
func Account(read, succeeded, failed, rejected, left int64) string {
	return fmt.Sprintf("%d read = %d succeeded + %d failed + %d rejected + %d left", read, succeeded, failed, rejected, left)
}

// JSON renders the summary as indented JSON with a line end.
func (s *Summary) JSON() ([]byte, error) {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// Account is the last line that a run prints.
func (s *Summary) Account() string { return s.Records.Account() }

// Account is the last line that a run prints.
func (c Counts) Account() string { return Account(c.Read, c.Succeeded, c.Failed, c.Rejected, c.Left) }
