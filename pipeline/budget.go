package pipeline

import (
	"context"
	"sync"
)

// A budget bounds the bytes of requests and answers that are held. Only the reader waits for
// it: whatever is already in flight may grow past it, and nothing new comes in until it shrank.
type budget struct {
	mu    sync.Mutex
	limit int64
	used  int64
	short bool          // the reader waits
	freed chan struct{} // holds a token after a release
}

func newBudget(limit int64) *budget {
	return &budget{limit: limit, freed: make(chan struct{}, 1)}
}

// acquire waits until n more bytes fit, or nothing is held beside the caller's own bytes: one record always
// passes.
func (b *budget) acquire(ctx context.Context, n, own int64) error {
	for {
		b.mu.Lock()
		if b.used <= own || b.used+n <= b.limit {
			b.used += n
			b.short = false
			b.mu.Unlock()
			return nil
		}
		b.short = true
		b.mu.Unlock()
		select {
		case <-b.freed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// add takes n bytes that are there already; negative gives back.
func (b *budget) add(n int64) {
	b.mu.Lock()
	b.used += n
	b.mu.Unlock()
	if n < 0 {
		select {
		case b.freed <- struct{}{}:
		default:
		}
	}
}

// waits reports whether the reader waits for bytes to be given back.
func (b *budget) waits() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.short
}

func (b *budget) held() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}
