// Package learned remembers from one run to the next what refusals have taught of quotas that nobody stated.
//
// One file, learned.json, holds all of it for a user, in the folder that [Dir] names. It has mode 0600 in a folder of mode
// 0700 and is replaced whole; a lock beside it keeps two runs that end at once from losing each other's values. What is older
// than [MaxAge] does not count: quotas move. No credential is in it; see [Key].
package learned

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/ratelimit"
)

const (
	// MaxAge is how long a value counts.
	MaxAge = 7 * 24 * time.Hour

	fileName = "learned.json"
	lockName = "learned.lock"
	version  = 1
	lockWait = 5 * time.Second // far longer than any writer takes
	maxSize  = 1 << 20         // bytes; far more than maxKept entries take
	maxKept  = 256             // entries; the oldest go first

	leastRate = 0.01 // a minute
	mostRate  = 1e12
)

// Dir is the folder for what is remembered, by the XDG base directory specification
// (https://specifications.freedesktop.org/basedir-spec/latest/): $XDG_STATE_HOME/batchrun, else $HOME/.local/state/batchrun. It
// is "" where neither is known: then nothing is kept. getenv is [os.Getenv].
func Dir(getenv func(string) string) string {
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) { // relative ones are to be ignored, says the specification
		return filepath.Join(dir, "batchrun")
	}
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "batchrun")
	}
	return ""
}

// A Key says whose quota it is: quotas are per account, Region and model.
type Key struct {
	Account  string `json:"account"` // a hash that tells accounts apart, never a credential
	Endpoint string `json:"endpoint,omitempty"`
	Region   string `json:"region"`
	Model    string `json:"model"` // model id, inference profile or ARN, as it was named
}

// An Entry is what was learned, and when.
type Entry struct {
	At time.Time `json:"at"`
	ratelimit.Learned
}

// counts tells whether an entry may be used at a time.
func (e *Entry) counts(now time.Time) bool {
	l := &e.Learned
	return now.Sub(e.At) < MaxAge && e.At.Sub(now) < time.Hour && // clocks are set now and then
		thinkable(l.TokensPerMinute) && thinkable(l.RequestsPerMinute) && thinkable(float64(l.Concurrency)) && *l != ratelimit.Learned{}
}

// thinkable says whether a quota may be so much, or is not known. What is far off was written by hand, and would only cost time.
func thinkable(x float64) bool { return x == 0 || x >= leastRate && x <= mostRate }

// after is what to keep where earlier was kept until now. A run that found out nothing of a quota does not contradict who did; but
// what it takes over is no younger for it, and neither is a Strict that it may have from there.
func (e Entry) after(earlier Entry) Entry {
	l, before := &e.Learned, earlier.Learned
	found := *l != ratelimit.Learned{Strict: before.Strict}
	whole := *l
	l.TokensPerMinute = cmp.Or(l.TokensPerMinute, before.TokensPerMinute)
	l.RequestsPerMinute = cmp.Or(l.RequestsPerMinute, before.RequestsPerMinute)
	l.Concurrency = cmp.Or(l.Concurrency, before.Concurrency)
	if !found || *l != whole {
		e.At = earlier.At
	}
	return e
}

// errDamaged is of a file that was read, and is not what this version writes.
var errDamaged = errors.New("damaged, or of another version")

// A Store keeps what is learned in a folder. Its methods may be called concurrently, by several processes.
type Store struct {
	Dir string // see the function of that name; "" keeps nothing and is no error
}

type kept struct {
	Key
	Entry
}

type contents struct {
	Version int    `json:"version"`
	Learned []kept `json:"learned"`
}

// Load finds what was learned for a key. ok is false where there is nothing that counts; an error says why a file that
// is there cannot be used; a damaged one [Store.Save] will replace.
func (s Store) Load(k Key, now time.Time) (e Entry, ok bool, err error) {
	if s.Dir == "" {
		return Entry{}, false, nil
	}
	all, err := s.read()
	if err != nil {
		return Entry{}, false, err
	}
	for i := range all {
		if all[i].Key == k && all[i].counts(now) {
			return all[i].Entry, true, nil
		}
	}
	return Entry{}, false, nil
}

// Save keeps e for k, with what was kept before where e says nothing: that has the age of the oldest part. It drops what is too old,
// and begins anew where the file is damaged, or a symlink. The folder is made if it is not there. A file that cannot be read stays as it is.
func (s Store) Save(k Key, e Entry) error {
	if s.Dir == "" {
		return nil
	}
	if err := makeFolder(s.Dir); err != nil {
		return err
	}
	unlock, err := s.lock()
	if err != nil {
		return err
	}
	defer unlock()
	all, err := s.read()
	if err != nil && !errors.Is(err, errDamaged) && !errors.Is(err, atomicfile.ErrSymlink) {
		return err // it may have what others have learned
	}
	now := e.At.UTC().Truncate(time.Second)
	e.At = now
	all = slices.DeleteFunc(all, func(x kept) bool { return !x.counts(now) })
	if i := slices.IndexFunc(all, func(x kept) bool { return x.Key == k }); i >= 0 {
		e = e.after(all[i].Entry)
	}
	all = slices.DeleteFunc(all, func(x kept) bool { return x.Key == k })
	all = append(all, kept{k, e})
	slices.SortStableFunc(all, func(a, b kept) int { return a.At.Compare(b.At) })
	if n := len(all) - maxKept; n > 0 {
		all = all[n:]
	}
	return atomicfile.Write(s.path(), 0o600, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(contents{version, all})
	})
}

// saveEvery is how much of what it has learned a run loses at most when it is killed.
const saveEvery = 5 * time.Minute

// Keep saves for k what l tells, every five minutes and once over is closed, and returns after that; a zero value is nothing to
// save. failed is told of the first error.
func (s Store) Keep(k Key, l func() ratelimit.Learned, over <-chan struct{}, failed func(error)) {
	told := false
	save := func() {
		now := l()
		if now == (ratelimit.Learned{}) {
			return
		}
		if err := s.Save(k, Entry{At: time.Now(), Learned: now}); err != nil && !told {
			told = true
			failed(err)
		}
	}
	tick := time.NewTicker(saveEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			save()
		case <-over:
			save()
			return
		}
	}
}

func (s Store) path() string { return filepath.Join(s.Dir, fileName) }

// read gives all entries there are; none where there is no file.
func (s Store) read() ([]kept, error) {
	f, err := (*atomicfile.FS)(nil).OpenPrivate(s.path(), os.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSize))
	if err != nil {
		return nil, err
	}
	var c contents
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", s.path(), errDamaged, err)
	}
	if c.Version != version {
		return nil, fmt.Errorf("%s: %w: its version is %d, not %d", s.path(), errDamaged, c.Version, version)
	}
	return c.Learned, nil
}

// lock keeps other writers away until unlock is called.
func (s Store) lock() (unlock func(), err error) {
	lock := flock.New(filepath.Join(s.Dir, lockName), flock.SetFlag(os.O_CREATE|os.O_RDWR|atomicfile.NoFollow), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), lockWait)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", lock.Path(), err)
	}
	return func() { _ = lock.Unlock() }, nil // it ends with the process at the latest
}

// makeFolder makes the folder, for its owner alone.
func makeFolder(dir string) error {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	err := (*atomicfile.FS)(nil).MkdirPrivate(dir)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s: not a folder", dir)
	case info.Mode().Perm() != 0o700:
		return os.Chmod(dir, 0o700)
	}
	return nil
}
