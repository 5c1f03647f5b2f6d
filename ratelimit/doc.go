// Package ratelimit decides when the next request may go to a model on Amazon Bedrock.
//
// [New] makes a [Limiter], [Limiter.Acquire] waits for a [Permit], and one call on the permit ends it:
// [Permit.Succeed], [Permit.Fail], [Permit.Throttled] or [Permit.Overloaded]. Nothing here runs by itself: there
// is no goroutine, and one timer only while somebody waits.
//
// # What a request costs
//
// Bedrock does not charge what a request uses when it starts, but what it may use, and corrects that at the end
// (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html):
//
//	at the start   input tokens + max_tokens
//	at the end     input tokens + cache write tokens + output tokens × burndown
//
// Cache reads do not count, and a failed request is given back. With a burndown of 5, an input of 3,000 tokens, 1,000
// tokens written to the cache, 4,000 read from it and 1,000 tokens of output:
//
//	max_tokens   reserved                  settled
//	    32,000   4,000 + 32,000 = 36,000   4,000 + 5 × 1,000 = 9,000   27,000 come back
//	     1,250   4,000 + 1,250 = 5,250     4,000 + 5 × 1,000 = 9,000   3,750 more than reserved
//
// The second line is why a bucket must be able to go into debt: the 3,750 are paid back before the next request
// is admitted.
//
// # What is promised of a stated quota
//
// In every window of 60 seconds the requests admitted are at most RequestsPerMinute, and the tokens of the requests
// admitted in it, counted as reserved while in flight and as settled once ended, are at most TokensPerMinute at every
// moment at which a request is admitted. TokensPerDay is the same over 24 hours. Two things pass it: a request
// larger than the quota goes when nothing else is in the window, and a settlement above its reservation is known
// only afterwards; it delays the next admission. A request that was sent stays counted as a request, whatever became of it.
//
// Inside that bound, requests are spread evenly: a pacer lets them go at 0.995 of the quota in tokens they are
// *expected to settle at*, learned from those that ended, saves one second of it at most, and starts with
// nothing saved, since the service's own bucket may be small. So a max_tokens far above the real output costs
// only what the accounting itself takes: holding back R−U tokens for D seconds bounds the use of a 60 s window to
// 1 / (1 + E[D·(R−U)] / (60·E[U])).
//
// # What is learned from refusals
//
// A quota that is not stated does not exist until the service refuses something. A refusal does two things. It
// holds everything back for a moment (0.2 s at first, doubled up to 4 s while refusals go on, ±25 %), after which one
// request goes alone; and, at most every 15 s, it sets the pace to 0.95 of what was admitted in the last 60 s, never below half the
// pace there was nor below one request a minute. The pace grows again, flat around the old ceiling and ever steeper past it,
// but only while it is what holds requests back. A stated quota that is refused is shared with somebody: its pace falls
// and climbs back in the same way, and ends at the stated figure.
//
// A refusal of the day's quota pauses everything; single requests try again after 5 s, 8 s, 12.8 s, … 10 min.
//
// Overloads (503, timeouts) are not about quotas: they shrink the number of streams in flight.
package ratelimit
