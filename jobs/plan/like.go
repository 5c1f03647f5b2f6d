package plan

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/sinks"
)

// A Like is what the rows of an earlier run tell of answers to come.
type Like struct {
	Path string
	Rows int64 // results; error rows say nothing of answers

	// Sums over the results, in tokens.
	Input, CacheRead, CacheWrite, Output int64
	// Estimated is what the inputs of the rows that have theirs were estimated at before they were sent, and Counted what
	// the service counted for those, cached ones included. Both are 0 for rows without modelInput.
	Estimated, Counted int64

	sample reservoir[answer] // sorted by length
}

// ErrNoRows says that a file has no result to learn from.
var ErrNoRows = errors.New("no result rows to learn from")

// ReadLike reads the output of a run, finished or not, JSONL or Parquet. A last line that is torn is passed over, as
// happens to a run that is going on. Estimate tells what the input of a body would be estimated at, in tokens, and
// false for a body that cannot be sent.
func ReadLike(path string, estimate func(body []byte) (int64, bool)) (*Like, error) {
	l := &Like{Path: path, sample: newReservoir[answer](keep)}
	if err := l.read(path, estimate); err != nil {
		return nil, err
	}
	if l.Rows == 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNoRows)
	}
	slices.SortFunc(l.sample.items, func(a, b answer) int {
		return cmp.Or(cmp.Compare(a.output, b.output), cmp.Compare(a.total, b.total))
	})
	return l, nil
}

func (l *Like) read(path string, estimate func([]byte) (int64, bool)) error {
	if strings.EqualFold(filepath.Ext(path), ".parquet") {
		for row, err := range sinks.ParquetRows(path) {
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			l.add(row, estimate)
		}
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	number := 0
	for line, err := range sinks.Lines(path, info.Size()) {
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		number++
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		row, err := rowOf(line)
		if err != nil {
			if !bytes.HasSuffix(line, []byte("\n")) {
				return nil
			}
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
		l.add(row, estimate)
	}
	return nil
}

// rowOf reads a row of any kind. A line that is no row of another program's is one of ours, or says nothing.
func rowOf(line []byte) (*sinks.Row, error) {
	if row, kind, err := sinks.ParseAnyRow(line); err == nil && !kind.HasPlace() {
		if row.Usage.OutputTokens == 0 { // its format has no counts: that is no answer of no length
			row.ModelOutput = nil
		}
		return row, nil
	}
	return sinks.ParseRow(line)
}

func (l *Like) add(row *sinks.Row, estimate func([]byte) (int64, bool)) {
	if row.Error != nil || row.ModelOutput == nil {
		return
	}
	u := &row.Usage
	l.Rows++
	l.Input += u.InputTokens
	l.CacheRead += u.CacheReadInputTokens
	l.CacheWrite += u.CacheWriteInputTokens
	l.Output += u.OutputTokens
	if row.ModelInput != nil {
		if tokens, ok := estimate(row.ModelInput); ok {
			l.Estimated += tokens
			l.Counted += u.InputTokens + u.CacheReadInputTokens + u.CacheWriteInputTokens
		}
	}
	a := answer{output: u.OutputTokens, first: DefaultFirstToken}
	if ms := row.Timing.FirstTokenMs; ms != nil {
		a.first = seconds(*ms / 1000)
	}
	a.total = a.first + time.Duration(float64(a.output)/DefaultSpeed*float64(time.Second))
	if ms := row.Timing.TotalMs; ms != nil {
		total := seconds(*ms / 1000)
		if row.Timing.FirstTokenMs == nil { // an answer in one piece: its first token is no later than all of it
			a.first = min(a.first, total)
		}
		a.total = max(a.first, total)
	}
	l.sample.add(a)
}

// at is the answer longer than the part u of all.
func (l *Like) at(u float64) answer {
	return l.sample.items[min(int(u*float64(len(l.sample.items))), len(l.sample.items)-1)]
}

// ratio is what the service counts for a token of estimated input; 1 where that is not known.
func (l *Like) ratio() float64 {
	if l == nil || l.Estimated == 0 || l.Counted == 0 {
		return 1
	}
	return float64(l.Counted) / float64(l.Estimated)
}

// cached are the parts of the input that were read from and written to caches.
func (l *Like) cached() (read, write float64) {
	if l == nil {
		return 0, 0
	}
	all := float64(max(1, l.Input+l.CacheRead+l.CacheWrite))
	return float64(l.CacheRead) / all, float64(l.CacheWrite) / all
}

// keep is how many requests or answers stand for any number of them.
const keep = 1 << 16

// A reservoir keeps a number of items, each of those added being as likely to be there. With fewer it keeps all, in order.
type reservoir[T any] struct {
	items []T
	at    []int64 // when each was added
	seen  int64
	most  int
	rng   *rand.Rand
}

func newReservoir[T any](most int) reservoir[T] {
	return reservoir[T]{most: most, rng: rand.New(rand.NewPCG(1, 2))}
}

// add is Vitter's algorithm R.
func (r *reservoir[T]) add(item T) {
	n := r.seen
	r.seen++
	if len(r.items) < r.most {
		r.items, r.at = append(r.items, item), append(r.at, n)
		return
	}
	if i := r.rng.Int64N(r.seen); i < int64(r.most) {
		r.items[i], r.at[i] = item, n
	}
}

// inOrder gives the items in the order in which they were added.
func (r *reservoir[T]) inOrder() []T {
	index := make([]int, len(r.items))
	for i := range index {
		index[i] = i
	}
	slices.SortFunc(index, func(a, b int) int { return cmp.Compare(r.at[a], r.at[b]) })
	items := make([]T, len(index))
	for i, k := range index {
		items[i] = r.items[k]
	}
	return items
}

// Estimator tells what a model estimates of bodies, for [ReadLike].
func Estimator(m interface {
	Encode(rec *pipeline.Record) (*pipeline.Request, error)
},
) func(body []byte) (int64, bool) {
	return func(body []byte) (int64, bool) {
		req, err := m.Encode(&pipeline.Record{Input: body})
		if err != nil {
			return 0, false
		}
		return req.InputTokens, true
	}
}
