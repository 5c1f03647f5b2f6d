package limits

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

func begun() Start {
	return Start{At: time.Now(), Model: "m", Concurrency: 32, TokensPerMinute: 1000, Burndown: 5}
}

// idle is a limiter in which nothing happens.
func idle() ratelimit.Snapshot {
	return ratelimit.Snapshot{Binding: ratelimit.BoundByInput, ConcurrencyLimit: 32}
}

func running() pipeline.Gauges { return pipeline.Gauges{Mode: pipeline.Running} }

func noNote(t *testing.T) func(string) {
	return func(text string) { t.Errorf("note: %s", text) }
}

// session runs a log for d, during which do may use it.
func session(l *Log, d time.Duration, do func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(idle, running, over)
	}()
	end := time.Now().Add(d)
	do()
	time.Sleep(time.Until(end))
	close(over)
	<-ended
	l.Close("finished")
}

func read(t *testing.T, dir string) *History {
	t.Helper()
	h, err := Read(dir)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestSessionsAreReadAsTheyWere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := NewLog(dir, begun(), noNote(t))
		at := time.Now().UTC()
		session(l, 25*time.Second, func() {
			for range 20 {
				l.AttemptStarted()
				l.AttemptDone(&pipeline.Attempt{Usage: pipeline.Usage{InputTokens: 10, OutputTokens: 8, CacheReadInputTokens: 500, CacheWriteInputTokens: 5}})
			}
			l.AttemptStarted()
			l.AttemptDone(&pipeline.Attempt{Err: &pipeline.InvokeError{Kind: pipeline.Throttled}})
			time.Sleep(3 * time.Second)
			l.Watch(ratelimit.Decision{At: time.Now(), Control: "tokens", Action: "cut", From: math.Inf(1), To: 900, Reason: "why", Tokens: 1000, Requests: 21, Refused: 1, InFlight: 3})
		})
		time.Sleep(time.Hour)
		session(NewLog(dir, begun(), noNote(t)), time.Second, func() {})

		h := read(t, dir)
		if len(h.Sessions) != 2 || h.Damaged != nil {
			t.Fatalf("%d sessions, damaged %q", len(h.Sessions), h.Damaged)
		}
		s := h.Sessions[0]
		if !s.At.Equal(at) || s.TokensPerMinute != 1000 || s.Ended != "finished" || !s.EndedAt.Equal(at.Add(25*time.Second)) {
			t.Errorf("session %+v", s)
		}
		if got, want := h.Sessions[1].At.Sub(s.Last()), time.Hour; got != want {
			t.Errorf("gap %v, want %v", got, want)
		}
		want := []Decision{{At: at.Add(3 * time.Second), Control: "tokens", Action: "cut", To: 900, Reason: "why", Tokens: 1000, Requests: 21, Refused: 1, InFlight: 3}}
		if diff := cmp.Diff(want, s.Decisions); diff != "" {
			t.Errorf("decisions (-want +got):\n%s", diff)
		}
		var after []time.Duration
		for _, sample := range s.Samples {
			after = append(after, sample.At.Sub(at))
		}
		if diff := cmp.Diff([]time.Duration{10 * time.Second, 20 * time.Second, 25 * time.Second}, after); diff != "" {
			t.Errorf("samples after (-want +got):\n%s", diff)
		}
		// 21 requests and 20 × (10 + 5 + 8 × 5) tokens in a sixth of a minute, and nothing afterwards.
		if got := s.Samples[0]; got.RequestsPerMinute != 126 || got.TokensPerMinute != 6600 {
			t.Errorf("first sample: %v requests and %v tokens a minute, want 126 and 6600", got.RequestsPerMinute, got.TokensPerMinute)
		}
		if got := s.Samples[1]; got.RequestsPerMinute != 0 || got.TokensPerMinute != 0 {
			t.Errorf("second sample: %v requests and %v tokens a minute, want none", got.RequestsPerMinute, got.TokensPerMinute)
		}
	})
}

// A night in which everything goes wrong: a hold every 200 ms, an undo and a cut every 15 s.
func TestABadNightStaysSmall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const night = 8 * time.Hour
		dir := t.TempDir()
		l := NewLog(dir, begun(), noNote(t))
		told := map[string]int64{}
		session(l, night, func() {
			for n := range int64(night / (200 * time.Millisecond)) {
				tell := func(control, action string) {
					told[control]++
					l.Watch(ratelimit.Decision{At: time.Now(), Control: control, Action: action, From: 123456.789, To: 234567.891, Reason: "refusals come whatever the pace"})
				}
				tell("service", "hold")
				if n%75 == 0 {
					tell("tokens", "cut")
					tell("requests", "undo")
				}
				time.Sleep(200 * time.Millisecond)
			}
		})
		info, err := os.Stat(filepath.Join(dir, Name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Size() > 4<<20 {
			t.Errorf("a bad night takes %d bytes, want at most 4 MiB", info.Size())
		}
		s := read(t, dir).Sessions[0]
		if got, want := len(s.Samples), int(night/Every); got < want || got > want+1 {
			t.Errorf("%d samples, want %d", got, want)
		}
		kept := map[string]int64{}
		for _, d := range s.Decisions {
			kept[d.Control]++
		}
		if kept["tokens"] != told["tokens"] || kept["requests"] != told["requests"] {
			t.Errorf("kept %v of the decisions %v: those that are rare must all be there", kept, told)
		}
		if got, want := kept["service"]+s.Unwritten, told["service"]; got != want || kept["service"] < night.Milliseconds()/10000 {
			t.Errorf("%d holds written and %d not, of %d", kept["service"], s.Unwritten, want)
		}
	})
}

func TestWatchNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := NewLog(dir, begun(), noNote(t))
		for range queued + 44 { // nobody takes them yet
			l.Watch(ratelimit.Decision{Control: "service", Action: "hold"})
		}
		session(l, time.Second, func() {})
		s := read(t, dir).Sessions[0]
		if got := s.Samples[0].Dropped; got != 44 {
			t.Errorf("%d decisions counted as dropped, want 44", got)
		}
		if got, want := int64(len(s.Decisions))+s.Unwritten, int64(queued+44); got != want {
			t.Errorf("%d decisions written or counted, want %d", got, want)
		}
	})
}

func TestAWriteErrorIsOneNote(t *testing.T) {
	for name, fails := range map[string]func(op atomicfile.Op, nth int) bool{
		"no file":                    func(op atomicfile.Op, _ int) bool { return op == atomicfile.OpOpen },
		"a disk that is full":        func(op atomicfile.Op, nth int) bool { return op == atomicfile.OpWrite && nth >= 4 },
		"a file that cannot go away": func(op atomicfile.Op, _ int) bool { return op == atomicfile.OpRename },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var notes []string
				l := NewLog(t.TempDir(), begun(), func(text string) { notes = append(notes, text) })
				writes := 0
				l.maxSize = 3000
				l.fs = &atomicfile.FS{Fault: func(op atomicfile.Op, _ string, size int64) (int, error) {
					if op == atomicfile.OpWrite {
						writes++
					}
					if fails(op, writes) {
						return int(size) / 2, syscall.ENOSPC
					}
					return int(size), nil
				}}
				session(l, 5*time.Minute, func() {})
				if len(notes) != 1 || !strings.Contains(notes[0], syscall.ENOSPC.Error()) {
					t.Errorf("notes %q, want one that says %q", notes, syscall.ENOSPC)
				}
			})
		})
	}
}

func TestAFileIsRenamedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := NewLog(dir, begun(), noNote(t))
		l.maxSize = 20 << 10
		session(l, time.Hour, func() {})
		for _, name := range []string{Name, Rotated} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if info.Size() > l.maxSize || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %d bytes and mode %v", name, info.Size(), info.Mode())
			}
		}
		h := read(t, dir)
		if len(h.Sessions) != 1 || h.Damaged != nil {
			t.Fatalf("%d sessions, damaged %q; want the one there was", len(h.Sessions), h.Damaged)
		}
		samples := h.Sessions[0].Samples
		for i := 1; i < len(samples); i++ {
			if d := samples[i].At.Sub(samples[i-1].At); d > Every {
				t.Errorf("sample %d comes %v after the one before: the files do not follow each other", i, d)
			}
		}
		if len(samples) < 60 || samples[len(samples)-1].At.Sub(h.Sessions[0].At) != time.Hour {
			t.Errorf("%d samples, the last after %v", len(samples), samples[len(samples)-1].At.Sub(h.Sessions[0].At))
		}
	})
}

// A crash tears the last line: what is before it is read, and the next session begins on a line of its own.
func TestCutAtEveryByte(t *testing.T) {
	var whole []byte
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		l := NewLog(dir, begun(), noNote(t))
		session(l, 15*time.Second, func() { l.Watch(ratelimit.Decision{Control: "tokens", Action: "cut"}) })
		var err error
		if whole, err = os.ReadFile(filepath.Join(dir, Name)); err != nil {
			t.Fatal(err)
		}
	})
	dir := t.TempDir()
	path := filepath.Join(dir, Name)
	for cut := range whole {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		h := read(t, dir)
		lines := bytes.Count(whole[:cut], []byte("\n"))
		if got := things(h); got != lines || h.Damaged != nil {
			t.Fatalf("cut at byte %d: %d lines read, want %d; damaged %q", cut, got, lines, h.Damaged)
		}
		l := NewLog(dir, begun(), noNote(t))
		over := make(chan struct{})
		close(over)
		l.Run(idle, running, over)
		l.Close("finished")
		again := read(t, dir)
		if got := things(again); got < lines+3 || got > lines+4 || again.Damaged != nil { // 4: only the line end was torn off
			t.Fatalf("cut at byte %d and gone on: %d lines read, want %d; damaged %q", cut, got, lines+3, again.Damaged)
		}
	}
}

// things counts the lines that a history was read from.
func things(h *History) int {
	n := len(h.Sessions)
	for _, s := range h.Sessions {
		n += len(s.Samples) + len(s.Decisions)
		if s.EndedAt != nil {
			n++
		}
	}
	return n
}

func TestDamageHasItsPlace(t *testing.T) {
	const start = `{"type":"session","at":"2026-01-02T03:04:05Z","model":"m","concurrency":1,"burndown":1}` + "\n"
	const sample = `{"type":"sample","at":"2026-01-02T03:04:15Z","binding":"tokens"}` + "\n"
	for name, tt := range map[string]struct {
		file    string
		damaged []string
		samples int
	}{
		"in the middle":           {start + "x\n" + sample, []string{"limits.jsonl:2: "}, 1},
		"two in a row":            {start + "x\ny\n" + sample, []string{"limits.jsonl:2: ", "limits.jsonl:3: "}, 1},
		"at the end":              {start + sample + "{}\n", []string{"limits.jsonl:3: no type"}, 1},
		"a number that is text":   {start + `{"type":"sample","inFlight":"x"}` + "\n" + sample, []string{"limits.jsonl:2: "}, 1},
		"no session":              {sample, []string{"limits.jsonl:1: before the first session"}, 0},
		"torn by a crash":         {start + sample + `{"type":"sam` + "\n" + start, nil, 1},
		"half-written":            {start + sample + `{"type":"sam`, nil, 1},
		"written by a later one":  {start + `{"type":"weather"}` + "\n" + sample, nil, 1},
		"a file without anything": {"", nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, Name), []byte(tt.file), 0o600); err != nil {
				t.Fatal(err)
			}
			h := read(t, dir)
			if len(h.Damaged) != len(tt.damaged) {
				t.Fatalf("damaged %q, want %q", h.Damaged, tt.damaged)
			}
			for i, want := range tt.damaged {
				if !strings.HasPrefix(h.Damaged[i], want) {
					t.Errorf("damaged %q, want it to begin with %q", h.Damaged[i], want)
				}
			}
			samples := 0
			for _, s := range h.Sessions {
				samples += len(s.Samples)
			}
			if samples != tt.samples {
				t.Errorf("%d samples, want %d", samples, tt.samples)
			}
		})
	}
	if _, err := Read(t.TempDir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Read of nothing: %v, want that it does not exist", err)
	}
}

func BenchmarkWatch(b *testing.B) {
	l := NewLog(b.TempDir(), begun(), func(string) {})
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		l.Run(idle, running, over)
	}()
	b.ReportAllocs()
	for b.Loop() {
		l.Watch(ratelimit.Decision{Control: "service", Action: "hold"})
	}
	close(over)
	<-ended
}

// Only the last session can go on, and only if the process that holds the run's lock has begun it.
func TestHeldSince(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	ended := at.Add(time.Minute)
	tests := map[string]struct {
		last  Session
		since time.Time
		want  bool
	}{
		"begun by the holder":           {Session{Start: Start{At: at}}, at.Truncate(time.Second), true},
		"of a process that is gone":     {Session{Start: Start{At: at}}, at.Add(time.Hour), false},
		"ended":                         {Session{Start: Start{At: at}, EndedAt: &ended}, at.Truncate(time.Second), false},
		"a holder that says nothing":    {Session{Start: Start{At: at}}, time.Time{}, true},
		"a holder that is finishing up": {Session{Start: Start{At: at}, EndedAt: &ended}, time.Time{}, false},
	}
	for name, tt := range tests {
		h := History{Sessions: []Session{{Start: Start{At: at.Add(-time.Hour)}}, tt.last}}
		h.HeldSince(tt.since)
		if h.Sessions[0].GoesOn || h.Sessions[1].GoesOn != tt.want {
			t.Errorf("%s: %v, %v; want the last to go on: %v", name, h.Sessions[0].GoesOn, h.Sessions[1].GoesOn, tt.want)
		}
	}
}
