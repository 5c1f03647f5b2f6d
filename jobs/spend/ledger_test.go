package spend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

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
