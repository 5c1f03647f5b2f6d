package bedrock

import (
	"bytes"

	"github.com/batchrun/batchrun/pipeline"
)

// commandR is Cohere's Command R and R+: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-cohere-command-r-plus.html
// AWS documents the body; the events are those of Cohere's chat of that time, https://docs.cohere.com/v1/docs/streaming:
//
//	{"is_finished":false,"event_type":"stream-start","generation_id":"g"}
//	{"is_finished":false,"event_type":"text-generation","text":"Dew"}
//	{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"Dew",…}}
//
// The last repeats the whole answer: it is the body, and its text is not to be counted again.
var commandR = family{
	name:         "command-r",
	ids:          []string{"cohere.command-r"},
	limits:       []string{"max_tokens"},
	limitKey:     "max_tokens",
	defaultLimit: 4096,                                                   // no default is documented; the models answer with at most as much
	takes:        pipeline.Features{Turns: true, TopP: true, TopK: true}, // its tools are of a form of their own
	encode:       encodeCommandR,
	assemble:     func([]byte) assembler { return &commandRAnswer{} },
	keys:         []string{"event_type", "response_id", "generation_id"},
}

// encodeCommandR writes the last turn as the message, and those before it as history.
func encodeCommandR(p *pipeline.Prompt, maxTokens int64, _ string) ([]byte, *pipeline.Fault) {
	messages := p.Conversation()
	last := messages[len(messages)-1]
	if last.Role != pipeline.User {
		return nil, invalid("messages: the command-r family cannot go on with an answer that has begun: end with a message of the user")
	}
	b := append(make([]byte, 0, len(p.Text)+len(p.System)+160), '{')
	if p.System != "" {
		b = append(appendString(append(b, `"preamble":`...), p.System), ',')
	}
	if before := messages[:len(messages)-1]; len(before) > 0 {
		b = append(appendHistory(append(b, `"chat_history":`...), before), ',')
	}
	b = appendString(append(b, `"message":`...), last.Text())
	b = appendInt(append(b, `,"max_tokens":`...), maxTokens)
	return appendSampling(b, p, cohereKeys), nil
}

func appendHistory(dst []byte, messages []pipeline.Message) []byte {
	dst = append(dst, '[')
	for i, m := range messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		role := "USER"
		if m.Role == pipeline.Assistant {
			role = "CHATBOT"
		}
		dst = appendString(append(dst, `{"role":`...), role)
		dst = append(appendString(append(dst, `,"message":`...), m.Text()), '}')
	}
	return append(dst, ']')
}

// commandRAnswer assembles a chat of Cohere's.
type commandRAnswer struct {
	said      []byte
	response  object // the last event's, or a body that came as the only chunk
	reason    []byte
	ids       object // generation_id and response_id
	calls     []byte // the whole list, as one event brings it
	citations []byte // lists that come in parts, without their brackets
	found     []byte // search_results
	content   bool
}

func (a *commandRAnswer) chunk(s *scanner, env *envelope) (sg signs, ok bool) {
	var (
		p                coherePiece
		k, event         []byte
		calls, delta     []byte
		citations, found []byte
		ids              [2]member
		all              = s.b
	)
	for s.key(&k) {
		if p.take(k, s) {
			continue
		}
		switch string(k) {
		case "event_type":
			event = s.word()
		case "generation_id":
			ids[0] = member{k, s.raw()}
		case "response_id":
			ids[1] = member{k, s.raw()}
		case "tool_calls":
			calls = s.raw()
		case "tool_call_delta":
			delta = s.raw()
		case "citations":
			citations = s.raw()
		case "search_results":
			found = s.raw()
		default:
			env.take(k, s)
		}
	}
	if !s.end() {
		return signs{}, false
	}
	if p.gaveUp(env) {
		return signs{}, true
	}
	if event == nil && !p.finished && len(p.reason) > 0 && p.text != nil { // no event: the body itself
		p.response, p.finished = all, true
	}
	for _, id := range ids {
		if id.key != nil {
			a.ids.keep([]member{id})
		}
	}
	if string(event) == "text-generation" || event == nil && !p.finished {
		a.said = append(a.said, p.text...)
		sg.text = len(p.text) > 0
		if calls == nil && citations == nil && found == nil {
			env.piece = piece{p.text, &a.said}
		}
	}
	sg.content = sg.text || calls != nil && len(trimBrackets(calls)) > 0 || delta != nil
	if calls != nil {
		a.calls = bytes.Clone(calls)
	}
	a.citations = appendList(a.citations, citations)
	a.found = appendList(a.found, found)
	if p.finished {
		a.reason = bytes.Clone(p.reason)
		a.response = parseObject(p.response)
		if !a.content && !sg.content { // an answer of one event
			sg.text = isWord(a.response.get("text"))
			sg.content = sg.text || len(trimBrackets(a.response.get("tool_calls"))) > 0
		}
	}
	a.content = a.content || sg.content
	sg.terminal = p.finished
	return sg, true
}

// appendList appends the members of a list to those of another, both without brackets.
func appendList(dst, list []byte) []byte {
	inside := bytes.TrimSpace(trimBrackets(list))
	if len(dst) > 0 && len(inside) > 0 {
		dst = append(dst, ',')
	}
	return append(dst, inside...)
}

func (a *commandRAnswer) text() string {
	if text := a.response.get("text"); len(text) >= 2 && text[0] == '"' {
		return unescape(text[1 : len(text)-1])
	}
	return unescape(a.said)
}

func (a *commandRAnswer) finish(*metrics) answer {
	body := a.response.unwrapped()
	complete := func(key string, value []byte) {
		if body.get(key) == nil && value != nil {
			body.set(key, value)
		}
	}
	complete("response_id", a.ids.get("response_id"))
	complete("text", appendRawString(nil, a.said))
	complete("generation_id", a.ids.get("generation_id"))
	if a.citations != nil {
		complete("citations", append(append([]byte{'['}, a.citations...), ']'))
	}
	if a.found != nil {
		complete("search_results", append(append([]byte{'['}, a.found...), ']'))
	}
	complete("tool_calls", a.calls)
	complete("finish_reason", appendWordOrNull(nil, a.reason))
	ans := answer{output: body.append(nil), stopReason: body.str("finish_reason")}
	meta := parseObject(body.get("meta"))
	for _, key := range []string{"billed_units", "tokens"} {
		if units := parseObject(meta.get(key)); units != nil {
			ans.usage.InputTokens, ans.usage.OutputTokens = units.first("input_tokens"), units.first("output_tokens")
		}
	}
	if tokens := parseObject(body.get("token_count")); tokens != nil {
		ans.usage.InputTokens, ans.usage.OutputTokens = tokens.first("prompt_tokens"), tokens.first("response_tokens")
	}
	return ans
}
