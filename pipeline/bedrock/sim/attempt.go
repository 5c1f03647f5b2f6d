package sim

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// An attempt is one call on its way through the server. It belongs to its handler.
type attempt struct {
	s         *Server
	w         http.ResponseWriter
	r         *http.Request
	ctx       context.Context
	arrived   time.Time
	key       key
	plan      *plan
	streaming bool
	model     *model
	rng       *rand.Rand
	fault     *Fault
	timer     *time.Timer
	stream    stream

	granted bool
	grant   grant
	minute  int64 // that the grant was counted in
	entered bool  // holds a place in the capacity
	served  bool  // holds a slot of it

	firstToken time.Duration // since arrived; 0 before it was written
	output     int64         // tokens generated
	ended      bool
}

var attempts = sync.Pool{New: func() any { return new(attempt) }}

func (a *attempt) init(s *Server, w http.ResponseWriter, r *http.Request, arrived time.Time, k key, p *plan, streaming bool) {
	*a = attempt{
		s: s, w: w, r: r, ctx: r.Context(), arrived: arrived, key: k, plan: p, streaming: streaming,
		model: s.model(p.model), timer: a.timer,
		stream: stream{out: a.stream.out[:0], frame: a.stream.frame[:0], payload: a.stream.payload[:0]},
	}
	a.stream.attempt = a
}

// release ends the attempt, whatever happened, and gives its buffers back.
func (a *attempt) release() {
	a.end(cancelled, "")
	if cap(a.stream.out) > keepBuffer || cap(a.stream.frame) > keepBuffer {
		a.stream.out, a.stream.frame = nil, nil
	}
	timer, s := a.timer, a.stream
	*a = attempt{timer: timer, stream: stream{out: s.out, frame: s.frame, payload: s.payload}}
	attempts.Put(a)
}

// end settles and counts; only the first call does anything. It comes before the last bytes are
// written: a client that has read them may look at once, and its next call must not meet this one.
func (a *attempt) end(how outcome, kind string) {
	if a.ended {
		return
	}
	a.ended = true
	now := time.Now()
	if how == whole {
		a.output = a.plan.usage.OutputTokens
	}
	if a.granted {
		used := a.plan.settlement(a.output, a.s.opts.burndownOf(a.plan.model))
		if a.model.ledger != nil {
			a.model.ledger.settle(now, a.grant, used)
		}
		a.s.tally.settled(a.minute, used)
	}
	if a.entered {
		a.model.capacity.leave(a.served)
	}
	a.s.tally.end(a.key, how, kind, a.firstToken, now.Sub(a.arrived), a.plan.usage)
}

// serve answers: outage, faults before the stream, quota, capacity, and then the model.
func (a *attempt) serve() {
	turn := a.s.tally.begin(a.key, a.r.ProtoMajor == 2)
	a.rng = a.key.rng(a.s.opts.Seed, streamAttempt+uint64(turn))
	if kind := a.s.outageNow(a.arrived); kind != "" {
		a.failBefore(&Fault{Kind: kind})
		return
	}
	a.fault = chooseFault(a.plan.markers.faults, a.s.opts.Faults, turn, a.rng)
	if a.fault != nil {
		switch row := faultTable[a.fault.Kind]; {
		case row.preStream != nil, row.before != nil:
			if !a.failBefore(a.fault) {
				return
			}
			a.fault = nil
		case a.fault.Kind == "guardrail-block":
			a.plan.guardrail, a.plan.blocks = guardrailBlock, nil
			a.plan.usage.OutputTokens = 0
		case a.fault.Kind == "guardrail-trace":
			a.plan.guardrail = guardrailTrace
		}
	}
	if !a.admit() {
		return
	}
	if !a.sleepUntil(a.arrived.Add(a.s.opts.HeaderDelay.draw(a.rng))) {
		return
	}
	if a.streaming {
		a.serveStream()
	} else {
		a.serveWhole()
	}
}

// failBefore lets a fault before the stream strike. It reports whether the call goes on: only
// after a silence that has an end.
func (a *attempt) failBefore(f *Fault) (goOn bool) {
	row := faultTable[f.Kind]
	if row.before != nil && f.For > 0 && f.Kind == "stall-headers" {
		a.stream.struck = f.Kind
		return a.sleepUntil(a.arrived.Add(f.For))
	}
	if !row.free() {
		a.s.tally.billed(a.plan.usage)
	}
	if row.preStream == nil {
		row.before(a, f)
		return false
	}
	e := *row.preStream
	if f.Message != "" {
		e.Message = f.Message
	}
	a.end(faulted, f.Kind)
	e.write(a.w)
	return false
}

// admit asks the quota and the capacity, and answers where they refuse.
func (a *attempt) admit() bool {
	now := time.Now()
	reserved := a.plan.reservation()
	if a.model.ledger != nil {
		grant, refusal := a.model.ledger.admit(now, reserved)
		if refusal != "" {
			a.throttle(refusal)
			return false
		}
		a.grant = grant
	}
	if !a.model.capacity.enter() {
		if a.model.ledger != nil { // a refusal costs no quota
			a.model.ledger.settle(now, a.grant, 0)
		}
		a.end(throttled, "")
		(&Error{Status: http.StatusServiceUnavailable, Type: "ServiceUnavailableException", Message: msgConnections}).write(a.w)
		return false
	}
	a.entered = a.model.capacity != nil
	a.granted = true
	a.s.tally.billed(a.plan.usage)
	a.minute = a.s.tally.admitted(now, reserved)
	return true
}

// throttle refuses for want of quota: by status, or within a stream.
func (a *attempt) throttle(message string) {
	inStream := a.streaming && a.s.opts.ThrottleInStream > 0 && a.rng.Float64() < a.s.opts.ThrottleInStream
	if !inStream {
		a.end(throttled, "")
		(&Error{Status: http.StatusTooManyRequests, Type: "ThrottlingException", Message: message}).write(a.w)
		return
	}
	a.stream.open()
	a.end(throttled, "")
	a.stream.appendException("throttlingException", message)
	a.stream.flush()
}

// begin waits for a slot of the capacity.
func (a *attempt) begin() bool {
	a.served = a.model.capacity.wait(a.ctx) && a.entered
	return a.served || !a.entered
}

// serveWhole answers a plain InvokeModel. Of the faults within a stream, exceptions are answered
// by their status, those that cut or silence it do so to the body, and damaged frames have no
// meaning here.
func (a *attempt) serveWhole() {
	p := a.plan
	if !a.begin() {
		return
	}
	due := a.s.opts.FirstToken.draw(a.rng)
	for range max(0, p.usage.OutputTokens-1) {
		due += a.s.opts.InterToken.draw(a.rng)
	}
	if !a.sleepUntil(a.arrived.Add(due)) {
		return
	}
	body := p.body()
	switch {
	case p.isConverse():
		body = a.appendConverseTail(reopen(body), time.Since(a.arrived).Milliseconds())
	case p.guardrail != guardrailNone:
		body = append(p.appendGuardrail(reopen(body), true), '}')
	}
	if a.fault != nil && a.failWhole(body) {
		return
	}
	h := a.w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if !p.isConverse() {
		a.echo()
		invocationHeaders(h, p.usage, time.Since(a.arrived))
	}
	a.firstToken = time.Since(a.arrived)
	a.end(whole, a.survived())
	_, _ = a.w.Write(body) // whoever has gone is not told
}

// failWhole lets a fault strike a plain answer, and reports whether it did.
func (a *attempt) failWhole(body []byte) bool {
	f := a.fault
	if e, ok := preStreamErrors[upperCamel(f.Kind)]; ok {
		if refuses(e.Status) { // whoever is answered in one piece cannot tell it from one before the model
			u := a.plan.usage
			a.s.tally.billed(Usage{-u.InputTokens, -u.OutputTokens, -u.CacheReadInputTokens, -u.CacheWriteInputTokens})
		}
		answer := *e
		if f.Message != "" {
			answer.Message = f.Message
		}
		a.end(faulted, f.Kind)
		answer.write(a.w)
		return true
	}
	switch f.Kind {
	case "stall", "stall-first-token":
		if f.For > 0 {
			a.stream.struck = f.Kind
			return !a.sleepUntil(time.Now().Add(f.For))
		}
		<-a.ctx.Done()
		a.end(faulted, f.Kind)
		return true
	case "truncate", "truncate-inside", "reset", "rst-stream", "end", "end-inside":
		a.w.Header()["Content-Type"] = []string{"application/json"}
		a.w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
		_, _ = a.w.Write(body[:len(body)/2])
		a.flush()
		a.end(faulted, f.Kind)
		a.dropConnection(f.Kind == "reset")
		return true
	}
	return false
}

// survived is the kind of a fault that struck, or only shaped the answer, and let it come whole.
func (a *attempt) survived() string {
	if a.stream.struck != "" {
		return a.stream.struck
	}
	if a.fault != nil && faultTable[a.fault.Kind].shapes {
		return a.fault.Kind
	}
	return ""
}

func (a *attempt) flush() {
	if f, ok := a.w.(http.Flusher); ok {
		f.Flush()
	}
}

// sleepUntil returns at the time, or false when the client went away or the server closed.
func (a *attempt) sleepUntil(due time.Time) bool {
	d := time.Until(due)
	if d <= 0 {
		return true
	}
	if a.timer == nil {
		a.timer = time.NewTimer(d)
	} else {
		a.timer.Reset(d)
	}
	select {
	case <-a.timer.C:
		return true
	case <-a.ctx.Done():
		a.timer.Stop()
		return false
	}
}
