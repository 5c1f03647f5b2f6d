package plan

import (
	"fmt"

	"github.com/batchrun/batchrun/ratelimit"
)

// warn tells what may go otherwise than the user means it to. Nothing of it keeps a run from going.
func (p *planner) warn(r *Report) {
	say := func(format string, args ...any) { r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...)) }
	if p.requests == 0 {
		say("nothing would be sent: the input has no line that can be")
		return
	}
	if n := p.w.unset; n > 0 {
		say("%s of %s records set no limit for their answer", comma(n), comma(p.requests))
	}
	p.warnWaste(say)
	p.warnBounds(r, say)
	if n := p.w.overMinute; n > 0 {
		say("records that reserve more than the %s tokens of a whole minute: %s, the first %s; each goes alone, and the service may refuse it for good",
			comma(int64(p.w.perMinute)), comma(n), p.w.overPlace)
	}
	if n := p.RepeatedIDs; n > 0 {
		say("records with an id that an earlier one has: about %s; their rows are told apart by source and line only", comma(n))
	}
	if n := p.w.near; n > 0 {
		say("requests longer than %s of the %s bytes that the service takes: %s, the first %s",
			comma(nearLimit), comma(maxBody), comma(n), p.w.nearPlace)
	}
	if p.Limits.TokensPerMinute == 0 && p.Limits.RequestsPerMinute == 0 {
		say("no quota is stated, so only the number of streams bounds the duration: give --tpm and --rpm as Service Quotas shows them")
	}
}

// warnBounds tells where a bound on spending stops the run before its end, or may: by then holds are larger than answers, so that the
// last of the bound is used by one stream after the other.
func (p *planner) warnBounds(r *Report, say func(format string, args ...any)) {
	p.warnEndless(r, say)
	against := func(name, verb, is string, allowed, expected, most float64, words, up func(float64) string) {
		switch {
		case allowed > 0 && expected > allowed && p.w.ceiled():
			say("--%s %s stops the run before its end: it is expected to %s %s, at most %s", name, is, verb, words(expected), up(most))
		case allowed > 0 && expected > allowed:
			say("--%s %s stops the run before its end: it is expected to %s %s", name, is, verb, words(expected))
		case allowed > 0 && p.w.ceiled() && most > allowed:
			say("--%s %s may stop the run before its end: it may %s up to %s", name, is, verb, up(most))
		}
	}
	if c := r.Cost; c != nil && c.Provisioned == nil {
		in := func(text func(float64) string) func(float64) string {
			return func(v float64) string { return text(v) + " " + c.Currency }
		}
		against("max-cost", "cost", in(money)(p.MaxCost), p.MaxCost, c.Total, c.AtMost, in(money), in(atMost))
	}
	tokens := func(v float64) string { return comma(int64(v)) }
	against("max-tokens-total", "take", comma(p.MaxTokens), float64(p.MaxTokens), p.inputs()+float64(r.Tokens.Output.Total), p.w.mostTokens, tokens, tokens)
}

// warnEndless tells of requests that have no upper bound: neither has the cost, and a run with a bound stops at the first of them.
func (p *planner) warnEndless(r *Report, say func(format string, args ...any)) {
	n, bounded := p.w.endless, p.MaxCost > 0 || p.MaxTokens > 0
	if n == 0 || !bounded && (r.Cost == nil || r.Cost.Provisioned != nil) {
		return
	}
	then := "how much the run costs at most is not known"
	if bounded && !p.CountsInput {
		then += ", and its bound stops it there"
	}
	say("%s: %v; so it is with %s of %s records: %s", p.w.endlessPlace, p.w.endlessWhy, comma(n), comma(p.requests), then)
}

// warnWaste tells of reservations that are far larger than what is used: while a request runs, nobody else has them.
func (p *planner) warnWaste(say func(format string, args ...any)) {
	if !p.Expect.known() {
		return
	}
	const far, much = 2, 0.05 // times the mean; of the quota
	longest, limit := p.output.largest, p.w.limit.mean()
	now := p.reachable(p.idle)
	if limit < far*p.output.mean() || float64(longest) >= limit || 1-now < much {
		return
	}
	say("max_tokens of %s on average is %s times the expected answer: a service that counts reservations for a full minute gives %s of the quota at most, and %s with the %s of the longest answer expected",
		figure(limit), figure(round(limit/p.output.mean())), percent(now), percent(p.reachable(p.idleWith(longest))), comma(longest))
}

// idleWith is what would be reserved and not used, as planner.idle, if no limit were above most.
func (p *planner) idleWith(most int64) (idle float64) {
	for i, c := range p.sample {
		a := p.Expect.answer(i, c.MaxTokens, 1)
		used := ratelimit.Settles(p.usage(c, a.output), p.Limits.Burndown)
		c.MaxTokens = min(c.MaxTokens, most)
		idle += max(0, ratelimit.Reserves(c)-used) * min(1, a.total.Minutes())
	}
	return idle / float64(len(p.sample))
}

// assume tells what the plan takes for granted.
func (p *planner) assume(r *Report) {
	say := func(format string, args ...any) { r.Assumptions = append(r.Assumptions, fmt.Sprintf(format, args...)) }
	if p.requests == 0 {
		return
	}
	e, like := &p.Expect, p.Expect.Like
	say("answers: length by %s", e.from())
	first, speed := "an assumption", "an assumption"
	if like != nil {
		first, speed = like.Path, like.Path
	}
	if e.FirstToken != nil {
		first = "--expect-ttft"
	}
	if e.Speed > 0 {
		speed = "--expect-speed"
	}
	say("first token after %s (%s), then %s tokens/s in each stream (%s)", latency(p.firstSeconds), first, figure(p.perSecond), speed)
	switch {
	case like != nil && like.Estimated > 0:
		say("input: %s tokens counted for one estimated, as in %s", figure(p.ratio), like.Path)
	default:
		say("input: estimated at four bytes a token")
	}
	if p.read+p.write > 0 {
		say("cache: %s of the input read, %s written for five minutes, as in %s", percent(p.read), percent(p.write), like.Path)
	}
	if r.Cost != nil && r.Cost.AtMost > 0 {
		say("at most: a token for each byte of a request, and every answer as long as its max_tokens")
	}
	say("nothing of the quota is used by others, and no call fails")
	if p.requests > keep {
		say("followed through time: a sample of %s requests", comma(keep))
	}
}
