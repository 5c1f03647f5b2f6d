package learned

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/ratelimit"
)

var (
	key = Key{Account: "0123456789ab", Region: "us-east-1", Model: "m"}
	now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
)

func entry(tpm float64, at time.Time) Entry {
	return Entry{At: at, Learned: ratelimit.Learned{TokensPerMinute: tpm}}
}

func save(t *testing.T, s Store, k Key, e Entry) {
	t.Helper()
	if err := s.Save(k, e); err != nil {
		t.Fatal(err)
	}
}

func TestDir(t *testing.T) {
	for name, tt := range map[string]struct{ xdg, home, want string }{
		"the state home":            {"/xdg", "/home/a", "/xdg/batchrun"},
		"the usual place":           {"", "/home/a", "/home/a/.local/state/batchrun"},
		"a relative one is ignored": {"state", "/home/a", "/home/a/.local/state/batchrun"},
		"nothing is known":          {"", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"XDG_STATE_HOME": tt.xdg, "HOME": tt.home}
			if got := Dir(func(k string) string { return env[k] }); got != filepath.FromSlash(tt.want) {
				t.Errorf("Dir = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestKeptForItsKeyAndForAWeek(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "home", "state", "batchrun")}
	if _, ok, err := s.Load(key, now); ok || err != nil {
		t.Fatalf("Load of nothing: %v, %v", ok, err)
	}
	want := Entry{At: now, Learned: ratelimit.Learned{TokensPerMinute: 118_000.5, RequestsPerMinute: 20, Concurrency: 7, Strict: true}}
	save(t, s, key, entry(1, now.Add(-time.Hour)))
	save(t, s, key, want)
	for name, tt := range map[string]struct {
		key Key
		at  time.Time
		ok  bool
	}{
		"at once":          {key, now, true},
		"six days later":   {key, now.Add(6 * 24 * time.Hour), true},
		"a week later":     {key, now.Add(MaxAge), false},
		"a clock set back": {key, now.Add(-2 * time.Hour), false},
		"another account":  {Key{"x", "", "us-east-1", "m"}, now, false},
		"another endpoint": {Key{key.Account, "http://x", "us-east-1", "m"}, now, false},
		"another region":   {Key{key.Account, "", "us-west-2", "m"}, now, false},
		"another model":    {Key{key.Account, "", "us-east-1", "m2"}, now, false},
	} {
		got, ok, err := s.Load(tt.key, tt.at)
		if ok != tt.ok || err != nil || ok && got != want {
			t.Errorf("%s: Load = %+v, %v, %v, want %v", name, got, ok, err, tt.ok)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	for path, want := range map[string]os.FileMode{s.Dir: 0o700, s.path(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info.Mode(), err, want)
		}
	}
}

func TestOldOnesAreDropped(t *testing.T) {
	s := Store{t.TempDir()}
	c := contents{Version: version, Learned: []kept{{Key{Model: "old"}, entry(1, now)}}}
	for n := range maxKept + 10 {
		c.Learned = append(c.Learned, kept{Key{Model: fmt.Sprint(n)}, entry(1, now.Add(MaxAge+time.Duration(n)*time.Second))})
	}
	data, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.path(), data, 0o600); err != nil {
		t.Fatal(err)
	}
	save(t, s, key, entry(1, now.Add(MaxAge+time.Hour)))
	all, err := s.read()
	if err != nil || len(all) != maxKept || all[0].Model != "11" || all[maxKept-1].Key != key {
		t.Errorf("%d entries kept, the first %+v, %v; want the last %d", len(all), all[0], err, maxKept)
	}
}

func TestWhatIsNotFoundAgainStays(t *testing.T) {
	type value = ratelimit.Learned
	later := now.Add(24 * time.Hour)
	for name, tt := range map[string]struct {
		was, is, want value
		at            time.Time
	}{
		"found again":             {value{TokensPerMinute: 5}, value{TokensPerMinute: 7}, value{TokensPerMinute: 7}, later},
		"all of it":               {value{TokensPerMinute: 5, Concurrency: 24}, value{TokensPerMinute: 7, Concurrency: 30}, value{TokensPerMinute: 7, Concurrency: 30}, later},
		"only another":            {value{TokensPerMinute: 5}, value{Concurrency: 24}, value{TokensPerMinute: 5, Concurrency: 24}, now},
		"requests after tokens":   {value{TokensPerMinute: 5}, value{RequestsPerMinute: 24}, value{TokensPerMinute: 5, RequestsPerMinute: 24}, now},
		"only strict":             {value{TokensPerMinute: 5, Strict: true}, value{Strict: true}, value{TokensPerMinute: 5, Strict: true}, now},
		"strict, which was known": {value{Strict: true}, value{Strict: true}, value{Strict: true}, now},
		"strict, which is new":    {value{TokensPerMinute: 5}, value{Strict: true}, value{TokensPerMinute: 5, Strict: true}, now},
		"strict no more":          {value{TokensPerMinute: 5, Strict: true}, value{TokensPerMinute: 6}, value{TokensPerMinute: 6}, later},
	} {
		s := Store{t.TempDir()}
		save(t, s, key, Entry{now, tt.was})
		save(t, s, key, Entry{later, tt.is})
		if got, ok, err := s.Load(key, later); !ok || err != nil || got != (Entry{tt.at, tt.want}) {
			t.Errorf("%s: Load = %+v, %v, %v, want %+v of %v", name, got, ok, err, tt.want, tt.at)
		}
	}
}

// What others have learned is not lost because the file cannot be read just now.
func TestUnreadableIsNotReplaced(t *testing.T) {
	s := Store{t.TempDir()}
	if err := os.Mkdir(s.path(), 0o700); err != nil {
		t.Fatal(err)
	}
	err := s.Save(key, entry(1, now))
	if !errors.Is(err, atomicfile.ErrNotRegular) { // which the read says; a rename would fail otherwise
		t.Errorf("Save = %v", err)
	}
}

func TestDamageIsIgnoredAndReplaced(t *testing.T) {
	for name, data := range map[string]string{
		"empty":           "",
		"not JSON":        "{\"version\":1,\"learned\":[{\"acc",
		"another version": `{"version":2,"learned":[]}`,
		"a huge file":     strings.Repeat(" ", maxSize) + "{}",
		"another type":    `{"version":1,"learned":[{"tokensPerMinute":"many"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			s := Store{t.TempDir()}
			if err := os.WriteFile(s.path(), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, ok, err := s.Load(key, now); ok || err == nil || !strings.Contains(err.Error(), s.path()) {
				t.Errorf("Load = %v, %v, want an error that names the file", ok, err)
			}
			save(t, s, key, entry(5, now))
			if got, ok, err := s.Load(key, now); !ok || err != nil || got != entry(5, now) {
				t.Errorf("after Save: %+v, %v, %v", got, ok, err)
			}
		})
	}
}

func TestValuesThatCannotBeDoNotCount(t *testing.T) {
	for _, l := range []string{`"tokensPerMinute":-1`, `"requestsPerMinute":-1,"tokensPerMinute":5`, `"concurrency":-3`, `"tokensPerMinute":1e300`, `"tokensPerMinute":0.0001`, `"concurrency":2000000000000`, `"strict":false`} {
		s := Store{t.TempDir()}
		data := `{"version":1,"learned":[{"account":"0123456789ab","region":"us-east-1","model":"m","at":"2026-01-02T03:04:05Z",` + l + `}]}`
		if err := os.WriteFile(s.path(), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, ok, err := s.Load(key, now); ok || err != nil {
			t.Errorf("%s: Load = %+v, %v, %v, want nothing", l, got, ok, err)
		}
	}
}

// Two runs that end at the same moment do not lose each other's values, and no reader ever finds half a file.
func TestWritersAtOnce(t *testing.T) {
	s := Store{filepath.Join(t.TempDir(), "batchrun")}
	save(t, s, key, entry(1, now))
	const writers = 4
	var wg sync.WaitGroup
	for n := range writers {
		wg.Go(func() {
			for round := range 3 {
				if err := s.Save(Key{Model: fmt.Sprint(n)}, entry(float64(round+1), now)); err != nil {
					t.Error(err)
				}
				if _, ok, err := s.Load(key, now); !ok || err != nil {
					t.Errorf("Load meanwhile: %v, %v", ok, err)
				}
			}
		})
	}
	wg.Wait()
	for n := range writers {
		if got, ok, err := s.Load(Key{Model: fmt.Sprint(n)}, now); !ok || err != nil || got.TokensPerMinute != 3 {
			t.Errorf("writer %d: %+v, %v, %v, want its last value", n, got, ok, err)
		}
	}
}

func TestKeptNowAndThenAndAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Store{filepath.Join(t.TempDir(), "batchrun")}
		var learned atomic.Pointer[ratelimit.Learned]
		learns := func(tpm float64) { learned.Store(&ratelimit.Learned{TokensPerMinute: tpm}) }
		learns(0)
		over, ended := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(ended)
			s.Keep(key, func() ratelimit.Learned { return *learned.Load() }, over, func(err error) { t.Error(err) })
		}()
		want := func(after time.Duration, tpm float64) {
			t.Helper()
			time.Sleep(after)
			synctest.Wait()
			if got, _, err := s.Load(key, time.Now()); err != nil || got.TokensPerMinute != tpm {
				t.Errorf("kept %v, %v, want %v", got.TokensPerMinute, err, tpm)
			}
		}
		want(6*time.Minute, 0)
		learns(100)
		want(time.Minute, 0)
		want(3*time.Minute+time.Second, 100)
		learns(0) // nothing is known any more: no reason to forget
		want(5*time.Minute, 100)
		learns(200)
		close(over)
		<-ended
		want(0, 200)
	})
}

func TestAFolderThatCannotBeIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		over, told := make(chan struct{}), 0
		time.AfterFunc(time.Hour, func() { close(over) })
		Store{file}.Keep(key, func() ratelimit.Learned { return ratelimit.Learned{Concurrency: 1} }, over, func(error) { told++ })
		if told != 1 {
			t.Errorf("told %d times in an hour, want once", told)
		}
	})
}

func TestWithoutAFolderNothingIsKept(t *testing.T) {
	var s Store
	save(t, s, key, entry(1, now))
	if _, ok, err := s.Load(key, now); ok || err != nil {
		t.Errorf("Load = %v, %v, want nothing", ok, err)
	}
}

func TestSymlinksAreRefused(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("symlinks need a privilege there")
	}
	dir := t.TempDir()
	theirs := filepath.Join(dir, "theirs")
	if err := os.WriteFile(theirs, []byte(`{"version":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	s := Store{filepath.Join(dir, "batchrun")}
	save(t, s, key, entry(1, now))
	if err := os.Remove(s.path()); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(theirs, s.path()); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.Load(key, now); ok || err == nil {
		t.Errorf("Load through a symlink: %v, %v, want an error", ok, err)
	}
	save(t, s, key, entry(2, now)) // takes its place
	if data, err := os.ReadFile(theirs); err != nil || string(data) != `{"version":1}` {
		t.Errorf("the file behind the symlink is %q, %v", data, err)
	}
}
