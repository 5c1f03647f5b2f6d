package plan

import (
	"testing"
	"time"

	"github.com/batchrun/batchrun/sinks"
)

// An answer in one piece took as long as its row says, and its first token no longer than all of it.
func TestLikeAnswersInOnePiece(t *testing.T) {
	total := 400.0
	l := &Like{sample: newReservoir[answer](1)}
	l.add(&sinks.Row{HasText: true, ModelOutput: []byte("{}"), Usage: sinks.RowUsage{OutputTokens: 30}, Timing: sinks.RowTiming{TotalMs: &total}}, nil)
	if got, want := l.at(0), (answer{output: 30, first: 400 * time.Millisecond, total: 400 * time.Millisecond}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
