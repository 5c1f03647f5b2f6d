package input

import (
	"context"
	"io"
	"sync"
)

// A pump reads the standard input ahead on a goroutine of its own, because a read of a pipe or a terminal
// cannot be ended: so [Reader.Next] can, and a run that is stopped does not wait for the next line.
type pump struct {
	ctx    context.Context // of the call of Next under way
	blocks chan block
	free   chan []byte
	quit   chan struct{}
	once   sync.Once
	rest   []byte // of the block that is being read
	whole  []byte // that block
	err    error
}

type block struct {
	data []byte
	err  error
}

func newPump(ctx context.Context, r io.Reader) *pump {
	p := &pump{ctx: ctx, blocks: make(chan block), free: make(chan []byte, 2), quit: make(chan struct{})}
	for range cap(p.free) {
		p.free <- make([]byte, 64<<10)
	}
	go p.run(r)
	return p
}

func (p *pump) run(r io.Reader) {
	for {
		var b []byte
		select {
		case b = <-p.free:
		case <-p.quit:
			return
		}
		n, err := r.Read(b)
		select {
		case p.blocks <- block{b[:n], err}:
		case <-p.quit:
			return
		}
		if err != nil {
			return
		}
	}
}

// stop ends the goroutine once its read returns.
func (p *pump) stop() { p.once.Do(func() { close(p.quit) }) }

// Read ends with the context of the call of Next under way.
func (p *pump) Read(b []byte) (int, error) {
	for len(p.rest) == 0 {
		if p.err != nil {
			return 0, p.err
		}
		if p.whole != nil {
			p.free <- p.whole[:cap(p.whole)]
			p.whole = nil
		}
		select {
		case blk := <-p.blocks:
			p.whole, p.rest, p.err = blk.data, blk.data, blk.err
		case <-p.ctx.Done():
			return 0, context.Cause(p.ctx)
		}
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}
