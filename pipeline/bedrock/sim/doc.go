// Package sim is a rehearsal server: it answers InvokeModelWithResponseStream, InvokeModel, ConverseStream and Converse as
// Amazon Bedrock does, byte for byte on the wire, from a seed instead of a model.
//
// [Start] one, send requests to its [Server.URL], and compare what arrived with [Truth], which
// tells the answer to any request without a server, and with [Server.Stats], which tells what was
// sent, refused and cut, when the first token left, and how many calls were in flight.
//
// What it knows of the wire comes from the API's model, the user guide's pages on each family and on
// quotas, and what clients have recorded; each file names its source. It knows nothing of the rest of
// batchrun, and writes its frames with code of its own, so that it can prove the client wrong.
//
// # Answers
//
// The seed, the model id and the body decide an answer: text with accents, CJK, emoji, quotes and
// line breaks; its length from Options.OutputTokens, cut by the request's own limit and stop
// sequences. Claude and Nova think when the request enables it, models that take chat completions when it has a
// reasoning_effort; those, Claude, Nova and Command R call a tool when the request makes them. A model that takes
// several formats answers in that of the request. Input tokens are the bytes of text / 4, rounded up; CountTokens tells
// them beforehand.
//
// Converse is answered for every model. The control plane's GET of a provisioned throughput, an inference profile and a
// deployment tells the foundation model that Options.Foundations names.
//
// # Markers
//
// A prompt may say what happens to it:
//
//	[[say:Paris]]                 the text of the answer
//	[[tokens:500]]                the length of the answer
//	[[tool]] [[tool:2]]           tool calls, if the request offers tools
//	[[tool:empty]]                a tool call without input
//	[[cite]]                      a citation (Claude)
//	[[redacted]]                  a redacted_thinking block (Claude)
//	[[refuse]]                    the model refuses after three tokens
//	[[cache:read=900,write=100]]  tokens of the prompt cache
//	[[guardrail:block]]           a guardrail blocks the input
//	[[guardrail:trace]]           a guardrail acts on events, the last has a trace
//	[[fault:truncate@3 x2]]       see [ParseFault]: the first two attempts break after three events
//
// Several faults in one prompt strike one after the other, each as often as it says. A prompt with
// faults of its own is spared those of Options.Faults.
//
// # Attempts
//
// Attempts of the same request (see [Key]) are numbered as they come; those that the quota refused
// are not counted. Chance is drawn from the seed, the request and that number.
//
// # Control
//
// GET /stats answers [Stats] as JSON; ?records=1 adds "perRecord", by [Key], and ?firstTokens=1
// adds "firstTokensNs". POST /control, from this machine only, takes
// {"outage": true|false|"KIND", "reset": true}.
package sim
