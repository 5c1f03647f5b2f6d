package jobs

import (
	"sync"

	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
)

// A counter counts rows where there is no state to do it.
type counter struct {
	mu     sync.Mutex
	counts state.Counts
}

func (c *counter) add(batch []*pipeline.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, res := range batch {
		switch {
		case res.Err == nil:
			c.counts.Succeeded++
		case res.Rejected():
			c.counts.Rejected++
		default:
			c.counts.Failed++
		}
	}
}

func (c *counter) get() state.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}
