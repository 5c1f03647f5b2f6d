package bedrock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"

	"github.com/batchrun/batchrun/pipeline"
)

// wholeMax is the longest answer that is read: InvokeModel returns at most 25,000,000 bytes
// (https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html).
const wholeMax = MaxBody

// invokeWhole makes one attempt by InvokeModel. No event of it has content: when the first token was made nobody knows, and the time
// of the answer must not pass for it.
func (m *Model) invokeWhole(ctx context.Context, req *pipeline.Request, yield func(pipeline.Event, error) bool) {
	c := &call{body: req.Body, whole: true}
	t := &m.opts.Tuning
	_, err := m.client.InvokeModel(withCall(ctx, c), &bedrockruntime.InvokeModelInput{
		ModelId:     aws.String(m.opts.ModelID),
		Body:        req.Body,
		ContentType: aws.String("application/json"),
		Accept:      aws.String("application/json"),

		ServiceTier:              types.ServiceTierType(t.ServiceTier),
		PerformanceConfigLatency: types.PerformanceConfigLatency(t.PerformanceLatency),
		GuardrailIdentifier:      given(t.GuardrailIdentifier),
		GuardrailVersion:         given(t.GuardrailVersion),
		RequestMetadata:          given(string(t.requestMetadataJSON)),
	})
	if !c.answered { // what was read here counts, not what the SDK made of it
		if err == nil {
			err = errNoAnswer
		}
		yield(pipeline.Event{}, m.openFault(ctx, c, err))
		return
	}
	st := m.streams.Get().(*stream)
	defer m.streams.Put(st)
	st.reset(m.family, c)
	defer st.release()
	r, fault := st.wholeResponse()
	if fault != nil {
		yield(pipeline.Event{}, m.streamFault(ctx, st, fault))
		return
	}
	if yield(pipeline.Event{Terminal: true}, nil) {
		yield(pipeline.Event{Response: m.told(r)}, nil)
	}
}

var errNoAnswer = errors.New("the service answered nothing")

// keepAnswer reads an answer that comes in one piece.
func (c *call) keepAnswer() {
	c.answer, c.answerErr = io.ReadAll(io.LimitReader(c.response.Body, wholeMax+1))
	_ = c.response.Body.Close()
	c.response.Body = io.NopCloser(bytes.NewReader(c.answer))
	c.answered = true
}

// wholeResponse reads an answer that came in one piece. It is whole when all of its bytes came, they are a JSON object, and that says how
// the answer ended.
func (st *stream) wholeResponse() (*pipeline.Response, *streamFault) {
	c := st.call
	switch kind := c.response.Header.Get("Content-Type"); {
	case c.answerErr != nil:
		return nil, &streamFault{
			name: pipeline.TypeTruncatedStream, local: true, err: c.answerErr,
			message: fmt.Sprintf("the answer broke off after %d bytes: %v", len(c.answer), c.answerErr),
		}
	case len(c.answer) > wholeMax:
		return nil, &streamFault{name: pipeline.TypeBadFrame, local: true, message: fmt.Sprintf("the answer is longer than %d bytes", wholeMax)}
	case !isJSONType(kind):
		return nil, &streamFault{name: pipeline.TypeBadFrame, local: true, message: fmt.Sprintf("the answer is not JSON but %q", kind)}
	case !isObject(c.answer):
		return nil, &streamFault{name: pipeline.TypeBadFrame, local: true, message: "the answer is not a JSON object"}
	}
	body := parseObject(c.answer)
	blocked := body.str(bedrockPrefix+"guardrailAction") == "INTERVENED"
	said, err := st.readWhole(body)
	if err != nil {
		return nil, &streamFault{name: pipeline.TypeBadFrame, local: true, err: err, message: "the answer could not be read: " + err.Error()}
	}
	if st.env.faultType != "" {
		return nil, &streamFault{name: st.env.faultType, message: st.env.faultMessage}
	}
	if !said.ended && !blocked {
		f := &streamFault{name: typeUnknownFormat, local: true, kind: pipeline.RecordFatal, message: "the answer does not say how it ended, or is in a format that is not known"}
		st.explain(f)
		return nil, f
	}
	counted := headerMetrics(c.response.Header)
	r := &pipeline.Response{
		Output: tidy(withoutBedrocks(c.answer, body)), Text: said.text, StopReason: said.stopReason, Usage: counted.usage(said.usage),
		RequestID: c.requestID(), Connect: time.Duration(c.connect.Load()),
		ServiceTier:        c.response.Header.Get(headerTier),
		PerformanceLatency: c.response.Header.Get(headerLatency),
	}
	r.ServerFirstByte, r.ServerTotal = counted.latencies()
	if r.StopReason == "" && blocked {
		r.StopReason = "guardrail_intervened"
	}
	return r, nil
}

func isJSONType(kind string) bool {
	media, _, err := mime.ParseMediaType(kind)
	return kind == "" || err == nil && media == "application/json"
}

func isObject(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte("{")) && json.Valid(b)
}

// withoutBedrocks is a body without the keys that Bedrock itself adds; the body itself, byte for byte, where it has none.
func withoutBedrocks(raw []byte, body object) []byte {
	for _, m := range body {
		if isBedrocks(m.key) {
			return body.unwrapped().append(nil)
		}
	}
	return raw
}

// A wholeAnswer is what is read out of a body.
type wholeAnswer struct {
	text       string
	stopReason string
	usage      pipeline.Usage
	ended      bool // it says how it ended
}

// wholeBody has the places of the families whose bodies are of another form than their chunks.
type wholeBody struct {
	Content []struct { // Claude
		Type string `json:"type"`
		Text string `json:"text"`
	} `json:"content"`
	ClaudeStop string   `json:"stop_reason"`
	Output     struct { // Nova
		Message struct {
			Content []struct {
				Text string `json:"text"`
			} `json:"content"`
		} `json:"message"`
	} `json:"output"`
	NovaStop string     `json:"stopReason"`
	Results  []struct { // Titan
		Text   string  `json:"outputText"`
		Tokens float64 `json:"tokenCount"`
		Stop   string  `json:"completionReason"`
	} `json:"results"`
	TitanInput float64 `json:"inputTextTokenCount"`
}

// readWhole reads a body. Most families' chunks are of the form of their bodies, and their assemblers read a body as an only chunk.
func (st *stream) readWhole(body object) (said wholeAnswer, err error) {
	isMessage := st.family.name == claude.name && body.get("completion") == nil
	if isMessage || st.family.name == nova.name || st.family.name == titan.name {
		return readBody(body)
	}
	sg, err := st.assemble(body.append(nil))
	if err != nil {
		return said, err
	}
	said.text, said.ended = st.asm.text(), sg.terminal
	ans := st.asm.finish(&metrics{})
	said.stopReason, said.usage = ans.stopReason, ans.usage
	return said, nil
}

// readBody reads a body of the families whose chunks are of another form.
func readBody(body object) (said wholeAnswer, err error) {
	var in wholeBody
	if err := json.Unmarshal(body.append(nil), &in); err != nil {
		return said, err
	}
	var text strings.Builder
	for _, block := range in.Content {
		if block.Type == "text" {
			text.WriteString(block.Text)
		}
	}
	for _, block := range in.Output.Message.Content {
		text.WriteString(block.Text)
	}
	said.stopReason = in.ClaudeStop + in.NovaStop // one of them
	usage := parseObject(body.get("usage"))
	said.usage = pipeline.Usage{
		InputTokens:           usage.first("input_tokens", "inputTokens"),
		OutputTokens:          usage.first("output_tokens", "outputTokens"),
		CacheReadInputTokens:  usage.first("cache_read_input_tokens", "cacheReadInputTokenCount", "cacheReadInputTokens"),
		CacheWriteInputTokens: usage.first("cache_creation_input_tokens", "cacheWriteInputTokenCount", "cacheWriteInputTokens"),
	}
	for _, r := range in.Results {
		text.WriteString(r.Text)
		said.stopReason = r.Stop
		said.usage.InputTokens = int64(in.TitanInput)
		said.usage.OutputTokens += int64(r.Tokens)
	}
	said.text, said.ended = text.String(), said.stopReason != ""
	return said, nil
}

// blockedBody is a guardrail's answer whose only chunk is no event of a stream, but the body that InvokeModel returns for a blocked
// call; ok is false where no text is in it. That of Claude has a message without reason and counts, as the log of a call in
// https://github.com/panther-labs/panther-analysis/blob/main/rules/aws_bedrock_rules/aws_bedrockmodelinvocation_guardrailintervened.yml shows.
func (st *stream) blockedBody() (output []byte, said wholeAnswer, ok bool) {
	if !st.sum.intervened || st.chunks != 1 || st.content {
		return nil, said, false
	}
	body := parseObject(st.first)
	said, err := readBody(body)
	if err != nil || said.text == "" {
		return nil, said, false
	}
	return appendCounts(nil, withoutBedrocks(st.first, body)), said, true
}

// The headers by which the service says how it has answered. Those of its counts are not in the API's model.
const (
	headerTier    = "X-Amzn-Bedrock-Service-Tier"
	headerLatency = "X-Amzn-Bedrock-Performanceconfig-Latency"
)

// headerMetrics are the counts of an answer that came in one piece.
func headerMetrics(h http.Header) metrics {
	count := func(name string) int64 {
		n, err := strconv.ParseInt(h.Get("X-Amzn-Bedrock-"+name), 10, 64)
		if err != nil || n < 0 {
			return -1
		}
		return n
	}
	return metrics{
		came: true, input: count("Input-Token-Count"), output: count("Output-Token-Count"),
		cacheRead: count("Cache-Read-Input-Token-Count"), cacheWrite: count("Cache-Write-Input-Token-Count"),
		firstByte: -1, total: count("Invocation-Latency"),
	}
}

// withoutStream takes the word that asks for a stream, Cohere Command's, out of a body that was made for one.
func withoutStream(body []byte) []byte {
	o := parseObject(body)
	for i, m := range o {
		if string(m.key) == "stream" {
			return append(o[:i], o[i+1:]...).append(nil)
		}
	}
	return body
}
