package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

func converseAPI(o *Options) { o.API = ConverseStream }

// event is the frame of an event of ConverseStream.
func event(kind, payload string) []byte {
	return frame([]byte(payload), ":event-type", kind, ":content-type", "application/json", ":message-type", "event")
}

// converseEventsOf are frames in the short form KIND PAYLOAD.
func converseFrames(events ...string) (frames [][]byte) {
	for _, e := range events {
		kind, payload, _ := strings.Cut(e, " ")
		frames = append(frames, event(kind, payload))
	}
	return frames
}

var converseStream = []string{
	`messageStart {"role":"assistant","p":"abc"}`,
	`contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Hm"}},"p":"abcd"}`,
	`contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"m."}}}`,
	`contentBlockDelta {"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"c2ln"}}}`,
	`contentBlockStop {"contentBlockIndex":0}`,
	`contentBlockDelta {"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"c2VjcmV0"}}}`,
	`contentBlockStop {"contentBlockIndex":1}`,
	`contentBlockDelta {"contentBlockIndex":2,"delta":{"text":"Fog \ud83c"}}`,
	`contentBlockDelta {"contentBlockIndex":2,"delta":{"text":"\udf2b lifts."}}`,
	`contentBlockStop {"contentBlockIndex":2}`,
	`contentBlockStart {"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"t1","name":"pick"}}}`,
	`contentBlockDelta {"contentBlockIndex":3,"delta":{"toolUse":{"input":"{\"n\""}}}`,
	`contentBlockDelta {"contentBlockIndex":3,"delta":{"toolUse":{"input":": 3}"}}}`,
	`contentBlockStop {"contentBlockIndex":3}`,
	`contentBlockStart {"contentBlockIndex":4,"start":{"toolUse":{"toolUseId":"t2","name":"stay"}}}`,
	`contentBlockStop {"contentBlockIndex":4}`,
	`messageStop {"stopReason":"tool_use","additionalModelResponseFields":{"a":[1]}}`,
	`metadata {"usage":{"inputTokens":6,"outputTokens":40,"totalTokens":146,"cacheReadInputTokens":90,"cacheWriteInputTokens":10,"cacheDetails":[{"ttl":"1h","inputTokens":10}]},"metrics":{"latencyMs":410}}`,
}

const converseBody = `{"output":{"message":{"role":"assistant","content":[` +
	`{"reasoningContent":{"reasoningText":{"text":"Hmm.","signature":"c2ln"}}},{"reasoningContent":{"redactedContent":"c2VjcmV0"}},` +
	`{"text":"Fog \ud83c\udf2b lifts."},{"toolUse":{"toolUseId":"t1","name":"pick","input":{"n":3}}},{"toolUse":{"toolUseId":"t2","name":"stay","input":{}}}]}},` +
	`"stopReason":"tool_use","usage":{"inputTokens":6,"outputTokens":40,"totalTokens":146,"cacheReadInputTokens":90,"cacheWriteInputTokens":10,` +
	`"cacheDetails":[{"ttl":"1h","inputTokens":10}]},"metrics":{"latencyMs":410},"additionalModelResponseFields":{"a":[1]}}`

func TestConverseAnswer(t *testing.T) {
	m := testModel(t, serve(t, serveStream(bytes.Join(converseFrames(converseStream...), nil))), claudeID, converseAPI)
	out := invoke(t, m)
	if out.err != nil {
		t.Fatal(out.err)
	}
	r := out.response
	if !sameJSON(t, r.Output, []byte(converseBody)) {
		t.Errorf("assembled\n%s\nwant\n%s", r.Output, converseBody)
	}
	want := pipeline.Usage{InputTokens: 6, OutputTokens: 40, CacheReadInputTokens: 90, CacheWriteInputTokens: 10}
	if r.Text != "Fog \U0001F32B lifts." || r.StopReason != "tool_use" || r.Usage != want || r.ServerTotal.Milliseconds() != 410 || r.ServerFirstByte >= 0 || r.RequestID != requestID {
		t.Errorf("%+v", r)
	}
	var content, text []int
	for i, ev := range out.events {
		if ev.Content {
			content = append(content, i)
		}
		if ev.Text {
			text = append(text, i)
		}
	}
	if fmt.Sprint(content, text) != "[1 2 5 7 8 11 12] [7 8]" {
		t.Errorf("events with content, and with text: %v %v", content, text)
	}
}

// What blocks may be beside text, reasoning and tools.
func TestConverseBlocks(t *testing.T) {
	tests := map[string]struct {
		events []string
		want   string // of the content
		text   string
	}{
		"citations": {
			[]string{
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"It rises."}}`,
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"citation":{"title":"Rivers"}}}`,
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"citation":{"title":"Hills"}}}`,
			},
			`[{"citationsContent":{"content":[{"text":"It rises."}],"citations":[{"title":"Rivers"},{"title":"Hills"}]}}]`, "It rises.",
		},
		"the result of a tool of the service": {
			[]string{
				`contentBlockStart {"contentBlockIndex":0,"start":{"toolResult":{"toolUseId":"t","status":"success"}}}`,
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"toolResult":[{"text":"4"}]}}`,
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"toolResult":[{"json":{"n":4}}]}}`,
			},
			`[{"toolResult":{"toolUseId":"t","status":"success","content":[{"text":"4"},{"json":{"n":4}}]}}]`, "",
		},
		"an image": {
			[]string{
				`contentBlockStart {"contentBlockIndex":0,"start":{"image":{"format":"png"}}}`,
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"image":{"source":{"bytes":"AAAA"}}}}`,
			},
			`[{"image":{"format":"png","source":{"bytes":"AAAA"}}}]`, "",
		},
		"gaps, disorder, a stop that is missing, and what is of tomorrow": {
			[]string{
				`contentBlockDelta {"contentBlockIndex":7,"delta":{"text":"b"}}`,
				`contentBlockDelta {"contentBlockIndex":2,"delta":{"te\u0078t":"a"},"new":{"x":[]}}`,
				`contentBlockDelta {"contentBlockIndex":3,"delta":{"mood":"fine"}}`,
				`heartbeat not even JSON`,
				`contentBlockStop {"contentBlockIndex":9}`,
			},
			`[{"text":"a"},{"text":"b"}]`, "ab",
		},
		"a tool's input that was cut off stays as it came": {
			[]string{
				`contentBlockStart {"contentBlockIndex":0,"start":{"toolUse":{"toolUseId":"t","name":"pick"}}}`,
				`contentBlockDelta {"contentBlockIndex":0,"delta":{"toolUse":{"input":"{\"n\": "}}}`,
			},
			`[{"toolUse":{"toolUseId":"t","name":"pick","input":"{\"n\": "}}]`, "",
		},
		"nothing": {nil, `[]`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			all := append(append([]string{`messageStart {"role":"assistant"}`}, tt.events...),
				`messageStop {"stopReason":"end_turn"}`, `metadata {"usage":{"inputTokens":1.0,"outputTokens":2.0,"totalTokens":3},"metrics":{"latencyMs":1}}`)
			out := invoke(t, testModel(t, serve(t, serveStream(bytes.Join(converseFrames(all...), nil))), claudeID, converseAPI))
			if out.err != nil {
				t.Fatal(out.err)
			}
			var body struct {
				Output struct {
					Message struct{ Content json.RawMessage }
				}
				Usage struct{ InputTokens int }
			}
			if err := json.Unmarshal(out.response.Output, &body); err != nil || body.Usage.InputTokens != 1 {
				t.Fatalf("%v in %s", err, out.response.Output)
			}
			if !sameJSON(t, body.Output.Message.Content, []byte(tt.want)) || out.response.Text != tt.text {
				t.Errorf("%s %q, want %s %q", body.Output.Message.Content, out.response.Text, tt.want, tt.text)
			}
		})
	}
}

// A stream that is cut anywhere, at whichever event and whichever byte of one, is no answer.
func TestConverseCutAnywhere(t *testing.T) {
	frames := converseFrames(converseStream...)
	whole := bytes.Join(frames, nil)
	var cuts []int
	end := 0
	for i, f := range frames {
		cuts = append(cuts, end)
		if i >= len(frames)-2 { // every byte of the two that prove the answer whole
			for j := 1; j < len(f); j++ {
				cuts = append(cuts, end+j)
			}
		}
		end += len(f)
	}
	var cut int
	m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveStream(whole[:cut])(w, r) })), claudeID, converseAPI)
	for _, cut = range cuts {
		out := invoke(t, m)
		if out.err == nil || out.err.Type != pipeline.TypeTruncatedStream || out.err.Kind != pipeline.Transient {
			t.Fatalf("cut at byte %d of %d: %+v %v", cut, len(whole), out.response, out.err)
		}
	}
	if out := invoke(t, withStream(t, whole)); out.err != nil {
		t.Error(out.err)
	}
}

func withStream(t *testing.T, stream []byte) *Model {
	return testModel(t, serve(t, serveStream(stream)), claudeID, converseAPI)
}

// Either of the two last events alone proves nothing, nor does one that does not say what it is there for.
func TestConverseNeedsBothEnds(t *testing.T) {
	text := `contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"x"}}`
	stop, metadata := `messageStop {"stopReason":"end_turn"}`, `metadata {"usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2},"metrics":{"latencyMs":1}}`
	tests := map[string]struct {
		events []string
		want   string // the error's type, "" for an answer
	}{
		"messageStop alone":        {[]string{text, stop}, pipeline.TypeTruncatedStream},
		"metadata alone":           {[]string{text, metadata}, pipeline.TypeTruncatedStream},
		"the other way round":      {[]string{text, metadata, stop}, ""},
		"no reason":                {[]string{text, `messageStop {}`, metadata}, pipeline.TypeTruncatedStream},
		"no counts":                {[]string{text, stop, `metadata {}`}, pipeline.TypeTruncatedStream},
		"the model gave up":        {[]string{text, `messageStop {"stopReason":"malformed_tool_use"}`, metadata}, "ModelStreamErrorException"},
		"redacted, but not base64": {[]string{`contentBlockDelta {"delta":{"reasoningContent":{"redactedContent":"*"}}}`, stop, metadata}, pipeline.TypeBadFrame},
		"a call without its start": {[]string{
			`contentBlockStart {"contentBlockIndex":3}`, text, `contentBlockDelta {"contentBlockIndex":1,"delta":{"toolUse":{"input":"{}"}}}`, stop, metadata,
		}, pipeline.TypeTruncatedStream},
		"a call that never came":    {[]string{text, `messageStop {"stopReason":"tool_use"}`, metadata}, pipeline.TypeTruncatedStream},
		"an event that is no JSON":  {[]string{text, `contentBlockStop {"contentBlockIndex":`, stop, metadata}, pipeline.TypeBadFrame},
		"an event that is a string": {[]string{text, `contentBlockStop "x"`, stop, metadata}, ""},
		"chunks of a family":        {[]string{`chunk {"bytes":"e30="}`}, pipeline.TypeTruncatedStream},
	}
	for name, tt := range tests {
		out := invoke(t, withStream(t, bytes.Join(converseFrames(tt.events...), nil)))
		got := ""
		if out.err != nil {
			got = out.err.Type
		}
		if got != tt.want {
			t.Errorf("%s: %q %+v, want %q", name, got, out.err, tt.want)
		}
		if out.err != nil && out.err.Partial != "x" && strings.Contains(strings.Join(tt.events, ""), text) {
			t.Errorf("%s: of the answer %q is left, want x", name, out.err.Partial)
		}
	}
}

func TestConverseExceptions(t *testing.T) {
	tests := []struct {
		name  string
		after bool // content
		kind  pipeline.Kind
		code  int
	}{
		{"throttlingException", false, pipeline.Throttled, 429},
		{"throttlingException", true, pipeline.Transient, 429},
		{"internalServerException", true, pipeline.Transient, 500},
		{"modelStreamErrorException", true, pipeline.Transient, 424},
		{"serviceUnavailableException", false, pipeline.Overload, 503},
		{"validationException", false, pipeline.RecordFatal, 400},
		{"somethingElseException", true, pipeline.Transient, 0},
	}
	for _, tt := range tests {
		stream := converseFrames(`messageStart {"role":"assistant"}`)
		if tt.after {
			stream = append(stream, converseFrames(`contentBlockDelta {"contentBlockIndex":0,"delta":{"text":"half"}}`)...)
		}
		out := invoke(t, withStream(t, append(bytes.Join(stream, nil), exception(tt.name, "sorry")...)))
		if e := out.err; e == nil || e.Kind != tt.kind || e.Code != tt.code || e.Message != "sorry" || e.Content != tt.after || (e.Partial == "half") != tt.after {
			t.Errorf("%s after content %v: %+v", tt.name, tt.after, e)
		}
	}
	// One that follows the terminal event fails the attempt as well.
	all := append(bytes.Join(converseFrames(converseStream...), nil), exception("internalServerException", "late")...)
	if out := invoke(t, withStream(t, all)); out.err == nil || out.err.Code != 500 {
		t.Errorf("an exception after the end: %+v", out.err)
	}
}

// converseBodies are requests that bring out what the rehearsal server can do.
var converseBodies = map[string]string{
	"text":           `{"messages":[{"role":"user","content":[{"text":"Grüße \"x\" 世界"}]}],"inferenceConfig":{"maxTokens":300}}`,
	"cut":            `{"messages":[{"role":"user","content":[{"text":"long"}]}],"inferenceConfig":{"maxTokens":3}}`,
	"system, cached": `{"system":[{"text":"brief"},{"cachePoint":{"type":"default"}}],"messages":[{"role":"user","content":[{"text":"[[cache:read=9,write=3]] x"},{"cachePoint":{"type":"default"}}]}]}`,
	"tools": `{"messages":[{"role":"user","content":[{"text":"[[tool:2]]"}]}],"inferenceConfig":{"maxTokens":300},
		"toolConfig":{"tools":[{"toolSpec":{"name":"pick","inputSchema":{"json":{"type":"object"}}}}]}}`,
	"a tool without input": `{"messages":[{"role":"user","content":[{"text":"[[tool:empty]]"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"pick"}}]}}`,
	"reasoning":            `{"messages":[{"role":"user","content":[{"text":"[[redacted]]"}]}],"additionalModelRequestFields":{"thinking":{"type":"enabled"}}}`,
	"citation":             `{"messages":[{"role":"user","content":[{"text":"[[cite]]"}]}]}`,
	"refusal":              `{"messages":[{"role":"user","content":[{"text":"[[refuse]]"}]}]}`,
	"guardrail blocks":     `{"messages":[{"role":"user","content":[{"text":"[[guardrail:block]]"}]}]}`,
	"guardrail acts":       `{"messages":[{"role":"user","content":[{"text":"[[guardrail:trace]]"}]}],"serviceTier":{"type":"flex"},"performanceConfig":{"latency":"optimized"}}`,
}

// What is assembled from ConverseStream is what Converse returns: the SDK reads both through its own types, and finds no difference.
func TestConverseEqualsSDK(t *testing.T) {
	s := startSim(t, sim.Options{Seed: 9})
	rt := &recorder{}
	sdk := bedrockruntime.New(bedrockruntime.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(s.URL()), HTTPClient: &http.Client{Transport: rt},
		Credentials: credentials.NewStaticCredentialsProvider("a", "b", ""), Retryer: aws.NopRetryer{},
	}, func(o *bedrockruntime.Options) { o.BearerAuthTokenProvider, o.AuthSchemePreference = nil, nil })
	for name, body := range converseBodies {
		for _, id := range []string{claudeID, novaID, llamaID} {
			out := invokeRequest(t, testModel(t, s.URL(), id, converseAPI), &pipeline.Request{Body: []byte(body)})
			if out.err != nil {
				t.Fatalf("%s: %v", name, out.err)
			}
			read := func(replace func(*http.Request) (*http.Response, error)) (string, *bedrockruntime.ConverseOutput) {
				rt.replace = replace
				got, err := sdk.Converse(t.Context(), &bedrockruntime.ConverseInput{ModelId: aws.String(id)})
				if err != nil {
					t.Fatalf("%s: the SDK: %v", name, err)
				}
				text, err := json.Marshal(got.Output)
				if err != nil {
					t.Fatal(err)
				}
				for _, block := range got.Output.(*types.ConverseOutputMemberMessage).Value.Content {
					if tool, ok := block.(*types.ContentBlockMemberToolUse); ok { // documents keep to themselves
						input, err := tool.Value.Input.MarshalSmithyDocument()
						if err != nil {
							t.Fatal(err)
						}
						text = append(text, input...)
					}
				}
				usage, _ := json.Marshal([]any{got.StopReason, got.Usage, got.Trace, got.ServiceTier, got.PerformanceConfig})
				return string(text) + string(usage), got
			}
			theirs, got := read(func(r *http.Request) (*http.Response, error) { // the body that we have sent, to /converse
				return http.Post(r.URL.String(), "application/json", strings.NewReader(body))
			})
			ours, _ := read(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(out.response.Output))}, nil
			})
			if ours != theirs {
				t.Errorf("%s of %s: assembled\n%s\nConverse returns\n%s", name, id, ours, theirs)
			}
			if got.Usage.InputTokens == nil || int64(*got.Usage.InputTokens) != out.response.Usage.InputTokens || string(got.StopReason) != out.response.StopReason {
				t.Errorf("%s of %s: %+v, the SDK says %+v", name, id, out.response.Usage, got.Usage)
			}
			truth, err := sim.TruthConverse(sim.Options{Seed: 9}, id, []byte(body))
			if err != nil || truth.Text != out.response.Text || pipeline.Usage(truth.Usage) != out.response.Usage || truth.StopReason != out.response.StopReason {
				t.Errorf("%s of %s: %+v, want %+v, %v", name, id, out.response, truth, err)
			}
		}
	}
}

// A recorder is a transport that answers in place of the network.
type recorder struct {
	replace func(*http.Request) (*http.Response, error)
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) { return r.replace(req) }

// A stream of Converse that is cut, or that lost any one of its events, is no answer, or the same, or lacks a piece of which nobody can tell.
func TestConversePromise(t *testing.T) {
	s := startSim(t, sim.Options{Seed: 9, OutputTokens: 12})
	var missing lacks
	n := 0
	for name, body := range converseBodies {
		for _, id := range []string{claudeID, novaID, llamaID} {
			stream := post(t, s, id, "converse-stream", body)
			whole, fault := readAnswer(&converse, body, stream)
			if fault != nil {
				t.Fatalf("%s of %s: %+v", name, id, fault)
			}
			n += cuts(t, &converse, body, stream, false)
			missing.leaveOut(t, &converse, body, stream, whole)
		}
	}
	t.Logf("%d cuts; one event missing: %+v", n, missing)
	if missing.noticed == 0 || missing.same == 0 || missing.pieces == 0 {
		t.Errorf("nothing was looked at: %+v", missing)
	}
}

// Every fault of the simulator is an error by Converse and by InvokeModel as well, and the next attempt an answer.
func TestEveryFaultOfTheOtherAPIs(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	s := startSim(t, sim.Options{})
	for _, api := range []string{ConverseStream, Invoke} {
		m := testModel(t, s.URL(), claudeID, func(o *Options) { o.API = api })
		for _, kind := range sim.FaultKinds() {
			f := kind.Name
			if strings.HasPrefix(f, "guardrail") || strings.Contains(f, "stall") {
				continue // no fault; and what pipeline's clocks end
			}
			for _, at := range []string{"", "@2", "@end"} {
				req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "[[fault:" + f + at + " x1]] hello"}})
				if err != nil {
					t.Fatal(err)
				}
				first, second := invokeRequest(t, m, req), invokeRequest(t, m, req)
				if second.err != nil {
					t.Errorf("%s %s%s: the second attempt: %+v", api, f, at, second.err)
					continue
				}
				if first.err == nil {
					same := string(first.response.Output) == string(second.response.Output)
					if api == ConverseStream { // times differ
						same = first.response.Text == second.response.Text && first.response.Usage == second.response.Usage
					}
					if !same {
						t.Errorf("%s %s%s: taken for whole: %s", api, f, at, first.response.Output)
					}
				}
			}
		}
	}
}

// What the flags ask for goes where the operation takes it, and a record's own word counts before it.
func TestTuning(t *testing.T) {
	var got *http.Request
	var body []byte
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusBadRequest)
	}))
	tuned := func(api string) *Model {
		return testModel(t, url, claudeID, func(o *Options) {
			o.API = api
			o.Tuning = Tuning{
				ServiceTier: "flex", PerformanceLatency: "optimized", GuardrailIdentifier: "g1", GuardrailVersion: "DRAFT",
				RequestMetadata: map[string]string{"team": "bl\"ue", "a": "b"},
			}
		})
	}
	for api, path := range map[string]string{InvokeStream: "/invoke-with-response-stream", Invoke: "/invoke"} {
		invoke(t, tuned(api))
		for name, want := range map[string]string{
			"Service-Tier": "flex", "PerformanceConfig-Latency": "optimized", "GuardrailIdentifier": "g1", "GuardrailVersion": "DRAFT",
			"Request-Metadata": `{"a":"b","team":"bl\"ue"}`,
		} {
			if v := got.Header.Get("X-Amzn-Bedrock-" + name); v != want || !strings.HasSuffix(got.URL.Path, path) {
				t.Errorf("%s: %s is %q at %s, want %q", api, name, v, got.URL.Path, want)
			}
		}
	}
	const all = `"guardrailConfig":{"guardrailIdentifier":"g1","guardrailVersion":"DRAFT"},"performanceConfig":{"latency":"optimized"},"serviceTier":{"type":"flex"},"requestMetadata":{"a":"b","team":"bl\"ue"}`
	for in, want := range map[string]string{
		` { }`:              `{` + all + ` }`,
		`{"messages": [1]}`: `{` + all + `,"messages": [1]}`,
		`{"serviceTier":{"type":"default"},"guard\u0072ailConfig":{},"requestMetadata":{},"performanceConfig":{}}`: `{"serviceTier":{"type":"default"},"guard\u0072ailConfig":{},"requestMetadata":{},"performanceConfig":{}}`,
	} {
		req, err := tuned(ConverseStream).Encode(&pipeline.Record{Input: []byte(in)})
		if err != nil {
			t.Fatal(err)
		}
		if string(req.Body) != want {
			t.Errorf("%s became %s", in, req.Body)
		}
		invokeRequest(t, tuned(ConverseStream), req)
		if string(body) != want || !strings.HasSuffix(got.URL.Path, "/converse-stream") || got.Header.Get("X-Amzn-Bedrock-Service-Tier") != "" {
			t.Errorf("sent %s to %s", body, got.URL.Path)
		}
	}
	// Without anything to add the input goes as it is.
	in := []byte(`{"messages":[]}`)
	req, err := testModel(t, url, claudeID, converseAPI).Encode(&pipeline.Record{Input: in})
	if err != nil || &req.Body[0] != &in[0] {
		t.Errorf("the input was copied, %v", err)
	}
}

// A piece of an answer costs no allocation of its own: an answer of ten times the length costs hardly more.
func TestConverseAllocations(t *testing.T) {
	cost := func(pieces int) float64 {
		payload := []byte(`{"contentBlockIndex":0,"delta":{"text":"ab"},"p":"abcdef"}`)
		st := newStream()
		return testing.AllocsPerRun(20, func() {
			st.reset(&converse, &call{response: emptyResponse()})
			st.event = "contentBlockDelta"
			for range pieces {
				if ev, fault := st.read(payload, nil); fault != nil || !ev.Text {
					t.Fatal(fault)
				}
			}
			st.release()
		})
	}
	if few, many := cost(100), cost(1000); many > few+10 {
		t.Errorf("100 pieces cost %v allocations, 1000 cost %v", few, many)
	}
}
