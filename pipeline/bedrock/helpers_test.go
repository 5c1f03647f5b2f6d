package bedrock

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	sdkstream "github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"

	"github.com/batchrun/batchrun/pipeline"
)

// frame encodes a message with the SDK's encoder.
func frame(payload []byte, headers ...string) []byte {
	var msg sdkstream.Message
	for i := 0; i < len(headers); i += 2 {
		msg.Headers.Set(headers[i], sdkstream.StringValue(headers[i+1]))
	}
	msg.Payload = payload
	var b bytes.Buffer
	if err := sdkstream.NewEncoder().Encode(&b, msg); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// chunk is the frame of one chunk of an answer.
func chunk(body string) []byte {
	return rawChunk(fmt.Sprintf(`{"bytes":%q,"p":"abcdefghijklm"}`, base64.StdEncoding.EncodeToString([]byte(body))))
}

func rawChunk(payload string) []byte {
	return frame([]byte(payload), ":event-type", "chunk", ":content-type", "application/json", ":message-type", "event")
}

func exception(name, message string) []byte {
	payload, _ := json.Marshal(map[string]string{"message": message})
	return frame(payload, ":exception-type", name, ":content-type", "application/json", ":message-type", "exception")
}

func chunks(bodies ...string) (all []byte) {
	for _, b := range bodies {
		all = append(all, chunk(b)...)
	}
	return all
}

const requestID = "11111111-2222-3333-4444-555555555555"

// serveStream answers every request with a stream of the given bytes.
func serveStream(stream []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/vnd.amazon.eventstream")
		w.Header().Set("X-Amzn-Requestid", requestID)
		w.Header().Set("X-Amzn-Bedrock-Content-Type", "application/json")
		_, _ = w.Write(stream)
	}
}

const (
	claudeID = "anthropic.claude-3-haiku-20240307-v1:0"
	novaID   = "amazon.nova-lite-v1:0"
	llamaID  = "meta.llama3-8b-instruct-v1:0"
	titanID  = "amazon.titan-text-express-v1"

	mistralID     = "mistral.mistral-large-2407-v1:0"
	mistralTextID = "mistral.mistral-7b-instruct-v0:2"
	commandID     = "cohere.command-text-v14"
	commandRID    = "cohere.command-r-plus-v1:0"
	jambaID       = "ai21.jamba-1-5-mini-v1:0"
	j2ID          = "ai21.j2-mid-v1"
	deepseekID    = "deepseek.v3-v1:0"
	deepseekR1ID  = "us.deepseek.r1-v1:0"
	openaiID      = "openai.gpt-oss-20b-1:0"
	qwenID        = "qwen.qwen3-32b-v1:0"
	writerID      = "us.writer.palmyra-x5-v1:0"
	chatID        = "google.gemma-3-27b-it"
	importedID    = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl"
	genericID     = "newco.wonder-v1:0"
)

// testModel is a model that talks to a server and reads nothing of the environment.
func testModel(t testing.TB, url, modelID string, change ...func(*Options)) *Model {
	t.Helper()
	opts := Options{ModelID: modelID, Region: "us-east-1", EndpointURL: url, IgnoreEnvironment: true}
	for _, f := range change {
		f(&opts)
	}
	m, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func serve(t testing.TB, h http.Handler) string {
	t.Helper()
	srv := newServer(t, h)
	srv.Start()
	return srv.URL
}

// newServer makes a server that is closed with the test. Closing waits for its handlers, so the contexts of their
// requests end before that: a client that stays too long fails its test, and does not hang it.
func newServer(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.Config.BaseContext = func(net.Listener) context.Context { return t.Context() }
	t.Cleanup(srv.Close)
	return srv
}

// outcome is what came of one attempt.
type outcome struct {
	events   []pipeline.Event
	response *pipeline.Response
	err      *pipeline.InvokeError
}

// invoke makes one attempt with a short prompt and checks the contract of the events.
func invoke(t testing.TB, m *Model, on ...func(pipeline.Event)) outcome {
	t.Helper()
	req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	if err != nil {
		t.Fatal(err)
	}
	return invokeRequest(t, m, req, on...)
}

// invokeRequest makes one attempt, and tells each of on about every event.
func invokeRequest(t testing.TB, m *Model, req *pipeline.Request, on ...func(pipeline.Event)) (out outcome) {
	t.Helper()
	terminal := false
	for ev, err := range m.Invoke(t.Context(), req) {
		for _, f := range on {
			f(ev)
		}
		if out.response != nil || out.err != nil {
			t.Fatalf("an event after the last: %+v, %v", ev, err)
		}
		if err != nil {
			out.err = err.(*pipeline.InvokeError)
			continue
		}
		if ev.Terminal {
			if terminal {
				t.Error("two terminal events")
			}
			terminal = true
		}
		if ev.Response != nil && !terminal {
			t.Error("a response without a terminal event before it")
		}
		out.events, out.response = append(out.events, ev), ev.Response
	}
	if out.response == nil && out.err == nil {
		t.Error("neither a response nor an error")
	}
	return out
}

// trust makes a model accept a server's own certificate.
func trust(t testing.TB, m *Model, pem []byte) {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate")
	}
	m.http.tr.TLSClientConfig = &tls.Config{RootCAs: pool}
}

// A signal is given once and waited for by a server's handler, until its client is gone.
type signal struct {
	once sync.Once
	ch   chan struct{}
}

func newSignal() *signal { return &signal{ch: make(chan struct{})} }

func (s *signal) give() { s.once.Do(func() { close(s.ch) }) }

func (s *signal) wait(r *http.Request) {
	select {
	case <-s.ch:
	case <-r.Context().Done():
	}
}

func emptyResponse() *http.Response {
	return &http.Response{Header: http.Header{}, Body: http.NoBody}
}
