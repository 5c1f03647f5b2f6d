package state

import (
	"slices"

	"github.com/batchrun/batchrun/pipeline"
)

// An order knows which record each row of a file is of, where the rows do not say so themselves (see
// [sinks.Rows.HasPlace]). It needs no file of its own: within a commit such rows are written in the order of their positions, and the
// journal has the commits in their order. It takes 8 bytes a row.
type order struct {
	results    []int64 // position of each row of the output; kept only for [Verify]
	keepOutput bool
	errors     []int64 // position of each row of the errors file
	roundStart int     // rows of it when the round began
}

// inOrder sorts a batch of rows by position.
func inOrder(batch []*pipeline.Result) {
	slices.SortFunc(batch, func(a, b *pipeline.Result) int { return int(a.Record.Pos - b.Record.Pos) })
}

// commit takes in the rows of a commit.
func (o *order) commit(e *entry) {
	if o.keepOutput {
		o.results = appendPositions(o.results, e.OK)
	}
	from := len(o.errors)
	o.errors = appendPositions(appendPositions(o.errors, e.Failed), e.Rejected)
	slices.Sort(o.errors[from:])
}

// closed drops the rows that the rewriting of the errors file has dropped.
func (o *order) closed(p *progress) {
	kept := o.errors[:0]
	for i, pos := range o.errors {
		if p.keepsError(pos, i >= o.roundStart) {
			kept = append(kept, pos)
		}
	}
	o.errors = kept
}

// keepsError tells whether an error row still stands when a round closes: it is of the round, or the round has nothing newer.
func (p *progress) keepsError(pos int64, ofRound bool) bool {
	return !p.ok.Contains(uint64(pos)) && (ofRound || !p.again.Contains(uint64(pos)))
}

func appendPositions(list []int64, ranges string) []int64 {
	_ = eachRange(ranges, func(first, last int64) error { // it was read before
		for pos := first; pos <= last; pos++ {
			list = append(list, pos)
		}
		return nil
	})
	return list
}

// places tells the way back from positions to lines.
type places []Source

// at is where a position stands; ok is false past the end.
func (in places) at(pos int64) (source string, line int64, ok bool) {
	for _, s := range in {
		if s.SHA256 == "" || pos < s.Lines { // one whose length is not known is the last
			return s.Name, pos + 1, true
		}
		pos -= s.Lines
	}
	return "", 0, false
}
