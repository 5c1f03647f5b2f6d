package lab

import (
	"container/heap"
	"context"
	"slices"
	"sync"
	"time"
)

// slots serve so many streams at a time, in the order in which they came.
type slots struct {
	mu    sync.Mutex
	free  int
	queue []chan struct{}
}

// acquire waits for a slot. It reports false when ctx ended first.
func (s *slots) acquire(ctx context.Context) bool {
	s.mu.Lock()
	if s.free > 0 {
		s.free--
		s.mu.Unlock()
		return true
	}
	mine := make(chan struct{})
	s.queue = append(s.queue, mine)
	s.mu.Unlock()
	select {
	case <-mine:
		return true
	case <-ctx.Done():
	}
	s.mu.Lock()
	i := slices.Index(s.queue, mine)
	if i >= 0 {
		s.queue = slices.Delete(s.queue, i, i+1)
	}
	s.mu.Unlock()
	if i < 0 { // it was given just now
		s.release()
	}
	return false
}

func (s *slots) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.free++
		return
	}
	close(s.queue[0])
	s.queue = s.queue[1:]
}

// A decoder makes so many tokens a second for all its streams together, equally many for each, and for one stream no more
// than that stream can take (processor sharing).
type decoder struct {
	total, each float64 // tokens a second

	mu      sync.Mutex
	streams decoding
	made    float64 // tokens made for a stream that has been here from the beginning
	last    time.Time
	timer   *time.Timer
}

type decode struct {
	until float64 // what made is when it is done
	done  chan struct{}
	place int
}

// run waits until so many tokens are made. It reports false when ctx ended first.
func (d *decoder) run(ctx context.Context, tokens int64) bool {
	d.mu.Lock()
	d.advance()
	mine := &decode{until: d.made + float64(tokens), done: make(chan struct{})}
	heap.Push(&d.streams, mine)
	d.arm()
	d.mu.Unlock()
	select {
	case <-mine.done:
		return true
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance()
	if mine.place >= 0 {
		heap.Remove(&d.streams, mine.place)
		d.arm()
	}
	return false
}

func (d *decoder) rate() float64 { return min(d.each, d.total/float64(len(d.streams))) }

// advance makes the tokens since it was called last.
func (d *decoder) advance() {
	now := time.Now()
	if len(d.streams) > 0 {
		d.made += now.Sub(d.last).Seconds() * d.rate()
	}
	d.last = now
}

// arm sets the timer to when the first stream will be done.
func (d *decoder) arm() {
	if d.timer == nil {
		d.timer = time.AfterFunc(time.Hour, d.fire)
	}
	if len(d.streams) == 0 {
		d.timer.Stop()
		return
	}
	left := max(0, d.streams[0].until-d.made) / d.rate()
	d.timer.Reset(time.Duration(left*float64(time.Second)) + 1) // never short of it
}

func (d *decoder) fire() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.advance()
	for len(d.streams) > 0 && d.streams[0].until <= d.made {
		close(heap.Pop(&d.streams).(*decode).done)
	}
	d.arm()
}

// decoding is a heap of streams by when they are done.
type decoding []*decode

func (h decoding) Len() int           { return len(h) }
func (h decoding) Less(i, j int) bool { return h[i].until < h[j].until }
func (h decoding) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push adds a stream; use heap.Push.
func (h *decoding) Push(x any) {
	d := x.(*decode)
	d.place = len(*h)
	*h = append(*h, d)
}

// Pop takes the last; use heap.Pop.
func (h *decoding) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.place = -1
	return d
}
