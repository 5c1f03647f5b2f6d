// Package input reads the records of a run: JSON Lines from files, globs and the standard input.
//
// [Expand] turns what the user typed into names and [Files] gives them their paths. [Scan] goes
// over them once and takes their prints: counts, a SHA-256, and an 8-byte hash of every line.
// [Open] gives a [Reader], which is a pipeline.Source. When a run is resumed, [Compare] tells from the
// prints whether the input is still the same and, if not, names the first line that differs.
//
// # Files
//
// A file is plain, gzip (of any number of members) or zstd (of any number of frames): its first bytes decide,
// not its name. A UTF-8 byte order mark at its start is dropped; UTF-16 is refused. A line ends with LF or CRLF,
// the last one also with the file. Lines of spaces, tabs and carriage returns only are blank: they are
// counted and not records. What makes two inputs the same are the contents of their lines: compression,
// line ends and the mark do not count.
//
// # Lines
//
// A line is a JSON object, at most [MaxLine] bytes long, in one of these forms, which may be mixed:
//
//	{"recordId"?, "modelInput": {…}, …}
//	{"recordId"?, "prompt": "…", "system"?: "…", "maxTokens"?: 1024, "temperature"?: 0.2, "stop"?: "…" or ["…"], …}
//	{"custom_id", "body": {…}, "url"?: "/v1/chat/completions", …}   OpenAI Batch
//	{"custom_id", "params": {…}, …}                                 Anthropic Message Batches
//	{"recordId"?, "messages": […], "system"?, "max_tokens"?, …}     chat messages, in the words of any API
//
// The first of modelInput, prompt, body, params and messages that is there decides. With a [Template] every line is a row of a
// table instead, and all its fields are columns.
//
// The id is the first of recordId, custom_id and id that is neither missing, null nor empty: a string of at most [MaxID] bytes
// or an integer, which stands for its digits. Without one the record is called SOURCE:LINE. Those after the one that is
// the id are fields like any other.
//
// Every other field is kept in the record's Metadata as it stands, duplicates and the space inside
// included; that goes for the optional fields of the short form beside a modelInput, too. A null stands for a field that is
// not there. A field that has a meaning may come once only. A body is never parsed beyond its
// grammar here, so a name may come twice in it. Bytes that are not UTF-8, and \u escapes that are half
// of a surrogate pair, are faults wherever they stand: no other reader of the rows could be relied on to take them.
//
// A line that cannot be sent is a record with a Fault. Columns are bytes, counted from 1, after the byte order mark.
package input
