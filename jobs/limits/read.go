package limits

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// A History is what the files of a state directory say, in the order of time.
type History struct {
	Sessions []Session `json:"sessions"`
	// Damaged names the lines that could not be read, with their places.
	Damaged []string `json:"damagedLines,omitempty"`
}

// A Session is one session of a run.
type Session struct {
	Start
	// EndedAt and Ended are how it ended; without them it was cut off, or goes on.
	EndedAt *time.Time `json:"endedAt,omitempty"`
	Ended   string     `json:"ended,omitempty"`
	// GoesOn: the process that writes it holds the run's lock. [Read] does not look; who does calls [History.HeldSince].
	GoesOn    bool       `json:"goesOn,omitempty"`
	Samples   []Sample   `json:"samples"`
	Decisions []Decision `json:"decisions"`
	// Unwritten counts the decisions that are not among Decisions, though they were made.
	Unwritten int64 `json:"unwrittenDecisions,omitempty"`
	// BoundBy are the shares of the time that requests were held back by something, from 0 to 1, as of the last sample, by the
	// [ratelimit.BoundByInput] constants.
	BoundBy map[string]float64 `json:"boundBy,omitempty"`
}

// Last is the last moment that is known of the session.
func (s *Session) Last() time.Time {
	last := s.At
	if n := len(s.Samples); n > 0 {
		last = later(last, s.Samples[n-1].At)
	}
	if n := len(s.Decisions); n > 0 {
		last = later(last, s.Decisions[n-1].At)
	}
	if s.EndedAt != nil {
		last = later(last, *s.EndedAt)
	}
	return last
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// HeldSince takes note that a process has worked on the run since then: the last session goes on if it has not ended and is not
// of an earlier process.
func (h *History) HeldSince(since time.Time) {
	if s := h.now(); s != nil && s.EndedAt == nil {
		s.GoesOn = !s.At.Before(since)
	}
}

// tooLarge is far more than a [Log] writes; what is larger is something else.
const tooLarge = 8 * maxSize

// Read reads the history in the state directory dir. It may be read while a session writes it: a half-written last line does not
// count. Lines that cannot be read are named in the history; the error is [fs.ErrNotExist] where there is no file.
func Read(dir string) (*History, error) {
	h := &History{Sessions: []Session{}}
	for _, name := range []string{Rotated, Name} {
		data, err := readFile(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) && (name == Rotated || len(h.Sessions) > 0) {
			continue // never there, or just renamed
		}
		if err != nil {
			return nil, err
		}
		h.add(name, data)
	}
	for i := range h.Sessions {
		h.Sessions[i].conclude()
	}
	return h, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, tooLarge+1))
	if err == nil && len(data) > tooLarge {
		err = fmt.Errorf("%s: larger than %d bytes: not written by batchrun", path, tooLarge)
	}
	return data, err
}

// add takes the lines of a file.
func (h *History) add(name string, data []byte) {
	damage := "" // of the line before: a crash tears the last line of a session, which is no news
	for number := 1; len(data) > 0; number++ {
		line, rest, whole := bytes.Cut(data, []byte{'\n'})
		data = rest
		if !whole { // it is being written
			break
		}
		kind, err := h.take(line)
		if damage != "" && kind != typeSession {
			h.Damaged = append(h.Damaged, damage)
		}
		damage = ""
		if err != nil {
			damage = fmt.Sprintf("%s:%d: %v", name, number, err)
		}
	}
	if damage != "" {
		h.Damaged = append(h.Damaged, damage)
	}
}

// take adds what a line says, and tells its type.
func (h *History) take(line []byte) (kind string, err error) {
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(line, &head); err != nil {
		return "", err
	}
	if head.Type == typeSession {
		var s Session
		if err := json.Unmarshal(line, &s.Start); err != nil {
			return "", err
		}
		if now := h.now(); now == nil || !s.Continued || !now.At.Equal(s.At) {
			s.Samples, s.Decisions = []Sample{}, []Decision{}
			h.Sessions = append(h.Sessions, s)
		}
		return typeSession, nil
	}
	s := h.now()
	if s == nil {
		return "", errors.New("before the first session")
	}
	switch head.Type {
	case typeSample:
		return head.Type, push(&s.Samples, line)
	case typeDecision:
		return head.Type, push(&s.Decisions, line)
	case typeEnd:
		var end End
		if err := json.Unmarshal(line, &end); err != nil {
			return "", err
		}
		s.EndedAt, s.Ended = &end.At, end.Ended
		return head.Type, nil
	case "":
		return "", errors.New("no type")
	}
	return head.Type, nil // of a later version
}

// now is the session that lines belong to.
func (h *History) now() *Session {
	if len(h.Sessions) == 0 {
		return nil
	}
	return &h.Sessions[len(h.Sessions)-1]
}

func push[T any](to *[]T, line []byte) error {
	var v T
	if err := json.Unmarshal(line, &v); err != nil {
		return err
	}
	*to = append(*to, v)
	return nil
}

// conclude sums up what the samples say.
func (s *Session) conclude() {
	for i := range s.Samples {
		s.Unwritten += s.Samples[i].Thinned + s.Samples[i].Dropped
	}
	if len(s.Samples) == 0 {
		return
	}
	waited := s.Samples[len(s.Samples)-1].WaitedSeconds
	var all float64
	for _, seconds := range waited {
		all += seconds
	}
	if all <= 0 {
		return
	}
	s.BoundBy = make(map[string]float64, len(waited))
	for cause, seconds := range waited {
		s.BoundBy[cause] = finite(seconds / all)
	}
}
