package sim

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// nowhere is a response that costs nothing to write.
type nowhere struct{ h http.Header }

func (n nowhere) Header() http.Header         { return n.h }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}
func (n nowhere) Flush()                      {}

// The server's own work for a stream of 50 tokens, without the network.
func BenchmarkHandler(b *testing.B) {
	s := start(b, Options{OutputTokens: 50})
	h := s.Handler()
	for id, name := range map[string]string{claudeID: "claude", novaID: "nova"} {
		b.Run(name, func(b *testing.B) {
			body := prompts[id]("hello", 100)
			r := httptest.NewRequest(http.MethodPost, "/model/x/"+streamOp, nil)
			r.URL.Path = "/model/" + id + "/" + streamOp
			r.Header.Set("Content-Type", "application/json")
			b.ReportAllocs()
			for b.Loop() {
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
				h.ServeHTTP(nowhere{http.Header{}}, r)
			}
		})
	}
}

// A stream of 50 tokens over a socket, client included: each frame flushed, and all at once.
func BenchmarkSocket(b *testing.B) {
	for name, every := range map[string]int{"flush-each": 1, "flush-64": 64} {
		b.Run(name, func(b *testing.B) {
			s := start(b, Options{OutputTokens: 50, FlushEvery: every})
			c := transports[0].client(b, s)
			body := prompts[claudeID]("hello", 100)
			b.ReportAllocs()
			for b.Loop() {
				resp, err := send(c, s, claudeID, streamOp, body)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil {
					b.Fatal(err)
				}
				_ = resp.Body.Close()
			}
		})
	}
}
