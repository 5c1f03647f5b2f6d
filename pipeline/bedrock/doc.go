// Package bedrock calls the models of Amazon Bedrock through InvokeModelWithResponseStream, ConverseStream or InvokeModel (see [APIs]).
//
// A [Model] is one model, made by [New], and implements [pipeline.Model]: it encodes records for the model's family, makes
// single attempts without any retry below them, assembles the streamed chunks to the body that
// InvokeModel would have returned, and says of every failure what it means (a [pipeline.Kind]).
//
// # What it promises
//
//   - A stream that ended without its family's terminal event is an error, in whatever way it ended.
//   - After the terminal event the stream is read to its end, for two seconds at most: an exception that follows
//     fails the attempt; a reset, a cut or a stall does not.
//   - The input of a record is sent byte for byte, and never copied.
//   - No credential reaches an error.
//   - No goroutine is left behind, and none is started for a stream but net/http's own.
//
// An answer of InvokeModel comes in one piece: no event of it has content, so no time of its passes for that of a first token.
//
// # How it differs from the SDK's own way
//
// The SDK resolves configuration and credentials, signs, and reads the errors that come before a stream. The stream itself is
// read here, from the raw response body (package eventstream), since the SDK's reader takes a truncated stream for a whole one,
// shares state between the streams of a client, and costs several microseconds a chunk. The request body
// goes to net/http as a reader of its own, which the SDK does not close under it.
//
// # Families
//
// A family is the format of requests and streams, told from the model id or named by [Options.Family]; [Families] lists them.
// Each is one file and one row in a table. Those that speak OpenAI's chat completions share an assembler (chat.go) and
// differ in data.
//
// A terminal event is what proves an answer whole:
//
//	claude                    message_stop
//	claude-text, llama        a stop_reason
//	nova                      metadata, after messageStop
//	titan                     a completionReason
//	mistral-text, deepseek-r1 a stop_reason of the only output
//	chat completions          a finish_reason or stop_reason of every choice
//	command, command-r        is_finished
//	j2                        a finishReason of every completion, in the only chunk
//	imported, generic         that of the family whose keys the stream has
//
// A stream that has it and lost something before it is no answer either, as far as that shows: without a reason for its end (nova's
// messageStop, claude's message_delta), without claude's message_start, without the start of a tool call or of a block of claude's.
// What does not show is that a single piece of text, of reasoning or of a tool's input is missing, or a tool call beside others that
// came in one chunk: chunks are not numbered, and the framing has a checksum for each but none over all. Nor is a chunk of counts alone missed
// in chat completions, since most of these models send none.
//
// An answer that a guardrail put in place of a model's has neither a terminal event nor a reason. It is one chunk, which says so, and
// whole where it ends, in the form of the family's chunks or of its body; a stream of several chunks needs its terminal event, or the service's metrics once a guardrail has acted.
//
// Converse has one format for all of them, and two events that prove an answer whole: messageStop and metadata. What a
// record asks for is sent as it stands there; [Tuning] adds only what it does not say.
//
// [Lookup] finds the foundation model behind an ARN that does not tell it.
//
// An answer that a model gave up (an error in place of a chunk, "error" or "abort" as the reason, ERROR of Cohere's) is a fault, and so
// is one of a guessed format in which nothing was found although the service counted tokens.
package bedrock
