package bedrock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/batchrun/batchrun/pipeline"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const metricsJSON = `"amazon-bedrock-invocationMetrics":{"inputTokenCount":12,"outputTokenCount":31,"invocationLatency":900,"firstByteLatency":210,"cacheReadInputTokenCount":5,"cacheWriteInputTokenCount":6}`

// Streams of each family, as Bedrock sends them.
var (
	claudeStream = []string{
		`{"type":"message_start","message":{"id":"msg_bdrk_x","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}`,
		`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Plums"}}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" are \"ripe\"."}}`,
		`{"type":"content_block_stop","index":0}`,
		`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":31}}`,
		`{"type":"message_stop",` + metricsJSON + `}`,
	}
	novaStream = []string{
		`{"messageStart":{"role":"assistant"}}`,
		`{"contentBlockDelta":{"delta":{"text":"Rain"},"contentBlockIndex":0}}`,
		`{"contentBlockStop":{"contentBlockIndex":0}}`,
		`{"contentBlockDelta":{"delta":{"text":" is near"},"contentBlockIndex":1}}`,
		`{"contentBlockStop":{"contentBlockIndex":1}}`,
		`{"messageStop":{"stopReason":"end_turn"}}`,
		`{"metadata":{"usage":{"inputTokens":9,"outputTokens":14},"metrics":{},"trace":{}},` + metricsJSON + `}`,
	}
	llamaStream = []string{
		`{"generation":"Oak","prompt_token_count":5,"generation_token_count":1,"stop_reason":null}`,
		`{"generation":" and","prompt_token_count":null,"generation_token_count":2,"stop_reason":null}`,
		`{"generation":" ash.","prompt_token_count":null,"generation_token_count":3,"stop_reason":"stop",` + metricsJSON + `}`,
	}
	titanStream = []string{
		`{"outputText":"Two herons","index":0,"totalOutputTextTokenCount":3,"completionReason":null,"inputTextTokenCount":4}`,
		`{"outputText":" stood.","index":0,"totalOutputTextTokenCount":6,"completionReason":"FINISH","inputTextTokenCount":4,` + metricsJSON + `}`,
	}
)

// familyCases has a whole stream of each family.
var familyCases = map[string]struct {
	modelID string
	stream  []string
	content int // which event is the first with content
}{
	"claude": {claudeID, claudeStream, 2},
	"nova":   {novaID, novaStream, 1},
	"llama":  {llamaID, llamaStream, 0},
	"titan":  {titanID, titanStream, 0},

	"claude-text": {claudeID, []string{
		`{"completion":" Two","stop_reason":null,"stop":null}`,
		`{"completion":" herons","stop_reason":"stop_sequence","stop":"\n\nHuman:",` + metricsJSON + `}`,
	}, 0},
	"mistral-text": {mistralTextID, []string{
		`{"outputs":[{"text":" Salt","stop_reason":null}]}`,
		`{"outputs":[{"text":" air","stop_reason":"length"}],` + metricsJSON + `}`,
	}, 0},
	"mistral": {mistralID, []string{
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"Tide"},"stop_reason":null}]}`,
		`{"choices":[{"index":0,"message":{"role":"assistant","content":"s."},"stop_reason":"stop"}],` + metricsJSON + `}`,
	}, 0},
	"command": {commandID, []string{
		`{"is_finished":false,"text":" Cold"}`,
		`{"is_finished":false,"text":" start"}`,
		`{"finish_reason":"MAX_TOKENS","is_finished":true,` + metricsJSON + `}`,
	}, 0},
	"command-r": {commandRID, []string{
		`{"is_finished":false,"event_type":"stream-start","generation_id":"g1"}`,
		`{"is_finished":false,"event_type":"text-generation","text":"Dew"}`,
		`{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"response_id":"r1","text":"Dew","generation_id":"g1","finish_reason":"COMPLETE"},` + metricsJSON + `}`,
	}, 1},
	"jamba": {jambaID, []string{
		`{"id":"c1","choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}`,
		`{"id":"c1","choices":[{"index":0,"delta":{"content":"Fern"},"finish_reason":null}]}`,
		`{"id":"c1","choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10},` + metricsJSON + `}`,
	}, 1},
	"j2": {j2ID, []string{
		`{"id":7,"prompt":{"text":"x"},"completions":[{"data":{"text":"Reeds."},"finishReason":{"reason":"endoftext"}}],` + metricsJSON + `}`,
	}, 0},
	"deepseek-r1": {deepseekR1ID, []string{
		`{"choices":[{"text":"Moss","stop_reason":null}]}`,
		`{"choices":[{"text":".","stop_reason":"stop"}],` + metricsJSON + `}`,
	}, 0},
	"deepseek": {deepseekID, []string{
		`{"choices":[{"index":0,"delta":{"role":"assistant","reasoning_content":"Hm."},"finish_reason":null}],"id":"d","object":"chat.completion.chunk"}`,
		`{"choices":[{"index":0,"delta":{"content":"Moss."},"finish_reason":null}],"id":"d","object":"chat.completion.chunk"}`,
		`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"id":"d","object":"chat.completion.chunk",` + metricsJSON + `}`,
	}, 0},
	"openai": {openaiID, []string{
		`{"choices":[{"delta":{"content":"","role":"assistant"},"finish_reason":null,"index":0}],"created":1,"id":"chatcmpl-x","model":"m","object":"chat.completion.chunk","service_tier":"auto"}`,
		`{"choices":[{"delta":{"content":"Pine."},"finish_reason":null,"index":0}],"created":1,"id":"chatcmpl-x","model":"m","object":"chat.completion.chunk","service_tier":"auto"}`,
		`{"choices":[{"delta":{},"finish_reason":"stop","index":0}],"created":1,"id":"chatcmpl-x","model":"m","object":"chat.completion.chunk","service_tier":"auto",` + metricsJSON + `}`,
	}, 1},
	"qwen": {qwenID, []string{
		`{"choices":[{"delta":{"content":"","role":"assistant"},"finish_reason":null,"index":0}],"created":1,"id":"chatcmpl-x","model":"m","object":"chat.completion.chunk"}`,
		`{"choices":[{"delta":{"content":"Larch."},"finish_reason":"stop","index":0}],"created":1,"id":"chatcmpl-x","model":"m","object":"chat.completion.chunk",` + metricsJSON + `}`,
	}, 1},
	"writer": {writerID, []string{
		`{"id":"cmpl-x","object":"text_completion","created":1,"model":"w","choices":[{"index":0,"text":"Ce","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}`,
		`{"id":"cmpl-x","object":"text_completion","created":1,"model":"w","choices":[{"index":0,"text":"dar","logprobs":null,"finish_reason":"length","stop_reason":null}],"usage":null,` + metricsJSON + `}`,
	}, 0},
	"chat": {chatID, []string{
		`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"Gorse"}}]}`,
		`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],` + metricsJSON + `}`,
	}, 0},
	"imported": {importedID, llamaStream, 0},
	"generic": {genericID, []string{
		`{"model":"w","generated_text":"Heath","finish_reason":null}`,
		`{"model":"w","generated_text":"er","finish_reason":"stop",` + metricsJSON + `}`,
	}, 0},
}

// Every family is looked at by the tests that go over familyCases.
func TestEveryFamilyHasACase(t *testing.T) {
	for _, name := range Families() {
		if _, ok := familyCases[name]; !ok {
			t.Errorf("familyCases has no stream of %s", name)
		}
	}
}

func TestEventsOfAWholeStream(t *testing.T) {
	for name, tt := range familyCases {
		t.Run(name, func(t *testing.T) {
			out := invoke(t, testModel(t, serve(t, serveStream(chunks(tt.stream...))), tt.modelID))
			if out.err != nil {
				t.Fatal(out.err)
			}
			if len(out.events) != len(tt.stream)+1 {
				t.Fatalf("%d events for %d chunks", len(out.events), len(tt.stream))
			}
			for i, ev := range out.events {
				if want := i == len(tt.stream)-1; ev.Terminal != want {
					t.Errorf("event %d: Terminal = %v", i, ev.Terminal)
				}
				if i <= tt.content && ev.Content != (i == tt.content) {
					t.Errorf("event %d: Content = %v", i, ev.Content)
				}
				if repeats := name == "command-r" && i == len(tt.stream)-1; repeats && ev.Content {
					t.Errorf("event %d repeats the answer, and counts as content", i)
				}
				if ev.Text && !ev.Content {
					t.Errorf("event %d: text without content", i)
				}
			}
			r := out.response
			if r.RequestID != requestID || r.Usage != (pipeline.Usage{InputTokens: 12, OutputTokens: 31, CacheReadInputTokens: 5, CacheWriteInputTokens: 6}) ||
				r.ServerFirstByte != 210*time.Millisecond || r.ServerTotal != 900*time.Millisecond {
				t.Errorf("response is %+v", r)
			}
			if bytes.Contains(r.Output, []byte("amazon-bedrock")) {
				t.Errorf("a key of Bedrock's own in %s", r.Output)
			}
		})
	}
}

// Cut at any byte, no stream is a whole answer; cut after its terminal event, it is.
func TestCutAtEveryByteIsNeverWhole(t *testing.T) {
	for name, tt := range familyCases {
		t.Run(name, func(t *testing.T) {
			all := chunks(tt.stream...)
			terminal := len(chunks(tt.stream[:len(tt.stream)-1]...))
			f, _ := resolveFamily(tt.modelID, "")
			for cut := range all {
				if r, fault := readStream(f, all[:cut]); r != nil || fault.name != pipeline.TypeTruncatedStream {
					t.Fatalf("cut at byte %d (the last frame begins at %d): %+v, %+v", cut, terminal, r, fault)
				}
			}
			more := append(bytes.Clone(all), chunk(`{"late":1}`)...)
			for cut := len(all); cut <= len(more); cut++ {
				if r, fault := readStream(f, more[:cut]); r == nil {
					t.Fatalf("cut %d bytes after the terminal event: %+v", cut-len(all), fault)
				}
			}
		})
	}
}

// usedStreams are used again, as those of a model are.
var usedStreams = sync.Pool{New: func() any { return newStream() }}

// readStream reads a stream without any network.
func readStream(f *family, b []byte) (*pipeline.Response, *streamFault) { return readAnswer(f, "", b) }

// readAnswer reads the answer to a request without any network.
func readAnswer(f *family, request string, b []byte) (*pipeline.Response, *streamFault) {
	st := usedStreams.Get().(*stream)
	defer usedStreams.Put(st)
	st.reset(f, &call{body: []byte(request), response: emptyResponse()})
	st.frames.Reset(bytes.NewReader(b))
	for {
		msg, err := st.frames.Next()
		if err != nil {
			if !st.whole && !st.blockedAt(err) {
				return nil, st.endFault(err)
			}
			return st.response()
		}
		if _, fault := st.take(&msg); fault != nil {
			return nil, fault
		}
	}
}

// hijack takes over the connection of a request, having answered with a header, and gives a chunked writer.
func hijack(t testing.TB, w http.ResponseWriter) (net.Conn, func([]byte)) {
	t.Helper()
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.amazon.eventstream\r\nX-Amzn-Requestid: %s\r\nTransfer-Encoding: chunked\r\n\r\n", requestID)
	return conn, func(b []byte) { fmt.Fprintf(conn, "%x\r\n%s\r\n", len(b), b) }
}

// Every way in which a stream can end too early, over a real connection.
func TestTruncation(t *testing.T) {
	half := chunks(claudeStream[:3]...)
	cut := func(b []byte, clean bool) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			conn, write := hijack(t, w)
			if conn == nil {
				return
			}
			defer conn.Close()
			write(b)
			if clean {
				fmt.Fprint(conn, "0\r\n\r\n")
			}
		}
	}
	read := newSignal()
	reset := func(w http.ResponseWriter, r *http.Request) {
		conn, write := hijack(t, w)
		if conn == nil {
			return
		}
		write(half)
		read.wait(r) // a reset overtakes what is not read yet
		_ = conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
	tests := map[string]struct {
		h       http.Handler
		typ     string
		partial string
	}{
		"aborted between frames":     {cut(half, false), pipeline.TypeTruncatedStream, "Plums"},
		"aborted inside a frame":     {cut(half[:len(half)-9], false), pipeline.TypeTruncatedStream, ""},
		"clean end inside a frame":   {cut(half[:len(half)-9], true), pipeline.TypeTruncatedStream, ""},
		"clean end between frames":   {cut(half, true), pipeline.TypeTruncatedStream, "Plums"},
		"reset":                      {http.HandlerFunc(reset), pipeline.TypeTruncatedStream, "Plums"},
		"200 with an empty body":     {serveStream(nil), pipeline.TypeTruncatedStream, ""},
		"garbage after good frames":  {serveStream(append(bytes.Clone(half), bytes.Repeat([]byte("x"), 40)...)), pipeline.TypeBadFrame, "Plums"},
		"a chunk that is not base64": {serveStream(append(bytes.Clone(half), rawChunk(`{"bytes":"%%%%"}`)...)), pipeline.TypeBadFrame, "Plums"},
		"a chunk that is not JSON":   {serveStream(append(bytes.Clone(half), chunk(`{"type":`)...)), pipeline.TypeBadFrame, "Plums"},
		"a chunk without bytes":      {serveStream(append(bytes.Clone(half), rawChunk(`{"p":"abc"}`)...)), pipeline.TypeBadFrame, "Plums"},
		"a chunk of no bytes":        {serveStream(append(bytes.Clone(half), rawChunk(`{"bytes":""}`)...)), pipeline.TypeBadFrame, "Plums"},
		"a chunk of null":            {serveStream(append(bytes.Clone(half), rawChunk(`{"bytes":null}`)...)), pipeline.TypeBadFrame, "Plums"},
		"a payload that is not JSON": {serveStream(append(bytes.Clone(half), rawChunk(`nonsense`)...)), pipeline.TypeBadFrame, "Plums"},
		"200 with HTML": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, "<html><body>Sign in to the network</body></html>")
		}), pipeline.TypeBadFrame, ""},
		"200 with very little HTML": {http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, "<p>")
		}), pipeline.TypeBadFrame, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := invoke(t, testModel(t, serve(t, tt.h), claudeID), func(ev pipeline.Event) {
				if name == "reset" && ev.Content {
					read.give()
				}
			})
			e := out.err
			if e == nil {
				t.Fatalf("taken for whole: %+v", out.response)
			}
			if e.Kind != pipeline.Transient || e.Type != tt.typ || e.Code != 0 || e.Partial != tt.partial || e.Content != (tt.partial != "") {
				t.Errorf("%+v; want %s after %q", e, tt.typ, tt.partial)
			}
		})
	}
}

// The same over HTTP/2, where the end of a stream and the end of the connection are two things.
func TestTruncationHTTP2(t *testing.T) {
	half := chunks(claudeStream[:3]...)
	for name, after := range map[string]func(*httptest.Server){
		"clean end":           func(*httptest.Server) {},
		"RST_STREAM":          func(*httptest.Server) { panic(http.ErrAbortHandler) },
		"connection dropped":  func(srv *httptest.Server) { srv.CloseClientConnections() },
		"clean end, in frame": nil,
	} {
		t.Run(name, func(t *testing.T) {
			var srv *httptest.Server
			read := newSignal()
			srv = h2Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.ProtoMajor != 2 {
					t.Errorf("came as %s", r.Proto)
				}
				if after == nil {
					serveStream(half[:len(half)-5])(w, r)
					return
				}
				serveStream(half)(w, r)
				w.(http.Flusher).Flush()
				read.wait(r)
				after(srv)
			}))
			out := invoke(t, h2Model(t, srv, claudeID), func(ev pipeline.Event) {
				if ev.Content {
					read.give()
				}
			})
			if out.err == nil || out.err.Type != pipeline.TypeTruncatedStream || out.err.Kind != pipeline.Transient || (out.err.Partial == "Plums") != (after != nil) {
				t.Errorf("%+v %+v", out.response, out.err)
			}
		})
	}
}

func h2Server(t testing.TB, h http.Handler) *httptest.Server {
	srv := newServer(t, h)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	return srv
}

func h2Model(t testing.TB, srv *httptest.Server, modelID string, change ...func(*Options)) *Model {
	m := testModel(t, srv.URL, modelID, change...)
	m.http.tr.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	m.http.tr.TLSClientConfig.NextProtos = nil
	return m
}

func TestExceptionsInTheStream(t *testing.T) {
	before, after := chunks(claudeStream[:2]...), chunks(claudeStream[:3]...)
	whole := chunks(claudeStream...)
	cat := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	errorMessage := func(code, message string) []byte {
		return frame(nil, ":message-type", "error", ":error-code", code, ":error-message", message)
	}
	long := strings.Repeat("why ", 500)
	tests := map[string]struct {
		stream []byte
		want   pipeline.InvokeError
	}{
		"throttled before content":      {cat(before, exception("throttlingException", "Too many requests")), pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "Too many requests", Quota: pipeline.QuotaRequests}},
		"throttled as the first frame":  {exception("throttlingException", "x"), pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "x"}},
		"upper camel":                   {exception("ThrottlingException", "x"), pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "x"}},
		"throttled after content":       {cat(after, exception("throttlingException", "x")), pipeline.InvokeError{Kind: pipeline.Transient, Type: "ThrottlingException", Code: 429, Message: "x", Partial: "Plums", Content: true}},
		"throttled for the day":         {exception("throttlingException", "Too many tokens per day, please wait"), pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "Too many tokens per day, please wait", Daily: true, Quota: pipeline.QuotaTokens}},
		"model timeout":                 {cat(after, exception("modelTimeoutException", "x")), pipeline.InvokeError{Kind: pipeline.Overload, Type: "ModelTimeoutException", Code: 408, Message: "x", Partial: "Plums", Content: true}},
		"unavailable":                   {exception("serviceUnavailableException", "Too many connections"), pipeline.InvokeError{Kind: pipeline.Overload, Type: "ServiceUnavailableException", Code: 503, Message: "Too many connections", Capacity: true}},
		"validation":                    {exception("validationException", long), pipeline.InvokeError{Kind: pipeline.RecordFatal, Type: "ValidationException", Code: 400, Message: long}},
		"internal":                      {exception("internalServerException", "x"), pipeline.InvokeError{Kind: pipeline.Transient, Type: "InternalServerException", Code: 500, Message: "x"}},
		"model stream error":            {exception("modelStreamErrorException", "x"), pipeline.InvokeError{Kind: pipeline.Transient, Type: "ModelStreamErrorException", Code: 424, Message: "x"}},
		"unmodelled":                    {exception("quantumException", "x"), pipeline.InvokeError{Kind: pipeline.Transient, Type: "QuantumException", Message: "x"}},
		"modelled, but not in a stream": {exception("accessDeniedException", "x"), pipeline.InvokeError{Kind: pipeline.Transient, Type: "AccessDeniedException", Message: "x"}},
		"without a name":                {exception("", "x"), pipeline.InvokeError{Kind: pipeline.Transient, Type: "UnknownError", Message: "x"}},
		"payload that is not JSON":      {frame([]byte("oh no"), ":message-type", "exception", ":exception-type", "throttlingException"), pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "oh no"}},
		"Message in upper camel":        {frame([]byte(`{"Message":"x"}`), ":message-type", "exception", ":exception-type", "internalServerException"), pipeline.InvokeError{Kind: pipeline.Transient, Type: "InternalServerException", Code: 500, Message: "x"}},
		"error message":                 {cat(after, errorMessage("internalError", "boom")), pipeline.InvokeError{Kind: pipeline.Transient, Type: "InternalError", Message: "boom", Partial: "Plums", Content: true}},
		"error message that throttles":  {errorMessage("throttlingException", "slow"), pipeline.InvokeError{Kind: pipeline.Throttled, Type: "ThrottlingException", Code: 429, Message: "slow"}},
		"after the terminal event":      {cat(whole, exception("internalServerException", "x")), pipeline.InvokeError{Kind: pipeline.Transient, Type: "InternalServerException", Code: 500, Message: "x", Partial: `Plums are "ripe".`, Content: true}},
		"overloaded, inside a chunk":    {cat(after, chunk(`{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`)), pipeline.InvokeError{Kind: pipeline.Overload, Type: "OverloadedError", Message: "Overloaded", Partial: "Plums", Content: true}},
		"another error inside a chunk":  {chunk(`{"type":"error","error":{"type":"api_error","message":"x"}}`), pipeline.InvokeError{Kind: pipeline.Transient, Type: "ApiError", Message: "x"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			out := invoke(t, testModel(t, serve(t, serveStream(tt.stream)), claudeID))
			if out.err == nil {
				t.Fatalf("taken for whole: %+v", out.response)
			}
			got := *out.err
			got.Err = nil
			tt.want.RequestID = requestID
			if got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// What a stream may hold beside chunks of the family makes no difference.
func TestStrangersInTheStreamAreTolerated(t *testing.T) {
	strangers := bytes.Join([][]byte{
		frame([]byte(`{"x":1}`), ":message-type", "event", ":event-type", "sparkle"),
		frame([]byte(`{"x":1}`), ":message-type", "event"),
		frame(nil),
		chunk(`"[DONE]"`), chunk(`[]`), chunk(`{}`), chunk(`{"type":"ping"}`), chunk(`{"type":"new_event","index":7,"delta":{"type":"new_delta","new":[1,{}]}}`),
		chunk(`{"amazon-bedrock-novelty":{"a":1}}`),
	}, nil)
	for name, tt := range familyCases {
		f, _ := resolveFamily(tt.modelID, "")
		want, _ := readStream(f, chunks(tt.stream...))
		var mixed []byte
		for _, c := range tt.stream {
			mixed = append(append(mixed, chunk(c)...), strangers...)
		}
		mixed = append(mixed, strangers...)
		got, fault := readStream(f, mixed)
		if fault != nil || string(got.Output) != string(want.Output) || got.Text != want.Text {
			t.Errorf("%s: got %+v, %v\nwant %+v", name, got, fault, want)
		}
	}
	out := invoke(t, testModel(t, serve(t, serveStream(append(strangers, chunks(claudeStream...)...))), claudeID))
	if out.err != nil {
		t.Fatal(out.err)
	}
	if n := len(out.events); n != 9+len(claudeStream)+1 {
		t.Errorf("%d events: not every frame is one", n)
	}
	for i, ev := range out.events[:9] {
		if ev.Content || ev.Text || ev.Terminal {
			t.Errorf("event %d of a stranger is %+v", i, ev)
		}
	}
}

// After the terminal event nothing but an exception can spoil the answer, and its time is the terminal event's.
func TestAfterTheTerminalEvent(t *testing.T) {
	whole := chunks(claudeStream...)
	tests := map[string]func(net.Conn, func([]byte)){
		"cut":         func(net.Conn, func([]byte)) {},
		"reset":       func(c net.Conn, _ func([]byte)) { _ = c.(*net.TCPConn).SetLinger(0) },
		"half frame":  func(_ net.Conn, w func([]byte)) { w(whole[:50]) },
		"garbage":     func(_ net.Conn, w func([]byte)) { w(bytes.Repeat([]byte("x"), 50)) },
		"bad chunk":   func(c net.Conn, w func([]byte)) { w(chunk(`{`)); fmt.Fprint(c, "0\r\n\r\n") },
		"a clean end": func(c net.Conn, _ func([]byte)) { fmt.Fprint(c, "0\r\n\r\n") },
		"a stall":     func(c net.Conn, _ func([]byte)) { _, _ = c.Read(make([]byte, 1)) },
	}
	for name, after := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := newSignal()
			m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				conn, write := hijack(t, w)
				if conn == nil {
					return
				}
				defer conn.Close()
				write(whole)
				read.wait(r)
				after(conn, write)
			})), claudeID)
			var terminal time.Time
			out := invoke(t, m, func(ev pipeline.Event) {
				if ev.Terminal {
					terminal = time.Now()
					read.give()
				}
			})
			if out.response == nil || out.response.Text != `Plums are "ripe".` {
				t.Fatalf("response is %+v, error %+v", out.response, out.err)
			}
			took := time.Since(terminal)
			if stalls := name == "a stall"; (took > drainCap/2) != stalls || took > drainCap+10*time.Second {
				t.Errorf("the answer came %v after its terminal event", took)
			}
		})
	}
}

func TestContextFirst(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2"} {
		for _, where := range []string{"in mid-stream", "before the headers"} {
			t.Run(proto+" "+where, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				cause := errors.New("the run was stopped")
				left := make(chan struct{})
				h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(left)
					_, _ = io.Copy(io.Discard, r.Body) // a server notices a lost client only then
					if where == "in mid-stream" {
						serveStream(chunks(claudeStream[:3]...))(w, r)
						w.(http.Flusher).Flush()
					} else {
						cancel(cause)
					}
					<-r.Context().Done()
				})
				var m *Model
				if proto == "HTTP/2" {
					m = h2Model(t, h2Server(t, h), claudeID)
				} else {
					m = testModel(t, serve(t, h), claudeID)
				}
				req, _ := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
				var last error
				for ev, err := range m.Invoke(ctx, req) {
					if last = err; ev.Content { // the last event that comes: the next is waited for
						time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
					}
				}
				e, ok := errors.AsType[*pipeline.InvokeError](last)
				if !ok || e.Kind != pipeline.Interrupted || !errors.Is(e, cause) {
					t.Fatalf("error is %#v", last)
				}
				if wantContent := where == "in mid-stream"; e.Content != wantContent || (e.Partial == "Plums") != wantContent {
					t.Errorf("%+v", e)
				}
				select {
				case <-left:
				case <-time.After(10 * time.Second):
					t.Error("the server was not told")
				}
			})
		}
	}
}

// Leaving the loop closes the stream at the server, at once.
func TestLeavingTheLoopClosesTheStream(t *testing.T) {
	closed := make(chan struct{})
	m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		serveStream(chunks(claudeStream[:3]...))(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		close(closed)
	})), claudeID)
	req, _ := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	for range m.Invoke(t.Context(), req) {
		break
	}
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Error("the stream stayed open")
	}
}

// A guardrail's own answer has neither stop reason nor metrics.
func TestGuardrail(t *testing.T) {
	blocked := `{"outputText":"Sorry, I cannot answer.","index":0.0,"totalOutputTextTokenCount":3.0,"completionReason":null,"inputTextTokenCount":4.0,"amazon-bedrock-guardrailAction":"INTERVENED","amazon-bedrock-trace":{"guardrail":{"modelOutput":["secret"]}}}`
	out := invoke(t, testModel(t, serve(t, serveStream(chunks(blocked))), titanID))
	if out.err != nil {
		t.Fatal(out.err)
	}
	want := `{"inputTextTokenCount":4,"results":[{"tokenCount":3,"outputText":"Sorry, I cannot answer.","completionReason":null}]}`
	if r := out.response; string(r.Output) != want || r.StopReason != "guardrail_intervened" || r.Usage.OutputTokens != 3 {
		t.Errorf("response is %s %+v", r.Output, r)
	}
	f, _ := resolveFamily(titanID, "")
	if r, fault := readStream(f, chunk(blocked)[:100]); r != nil {
		t.Errorf("a blocked answer that was cut is taken for whole: %+v %v", r, fault)
	}
	if r, fault := readStream(f, append(chunk(blocked), chunk(blocked)[:100]...)); r != nil || fault.name != pipeline.TypeTruncatedStream {
		t.Errorf("a blocked answer that was cut in its second frame is taken for whole: %+v %v", r, fault)
	}
	masked := strings.Replace(titanStream[0], "{", `{"amazon-bedrock-guardrailAction":"INTERVENED",`, 1)
	none := strings.Replace(titanStream[0], "{", `{"amazon-bedrock-guardrailAction":"NONE",`, 1)
	if r, _ := readStream(f, chunks(masked, none)); r != nil {
		t.Errorf("a stream that was masked, went on and broke off is taken for whole: %+v", r)
	}
	if r, _ := readStream(f, chunks(masked, titanStream[1])); r == nil || r.StopReason != "FINISH" {
		t.Errorf("a masked answer became %+v", r)
	}
}

// A family that was named for the wrong model stops the job and says which it is; one answer that cannot be read is its record's.
func TestAnswersInAnotherFormat(t *testing.T) {
	tests := []struct {
		family string
		stream []string
		kind   pipeline.Kind
		hint   string
	}{
		{"llama", claudeStream, pipeline.JobFatal, "--family claude"},
		{"nova", familyCases["qwen"].stream, pipeline.JobFatal, "--family chat"},
		{"generic", []string{`{"wind":"north"}`}, pipeline.RecordFatal, ""},
		{"generic", []string{`{"wind":"north","finish_reason":"stop",` + metricsJSON + `}`}, pipeline.RecordFatal, ""},
		{"llama", []string{`{"wind":"north"}`}, pipeline.Transient, ""},
	}
	for _, tt := range tests {
		m := testModel(t, serve(t, serveStream(chunks(tt.stream...))), "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefghijkl", func(o *Options) { o.Family = tt.family })
		out := invoke(t, m)
		if out.err == nil || out.err.Kind != tt.kind || tt.kind != pipeline.Transient && out.err.Type != typeUnknownFormat || !strings.Contains(Hint(out.err), tt.hint) {
			t.Errorf("%s: %+v, hint %q", tt.family, out.err, Hint(out.err))
		}
	}
}

// invocationMetrics are no terminal event, but for an answer that a guardrail has cut short.
func TestMetricsAloneAreNotTerminal(t *testing.T) {
	for name, tt := range familyCases {
		f, _ := resolveFamily(tt.modelID, "")
		begun := tt.stream[:len(tt.stream)-1]
		if r, fault := readStream(f, chunks(append(slices.Clone(begun), `{`+metricsJSON+`}`)...)); r != nil || fault.name != pipeline.TypeTruncatedStream {
			t.Errorf("%s: an answer without its terminal event is taken for whole: %+v %+v", name, r, fault)
		}
		blocked := `{"amazon-bedrock-guardrailAction":"INTERVENED",` + metricsJSON + `}`
		if r, fault := readStream(f, chunks(append(slices.Clone(begun), blocked)...)); r == nil || r.Usage.OutputTokens != 31 {
			t.Errorf("%s, blocked: %+v %+v", name, r, fault)
		}
	}
}

// An answer that is whole is handed over even if the context ends while its stream does.
func TestContextEndingAfterTheTerminalEvent(t *testing.T) {
	m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		serveStream(chunks(claudeStream...))(w, r)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})), claudeID)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	var got *pipeline.Response
	for ev, err := range m.Invoke(ctx, req) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Terminal {
			cancel()
		}
		got = ev.Response
	}
	if got == nil {
		t.Error("a whole answer was lost")
	}
}

func TestHint(t *testing.T) {
	for typ, want := range map[string]string{
		"ExpiredTokenException": "renew", "AccessDeniedException": "allow bedrock:", "ResourceNotFoundException": "region",
		"FTUFormNotFilled": "use case", "MPAgreementBeingCreated": "15 minutes", "InvalidSignatureException": "clock", "ThrottlingException": "",
	} {
		if got := Hint(&pipeline.InvokeError{Type: typ}); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("Hint(%s) = %q", typ, got)
		}
	}
	if Hint(errors.New("x")) != "" || !strings.Contains(Hint(&ConfigError{HintText: "give --family"}), "--family") {
		t.Error("Hint of other errors")
	}
}
