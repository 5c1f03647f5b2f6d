package sim

import "context"

// capacity is what a model id can serve at once, as provisioned throughput does.
type capacity struct {
	slots chan struct{} // as many as may be served
	all   chan struct{} // as many as may be served or wait; nil is any number
}

func newCapacity(o *Options) *capacity {
	if o.MaxConcurrent == 0 {
		return nil
	}
	c := &capacity{slots: make(chan struct{}, o.MaxConcurrent)}
	if o.Queue >= 0 {
		c.all = make(chan struct{}, o.MaxConcurrent+o.Queue)
	}
	return c
}

// enter reports whether the request may be served now or wait.
func (c *capacity) enter() bool {
	if c == nil || c.all == nil {
		return true
	}
	select {
	case c.all <- struct{}{}:
		return true
	default:
		return false
	}
}

// wait returns when the request is served, in the order of arrival; false when ctx ended first.
func (c *capacity) wait(ctx context.Context) bool {
	if c == nil {
		return true
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// leave gives back what enter and, if served, wait took.
func (c *capacity) leave(served bool) {
	if c == nil {
		return
	}
	if served {
		<-c.slots
	}
	if c.all != nil {
		<-c.all
	}
}
