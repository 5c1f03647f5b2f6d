package sim

import (
	"strconv"
	"time"
)

// A stream is the event stream of one attempt.
type stream struct {
	*attempt
	payload []byte // JSON of the event at hand
	frame   []byte // message of a fault at hand
	out     []byte // messages not flushed yet
	frames  int    // how many
	index   int    // chunk events appended so far
	strikes bool   // a fault is still to come
	at      int    // before which event it comes; AtEnd: after the last
	struck  string // kind of a fault that struck and let the stream go on

	due     time.Duration // of the next event, since arrival
	ttft    time.Duration
	began   bool // content has been appended
	waiting bool // the first content is in out
}

// open answers with the headers of a stream, at once.
func (s *stream) open() {
	h := s.w.Header()
	h["Content-Type"] = []string{"application/vnd.amazon.eventstream"}
	if !s.plan.isConverse() {
		h["X-Amzn-Bedrock-Content-Type"] = []string{"application/json"}
		s.echo()
	}
	s.w.WriteHeader(200)
	s.attempt.flush()
}

// echo tells the latency mode and the tier of the call: those that were asked for.
func (a *attempt) echo() {
	for _, echoed := range []string{"X-Amzn-Bedrock-Performanceconfig-Latency", "X-Amzn-Bedrock-Service-Tier"} {
		if v := a.r.Header[echoed]; len(v) > 0 {
			a.w.Header()[echoed] = v
		}
	}
}

// serveStream answers with the plan as an event stream.
func (a *attempt) serveStream() {
	s := &a.stream
	s.open()
	if !a.begin() {
		return
	}
	s.ttft = a.s.opts.FirstToken.draw(a.rng)
	s.due = s.ttft / 2
	s.placeFault()
	goOn := true
	a.plan.stream(func(ev event) bool {
		goOn = s.send(ev)
		return goOn
	})
	if goOn && s.strikes && s.at == AtEnd {
		s.flush() // what a fault does, it does after the terminal event
		s.strike()
	}
}

// placeFault decides before which event the fault comes.
func (s *stream) placeFault() {
	if s.fault == nil || faultTable[s.fault.Kind].shapes {
		return
	}
	s.strikes, s.at = true, s.fault.AtChunk
	if s.at == AtEnd {
		return
	}
	events, content := 0, -1
	s.plan.stream(func(ev event) bool {
		if ev.content && content < 0 {
			content = events
		}
		events++
		return true
	})
	switch {
	case s.fault.Kind == "stall-first-token":
		s.at = max(0, content)
	case s.at == AtRandom && events > 1:
		s.at = 1 + s.rng.IntN(events-1)
	case s.at == AtRandom:
		s.at = 0
	}
	s.at = min(s.at, events-1)
}

// send takes one chunk of the plan: waits until it is due, lets a fault strike, writes.
func (s *stream) send(ev event) bool {
	if s.strikes && s.index == s.at && !s.strike() {
		return false
	}
	if !s.pause(ev) {
		return false
	}
	s.payload = append(s.payload[:0], ev.payload...)
	last := ev.metrics || s.plan.guardrail == guardrailBlock && ev.kind == ""
	if s.plan.guardrail != guardrailNone && !ev.bare && ev.kind == "" {
		s.payload = append(s.plan.appendGuardrail(reopen(s.payload), last), '}')
	}
	pad := 1 + s.rng.IntN(len(filler))
	switch {
	case ev.kind == "" && ev.metrics:
		s.payload = s.appendMetrics(reopen(s.payload))
	case ev.metrics:
		s.payload = s.appendConverseTail(reopen(s.payload), time.Since(s.arrived).Milliseconds())
	}
	if ev.kind == "" {
		s.out = appendChunk(s.out, s.payload, pad)
	} else {
		s.out = appendEvent(s.out, ev.kind, s.payload, pad)
	}
	s.index++
	s.frames++
	s.output += int64(ev.tokens)
	if ev.content && !s.began {
		s.began, s.waiting = true, true
	}
	if last {
		if s.strikes && s.at == AtEnd && !faultTable[s.fault.Kind].whole {
			return s.flush() // the fault ends and counts it
		}
		if s.waiting { // end counts the first token's time, and this is the time
			s.markFirstToken()
		}
		kind := s.survived()
		if s.strikes { // still to come, and will take nothing from the answer
			kind = s.fault.Kind
		}
		s.end(whole, kind)
		return s.flush()
	}
	if s.frames >= max(1, s.s.opts.FlushEvery) || len(s.out) > keepBuffer/2 {
		return s.flush()
	}
	return true
}

// pause waits until the event is due. Due times are counted from the arrival, so that what one
// pause overshoots the next one makes up for.
func (s *stream) pause(ev event) bool {
	switch {
	case ev.content && !s.began:
		s.due = max(s.due, s.ttft)
	case s.began:
		for range ev.tokens {
			s.due += s.s.opts.InterToken.draw(s.rng)
		}
	}
	if s.due == 0 {
		return true
	}
	if len(s.out) > 0 && time.Since(s.arrived) < s.due && !s.flush() {
		return false
	}
	return s.sleepUntil(s.arrived.Add(s.due))
}

// markFirstToken takes the time just before the bytes go out: the client cannot have them sooner.
func (s *stream) markFirstToken() {
	s.waiting = false
	s.firstToken = time.Since(s.arrived)
}

// flush hands what is pending to the network; false when the client went away.
func (s *stream) flush() bool {
	if len(s.out) == 0 {
		return true
	}
	if s.waiting {
		s.markFirstToken()
	}
	_, err := s.w.Write(s.out)
	s.attempt.flush()
	s.out, s.frames = s.out[:0], 0
	return err == nil && s.ctx.Err() == nil
}

// appendMetrics writes the invocation metrics (not documented; Bedrock adds them to one chunk) at the end of an object that was
// reopened, and closes it.
func (s *stream) appendMetrics(dst []byte) []byte {
	first := s.firstToken
	if first == 0 {
		first = time.Since(s.arrived)
	}
	u := s.plan.usage
	dst = appendInt(append(dst, `,"amazon-bedrock-invocationMetrics":{"inputTokenCount":`...), u.InputTokens)
	dst = appendInt(append(dst, `,"outputTokenCount":`...), u.OutputTokens)
	dst = strconv.AppendInt(append(dst, `,"invocationLatency":`...), time.Since(s.arrived).Milliseconds(), 10)
	dst = strconv.AppendInt(append(dst, `,"firstByteLatency":`...), first.Milliseconds(), 10)
	if u.CacheReadInputTokens > 0 || u.CacheWriteInputTokens > 0 {
		dst = appendInt(append(dst, `,"cacheReadInputTokenCount":`...), u.CacheReadInputTokens)
		dst = appendInt(append(dst, `,"cacheWriteInputTokenCount":`...), u.CacheWriteInputTokens)
	}
	return append(dst, '}', '}')
}

// appendGuardrail writes a guardrail's members (none of them is documented) at the end of an object that was
// reopened. The trace of the last event holds what the model said before it was masked.
func (p *plan) appendGuardrail(dst []byte, last bool) []byte {
	if !last {
		return append(dst, `,"amazon-bedrock-guardrailAction":"NONE"`...)
	}
	dst = append(dst, `,"amazon-bedrock-guardrailAction":"INTERVENED","amazon-bedrock-trace":`...)
	return append(p.appendTrace(dst), '}')
}

// appendTrace writes a guardrail's trace, and leaves it open.
func (p *plan) appendTrace(dst []byte) []byte {
	dst = append(dst, `{"guardrail":{`...)
	if p.guardrail == guardrailBlock {
		return append(dst, `"input":{"simulated":{"topicPolicy":{"topics":[{"name":"simulated","type":"DENY","action":"BLOCKED"}]}}}}`...)
	}
	dst = appendQuoted(append(dst, `"modelOutput":[`...), p.answerText())
	return append(dst, `],"outputs":[{"simulated":{"sensitiveInformationPolicy":{"piiEntities":[{"type":"NAME","match":"Ada Lovelace","action":"ANONYMIZED"}]}}}]}`...)
}
