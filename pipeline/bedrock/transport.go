package bedrock

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

const (
	poolMargin   = 8       // connections kept beyond the concurrency, for those just being replaced
	errorBodyMax = 1 << 20 // of a response that is not a stream
	pingAfter    = 15 * time.Second
	pingTimeout  = 15 * time.Second
)

// A call is one attempt, on its way through the SDK.
type call struct {
	body     []byte // what is sent
	sent     bool   // the request got as far as the transport
	response *http.Response
	snippet  []byte // of a response that is not a success
	connect  atomic.Int64
	written  atomic.Bool // the service may have all of the request

	whole     bool   // the answer comes in one piece, and is read before the SDK does
	answered  bool   // and came, in the way that answerErr says
	answer    []byte // as far as it came
	answerErr error
}

type callKey struct{}

func withCall(ctx context.Context, c *call) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// transport is the HTTP client under the SDK.
//
// It gives net/http a request body of its own. The SDK closes the body it made as soon as the response headers are
// there; if net/http's writer is not done with it by then, it takes the early end for a broken request and drops the
// connection under the open stream (aws/aws-sdk-go-v2#2737).
//
// There is no timeout here: a stream may be silent for long, and how long is for pipeline to say.
type transport struct {
	tr    *http.Transport
	dials atomic.Int64
}

func newTransport(tr *http.Transport, opts Options) *transport {
	t := &transport{tr: tr}
	tr.MaxIdleConns = opts.Concurrency + poolMargin
	tr.MaxIdleConnsPerHost = tr.MaxIdleConns
	tr.MaxConnsPerHost = 0
	tr.DisableKeepAlives = false
	tr.DisableCompression = true // a compressor may hold events back
	tr.ResponseHeaderTimeout = 0
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(true)
	if opts.HTTPVersion == "1.1" {
		tr.ForceAttemptHTTP2 = false
		if tr.TLSClientConfig != nil {
			tr.TLSClientConfig.NextProtos = nil
		}
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	} else {
		tr.ForceAttemptHTTP2 = true
		tr.Protocols.SetHTTP2(true)
		// A connection that died silently takes many streams with it: ask it.
		tr.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	}
	dial := tr.DialContext
	if dial == nil {
		dial = (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err == nil {
			t.dials.Add(1)
		}
		return conn, err
	}
	return t
}

// Do sends a request of the SDK.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	c := callOf(req.Context())
	if c == nil {
		return t.tr.RoundTrip(req)
	}
	c.sent = true
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), c.trace()))
	req.ContentLength = int64(len(c.body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(c.body)), nil }
	req.Body, _ = req.GetBody()
	resp, err := t.tr.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	c.response = resp
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		c.keepError()
	} else if c.whole {
		c.keepAnswer()
	}
	return resp, nil
}

// keepError reads the body of an error whole, but not without end, and gives its connection back.
func (c *call) keepError() {
	c.snippet, _ = io.ReadAll(io.LimitReader(c.response.Body, errorBodyMax))
	_ = c.response.Body.Close()
	c.response.Body = io.NopCloser(bytes.NewReader(c.snippet))
}

// trace measures how long this attempt waits for a connection that is new to it. A connection may be dialled by one
// request and used by another: what counts is this one's wait.
func (c *call) trace() *httptrace.ClientTrace {
	var asked time.Time
	return &httptrace.ClientTrace{
		GetConn:      func(string) { asked = time.Now() },
		WroteHeaders: func() { c.written.Store(true) },
		GotConn: func(info httptrace.GotConnInfo) {
			if !info.Reused && !asked.IsZero() {
				c.connect.Store(int64(time.Since(asked)))
			} else {
				c.connect.Store(0)
			}
		},
	}
}
