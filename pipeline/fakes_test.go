package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// A listSource yields n records of the given size, with the faults it is told.
type listSource struct {
	n      int
	size   int64
	faults map[int]*Fault
	end    error // instead of io.EOF
	read   atomic.Int64
}

func (s *listSource) Next(ctx context.Context) (*Record, error) {
	i := int(s.read.Load())
	if i == s.n {
		if s.end != nil {
			return nil, s.end
		}
		return nil, io.EOF
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.read.Add(1)
	return &Record{
		Pos: int64(i), ID: fmt.Sprint("r", i), Source: "test.jsonl", Line: int64(i + 1),
		Input: []byte(`{}`), Fault: s.faults[i], ReadAt: time.Now(), Size: max(s.size, 1),
	}, nil
}

// A step is what a fakeModel does in one call.
type step struct {
	wait  time.Duration // before the first content
	text  string
	gap   time.Duration // before the terminal event
	err   *InvokeError  // instead of an answer: before the content, or after it if text is set
	hang  bool          // says nothing more after that, until cut
	empty bool          // ends without a terminal event
}

var fine = step{wait: 100 * time.Millisecond, text: "fine", gap: 100 * time.Millisecond}

func fails(kind Kind, name string) step {
	return step{wait: 10 * time.Millisecond, err: &InvokeError{Kind: kind, Type: name, Code: 500, Message: "of the test"}}
}

// A fakeModel answers from a script. It counts what a service would.
type fakeModel struct {
	script func(rec *Record, nth int) step // nth call for this record, from 1

	mu        sync.Mutex
	calls     map[int64]int
	answered  map[int64]int
	total     int
	inFlight  int
	peak      int
	refreshed int
	prepare   error
}

func (m *fakeModel) Encode(rec *Record) (*Request, error) {
	if string(rec.Input) == "bad" {
		return nil, &Fault{Type: TypeInvalidRecord, Message: "bad"}
	}
	return &Request{Record: rec, Body: rec.Input, InputTokens: 10, MaxTokens: 100 + rec.Pos%7}, nil
}

func (m *fakeModel) Prepare(context.Context) error { return m.prepare }

func (m *fakeModel) Refresh() { m.mu.Lock(); m.refreshed++; m.mu.Unlock() }

func (m *fakeModel) begin(rec *Record) step {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls == nil {
		m.calls, m.answered = map[int64]int{}, map[int64]int{}
	}
	m.calls[rec.Pos]++
	m.total++
	m.inFlight++
	m.peak = max(m.peak, m.inFlight)
	if m.script == nil {
		return fine
	}
	return m.script(rec, m.calls[rec.Pos])
}

func (m *fakeModel) Invoke(ctx context.Context, req *Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		s := m.begin(req.Record)
		defer func() { m.mu.Lock(); m.inFlight--; m.mu.Unlock() }()
		partial := ""
		fail := func(e *InvokeError) {
			c := *e
			c.Partial = partial
			yield(Event{}, &c)
		}
		sleep := func(d time.Duration) bool {
			if d <= 0 { // a select that finds its timer due crashes the race detector in a bubble, in Go 1.26.8, now and then
				return true
			}
			select {
			case <-time.After(d):
				return true
			case <-ctx.Done():
				// What a transport says after being cut: anything but the reason.
				fail(&InvokeError{Kind: Transient, Type: TypeConnectionError, Err: errors.New("use of closed network connection")})
				return false
			}
		}
		if !sleep(s.wait) {
			return
		}
		if s.text != "" {
			partial = s.text
			if !yield(Event{Content: true, Text: true}, nil) {
				return
			}
		}
		if s.hang {
			sleep(100 * time.Hour)
			return
		}
		if s.err != nil {
			fail(s.err)
			return
		}
		if s.empty {
			return
		}
		if !sleep(s.gap) {
			return
		}
		m.mu.Lock()
		m.answered[req.Record.Pos]++
		m.mu.Unlock()
		if !yield(Event{Terminal: true}, nil) {
			return
		}
		yield(Event{Response: &Response{
			Output: []byte(`{}`), Text: s.text, StopReason: "end_turn",
			Usage: Usage{InputTokens: 10, OutputTokens: 5}, ServerFirstByte: -1, ServerTotal: -1,
		}}, nil)
	}
}

// A memStore keeps batches, and fails when told.
type memStore struct {
	mu      sync.Mutex
	rows    map[int64]*Result
	batches [][]*Result
	times   []time.Time
	fail    func() error
	room    int // rows that fit; 0 for any number
}

func (s *memStore) Commit(_ context.Context, batch []*Result) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		if err := s.fail(); err != nil {
			return err
		}
	}
	if s.room > 0 && len(s.rows)+len(batch) > s.room {
		return errors.New("no space left on device")
	}
	if s.rows == nil {
		s.rows = map[int64]*Result{}
	}
	for _, r := range batch {
		if s.rows[r.Record.Pos] != nil {
			panic(fmt.Sprintf("record %d stored twice", r.Record.Pos))
		}
		s.rows[r.Record.Pos] = r
	}
	s.batches = append(s.batches, batch)
	s.times = append(s.times, time.Now())
	return nil
}

func (s *memStore) succeeded() (n int) {
	for _, r := range s.rows {
		if r.Err == nil {
			n++
		}
	}
	return n
}

// A setup is a run of the test's own making.
type setup struct {
	source  *listSource
	model   *fakeModel
	store   *memStore
	cfg     Config
	notices []string
	mu      sync.Mutex
}

func newSetup(t *testing.T, n, concurrency int, script func(rec *Record, nth int) step) *setup {
	t.Helper()
	s := &setup{source: &listSource{n: n}, model: &fakeModel{script: script}, store: &memStore{}}
	lim, err := ratelimit.New(ratelimit.Options{Concurrency: concurrency, Rand: func() float64 { return 0.5 }})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg = Config{
		Source: s.source, Model: s.model, Store: s.store, Limiter: lim, ModelID: "test.model",
		Concurrency: concurrency, Rand: func() float64 { return 0.5 },
		Notify: func(m string) { s.mu.Lock(); s.notices = append(s.notices, m); s.mu.Unlock() },
	}
	return s
}

func (s *setup) run(ctx context.Context, t *testing.T) error {
	t.Helper()
	r, err := New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	err = r.Run(ctx)
	if g := r.Gauges(); g.InFlight != 0 || g.Unstored != 0 && err == nil {
		t.Errorf("gauges after the run: %+v", g)
	}
	return err
}
