// Package plan tells what a run would send, how long that would take and what it would cost, without sending anything.
//
// A [Workload] takes in the requests of a run, one by one and in bounded memory. [Workload.Plan] makes a [Report] of it, with what is
// expected of the answers ([Expect]: given by the user, or learned from the rows of an earlier run by [ReadLike]) and a price table.
//
// # How the duration is told
//
// Not by a formula. The limiter that a run uses is driven through virtual time ([ratelimit.Virtual]) with the costs of the
// planned requests, against a model of the service that reserves and settles as Bedrock does
// (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html). What the limiter learns at the
// start, how it spreads what it lets go and how it answers to being refused is all in it. AWS does not say how its
// quota refills, so this is done twice: for a service that gives back at once what was reserved and not used, and
// for one that counts every request for a full minute. Both are told where they differ.
//
// At most 65,536 requests are kept, drawn evenly from the input and in its order, with the mean of all; what is longer than
// 262,144 is extrapolated from the rate at which those go. Answers are taken from their distribution in a sequence that fills it evenly
// (https://en.wikipedia.org/wiki/Low-discrepancy_sequence#Additive_recurrence), so the same plan always says the same.
package plan
