// Package dialect translates requests and answers between the published formats that prompts come in: OpenAI chat
// completions, Anthropic Messages, Amazon Bedrock Converse, and plain lists of chat messages.
//
// [Read] makes a [pipeline.Prompt] of a request, from which the encoder of a model's family makes its body; [Native]
// makes the body of a family that speaks the dialect itself, all but untouched. [Append] writes a prompt in a dialect.
// [ReadAnswer] takes the body of an answer apart, whatever family it is of, and [Answer.AppendCompletion],
// [Answer.AppendMessage] and [Answer.AppendConverse] write it as each API would have returned it.
//
// # What is translated, and what is refused
//
// Messages, system prompts, the limit of the answer, temperature, top_p, top_k, stop sequences, images in base64, tools, how
// many of them an answer may ask for, their calls and results. A field that would shape the answer and has no counterpart is a
// [pipeline.Fault] that names it: nothing is left out silently. What is passed over does not shape the answer: model and
// stream, which the run decides, user (Anthropic's metadata.user_id), store, metadata and cache settings, and fields that say
// what holds anyway, such as "n": 1.
//
// The formats are those of https://platform.openai.com/docs/api-reference/chat/create,
// https://docs.claude.com/en/api/messages and https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
package dialect
