package spend

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/pipeline"
)

// prices are 3 and 15 a million, from the cache 0.3, to it 4 for five minutes and 6 for an hour.
func prices(t testing.TB) func(time.Time) price.Meter {
	t.Helper()
	table, err := price.Load("p", []byte("currency: USD\nper: 1000000\nprices:\n  - {model: m, input: 3, output: 15, cache_read: 0.3, cache_write_5m: 4, cache_write_1h: 6}\n"))
	if err != nil {
		t.Fatal(err)
	}
	m, _ := table.Entries[0].Meter(1)
	return func(time.Time) price.Meter { return m }
}

const micro = price.Pico / 1_000_000

// ask is what every request of these tests may be billed at most: 100 tokens in, 100 out, 2,100 micro of money.
func ask(*pipeline.Request) (input, output int64, err error) { return 100, 100, nil }

const askMoney = (100*6 + 100*15) * micro

func options(t testing.TB, path string) Options {
	return Options{Path: path, Currency: "USD", Meter: prices(t), Most: ask}
}

func open(t testing.TB, o Options) *Ledger {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// takeOn takes on one request, which must fit, and makes that durable.
func takeOn(t testing.TB, l *Ledger) pipeline.Hold {
	t.Helper()
	c, err := l.Most(caching)
	if err != nil {
		t.Fatal(err)
	}
	r := l.Hold(c)
	if r == nil {
		t.Fatalf("no room for %+v in %+v", c, l.Spent())
	}
	if err := r.Journal(); err != nil {
		t.Fatal(err)
	}
	return r
}

func answer(u pipeline.Usage) *pipeline.Response { return &pipeline.Response{Text: "x", Usage: u} }

var (
	plain   = &pipeline.Request{Body: []byte(`{}`)}
	caching = &pipeline.Request{Body: []byte(`{"cache_control":{}}`)}
)

// Only who writes to a cache is billed for it.
func TestMost(t *testing.T) {
	l := open(t, options(t, ""))
	for req, want := range map[*pipeline.Request]int64{plain: 100*3 + 100*15, caching: 100*6 + 100*15} {
		if c, err := l.Most(req); err != nil || c != (pipeline.Charge{Money: want * micro, Input: 100, Output: 100}) {
			t.Errorf("%s: %+v, %v, want %d micro", req.Body, c, err, want)
		}
	}
}

// What a call costs depends on how it ended.
func TestEnds(t *testing.T) {
	used := pipeline.Usage{InputTokens: 10, OutputTokens: 4}
	tests := map[string]struct {
		end           func(pipeline.Hold)
		money, unsure int64 // micro
		tokens        int64
	}{
		"an answer costs what it used":       {func(r pipeline.Hold) { r.Settle(plain, answer(used)) }, 10*3 + 4*15, 0, 14},
		"a cut call costs all it could":      {func(r pipeline.Hold) { r.Keep() }, 2100, 2100, 200},
		"a refusal costs nothing":            {func(r pipeline.Hold) { r.Release() }, 0, 0, 0},
		"only the first end counts":          {func(r pipeline.Hold) { r.Release(); r.Keep(); r.Settle(plain, answer(used)) }, 0, 0, 0},
		"an answer without counts":           {func(r pipeline.Hold) { r.Settle(plain, answer(pipeline.Usage{})) }, 2100, 2100, 200},
		"an answer whose output nobody says": {func(r pipeline.Hold) { r.Settle(plain, answer(pipeline.Usage{InputTokens: 9})) }, 2100, 2100, 200},
		"an empty answer has none": {func(r pipeline.Hold) {
			r.Settle(plain, &pipeline.Response{Usage: pipeline.Usage{InputTokens: 9}})
		}, 27, 0, 9},
		"a cache kept for five minutes": {func(r pipeline.Hold) { r.Settle(plain, answer(cached)) }, 3 + 3 + 40 + 15, 0, 22},
		"a cache kept for an hour, or partly": {func(r pipeline.Hold) {
			r.Settle(&pipeline.Request{Body: []byte(`{"ttl":"1h"}`)}, answer(cached))
		}, 3 + 3 + 60 + 15, 0, 22},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), FileName)
			l := open(t, options(t, path))
			tt.end(takeOn(t, l))
			want := Spent{Currency: "USD", Money: tt.money * micro, Tokens: tt.tokens, UnsureMoney: tt.unsure * micro}
			if tt.unsure > 0 {
				want.UnsureTokens = tt.tokens
			}
			if diff := cmp.Diff(want, l.Spent()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, open(t, options(t, path)).Spent()); diff != "" {
				t.Errorf("opened again (-want +got):\n%s", diff)
			}
		})
	}
}

var cached = pipeline.Usage{InputTokens: 1, OutputTokens: 1, CacheReadInputTokens: 10, CacheWriteInputTokens: 10}

// That a call was billed more than its most is said once, in what it was more of.
func TestBilledMoreThanItsMost(t *testing.T) {
	for want, used := range map[string]pipeline.Usage{
		"a call was billed 1,001 tokens, more than the 200 ":  {InputTokens: 1000, OutputTokens: 1},
		"a call was billed 0.0019 USD, more than the 0.0018 ": {CacheWriteInputTokens: 100, OutputTokens: 100}, // a write that nobody has asked for
	} {
		var notes []string
		o := options(t, "")
		o.Notice, o.MaxTokens = func(s string) { notes = append(notes, s) }, 1_000_000
		l := open(t, o)
		for range 2 {
			c, _ := l.Most(plain)
			l.Hold(c).Settle(plain, answer(used))
		}
		if len(notes) != 1 || !strings.HasPrefix(notes[0], want) {
			t.Errorf("said %q, want %q once", notes, want)
		}
	}
}

// While calls are in flight a call may have to wait; that it never can go is said as soon as it is so.
func TestRoom(t *testing.T) {
	for _, bound := range []Options{{MaxMoney: 5 * askMoney / 2}, {MaxTokens: 500}} {
		o := options(t, "")
		o.MaxMoney, o.MaxTokens = bound.MaxMoney, bound.MaxTokens
		l := open(t, o)
		c, _ := l.Most(caching)
		room := func(want pipeline.Room) {
			t.Helper()
			if got := l.Room(c); got != want {
				t.Errorf("room %v, want %v in %+v", got, want, l.Spent())
			}
			if r := l.Hold(c); (r != nil) != (want == pipeline.RoomNow) {
				t.Errorf("Hold = %v where room is %v", r, want)
			} else if r != nil {
				r.Release()
			}
		}
		first, second := takeOn(t, l), takeOn(t, l)
		room(pipeline.RoomLater)
		first.Settle(plain, answer(pipeline.Usage{InputTokens: 10, OutputTokens: 10}))
		room(pipeline.RoomNow)
		second.Keep()
		room(pipeline.RoomNow)
		takeOn(t, l).Keep()
		room(pipeline.RoomNever)
		if s := l.Stop("in.jsonl:7", c); !strings.Contains(s, "in.jsonl:7") || !strings.Contains(s, "of it by calls that failed or were cut") {
			t.Error(s)
		}
	}
}

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

// Whatever calls do, and whenever the process is gone: what has been billed never passes the bound, and a count that is opened
// again knows of all of it.
func TestNeverPassed(t *testing.T) {
	dir := t.TempDir()
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		o := options(t, filepath.Join(dir, fmt.Sprint(n)))
		o.MaxMoney = rapid.Int64Range(0, 30*askMoney).Draw(rt, "bound")
		l := open(t, o)
		var billed int64 // by the service, which answers to calls of dead processes as well
		var flying []pipeline.Hold
		take := func(rt *rapid.T) pipeline.Hold {
			i := rapid.IntRange(0, len(flying)-1).Draw(rt, "which")
			r := flying[i]
			flying = append(flying[:i], flying[i+1:]...)
			return r
		}
		none := func() bool { return len(flying) == 0 }
		rt.Repeat(map[string]func(*rapid.T){
			"call": func(rt *rapid.T) {
				c, _ := l.Most(caching)
				if r := l.Hold(c); r != nil {
					if err := r.Journal(); err != nil {
						rt.Fatal(err)
					}
					billed += askMoney // until it is known to be less
					flying = append(flying, r)
				}
			},
			"answer": func(rt *rapid.T) {
				if none() {
					rt.Skip()
				}
				u := pipeline.Usage{InputTokens: rapid.Int64Range(1, 100).Draw(rt, "in"), OutputTokens: rapid.Int64Range(1, 100).Draw(rt, "out")}
				take(rt).Settle(plain, answer(u))
				billed += (u.InputTokens*3+u.OutputTokens*15)*micro - askMoney
			},
			"cut": func(rt *rapid.T) {
				if none() {
					rt.Skip()
				}
				take(rt).Keep()
			},
			"refuse": func(rt *rapid.T) {
				if none() {
					rt.Skip()
				}
				take(rt).Release()
				billed -= askMoney
			},
			"kill": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "really") > 0 { // opening costs time
					rt.Skip()
				}
				_ = l.journal.Close() // nothing else is written
				l, flying = open(t, o), nil
			},
			"end": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "really") > 0 {
					rt.Skip()
				}
				if err := l.Close(); err != nil {
					rt.Fatal(err)
				}
				l, flying = open(t, o), nil
			},
			"": func(rt *rapid.T) {
				s := l.Spent()
				if o.MaxMoney > 0 && billed > o.MaxMoney {
					rt.Fatalf("%d were billed, the bound is %d", billed, o.MaxMoney)
				}
				if s.Money+s.HeldMoney < billed {
					rt.Fatalf("%d were billed, the ledger knows of %d", billed, s.Money+s.HeldMoney)
				}
			},
		})
		_ = l.Close()
	})
}

func TestExactly(t *testing.T) {
	for pico, want := range map[int64]string{
		0: "0.00", 5 * price.Pico: "5.00", 4_931_200_000_000: "4.9312", 71_200_000_000: "0.0712", 1_234_567_891_234_567: "1,234.57", 1_234_500_000_000_000: "1,234.50", 12_000_000: "0.000012",
	} {
		if got := exactly(pico); got != want {
			t.Errorf("exactly(%d) = %s, want %s", pico, got, want)
		}
	}
}

// One hold and its end, with an fsync that costs nothing: what the ledger itself takes.
func BenchmarkHold(b *testing.B) {
	for name, path := range map[string]string{"memory": "", "file": filepath.Join(b.TempDir(), FileName)} {
		b.Run(name, func(b *testing.B) {
			l := open(b, options(b, path))
			for b.Loop() {
				takeOn(b, l).Settle(plain, answer(cached))
			}
		})
	}
}

// A run that has stopped stays so under the same bounds and prices, whatever smaller records there are, and says the same; under
// others it goes on.
func TestStopped(t *testing.T) {
	path := filepath.Join(t.TempDir(), FileName)
	o := options(t, path)
	o.MaxMoney = 3 * askMoney
	l := open(t, o)
	takeOn(t, l).Keep()
	small := pipeline.Charge{Money: 1}
	if l.Room(small) != pipeline.RoomNow {
		t.Fatal("no room for a small call")
	}
	said := l.Stop("in.jsonl:7", pipeline.Charge{Money: 9 * askMoney})
	for range 2 { // the file is replaced each time
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, o)
		if l.Room(small) != pipeline.RoomNever || l.Hold(small) != nil {
			t.Error("there is room in the next session")
		}
		if again := l.Stop("in.jsonl:3", small); again != said {
			t.Errorf("the next session says %q, the first said %q", again, said)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Options){
		"a higher bound": func(o *Options) { o.MaxMoney++ },
		"counted inputs": func(o *Options) { o.Counting = true },
		"one on tokens":  func(o *Options) { o.MaxTokens = 1000 },
	} {
		next := o
		next.Path = filepath.Join(t.TempDir(), FileName)
		if err := os.WriteFile(next.Path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
		change(&next)
		if open(t, next).Room(small) != pipeline.RoomNow {
			t.Errorf("%s: no room", name)
		}
	}
}
