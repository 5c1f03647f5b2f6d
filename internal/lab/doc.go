// Package lab is a laboratory: the limiter of package ratelimit and the pipeline around it, as they are, against a model of
// Amazon Bedrock, in the time of a synctest bubble. Hours of a night run in a second. It is not part of the program.
//
//	make bench-quota                                      the table, against what must be reached
//	go test ./internal/lab -run '^TestTable$' -v -table   the same, with
//	    -rows REGEXP        of the rows' names
//	    -seeds N            instead of 3
//	    -baselines=false    ours only, without the patient clients as well
//
// It prints a line for each run and then the table, and fails when ours miss a target. TestLaboratory, a few short rows, is
// part of the normal tests.
//
// # The service
//
// A request arrives half a round trip (25 ms) after it was sent. Then it is decided, on its input and max_tokens and, where there is such a
// quota, on the number of requests; a refused request takes nothing from either. A refusal is back after the other half. An admitted one
// takes what a [Workload] says: 0.5 s to the first token and so much for each one after it. When its last token is made it is settled at
// input + output × burndown, as documented (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html); the client hears of
// it half a round trip later. AWS does not say how a quota refills, so each row is played on five [Shapes]. When the full minutes of a shape
// begin depends on the seed. A quota may change with time; what was taken before stays taken.
//
// Provisioned capacity is either so many slots with a queue in order of arrival, the wait being part of the time to the first
// token, or a rate of output tokens that all streams share equally, no stream taking more than it would alone.
//
// In an outage every call fails with a 500 after 20 ms, and the streams that are open break at its beginning. A call that hangs was
// admitted and holds its reservation until the client hangs up, after 60 s without a token; nothing is charged for it then.
// Refusals may come for no reason, and in the stream at the time of the first token: both are options that no row of the
// table uses and TestLaboratory does.
//
// Not modelled: prompt caches, quotas of a day, the adjustment of reservations while a stream runs, a round trip that varies by more than a millisecond,
// estimates of the input that are wrong.
//
// # The clients
//
// All clients have the same bound of streams in flight ([Scenario].Streams), the same patience for a first token, and share one job
// where there are several. Ours are a [github.com/batchrun/batchrun/pipeline.Runner] and a [github.com/batchrun/batchrun/ratelimit.Limiter]
// for each runner. The baselines are so many goroutines, each taking one record after the other; one that fails for good
// is sent again when all others were, and its goroutine rests for a second.
//
//   - standard: the retry loop of aws-sdk-go-v2 itself (retry.Attempt around retry.Standard) with its token bucket and backoff, and 5 attempts
//     instead of its 3. As in the SDK, what breaks after the response has begun is not tried again.
//   - adaptive: the same around retry.AdaptiveMode. Time passes by a microsecond or a little more whenever it looks at its context, or a
//     sleep that it rounds down to nothing would stop the bubble's clock for good.
//   - AIMD: inspect_ai's AdaptiveConcurrencyController written again: see the constants in baselines.go, and what is assumed of the waits
//     between its tries.
//
// A patient client ([Patience]) is nobody's: it is there to be compared with. It knows the quota and among how many it is shared, sends a fixed
// part of its equal share evenly, rests for a fixed time after a refusal, more or less by a quarter, and never sends faster or slower.
//
// Baselines and patient clients get the first seed only.
//
// # How each figure is measured
//
// All figures but the makespan are counted by the service.
//
//   - share: tokens of the calls that were settled in a stretch, by what the quota gave in it. The stretch begins when the row says (1 min where
//     the quota is stated, 3 min where it is learned), ends when the job would be over if all of the quota had been used
//     from the beginning, or when the source is used up, and is cut to whole minutes. Rows with several stretches
//     show the worst. A bucket that starts full has more to give than its rate, so 100 % can be passed by a little.
//     Where requests have a quota as well, the dimension used up more counts. Provisioned: work done by capacity.
//   - bound: [Bound] of the calls that arrived in that stretch. On a strict minute it is the bound of even pacing only: starting heavy after
//     the full minute may pass it.
//   - throttled: refused calls by all calls, from the very first on. The line of a run also tells them from the first stretch on. The
//     calls of a stranger do not count.
//   - worst minute: the same for each minute with at least 20 calls, from the first stretch on, so without the cold start; the last is the one
//     that ends with the job.
//   - Jain's index: over the tokens of ours, in 20 minutes that begin 5 minutes after the last one joined.
//   - stranger: its tokens in those 20 minutes, as a part of an equal share. Least of ours: the same.
//   - attempts: calls that were not refused by calls that were answered, of those that arrived in the quarter of an hour in
//     which calls hang, or of all.
//   - probes: calls that arrive in an outage later than 10 s after its beginning.
//   - back: from the end of the outage to the beginning of the first half minute in which 95 % of the quota are settled.
//   - TTFT p95: as the client sees it, network and queue included, by that of the same calls at a service without load. It is the same for
//     every call but in the row in which first tokens vary (log-normal, σ 0.3). In flight: the mean number of calls at the service by the number that suffices for all of the capacity.
//   - makespan: from the beginning until the last record is answered, by the ideal: the time in which the quota times the bound is
//     enough for the job, one mean duration and the outage. A run that takes three times as long is given up.
//
// In every run of ours every record must have been answered, once, by the service and in the store.
//
// The table shows for each figure the worst of all shapes and seeds, so the figures of a line are rarely of one run.
//
// # The best of patient clients
//
// Below the table there is a line for each shape of the rows with a stranger in adaptive mode: how little patient clients in the place of ours
// are refused there. They are played with every pair of a part of an equal share (0.5, 0.7, 0.85 or 1) and a rest (0.5, 1, 4 or 16 s, and on the shapes
// with full minutes until the next one, which the client is told), all in the same pair, with the first seed. The best is who was refused least of those
// of whom each got 0.4 of an equal share or more, while the stranger got what the row demands for it and all together used what
// the row demands of the quota. Beside it are the least that any of them was refused, with what the least of them got in brackets, and
// the run of ours that was refused most. A target of throttles below the best is said to be so.
//
// It bounds clients of that kind and no others, on one seed: who paces by what it sees of the stranger, sends at other than even distances,
// or rests for longer the longer it is refused, may be refused less. The least of so many runs is also a lucky one: played again, the same pair
// is refused some tenths of a point more.
//
// # How far it repeats
//
// A run comes out the same to the last digit when it is played again, beside other work as well (TestRepeats). Everything about a record
// comes from a generator seeded by the seed and the record's number, every fault of a call from one that is also seeded by its number among
// the record's calls, each client's jitter from its own, and the SDK's from a seeded crypto/rand. The order in which goroutines run at the same
// moment decides nothing, since there are hardly any such: timers of a bubble that are due at the same time go off in an order that is drawn anew
// each time, so every call is up to a millisecond longer on its way ([Config].Jitter). The processes of the table have one processor each, and
// collect no garbage during a run, so each takes up to 2 GiB.
//
// What is left: in adaptive mode all that wait for a token are woken at the same nanosecond, and whoever comes first gets it, so the rows with
// a stranger and that column differ from run to run; and the row of 256 slots does in a third digit, whose cause was not found. See
// docs/benchmarks.md for how much.
package lab
