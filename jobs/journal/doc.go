// Package journal keeps the entries of a job in the order they happened, so that a job cut short
// can go on.
//
// A journal is a file of lines, only ever appended to. One line is the CRC-32C (Castagnoli) of the
// JSON as 8 lower-case hex digits, a space, the JSON of one entry, a newline:
//
//	2f1a0c3b {"type":"commit","ok":"0-31","output":{"size":40960}}
//
// A crash can tear the last line only: [Open] drops it, and the next append cuts it off. Damage before it
// is [ErrCorrupt], and the error names the line. A line is at most [MaxEntry] long.
//
// Use [Open] to replay and append, [Replay] to only read, and [ReplayStrict] where an entry that is lost unseen costs money.
package journal
