package state

import (
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/sinks"
)

// The types of journal entries, see the package documentation.
const (
	entryBegin     = "begin"
	entryOpen      = "open"
	entryCommit    = "commit"
	entryRound     = "round"
	entrySealed    = "sealed"
	entryRewriting = "rewriting"
	entryClosed    = "closed"
	entryFinished  = "finished"
)

// entry is one line of the journal. Which fields are set depends on the type.
type entry struct {
	Type string    `json:"type"`
	At   time.Time `json:"at"`

	Run string `json:"run,omitempty"` // begin

	Session *sessionEntry `json:"session,omitempty"` // open

	OK       string `json:"ok,omitempty"` // commit
	Failed   string `json:"failed,omitempty"`
	Rejected string `json:"rejected,omitempty"`

	Output *sinks.Mark `json:"output,omitempty"` // commit
	Errors *sinks.Mark `json:"errors,omitempty"` // commit, rewriting, closed
	Used   *Used       `json:"used,omitempty"`   // commit

	Round int        `json:"round,omitempty"` // round
	Seal  *sealEntry `json:"seal,omitempty"`  // sealed
	Exit  int        `json:"exit,omitempty"`  // finished
	Count *Counts    `json:"count,omitempty"` // finished, for people
}

type sessionEntry struct {
	PID      int               `json:"pid"`
	Host     string            `json:"host"`
	Command  string            `json:"command,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	Counted  bool              `json:"counted,omitempty"` // what it spent
}

type sealEntry struct {
	ID   string `json:"id"`
	Rows int64  `json:"rows"`
	Size int64  `json:"size"`
}

// Used is what calls cost the quotas: attempts that counted, and tokens as the service reported them for whole answers.
type Used struct {
	Requests              int64 `json:"requests"`
	InputTokens           int64 `json:"inputTokens,omitempty"`
	OutputTokens          int64 `json:"outputTokens,omitempty"`
	CacheReadInputTokens  int64 `json:"cacheReadInputTokens,omitempty"`
	CacheWriteInputTokens int64 `json:"cacheWriteInputTokens,omitempty"`
}

func (u *Used) add(v Used) {
	u.Requests += v.Requests
	u.InputTokens += v.InputTokens
	u.OutputTokens += v.OutputTokens
	u.CacheReadInputTokens += v.CacheReadInputTokens
	u.CacheWriteInputTokens += v.CacheWriteInputTokens
}

func usedBy(batch []*pipeline.Result) (u Used) {
	for _, r := range batch {
		u.Requests += int64(r.Attempts)
		if r.Response != nil {
			u.add(Used{
				InputTokens:           r.Response.Usage.InputTokens,
				OutputTokens:          r.Response.Usage.OutputTokens,
				CacheReadInputTokens:  r.Response.Usage.CacheReadInputTokens,
				CacheWriteInputTokens: r.Response.Usage.CacheWriteInputTokens,
			})
		}
	}
	return u
}
