package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchrun/batchrun/pipeline"
)

// show runs a printer for d, and do meanwhile.
func show(t *testing.T, p *Printer, d time.Duration, do func()) (views int) {
	t.Helper()
	done, shown := make(chan struct{}), make(chan struct{})
	start := time.Now()
	go func() {
		defer close(shown)
		p.Run(func() View {
			views++
			return View{
				Elapsed: time.Since(start), Done: int64(time.Since(start) / time.Second), Total: 100,
				Recent: Recent{Rate: 1, Throttled: -1, TTFTP50: -1}, Gauges: pipeline.Gauges{Mode: pipeline.Running},
			}
		}, done)
	}()
	synctest.Wait()
	if do != nil {
		do()
	}
	time.Sleep(d)
	close(done)
	<-shown
	return views
}

func TestPrinterPlain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewPrinter(&out, StyleAuto)
		if p.Style() != StylePlain {
			t.Errorf("auto is %s where there is no terminal", p.Style())
		}
		p.Note("before")
		show(t, p, 70*time.Second, func() { time.Sleep(time.Second); p.Note("a note\x1b[2J") })
		p.Note("after")
		p.Summary(bareSummary())
		want := "batchrun: before\n" +
			"batchrun: 0 of 100 done (0%), 1.00/s, 1m40s left, limit: input, 0 in flight, after 0s\n" +
			"batchrun: a note\\x1b[2J\n" +
			"batchrun: 30 of 100 done (30%), 1.00/s, 1m10s left, limit: input, 0 in flight, after 30s\n" +
			"batchrun: 60 of 100 done (60%), 1.00/s, 40s left, limit: input, 0 in flight, after 1m00s\n" +
			"batchrun: 71 of 100 done (71%), 1.00/s, 29s left, limit: input, 0 in flight, after 1m11s\n" +
			"batchrun: after\n" + bareSummary().Body()
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestPrinterBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewPrinter(&out, StyleBar)
		p.width = func() int { return 100 }
		views := show(t, p, 10*time.Second, func() { time.Sleep(time.Second); p.Note("a note") })
		if views > 5*11+2 {
			t.Errorf("drawn %d times in 11 s", views)
		}
		got := out.String()
		if !strings.HasPrefix(got, eraseLine+"[------------------------]  0/100 0%  1.00/s") {
			t.Errorf("begins with %.80q", got)
		}
		if !strings.Contains(got, eraseLine+"batchrun: a note\n"+eraseLine+"[") {
			t.Errorf("the note does not stand on a line of its own: %q", got)
		}
		last := got[strings.LastIndex(got, eraseLine):]
		if !strings.HasPrefix(last, eraseLine+"[##----------------------]  11/100 11%") || !strings.HasSuffix(last, "\n") || strings.Count(got, "\n") != 2 {
			t.Errorf("ends with %q", last)
		}
	})
}

func TestPrinterJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewPrinter(&out, StyleJSON)
		show(t, p, 31*time.Second, func() { p.Note(`a "note"`) })
		p.Summary(fullSummary())
		var events []string
		for line := range strings.Lines(out.String()) {
			var v struct{ Event string }
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			events = append(events, v.Event)
		}
		if diff := cmp.Diff([]string{"progress", "note", "progress", "progress", "summary"}, events); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, out.String())
		}
	})
}

func TestPrinterNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		p := NewPrinter(&out, StyleNone)
		show(t, p, time.Minute, func() { p.Note("a note") })
		p.Summary(fullSummary())
		if out.Len() > 0 {
			t.Errorf("printed %q", out.String())
		}
	})
}

// What may cost money is said in every style, also where nobody wants to see the progress.
func TestPrinterWarns(t *testing.T) {
	for style, want := range map[Style]string{
		StyleNone:  "batchrun: before\nbatchrun: meanwhile\nbatchrun: after\n",
		StylePlain: "batchrun: meanwhile\n",
		StyleBar:   "batchrun: meanwhile\n",
		StyleJSON:  `{"event":"warning","text":"meanwhile"}` + "\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			p := NewPrinter(&out, style)
			p.Warn("before")
			show(t, p, time.Second, func() {
				for range maxQueued + 1 {
					p.Note("a note")
				}
				p.Warn("meanwhile")
			})
			p.Warn("after")
			got := out.String()
			if !strings.Contains(got, want) || style == StyleNone && got != want {
				t.Errorf("%s: ends with %q, want %q", style, got[max(0, len(got)-400):], want)
			}
		})
	}
}

// A terminal that is gone ends the progress and nothing else.
func TestPrinterThatCannotWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &failsAfter{n: 2}
		p := NewPrinter(w, StylePlain)
		show(t, p, 5*time.Minute, func() { p.Note("a note") })
		p.Note("after")
		if w.calls != 3 {
			t.Errorf("%d writes, want none after the first that failed", w.calls)
		}
	})
}

type failsAfter struct{ n, calls int }

func (w *failsAfter) Write(b []byte) (int, error) {
	if w.calls++; w.calls > w.n {
		return 0, errors.New("broken pipe")
	}
	return len(b), nil
}

// A terminal that stands still (Ctrl-S, a pager) does not hold up who notes something.
func TestPrinterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		p := NewPrinter(w, StylePlain)
		done, shown := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(shown)
			p.Run(func() View { return View{Total: -1} }, done)
		}()
		synctest.Wait()
		start := time.Now()
		for range maxQueued + 7 {
			p.Note("a note")
		}
		if d := time.Since(start); d != 0 {
			t.Errorf("waited %v", d)
		}
		close(done)
		var out bytes.Buffer
		var reading sync.WaitGroup
		reading.Go(func() { io.Copy(&out, r) })
		<-shown
		w.Close()
		reading.Wait()
		if n := strings.Count(out.String(), "a note\n"); n != maxQueued || !strings.Contains(out.String(), "batchrun: 7 more messages were not shown\n") {
			t.Errorf("%d notes in %q", n, out.String()[out.Len()-200:])
		}
	})
}

func TestParseStyle(t *testing.T) {
	for _, name := range []string{"auto", "bar", "plain", "json", "none"} {
		if s, err := ParseStyle(name); string(s) != name || err != nil {
			t.Errorf("ParseStyle(%q) = %q, %v", name, s, err)
		}
	}
	if s, err := ParseStyle(""); s != StyleAuto || err != nil {
		t.Errorf("ParseStyle of nothing = %q, %v", s, err)
	}
	if _, err := ParseStyle("fancy"); err == nil || !strings.Contains(err.Error(), "bar, plain, json, none") {
		t.Errorf("%v", err)
	}
}

func TestWords(t *testing.T) {
	for want, got := range map[string]string{
		"0%": percent(0), "<0.1%": percent(0.0001), "2.1%": percent(0.021), "10%": percent(0.0996), ">99%": percent(0.9999), "100%": percent(1),
		"99%": done(999, 1000), "0.90ms": latency(900 * time.Microsecond), "9.5ms": latency(9500 * time.Microsecond), "210ms": latency(210 * time.Millisecond),
		"1.43s": latency(1430 * time.Millisecond), "1m35s": latency(95 * time.Second), "2h05m": span(2*time.Hour + 5*time.Minute), "3d04h": span(76 * time.Hour),
		"1,433": figure(1432.6), "100": figure(99.96), "99.9": figure(99.94), "10.0": figure(9.996), "0.05": figure(0.05),
		"0/s": rate(0), "1.00/s": rate(1), "30.0/min": rate(0.5), "14.4/h": rate(0.004),
		"''": quote(""), "a,b": quote("a,b"), "'a b'": quote("a b"), `'it'\''s'`: quote("it's"), "'$x'": quote("$x"),
		`a\x1b[0m\n…`: plain("a\x1b[0m\nmore", 6), "ü": plain("ü", 10), "…": plain("ü", 1),
	} {
		if strings.Replace(want, "0.90ms", "0.9ms", 1) != got {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
