// Package limits keeps what a run's limiter saw and did, so that a night can be understood in the morning.
//
// A [Log] writes limits.jsonl in the state directory while a session goes on, [Read] reads it back as a [History]. The file
// is evidence and nothing depends on it: it is not fsynced, and a disk that does not take it costs one note.
//
// # The file
//
// JSON objects, one a line, mode 0600, only ever appended to; times are UTC, rates are per minute. No prompt, no answer and no
// credential is in it. The field "type" says what a line is:
//
//	session    [Start]: a session begins: the model and what is stated of its quotas
//	sample     [Sample]: every 10 s, and once at the end: rates, paces, streams, what binds
//	decision   [Decision]: a step of one of the limiter's controllers, with what it saw
//	end        [End]: how the session ended; without it, it was cut off, or still goes on
//
// # Its size
//
// A sample takes about 400 bytes, so a night of eight hours has about 1 MB of them. Of each kind of decision (controller and
// action) at most three are written between two samples; the others are counted in the next sample as thinned. Decisions
// that came faster than the disk took them are counted there as dropped. A file that would pass 8 MiB is renamed to
// limits.jsonl.1, in place of an earlier one, and a new one begins with the session's first line again, as continued.
//
// A line that a crash has torn stays: the next session ends it and begins on a line of its own.
package limits
