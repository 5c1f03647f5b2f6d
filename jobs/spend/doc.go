// Package spend keeps a run within what it may cost, in money or in tokens, across all of its sessions. Without a bound it counts only.
//
// A [Ledger] is a [pipeline.Spending]. Before a call is sent, what it can cost at most is put on hold (as a card's issuer does with a
// payment to come; reserved are quotas), and the hold is durable in a file of the run's state directory; when the call has ended the hold is replaced by what the service says it has used. What
// is spent, what is held and what comes next never pass the bound together. So it holds after kill -9 and a power cut as
// well: a hold that nobody has ended counts as spent, for the answer was under way and may be billed.
//
// # What counts
//
//   - An answer that came whole: the tokens that the service says, at the prices of the table. Writes to a cache cost what
//     five minutes cost, or an hour where the request asks for one. Where the service says nothing, the hold.
//   - A call that failed or was cut after the service may have begun: its hold. AWS does not say that such a call is
//     free, and a stream that broke has not said what it used.
//   - A call that was refused before a model saw it, or never left this machine: nothing.
//
// Not in it is what is not billed by token: provisioned throughput, guardrails, storage, data transfer.
//
// # Units
//
// Money is whole parts of [price.Pico], tokens are whole tokens: all sums are exact.
//
// # The file
//
// It is a journal as package journal describes it. Its first entry carries what the sessions before have spent, those that follow
// tell of this session's calls:
//
//	{"start":{"at":…,"currency":"USD","priced":true,"known":CHARGE,"unsure":CHARGE,"unpriced":CHARGE,"rows":USAGE}}
//	{"stopped":{"place":"prompts.jsonl:42","money":…,"input":…,"output":…,"under":…}}
//	{"held":[{"id":7,"money":61440000000,"input":700,"output":4096}],"ended":[{"id":5,"money":…,"input":…,"output":…},{"id":6}]}
//
// A hold is in the file, fsynced, before its call is sent; holds that come at the same time share one fsync. What ended
// without a charge cost nothing. Ends are written as they come and fsynced with the next hold: one that is lost counts at its
// hold. On opening, and whenever it has grown by 16 MiB, the file is replaced by one that carries the sums. What follows the last
// newline is torn, and dropped; any other line that does not read is damage, and an error ([journal.ReplayStrict]). Without a
// bound a disk that refuses is told once and stops no call; the file is replaced when it can be written again. A file that tells of
// less than the rows of the run was cut later: the rows count.
//
// A session that has neither a bound nor prices writes nothing here. What it spent is then known from its rows only, which [Rows] tells.
package spend
