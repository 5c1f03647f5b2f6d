package sim

import "encoding/json"

// A promptStyle is how a family completes a text: {"choices":[{"text":"…","stop_reason":null}]} and its like.
type promptStyle struct {
	limit   int64
	list    string // choices or outputs
	reason  string // finish_reason or stop_reason
	head    string // as in chatStyle
	extra   string // further members of a choice, between its text and its reason
	behind  string // further members of a choice, behind its reason
	indexed bool   // a choice has its index
	tail    string // further members of a chunk
	usage   bool   // the body counts tokens
	done    bool   // the last chunk is the string "[DONE]"
}

func (st *promptStyle) family(name string, prefixes ...string) family {
	return family{
		name:     name,
		prefixes: prefixes,
		parse:    st.parse,
		stream:   st.stream,
		body:     st.body,
		blocked:  st.blocked,
		stops: map[stop]string{
			stopEnd: "stop", stopLength: "length", stopSequence: "stop", stopTool: "stop", stopRefusal: "stop",
		},
	}
}

var (
	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-mistral-text-completion.html
	mistralTextStyle = promptStyle{limit: 8192, list: "outputs", reason: "stop_reason"}
	mistralText      = mistralTextStyle.family("mistral-text", "mistral.mistral-large-2402", "mistral.mistral-small-2402")
	mistral7BStyle   = promptStyle{limit: 512, list: "outputs", reason: "stop_reason"}
	mistral7B        = mistral7BStyle.family("mistral-7b", "mistral.mistral-7b", "mistral.mixtral-")

	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-deepseek.html
	deepseekR1Style = promptStyle{limit: 32_768, list: "choices", reason: "stop_reason"}
	deepseekR1      = deepseekR1Style.family("deepseek-r1", "deepseek.r1")

	// docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-palmyra-x5.html
	writerTextStyle = promptStyle{
		limit: 16, list: "choices", reason: "finish_reason", head: "iocm", extra: `"logprobs":null,`, behind: `,"stop_reason":null`, indexed: true,
		tail: `,"usage":null`, usage: true, done: true,
	}
	writerText = writerTextStyle.family("writer-text")

	// docs.aws.amazon.com/bedrock/latest/userguide/invoke-imported-model.html
	importedTextStyle = promptStyle{limit: 4096, list: "choices", reason: "finish_reason", head: "iocm", indexed: true, usage: true}
	importedText      = importedTextStyle.family("imported-text")
)

func (st *promptStyle) parse(body []byte) (*request, *Error) {
	var in struct {
		Prompt *string         `json:"prompt"`
		Max    *int64          `json:"max_tokens"`
		Stop   json.RawMessage `json:"stop"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, malformed("")
	}
	if in.Prompt == nil {
		return nil, missing("prompt")
	}
	req := &request{inputTokens: countTokens(len(*in.Prompt)), maxTokens: st.limit, stops: stringOrList(in.Stop)}
	if limit := in.Max; limit != nil {
		if *limit < 1 {
			return nil, malformed("#/max_tokens: must be greater than or equal to 1")
		}
		req.maxTokens = *limit
	}
	return req, nil
}

func (st *promptStyle) stream(p *plan, emit func(event) bool) {
	buf := make([]byte, 0, 512)
	p.eachPiece(func(piece []byte, tokens int, last bool) bool {
		reason := []byte("null")
		if last {
			reason = p.quotedReason()
		}
		buf = append(st.append(buf[:0], p, "text_completion", piece, reason), st.tail...)
		buf = append(buf, '}')
		return emit(event{payload: buf, tokens: tokens, content: len(piece) > 0, metrics: last}) &&
			(!last || !st.done || emit(event{payload: []byte(`"[DONE]"`), bare: true}))
	})
}

// eachPiece yields the answer's only text, and says which piece is the last. There is one even of an empty answer.
func (p *plan) eachPiece(yield func(piece []byte, tokens int, last bool) bool) {
	out, total, sent := p.onlyText(), int(p.usage.OutputTokens), 0
	if total == 0 {
		yield(nil, 0, true)
		return
	}
	out.pieces(p.perChunk, func(piece []byte, tokens int) bool {
		sent += tokens
		return yield(piece, tokens, sent == total)
	})
}

// append writes an object with one completion, and leaves it open.
func (st *promptStyle) append(dst []byte, p *plan, object string, text, reason []byte) []byte {
	dst = append(dst, '{')
	if head := appendChatHead(nil, p, st.head, object, false); len(head) > 0 {
		dst = append(append(dst, head[1:]...), ',')
	}
	dst = append(appendQuoted(dst, st.list), `:[{`...)
	if st.indexed {
		dst = append(dst, `"index":0,`...)
	}
	dst = appendQuoted(append(dst, `"text":`...), text)
	dst = append(append(dst, ','), st.extra...)
	dst = append(append(append(appendQuoted(dst, st.reason), ':'), reason...), st.behind...)
	return append(dst, `}]`...)
}

func (st *promptStyle) body(p *plan) []byte {
	dst := st.append(nil, p, "text_completion", p.answerText(), p.quotedReason())
	if st.usage {
		dst = p.appendChatUsage(append(dst, `,"usage":`...))
	}
	return append(dst, '}')
}

func (st *promptStyle) blocked(*plan) []byte {
	return []byte(`{"` + st.list + `":[{"index":0.0,"text":"` + blockedText + `","` + st.reason + `":null}]}`)
}
