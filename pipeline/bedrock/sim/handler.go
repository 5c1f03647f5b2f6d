package sim

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Handler answers the paths of the service, GET /stats and POST /control. Faults that cut
// connections need the server's own listener; under another one they only abort the request.
func (s *Server) Handler() http.Handler { return http.HandlerFunc(s.serve) }

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		panic(http.ErrAbortHandler)
	}
	defer s.serving.Done()
	w.Header()["x-amzn-RequestId"] = []string{requestID()}
	// The path as sent: a model id may hold an encoded slash.
	path := r.URL.EscapedPath()
	switch {
	case path == "/stats" && r.Method == http.MethodGet:
		s.serveStats(w, r)
		return
	case path == "/control" && r.Method == http.MethodPost:
		s.serveControl(w, r)
		return
	}
	if s.serveLookup(w, r, path) {
		return
	}
	if id, ok := modelIn(path, countSuffix); ok && r.Method == http.MethodPost {
		s.serveCount(w, r, id)
		return
	}
	id, op, ok := splitPath(path)
	if !ok || r.Method != http.MethodPost {
		(&Error{Status: http.StatusNotFound, Type: "UnknownOperationException", Message: "The requested operation is not recognized by the service."}).write(w)
		return
	}
	s.serveModel(w, r, id, op)
}

// An operation is a way to call a model.
type operation struct {
	path      string // behind the model's id
	streaming bool
	converse  bool
}

var operations = []operation{
	{"/invoke-with-response-stream", true, false},
	{"/invoke", false, false},
	{"/converse-stream", true, true},
	{"/converse", false, true},
}

// splitPath reads /model/{id}/OPERATION.
func splitPath(path string) (id string, op operation, ok bool) {
	for _, op := range operations {
		if id, ok = modelIn(path, op.path); ok {
			return id, op, true
		}
	}
	return "", operation{}, false
}

// cannotStream begins the ids of models that cannot stream: docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-meta.html.
const cannotStream = "meta.llama4"

// modelIn is the model id of a path of one operation.
func modelIn(path, operation string) (id string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/model/")
	if !ok {
		return "", false
	}
	escaped, ok := strings.CutSuffix(rest, operation)
	if !ok {
		return "", false
	}
	id, err := url.PathUnescape(escaped)
	return id, err == nil && id != ""
}

// requestID is a random UUID.
func requestID() string {
	var b [36]byte
	hi, lo := rand.Uint64(), rand.Uint64()
	hi = hi&^0xf000 | 0x4000
	lo = lo&^(0xc<<60) | 0x8<<60
	n := 0
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b[n] = '-'
			n++
		}
		half := hi
		if i >= 16 {
			half = lo
		}
		b[n] = hexDigits[half>>(60-4*(i%16))&15]
		n++
	}
	return string(b[:])
}

// serveModel answers one call.
func (s *Server) serveModel(w http.ResponseWriter, r *http.Request, id string, op operation) {
	arrived := time.Now()
	if s.opts.RequireAuth && r.Header.Get("Authorization") == "" {
		s.refuse(w, &Error{Status: http.StatusForbidden, Type: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"})
		return
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		s.refuse(w, validation("The provided Content Type is invalid or not supported for this model"))
		return
	}
	buf := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= keepBuffer {
			bodies.Put(buf)
		}
	}()
	buf.Reset()
	body, bad := readBody(buf, r)
	if bad != nil {
		if bad.Status != 0 {
			s.refuse(w, bad)
		}
		return
	}
	k := keyOf(id, body)
	if op.streaming && strings.HasPrefix(baseModel(s.opts.behind(id)), cannotStream) {
		s.refuse(w, validation("The model is unsupported for streaming"))
		return
	}
	p, bad := s.opts.plan(id, body, k, op.converse)
	if bad != nil {
		s.refuse(w, bad)
		return
	}
	a := attempts.Get().(*attempt)
	a.init(s, w, r, arrived, k, p, op.streaming)
	defer a.release()
	a.serve()
	if !a.ended || a.ctx.Err() != nil {
		// The client has gone or the server closes: this must not look like a clean end.
		panic(http.ErrAbortHandler)
	}
}

func (s *Server) refuse(w http.ResponseWriter, e *Error) {
	s.tally.refused(e.Type)
	e.write(w)
}

var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// keepBuffer is the largest buffer that is used again.
const keepBuffer = 1 << 18

// readBody reads a request's body. The status of the error is 0 when nobody is left to answer.
func readBody(buf *bytes.Buffer, r *http.Request) ([]byte, *Error) {
	// A client that is refused in the middle of its upload sees a reset rather than the answer:
	// take a good deal more than the limit, and then say so.
	const patience = 4 * maxBody
	if n := r.ContentLength; n > 0 && n <= maxBody {
		buf.Grow(int(n) + bytes.MinRead)
	}
	_, err := buf.ReadFrom(io.LimitReader(r.Body, maxBody+1))
	if err == nil && buf.Len() > maxBody {
		if _, err = io.CopyN(io.Discard, r.Body, patience); errors.Is(err, io.EOF) {
			err = nil
		}
		if err == nil {
			return nil, validation("The request body is larger than the limit of %d bytes.", maxBody)
		}
	}
	if err != nil {
		return nil, &Error{}
	}
	return buf.Bytes(), nil
}

// invocationHeaders are those of a plain InvokeModel: the API names none of them, the service sends them.
func invocationHeaders(h http.Header, u Usage, latency time.Duration) {
	set := func(name string, n int64) { h["X-Amzn-Bedrock-"+name] = []string{strconv.FormatInt(n, 10)} }
	set("Invocation-Latency", latency.Milliseconds())
	set("Input-Token-Count", u.InputTokens)
	set("Output-Token-Count", u.OutputTokens)
	if u.CacheReadInputTokens > 0 || u.CacheWriteInputTokens > 0 {
		set("Cache-Read-Input-Token-Count", u.CacheReadInputTokens)
		set("Cache-Write-Input-Token-Count", u.CacheWriteInputTokens)
	}
}
