package spend

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/pipeline"
)

// A process that is gone leaves its holds spent, wherever the file was cut; the end of a call that is lost
// costs no less.
func TestCutAtEveryByte(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, FileName)
	l := open(t, options(t, path))
	begin, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	least := map[int]int64{} // by the size of the file: what it must say at least
	note := func() {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		s := l.Spent()
		least[int(info.Size())] = s.Money + s.HeldMoney
	}
	var flying []pipeline.Hold
	for i := range 12 {
		flying = append(flying, takeOn(t, l))
		note()
		if i%3 == 2 {
			flying[i-1].Settle(plain, answer(pipeline.Usage{InputTokens: 5, OutputTokens: 5}))
			note()
			flying[i].Release()
			note()
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want int64
	for cut := len(begin); cut <= len(whole); cut++ {
		if v, ok := least[cut]; ok {
			want = v
		}
		tails := [][]byte{nil, {0, 0, 0}} // a power cut may leave zeros
		if end := bytes.IndexByte(whole[cut:], '\n'); end > 0 {
			tails = append(tails, append(make([]byte, end), '\n')) // and the end of a line whose middle was not written
		}
		for _, tail := range tails {
			if err := os.WriteFile(path, append(bytes.Clone(whole[:cut]), tail...), 0o600); err != nil {
				t.Fatal(err)
			}
			next := &Ledger{opt: options(t, path), open: map[int64]pipeline.Charge{}} // as Open does before it writes, for the sake of time
			if _, err := next.replay(); err != nil {
				t.Fatalf("cut at byte %d, then %d bytes: %v", cut, len(tail), err)
			}
			if s := next.Spent(); s.Money != want || s.HeldMoney != 0 {
				t.Fatalf("cut at byte %d, then %d bytes: %d are spent and %d held, want %d and none", cut, len(tail), s.Money, s.HeldMoney, want)
			}
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if s := open(t, options(t, path)).Spent(); s.Money != want {
		t.Errorf("%d are spent, want %d", s.Money, want)
	}
	if after, _ := os.ReadFile(path); bytes.Count(after, []byte("\n")) != 1 {
		t.Errorf("the file was not replaced by its sums:\n%s", after)
	}
}

// What cannot be believed is refused, and left as it is.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	l := open(t, options(t, path))
	takeOn(t, l)
	takeOn(t, l)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.IndexByte(whole, '\n') + 1
	second := first + bytes.IndexByte(whole[first:], '\n') + 1
	changed := func(at int) []byte {
		data := bytes.Clone(whole)
		data[at] ^= 1
		return data
	}
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	damaged := map[string]string{ // and the line of it
		"damaged in the middle":                 ":2:",
		"damaged in its last line":              ":3:",
		"cut inside a line in the middle":       ":2:",
		"cut from inside a line to another":     ":2:",
		"cut from inside a line to the newline": ":3:",
		"one line and a half that is whole":     ":4:",
	}
	for name, data := range map[string][]byte{
		"damaged in the middle":                 changed(first + 12),
		"damaged in its last line":              changed(len(whole) - 5),
		"cut inside a line in the middle":       join(whole[:first+20], whole[second:]),
		"cut from inside a line to another":     join(whole[:first+20], whole[second+25:]),
		"cut from inside a line to the newline": join(whole[:second+20], []byte("\n")),
		"one line and a half that is whole":     join(whole, whole[first:first+20], []byte("\n")),

		"empty": {}, "without its sums": whole[first:],
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(options(t, path))
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if place := damaged[name]; place != "" && (!errors.Is(err, journal.ErrCorrupt) || !strings.Contains(err.Error(), path+place)) {
			t.Errorf("%s: %v, want %v in %s", name, err, journal.ErrCorrupt, place)
		}
		if after, _ := os.ReadFile(path); !bytes.Equal(after, data) {
			t.Errorf("%s: the file was changed", name)
		}
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	other := options(t, path)
	other.Currency = "EUR"
	if _, err := Open(other); err == nil || !strings.Contains(err.Error(), "USD") {
		t.Errorf("in another currency: %v", err)
	}
}

// A file that was cut in its middle, with all that came after, reads like one whose end is torn. It has less than the rows then, and
// these count; a file that is as a crash leaves it never has.
func TestLessThanTheRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	l := open(t, options(t, path))
	for range 4 {
		takeOn(t, l).Settle(plain, answer(pipeline.Usage{InputTokens: 40, OutputTokens: 10}))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(whole, []byte("\n")) // the sums, then the hold and the end of each call
	upTo := func(n int) []byte { return append(bytes.Join(lines[:n], nil), lines[n][:20]...) }
	rows := pipeline.Usage{InputTokens: 100, OutputTokens: 40, CacheReadInputTokens: 60}
	for name, tt := range map[string]struct {
		data          []byte
		money, tokens int64 // of money micro
		said          string
	}{
		"whole":                       {whole, 4 * (40*3 + 10*15), 200, ""},
		"its last end lost":           {upTo(8), 3*(40*3+10*15) + askMoney/micro, 350, ""},
		"cut in the middle of a line": {upTo(3), 40*3 + 10*15 + 120*6 + 30*15, 200, "150 tokens more"},
	} {
		if err := os.WriteFile(path, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		said := ""
		o := options(t, path)
		o.Rows.All = rows
		o.Notice = func(s string) { said += s }
		if s := open(t, o).Spent(); s.Money != tt.money*micro || s.Tokens != tt.tokens || !strings.Contains(said, tt.said) || (said == "") != (tt.said == "") {
			t.Errorf("%s: %d micro and %d tokens are spent, want %d and %d; said: %q", name, s.Money/micro, s.Tokens, tt.money, tt.tokens, said)
		}
	}
}

// A call is not sent when its hold could not be written.
func TestFullDisk(t *testing.T) {
	full := false
	o := options(t, filepath.Join(t.TempDir(), FileName))
	o.MaxMoney = 1 << 60 // without a bound nothing stops
	o.FS = &atomicfile.FS{Fault: func(op atomicfile.Op, _ string, _ int64) (int, error) {
		if full {
			return 3, errors.New("no space left on device")
		}
		return 0, nil
	}}
	l := open(t, o)
	kept := takeOn(t, l)
	full = true
	c, _ := l.Most(caching)
	r := l.Hold(c)
	if err := r.Journal(); err == nil {
		t.Fatal("Journal on a full disk says nothing")
	}
	r.Release()
	full = false
	takeOn(t, l).Settle(plain, answer(pipeline.Usage{InputTokens: 1, OutputTokens: 1}))
	kept.Keep()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = nil
	if s := open(t, o).Spent(); s.Money != askMoney+18*micro {
		t.Errorf("spent %d, want a call that was kept and one that cost 18 micro", s.Money)
	}
}

// Without a bound a full disk stops no call, and is told once. What could not be noted is in the file as soon as it can be.
func TestFullDiskWithoutABound(t *testing.T) {
	for _, more := range []bool{false, true} { // another call finds the disk well, or only Close does
		full := false
		o := options(t, filepath.Join(t.TempDir(), FileName))
		var told []string
		o.Notice = func(s string) { told = append(told, s) }
		o.FS = &atomicfile.FS{Fault: func(atomicfile.Op, string, int64) (int, error) {
			if full {
				return 3, errors.New("no space left on device")
			}
			return 0, nil
		}}
		l := open(t, o)
		full = true
		takeOn(t, l).Keep()
		takeOn(t, l).Keep()
		if full = false; more {
			takeOn(t, l).Keep()
		}
		want := l.Spent().Money
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if len(told) != 1 || !strings.Contains(told[0], "no space left") {
			t.Errorf("told %q, want the fault once", told)
		}
		o.FS = nil
		if s := open(t, o).Spent(); s.Money != want || want < 2*askMoney {
			t.Errorf("more calls %v: the file tells of %d, want %d", more, s.Money, want)
		}
	}
}

// Holds that come at the same time share an fsync.
func TestGroups(t *testing.T) {
	const calls = 100
	var l *Ledger // nil while it opens
	syncs := 0    // one after the other, as the ledger's disk is locked
	o := options(t, filepath.Join(t.TempDir(), FileName))
	o.FS = &atomicfile.FS{Fault: func(op atomicfile.Op, _ string, _ int64) (int, error) {
		if op != atomicfile.OpSync || l == nil {
			return 0, nil
		}
		syncs++
		for waiting := true; waiting; runtime.Gosched() { // it takes until all the others have come
			l.mu.Lock()
			waiting = l.lastID < calls
			l.mu.Unlock()
		}
		return 0, nil
	}}
	l = open(t, o)
	var all sync.WaitGroup
	for range calls {
		all.Go(func() { takeOn(t, l).Settle(plain, answer(pipeline.Usage{InputTokens: 1, OutputTokens: 1})) })
	}
	all.Wait()
	if syncs > 2 {
		t.Errorf("%d fsyncs for %d holds at the same time, want one for the first and one for the rest", syncs, calls)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	o.FS = nil
	if s := open(t, o).Spent(); s.Money != calls*18*micro || s.UnsureMoney != 0 {
		t.Errorf("after all: %+v", s)
	}
}

// The file does not grow without end within a session either, and nothing is lost when it is replaced.
func TestReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	l := open(t, options(t, path))
	flying := takeOn(t, l)
	const calls = 300
	for i := range calls {
		l.limit = 2000
		r := takeOn(t, l)
		if i%2 == 0 {
			r.Keep()
		} else {
			r.Settle(plain, answer(pipeline.Usage{InputTokens: 1, OutputTokens: 1}))
		}
	}
	if info, err := os.Stat(path); err != nil || info.Size() > 4000 {
		t.Errorf("the file has %d bytes: %v", info.Size(), err)
	}
	want := int64(calls/2*askMoney + calls/2*18*micro + askMoney)
	if s := l.Spent(); s.Money+s.HeldMoney != want {
		t.Errorf("%+v, want %d in all", s, want)
	}
	if s := open(t, options(t, path)).Spent(); s.Money != want {
		t.Errorf("opened beside it: %+v, want %d", s, want)
	}
	flying.Release()
}

// A file that cannot be replaced goes on as it is, and the call that met it is not sent.
func TestNotReplaced(t *testing.T) {
	broken := false
	o := options(t, filepath.Join(t.TempDir(), FileName))
	o.MaxMoney = 1 << 60 // without a bound nothing stops
	o.FS = &atomicfile.FS{Fault: func(op atomicfile.Op, _ string, _ int64) (int, error) {
		if broken && op == atomicfile.OpRename {
			return 0, errors.New("not now")
		}
		return 0, nil
	}}
	l := open(t, o)
	takeOn(t, l).Keep()
	l.limit, broken = 1, true
	c, _ := l.Most(caching)
	r := l.Hold(c)
	if err := r.Journal(); err == nil {
		t.Fatal("Journal says nothing of a file that could not be replaced")
	}
	r.Release()
	l.limit = 1 << 20
	takeOn(t, l).Keep()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	broken = false
	if s := open(t, o).Spent(); s.Money != 2*askMoney {
		t.Errorf("%d are spent, want two calls of %d", s.Money, int64(askMoney))
	}
}

// While a file that was replaced cannot be opened again it takes no hold: no call goes that is not written down.
func TestReplacedAndGone(t *testing.T) {
	broken := false
	path := filepath.Join(t.TempDir(), FileName)
	o := options(t, path)
	o.MaxMoney = 1 << 60 // without a bound nothing stops
	o.FS = &atomicfile.FS{Fault: func(op atomicfile.Op, name string, _ int64) (int, error) {
		if broken && op == atomicfile.OpOpen && name == path {
			return 0, errors.New("too many open files")
		}
		return 0, nil
	}}
	l := open(t, o)
	takeOn(t, l).Keep()
	l.limit, broken = 1, true
	c, _ := l.Most(caching)
	for range 2 {
		r := l.Hold(c)
		if err := r.Journal(); err == nil {
			t.Error("Journal says nothing of a file that could not be opened again")
		}
		r.Release()
	}
	broken = false
	takeOn(t, l).Keep()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := open(t, o).Spent(); s.Money < 2*askMoney || s.Money > 3*askMoney {
		t.Errorf("%d are spent, want the calls before and after, and at most the one that met it", s.Money)
	}
}

// The file is replaced while other calls hold and end.
func TestReplacedMeanwhile(t *testing.T) {
	o := options(t, filepath.Join(t.TempDir(), FileName))
	l := open(t, o)
	l.limit = 1
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { takeOn(t, l).Settle(plain, answer(pipeline.Usage{InputTokens: 1, OutputTokens: 1})) })
	}
	all.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := open(t, o).Spent(); s.Money != 50*18*micro || s.UnsureMoney != 0 {
		t.Errorf("after all: %+v", s)
	}
}

// What sessions that did not count have spent is known from their rows, and counts once; what was counted without prices gets them
// as soon as there are some.
func TestEarlierSessions(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	var notes []string
	session := func(priced bool, rows Rows) Spent {
		t.Helper()
		o := Options{Path: path, Most: ask, Rows: rows, Notice: func(s string) { notes = append(notes, s) }}
		if priced {
			o.Meter, o.Currency = prices(t), "USD"
		}
		l := open(t, o)
		s := l.Spent()
		takeOn(t, l).Keep()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return s
	}
	rows := pipeline.Usage{InputTokens: 1000, OutputTokens: 100}
	more := pipeline.Usage{InputTokens: 1500, OutputTokens: 150}
	// 6 is the dearest price of input: whether it was written to a cache for an hour is not known any more.
	steps := []struct {
		priced bool
		rows   Rows
		want   int64 // micro
		tokens int64
	}{
		{false, Rows{All: rows, Uncounted: rows}, 0, 1100},
		{false, Rows{All: rows, Uncounted: rows}, 0, 1300},
		{true, Rows{All: rows, Uncounted: rows}, 1200*6 + 300*15, 1500},
		{false, Rows{All: more, Uncounted: more}, 1200*6 + 300*15 + 2100, 1700 + 550},
		{true, Rows{All: more, Uncounted: more}, 1200*6 + 300*15 + 2100 + 600*6 + 150*15, 1900 + 550},
	}
	for i, step := range steps {
		if s := session(step.priced, step.rows); s.Money != step.want*micro || s.Tokens != step.tokens {
			t.Errorf("session %d begins with %d micro and %d tokens, want %d and %d", i+1, s.Money/micro, s.Tokens, step.want, step.tokens)
		}
	}
	if len(notes) != 2 || !strings.Contains(notes[0], "1,100 tokens") || !strings.Contains(notes[1], "550 tokens") {
		t.Errorf("said: %q", notes)
	}
}

// TestAnotherVersion: an entry with a field that nobody knows may hold what counts, so it is refused and not passed over.
func TestAnotherVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	l := open(t, options(t, path))
	takeOn(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(path, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(j.Append(map[string]any{"reserved": []mark{{ID: 7}}}), j.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = Open(options(t, path))
	if refused, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(err.Error(), "another version") {
		t.Errorf("opened with %v (%v), want it refused as of another version", err, refused)
	}
}
