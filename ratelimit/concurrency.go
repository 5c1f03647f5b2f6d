package ratelimit

import "time"

const (
	shrink      = 0.7
	shrinkEvery = 5 * time.Second
)

// concurrency bounds the streams in flight: it falls when the service is overloaded and rises with
// successes, one more for each full turn.
type concurrency struct {
	most  float64
	limit float64
	last  time.Time // the last time it fell
}

// fits says that one more stream may begin.
func (c *concurrency) fits(inFlight int) bool { return inFlight < int(c.limit) }

// overloaded notes an overload of a stream that began at t. Those that began before the limit fell say nothing new.
func (c *concurrency) overloaded(now, t time.Time) {
	if !c.last.IsZero() && (!t.After(c.last) || now.Sub(c.last) < shrinkEvery) {
		return
	}
	c.limit = max(1, c.limit*shrink)
	c.last = now
}

// succeeded notes the end of a stream while inFlight, itself included, were running. A limit not in use does not rise.
func (c *concurrency) succeeded(inFlight int) {
	if inFlight >= int(c.limit) {
		c.limit = min(c.most, c.limit+1/c.limit)
	}
}
