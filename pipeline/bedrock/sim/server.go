package sim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A Server is a running simulator. All methods may be called concurrently.
type Server struct {
	opts    Options
	tally   *tally
	http    *http.Server
	url     string
	certPEM []byte
	started time.Time
	stop    context.CancelFunc
	serving sync.WaitGroup // Serve and every handler
	outage  atomic.Pointer[string]

	mu     sync.Mutex
	closed bool
	models map[string]*model
}

// A model is what requests to one model id share.
type model struct {
	ledger   *ledger // nil without quota
	capacity *capacity
}

// Start checks the options, listens and serves until Close.
func Start(opts Options) (*Server, error) {
	if err := opts.Validate(); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	s := &Server{opts: opts, started: time.Now(), models: make(map[string]*model)}
	s.tally = newTally(opts.keepRecords(), s.started)

	listener, err := net.Listen("tcp", opts.addr())
	if err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.http = &http.Server{
		Handler:           s.Handler(),
		Protocols:         new(http.Protocols),
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: opts.MaxStreams},
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          log.New(io.Discard, "", 0), // handshakes and streams that fail on purpose
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, connKey{}, c) },
		ConnState:         s.countConnections,
	}
	s.http.Protocols.SetHTTP1(true)
	scheme := "http"
	if opts.TLS {
		scheme = "https"
		s.http.Protocols.SetHTTP2(true)
		if err := s.useTLS(listener.Addr()); err != nil {
			stop()
			return nil, errors.Join(fmt.Errorf("simulator: %w", err), listener.Close())
		}
	} else {
		s.http.Protocols.SetUnencryptedHTTP2(true)
	}
	s.url = scheme + "://" + listener.Addr().String()
	s.serving.Go(func() {
		if opts.TLS {
			_ = s.http.ServeTLS(listener, "", "") // returns when Close was called
		} else {
			_ = s.http.Serve(listener)
		}
	})
	return s, nil
}

func (s *Server) useTLS(addr net.Addr) error {
	cert, certPEM, err := selfSigned(addr)
	if err != nil {
		return err
	}
	s.certPEM = certPEM
	s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if s.opts.CertFile != "" {
		return os.WriteFile(s.opts.CertFile, certPEM, 0o644) // public by nature
	}
	return nil
}

// connKey finds the connection of a request in its context.
type connKey struct{}

func (s *Server) countConnections(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		s.tally.connection(true)
	case http.StateClosed, http.StateHijacked:
		s.tally.connection(false)
	case http.StateActive, http.StateIdle:
	}
}

// URL is where the server answers, without a slash at the end.
func (s *Server) URL() string { return s.url }

// CertPEM is the server's certificate, to be trusted as a root; nil without TLS.
func (s *Server) CertPEM() []byte { return s.certPEM }

// Close cuts every connection and returns when all has ended. A second call does nothing.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	err := s.http.Close()
	s.serving.Wait()
	return err
}

// enter counts a handler in; false when the server is closed.
func (s *Server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.serving.Add(1)
	return true
}

// model finds or makes what requests to a model id share.
func (s *Server) model(id string) *model {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.models[id]
	if !ok {
		m = &model{capacity: newCapacity(&s.opts)}
		if q := s.opts.quotaOf(id); q.limits() {
			m.ledger = newLedger(q, time.Now())
		}
		s.models[id] = m
	}
	return m
}

// SetOutage makes every request fail from now on; kind is as in [Outage], and "" means
// ServiceUnavailableException. EndOutage ends it.
func (s *Server) SetOutage(kind string) error {
	if err := checkOutage(kind); err != nil {
		return err
	}
	if kind == "" {
		kind = defaultOutage
	}
	s.outage.Store(&kind)
	return nil
}

// EndOutage ends what SetOutage began; [Options].Outages stay as they are.
func (s *Server) EndOutage() { s.outage.Store(nil) }

// outageNow is the kind of the outage that rules now, or "".
func (s *Server) outageNow(now time.Time) string {
	if kind := s.outage.Load(); kind != nil {
		return *kind
	}
	since := now.Sub(s.started)
	for _, o := range s.opts.Outages {
		if since >= o.After && since < o.After+o.For {
			if o.Kind == "" {
				return defaultOutage
			}
			return o.Kind
		}
	}
	return ""
}

// ClientCommand is a complete command that sends a file of prompts to this server.
func (s *Server) ClientCommand() string {
	env := "env -u AWS_PROFILE -u AWS_BEARER_TOKEN_BEDROCK AWS_ACCESS_KEY_ID=simulated AWS_SECRET_ACCESS_KEY=simulated AWS_REGION=us-east-1 "
	if s.opts.TLS {
		file := s.opts.CertFile
		if file == "" {
			file = "cert.pem"
		}
		env += "AWS_CA_BUNDLE=" + shellQuote(file) + " "
	}
	return env + "batchrun run -i prompts.jsonl -o answers.jsonl -m anthropic.claude-3-5-haiku-20241022-v1:0 --endpoint-url " + s.url
}
