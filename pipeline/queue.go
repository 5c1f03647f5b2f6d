package pipeline

import (
	"slices"
	"time"
)

// A dueHeap orders tasks by the time they may go again.
type dueHeap []*task

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push adds a task; use heap.Push.
func (h *dueHeap) Push(x any) { *h = append(*h, x.(*task)) }

// Pop takes the last task; use heap.Pop.
func (h *dueHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return t
}

// A ring keeps the last durations it was given.
type ring struct {
	values [512]time.Duration
	n      int
}

func (r *ring) add(d time.Duration) {
	r.values[r.n%len(r.values)] = d
	r.n++
}

// p99 is 0 while nothing was added.
func (r *ring) p99() time.Duration {
	n := min(r.n, len(r.values))
	if n == 0 {
		return 0
	}
	sorted := slices.Clone(r.values[:n])
	slices.Sort(sorted)
	return sorted[(n-1)*99/100]
}
