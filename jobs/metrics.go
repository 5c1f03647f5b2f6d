package jobs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics shows a session to Prometheus. It is an observer of the pipeline beside the report's.
type metrics struct {
	attempts   *prometheus.CounterVec
	firstToken prometheus.Histogram
	tokens     *prometheus.CounterVec
	registry   *prometheus.Registry
}

func newMetrics(counts func() state.Counts, gauges func() pipeline.Gauges, limits func() ratelimit.Snapshot) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "batchrun_attempts_total", Help: "Calls that ended, by outcome: ok, or the error type.",
		}, []string{"outcome"}),
		firstToken: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "batchrun_first_token_seconds", Help: "First-token latency of whole answers.",
			Buckets: prometheus.ExponentialBuckets(0.05, 1.6, 18),
		}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "batchrun_tokens_total", Help: "Tokens of whole answers, as the service counts them.",
		}, []string{"kind"}),
		registry: prometheus.NewRegistry(),
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	m.registry.MustRegister(
		m.attempts, m.firstToken, m.tokens,
		gauge("batchrun_records_succeeded", "Records with a durable result.", func() float64 { return float64(counts().Succeeded) }),
		gauge("batchrun_records_failed", "Records with a durable error row.", func() float64 { return float64(counts().Failed) }),
		gauge("batchrun_records_rejected", "Lines that could not be sent.", func() float64 { return float64(counts().Rejected) }),
		gauge("batchrun_in_flight", "Streams open.", func() float64 { return float64(gauges().InFlight) }),
		gauge("batchrun_waiting", "Records waiting for their next attempt.", func() float64 { return float64(gauges().Waiting) }),
		gauge("batchrun_deferred", "Of these, records held back by the retry budget alone.", func() float64 { return float64(gauges().Deferred) }),
		gauge("batchrun_silent", "Streams silent for two minutes.", func() float64 { return float64(gauges().Silent) }),
		gauge("batchrun_unstored", "Results that are not durable yet.", func() float64 { return float64(gauges().Unstored) }),
		gauge("batchrun_concurrency_limit", "Streams that may be open now.", func() float64 { return float64(limits().ConcurrencyLimit) }),
		gauge("batchrun_requests_per_minute", "Pace of requests; 0 while none is set.", func() float64 { return limits().RequestsPerMinute }),
		gauge("batchrun_tokens_per_minute", "Pace of tokens; 0 while none is set.", func() float64 { return limits().TokensPerMinute }),
	)
	return m
}

// spends adds what the run has spent.
func (m *metrics) spends(spending func() *report.Spending) {
	for _, g := range []struct {
		name, help string
		value      func(*report.Spending) float64
	}{
		{"batchrun_cost_spent", "What the run has spent over all its sessions, in the currency of its prices; 0 without any.", func(s *report.Spending) float64 { return s.Cost }},
		{"batchrun_cost_unsure", "Of this, calls that failed or were cut, at what they may have cost at most.", func(s *report.Spending) float64 { return s.UnsureCost }},
		{"batchrun_cost_held", "What calls in flight may cost at most.", func(s *report.Spending) float64 { return s.HeldCost }},
		{"batchrun_cost_bound", "What the run may cost; 0 for any.", func(s *report.Spending) float64 { return s.MaxCost }},
		{"batchrun_tokens_spent", "Tokens that the run was billed, likewise.", func(s *report.Spending) float64 { return float64(s.Tokens) }},
		{"batchrun_tokens_bound", "Tokens that the run may be billed; 0 for any.", func(s *report.Spending) float64 { return float64(s.MaxTokens) }},
	} {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: g.name, Help: g.help}, func() float64 { return g.value(spending()) }))
	}
}

// AttemptStarted is a pipeline.Observer's.
func (m *metrics) AttemptStarted() {}

// AttemptDone is a pipeline.Observer's.
func (m *metrics) AttemptDone(a *pipeline.Attempt) {
	if a.Err != nil {
		m.attempts.WithLabelValues(a.Err.Type).Inc()
		return
	}
	m.attempts.WithLabelValues("ok").Inc()
	if first := a.Timing.FirstToken; first >= 0 { // absent from an answer in one piece
		m.firstToken.Observe(first.Seconds())
	}
	m.tokens.WithLabelValues("input").Add(float64(a.Usage.InputTokens))
	m.tokens.WithLabelValues("output").Add(float64(a.Usage.OutputTokens))
	m.tokens.WithLabelValues("cache_read").Add(float64(a.Usage.CacheReadInputTokens))
	m.tokens.WithLabelValues("cache_write").Add(float64(a.Usage.CacheWriteInputTokens))
}

// Stored is a pipeline.Observer's.
func (m *metrics) Stored([]*pipeline.Result) {}

// listen takes the address of --metrics-addr before anything is made or sent.
func (j *job) listen() error {
	if j.spec.MetricsAddr == "" {
		return nil
	}
	listener, err := net.Listen("tcp", j.spec.MetricsAddr)
	if err != nil {
		return fmt.Errorf("--metrics-addr: %w", err)
	}
	if addr, ok := listener.Addr().(*net.TCPAddr); !ok || !addr.IP.IsLoopback() {
		return errors.Join(fmt.Errorf("--metrics-addr %s is not a loopback address", j.spec.MetricsAddr), listener.Close())
	}
	j.metrics = listener
	return nil
}

// unlisten gives the address back.
func (j *job) unlisten() {
	if j.metrics != nil {
		_ = j.metrics.Close()
	}
}

// serve answers /metrics until the returned function is called.
func (m *metrics) serve(listener net.Listener) (stop func()) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // ends with ErrServerClosed
	}()
	return func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = server.Shutdown(ctx)
		_ = server.Close()
		<-done
	}
}

// observers tells several of the same.
type observers []pipeline.Observer

// AttemptStarted is a pipeline.Observer's.
func (o observers) AttemptStarted() {
	for _, each := range o {
		each.AttemptStarted()
	}
}

// AttemptDone is a pipeline.Observer's.
func (o observers) AttemptDone(a *pipeline.Attempt) {
	for _, each := range o {
		each.AttemptDone(a)
	}
}

// Stored is a pipeline.Observer's.
func (o observers) Stored(batch []*pipeline.Result) {
	for _, each := range o {
		each.Stored(batch)
	}
}
