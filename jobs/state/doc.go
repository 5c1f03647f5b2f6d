// Package state is a run's own directory: it ties a journal and the sinks into a [pipeline.Store] that survives
// being killed at any moment, and knows on opening what is done.
//
// [Open] starts a run or resumes it, [Run.Commit] stores results, [Run.Done] tells the reader what to skip,
// [Run.Finish] seals, [Verify] proves from the files that every input line is accounted for.
//
// # The directory
//
// OUTPUT.batchrun/ has mode 0700, what is in it 0600 whatever the umask; a symlink in it is refused.
//
//	lock          held (flock) by the process that works on the run; JSON saying who it is
//	spec.json     what the run was started with: {"version":1,"run":ID,"created":…,"output":…,"errors":…,"frozen":{…}}
//	journal       what happened, see package journal; its entries are below
//	spool.jsonl   Parquet only: the rows until they are sealed
//	spending      with a bound on spending: what was spent, see package spend
//	uncounted-N   bytes found past a mark after a crash, kept and never read again
//
// # The journal
//
// Every entry has a type and a time ("at").
//
//	begin      the output and errors files were made by this run
//	open       a session: pid, host, command, settings
//	commit     positions that are done by status, as ranges ("0-31,40"), the marks of the files that grew, and what
//	           was used. A position (see [pipeline.Record]) is done once these are durable
//	round      --retry-failed: the failed positions are to be sent again
//	sealed     Parquet: the file stands with so many rows; the spool is spent
//	rewriting  the errors file is about to be replaced by one that ends at this mark
//	closed     it was: the round is over
//	finished   everything is done; the exit code
//
// Rows of other programs' kinds do not say where their record stands. Within a commit they are written in the order of positions,
// so that the n-th row of a file is the n-th position of the journal's commits, without the rows that a round has dropped.
//
// A mark is {"size":N,"tail":M,"crc":C}: everything before byte N counts, and the M bytes before it have the CRC-32C C,
// by which a file is recognised that is not the one this run wrote.
//
// # Order
//
// Rows are fsynced before the entry that counts them is appended, the entry before a result counts. After a failure
// first the journal is cut back to what is durable, then the files: so an entry never outlives its rows. What a
// crash left past the marks is kept aside and cut off on opening. Parquet is written beside the output and carries
// the name of its sealing (RUN/ROUND), so that a crash between rename and journal is recognised.
//
// On Windows the durability promises do not hold.
package state
