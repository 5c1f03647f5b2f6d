package bedrock

import (
	"context"
	"iter"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// Invoke makes one attempt, as [pipeline.Model] describes it.
func (m *Model) Invoke(ctx context.Context, req *pipeline.Request) iter.Seq2[pipeline.Event, error] {
	return func(yield func(pipeline.Event, error) bool) {
		if m.api == Invoke {
			m.invokeWhole(ctx, req, yield)
			return
		}
		cctx, cancel := context.WithCancel(ctx)
		defer cancel()
		c := &call{body: req.Body}
		err := m.openStream(withCall(cctx, c), req.Body)
		if c.response != nil {
			defer c.response.Body.Close()
		}
		if err != nil {
			yield(pipeline.Event{}, m.openFault(ctx, c, err))
			return
		}
		st := m.streams.Get().(*stream)
		defer m.streams.Put(st)
		st.reset(m.family, c)
		defer st.release()

		drained := func() bool { return true }
		defer func() { drained() }()
		for {
			msg, err := st.frames.Next()
			if err != nil {
				m.end(ctx, st, err, yield)
				return
			}
			was := st.whole
			ev, fault := st.take(&msg)
			if fault != nil {
				yield(pipeline.Event{}, m.streamFault(ctx, st, fault))
				return
			}
			if st.whole && !was {
				ev.Terminal = true
				drained = time.AfterFunc(drainCap, cancel).Stop
			}
			if !yield(ev, nil) {
				return
			}
		}
	}
}

// end makes the last event of a stream whose frames have come to an end.
func (m *Model) end(ctx context.Context, st *stream, err error, yield func(pipeline.Event, error) bool) {
	if !st.whole {
		if !st.blockedAt(err) {
			yield(pipeline.Event{}, m.streamFault(ctx, st, st.endFault(err)))
			return
		}
		// A guardrail's own answer has no terminal event: it is whole where it ends.
		if !yield(pipeline.Event{Terminal: true}, nil) {
			return
		}
	}
	r, fault := st.response()
	if fault != nil {
		yield(pipeline.Event{}, m.streamFault(ctx, st, fault))
		return
	}
	yield(pipeline.Event{Response: m.told(r)}, nil)
}
