package bedrock

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"

	"github.com/batchrun/batchrun/pipeline"
)

// plainClient hands net/http the request as the SDK made it.
type plainClient struct{ t *transport }

func (p plainClient) Do(req *http.Request) (*http.Response, error) {
	c := callOf(req.Context())
	c.sent = true
	resp, err := p.t.tr.RoundTrip(req)
	c.response = resp
	return resp, err
}

// narrow makes the buffers between a model and its server so small that a long request does not fit into them.
func narrow(t *testing.T, h http.Handler) *Model {
	t.Helper()
	const size = 32 << 10
	srv := newServer(t, h)
	srv.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		_ = c.(*net.TCPConn).SetReadBuffer(size)
		return ctx
	}
	srv.Start()
	m := testModel(t, srv.URL, claudeID)
	dial := m.http.tr.DialContext
	m.http.tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dial(ctx, network, addr)
		if err == nil {
			_ = c.(*net.TCPConn).SetWriteBuffer(size)
		}
		return c, err
	}
	return m
}

// The SDK closes the request body once the headers are there. Without a body of our own for net/http, streams break.
func TestStreamsSurviveTheSDKClosingTheBody(t *testing.T) {
	var seen atomic.Pointer[signal] // the client has content, and so the SDK has returned
	// The server answers with its headers before it reads the request, and reads most of it before the end of its stream.
	m := narrow(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mine := seen.Load()
		_ = http.NewResponseController(w).EnableFullDuplex()
		w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
		_, _ = w.Write(chunks(claudeStream[:3]...))
		w.(http.Flusher).Flush()
		mine.wait(r)
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = w.Write(chunks(claudeStream[3:]...))
	}))
	req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: strings.Repeat("long ", 200_000)}})
	if err != nil {
		t.Fatal(err)
	}
	call := func() *pipeline.InvokeError {
		mine := newSignal()
		seen.Store(mine)
		return invokeRequest(t, m, req, func(ev pipeline.Event) {
			if ev.Content {
				mine.give()
			}
		}).err
	}
	const n = 5
	for range n {
		if err := call(); err != nil {
			t.Fatalf("a stream broke: %v", err)
		}
	}
	// And the trap is there: without the fix the same calls do break.
	opts := m.client.Options()
	opts.HTTPClient = plainClient{m.http}
	m.client = bedrockruntime.New(opts)
	for range n {
		if err := call(); err == nil {
			t.Error("without a body of our own no stream breaks either: the test proves nothing")
		}
	}
}

// A request arrives as it was encoded, with its length, for the SDK's operation.
func TestRequestOnTheWire(t *testing.T) {
	var got *http.Request
	var body []byte
	m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		serveStream(chunks(claudeStream...))(w, r)
	})), "us."+claudeID)
	input := []byte("{ \"max_tokens\" : 7, \"messages\":[] }")
	req, err := m.Encode(&pipeline.Record{Input: input})
	if err != nil {
		t.Fatal(err)
	}
	if &req.Body[0] != &input[0] {
		t.Error("the input was copied")
	}
	if out := invokeRequest(t, m, req); out.err != nil {
		t.Fatal(out.err)
	}
	if !bytes.Equal(body, input) || got.ContentLength != int64(len(input)) {
		t.Errorf("sent %q with length %d", body, got.ContentLength)
	}
	if want := "/model/us.anthropic.claude-3-haiku-20240307-v1%3A0/invoke-with-response-stream"; got.RequestURI != want {
		t.Errorf("path is %s, want %s", got.RequestURI, want)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Amzn-Bedrock-Accept": "application/json", "Amz-Sdk-Request": "attempt=1; max=1", "Accept-Encoding": "",
	} {
		if v := got.Header.Get(name); v != want {
			t.Errorf("%s: %q, want %q", name, v, want)
		}
	}
	if auth := got.Header.Get("Authorization"); !strings.Contains(auth, "/us-east-1/bedrock/aws4_request") {
		t.Errorf("Authorization is %q", auth)
	}
}

// wave makes n calls at once, and waits for all of them.
func wave(t *testing.T, m *Model, n int) (connected int) {
	t.Helper()
	req, _ := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	var wg sync.WaitGroup
	var waited atomic.Int64
	for range n {
		wg.Go(func() {
			for ev, err := range m.Invoke(t.Context(), req) {
				if err != nil {
					t.Error(err)
				}
				if ev.Response != nil && ev.Response.Connect > 0 {
					waited.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(waited.Load())
}

// gather answers nobody before n are there.
func gather(n int, h http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	gate, here := make(chan struct{}), 0
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		here++
		mine := gate
		if here == n {
			close(gate)
			gate, here = make(chan struct{}), 0
		}
		mu.Unlock()
		select {
		case <-mine:
			h(w, r)
		case <-r.Context().Done():
		}
	}
}

func TestConnectionsAreReused(t *testing.T) {
	const n = 200
	m := testModel(t, serve(t, gather(n, serveStream(chunks(claudeStream...)))), claudeID, func(o *Options) {
		o.Concurrency, o.HTTPVersion = n, "1.1"
	})
	for i := range 4 {
		connected := wave(t, m, n)
		if want := map[bool]int{true: n}[i == 0]; connected != want {
			t.Errorf("wave %d: %d answers waited for a connection, want %d", i, connected, want)
		}
		if d := m.Connections(); d != n {
			t.Fatalf("after wave %d of %d calls: %d connections opened", i, n, d)
		}
	}
}

func TestHTTPVersion(t *testing.T) {
	var proto atomic.Value
	srv := h2Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto.Store(r.Proto)
		serveStream(chunks(claudeStream...))(w, r)
	}))
	for version, want := range map[string]string{"": "HTTP/2.0", "2": "HTTP/2.0", "1.1": "HTTP/1.1"} {
		m := h2Model(t, srv, claudeID, func(o *Options) { o.HTTPVersion = version })
		out := invoke(t, m)
		if out.err != nil {
			t.Fatal(out.err)
		}
		if proto.Load() != want || out.response.Connect <= 0 {
			t.Errorf("version %q came as %v, connected in %v", version, proto.Load(), out.response.Connect)
		}
		if out = invoke(t, m); out.err != nil || out.response.Connect != 0 {
			t.Errorf("version %q, the second call: %+v %v", version, out.response, out.err)
		}
	}
}

// A slow reader of one stream does not hold up another on the same HTTP/2 connection.
func TestAStalledReaderHoldsUpNoOther(t *testing.T) {
	big := chunks(claudeStream[0], claudeStream[1])
	for range 2000 {
		big = append(big, chunk(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"`+strings.Repeat("x", 3000)+`"}}`)...)
	}
	big = append(big, chunks(claudeStream[4:]...)...)
	m := h2Model(t, h2Server(t, serveStream(big)), claudeID)
	req, _ := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	for _, err := range m.Invoke(t.Context(), req) { // stands still at its first event
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); invoke(t, m) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("a stalled stream holds up the others")
		}
		break
	}
}

func TestErrorsBeforeTheStream(t *testing.T) {
	answer := func(status int, typ, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if typ != "" {
				w.Header().Set("X-Amzn-ErrorType", typ)
			}
			w.Header().Set("X-Amzn-Requestid", requestID)
			if strings.HasPrefix(body, "{") {
				w.Header().Set("Content-Type", "application/json")
			}
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		}
	}
	tests := []struct {
		status   int
		typ      string
		message  string
		kind     pipeline.Kind
		daily    bool
		capacity bool
		quota    string
	}{
		{429, "ThrottlingException", "Too many tokens, please wait before trying again.", pipeline.Throttled, false, false, pipeline.QuotaTokens},
		{429, "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/", "Too many tokens per day, please wait", pipeline.Throttled, true, false, pipeline.QuotaTokens},
		{429, "ThrottlingException", "Too many requests, please wait before trying again.", pipeline.Throttled, false, false, pipeline.QuotaRequests},
		{429, "SomethingNewException", "x", pipeline.Throttled, false, false, ""},
		{429, "ModelNotReadyException", "x", pipeline.NotReady, false, false, ""},
		{400, "ServiceQuotaExceededException", "x", pipeline.Throttled, false, false, ""},
		{400, "ThrottlingException", "x", pipeline.Throttled, false, false, ""},
		{408, "ModelTimeoutException", "x", pipeline.Overload, false, false, ""},
		{425, "TooEarlyException", "x", pipeline.Overload, false, false, ""},
		{503, "ServiceUnavailableException", "Too many connections, please wait before trying again.", pipeline.Overload, false, true, ""},
		{503, "", "x", pipeline.Overload, false, true, ""},
		{424, "ModelErrorException", "x", pipeline.Transient, false, false, ""},
		{424, "ModelStreamErrorException", "x", pipeline.Transient, false, false, ""},
		{424, "", "x", pipeline.Transient, false, false, ""},
		{500, "InternalServerException", "x", pipeline.Transient, false, false, ""},
		{502, "", "x", pipeline.Transient, false, false, ""},
		{504, "", "x", pipeline.Transient, false, false, ""},
		{400, "ValidationException", "The provided model identifier is invalid.", pipeline.RecordFatal, false, false, ""},
		{413, "", "x", pipeline.RecordFatal, false, false, ""},
		{400, "", "x", pipeline.RecordFatal, false, false, ""},
		{422, "OddException", "x", pipeline.RecordFatal, false, false, ""},
		{403, "AccessDeniedException", "x", pipeline.JobFatal, false, false, ""},
		{403, "ExpiredTokenException", "x", pipeline.JobFatal, false, false, ""},
		{400, "ExpiredTokenException", "x", pipeline.JobFatal, false, false, ""},
		{403, "UnrecognizedClientException", "x", pipeline.JobFatal, false, false, ""},
		{403, "InvalidClientTokenId", "x", pipeline.JobFatal, false, false, ""},
		{400, "IncompleteSignature", "x", pipeline.JobFatal, false, false, ""},
		{400, "RequestExpired", "x", pipeline.JobFatal, false, false, ""},
		{403, "InvalidSignatureException", "x", pipeline.JobFatal, false, false, ""},
		{403, "MissingAuthenticationTokenException", "x", pipeline.JobFatal, false, false, ""},
		{403, "MPAgreementBeingCreated", "x", pipeline.JobFatal, false, false, ""},
		{401, "", "x", pipeline.JobFatal, false, false, ""},
		{403, "", "x", pipeline.JobFatal, false, false, ""},
		{404, "ResourceNotFoundException", "x", pipeline.JobFatal, false, false, ""},
		{404, "FTUFormNotFilled", "x", pipeline.JobFatal, false, false, ""},
		{404, "", "x", pipeline.JobFatal, false, false, ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.status, " ", tt.typ), func(t *testing.T) {
			body := fmt.Sprintf(`{"message":%q}`, tt.message)
			e := invoke(t, testModel(t, serve(t, answer(tt.status, tt.typ, body)), claudeID)).err
			wantType, _, _ := strings.Cut(tt.typ, ":")
			if wantType == "" {
				wantType = strings.ReplaceAll(http.StatusText(tt.status), " ", "")
			}
			want := pipeline.InvokeError{
				Kind: tt.kind, Type: wantType, Code: tt.status, Message: tt.message, RequestID: requestID,
				Quota: tt.quota, Daily: tt.daily, Capacity: tt.capacity,
				Unbilled: tt.status < 500 && tt.status != 408 && tt.status != 424 || tt.typ == "ServiceUnavailableException",
			}
			if got := *e; got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
	t.Run("a status without words names no quota", func(t *testing.T) {
		e := invoke(t, testModel(t, serve(t, answer(429, "ThrottlingException", "")), claudeID)).err
		if e.Kind != pipeline.Throttled || e.Message != "Too Many Requests" || e.Quota != "" {
			t.Errorf("%+v, want the words of the status, and no quota by them", e)
		}
	})
	t.Run("a status without words, and HTML", func(t *testing.T) {
		for status, kind := range map[int]pipeline.Kind{502: pipeline.Transient, 403: pipeline.Transient, 413: pipeline.RecordFatal, 599: pipeline.Transient, 302: pipeline.Transient} {
			e := invoke(t, testModel(t, serve(t, answer(status, "", "<html>\n<h1>gateway</h1>")), claudeID)).err
			if e.Kind != kind || e.Code != status || e.Type == "" || !strings.Contains(e.Message, "gateway") {
				t.Errorf("%d: %+v", status, e)
			}
		}
	})
	t.Run("a type in the header beside a body that is no JSON", func(t *testing.T) {
		e := invoke(t, testModel(t, serve(t, answer(400, "ThrottlingException", "")), claudeID)).err
		if e.Kind != pipeline.Throttled || e.Type != "ThrottlingException" {
			t.Errorf("%+v", e)
		}
	})
	t.Run("a lower-case code in the body", func(t *testing.T) {
		e := invoke(t, testModel(t, serve(t, answer(429, "", `{"__type":"com.amazon#throttlingException","message":"x"}`)), claudeID)).err
		if e.Kind != pipeline.Throttled || e.Type != "ThrottlingException" {
			t.Errorf("%+v", e)
		}
	})
}

func TestConnectionErrors(t *testing.T) {
	refused := httptest.NewServer(http.NotFoundHandler())
	refused.Close()
	hangup := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, _, _ := http.NewResponseController(w).Hijack()
		conn.Close()
	}))
	garbage, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer garbage.Close()
	go func() {
		for {
			c, err := garbage.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "SSH-2.0-OpenSSH\r\n")
			c.Close()
		}
	}()
	for name, url := range map[string]string{
		"refused": refused.URL, "closed at once": hangup, "no such host": "http://nowhere.invalid", "another protocol": "http://" + garbage.Addr().String(),
		"TLS with an unknown authority": h2Server(t, http.NotFoundHandler()).URL,
	} {
		t.Run(name, func(t *testing.T) {
			e := invoke(t, testModel(t, url, claudeID)).err
			if e == nil || e.Kind != pipeline.Transient || e.Type != pipeline.TypeConnectionError || e.Code != 0 || e.Message == "" {
				t.Errorf("%+v", e)
			}
			if strings.Contains(e.Message, "operation error") {
				t.Errorf("the SDK's layers are in the message: %s", e.Message)
			}
			t.Log(e.Message)
		})
	}
}

// Whatever a service quotes back, credentials do not get out.
func TestCredentialsStayOutOfErrors(t *testing.T) {
	const secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
	m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", "InvalidSignatureException")
		w.WriteHeader(403)
		fmt.Fprintf(w, `{"message":"signature of AKIAIOSFODNN7EXAMPLE with %s does not match"}`, secret)
	})), claudeID, func(o *Options) { o.AccessKeyID, o.SecretAccessKey = "AKIAIOSFODNN7EXAMPLE", secret })
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := invoke(t, m).err
	if text := fmt.Sprintf("%+v %v", *e, e.Err); strings.Contains(text, secret) || strings.Contains(text, "AKIAIOSF") || !strings.Contains(text, "does not match") {
		t.Error(text)
	}
}
