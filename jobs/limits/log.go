package limits

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

const (
	// Every is the time between two samples.
	Every = 10 * time.Second

	queued  = 256     // decisions that wait for the disk
	alike   = 3       // decisions of one kind between two samples
	maxSize = 8 << 20 // bytes of a file, before it is renamed
)

// A Log writes what a limiter does in one session of a run to [Name]. It is a [pipeline.Observer], for the rates, and its method
// Watch is told of decisions; both cost the caller an atomic addition or a send that never waits.
type Log struct {
	dir      string
	start    Start
	burndown float64
	note     func(string)
	fs       *atomicfile.FS // tests make steps fail
	maxSize  int64

	decisions chan ratelimit.Decision
	dropped   atomic.Int64
	sent      atomic.Int64 // requests
	settled   atomic.Int64 // tokens

	// What follows belongs to Run, and after it to Close.
	file    *atomicfile.File // nil: not open, or given up
	size    int64
	kinds   map[string]int // decisions written since the last sample
	thinned int64
	last    time.Time // the last sample, or the start
}

var _ pipeline.Observer = (*Log)(nil)

// NewLog makes the log of a session that begins as start says, in the state directory dir. It touches no file yet. note is told
// once, if the file cannot be written.
func NewLog(dir string, start Start, note func(string)) *Log {
	start.At = stamp(start.At)
	return &Log{
		dir: dir, start: start, burndown: start.Burndown, note: note, maxSize: maxSize,
		decisions: make(chan ratelimit.Decision, queued), kinds: map[string]int{},
	}
}

// Watch takes a decision, to be written by Run. It never waits: a decision that finds no room is counted as dropped.
func (l *Log) Watch(d ratelimit.Decision) {
	select {
	case l.decisions <- d:
	default:
		l.dropped.Add(1)
	}
}

// AttemptStarted is a [pipeline.Observer]'s.
func (l *Log) AttemptStarted() { l.sent.Add(1) }

// AttemptDone is a [pipeline.Observer]'s.
func (l *Log) AttemptDone(a *pipeline.Attempt) {
	if a.Err == nil {
		u := &a.Usage
		l.settled.Add(u.InputTokens + u.CacheWriteInputTokens + int64(float64(u.OutputTokens)*l.burndown))
	}
}

// Stored is a [pipeline.Observer]'s.
func (l *Log) Stored([]*pipeline.Result) {}

// Run writes until over is closed, and a last sample then. It is called once.
func (l *Log) Run(limiter func() ratelimit.Snapshot, gauges func() pipeline.Gauges, over <-chan struct{}) {
	l.last = l.start.At
	l.open()
	l.write(typeSession, &l.start)
	tick := time.NewTicker(Every)
	defer tick.Stop()
	for {
		select {
		case d := <-l.decisions:
			l.decide(d)
		case <-tick.C:
			l.sample(limiter(), gauges())
		case <-over:
			for len(l.decisions) > 0 {
				l.decide(<-l.decisions)
			}
			l.sample(limiter(), gauges())
			return
		}
	}
}

// Close notes how the session ended. It is called after Run.
func (l *Log) Close(ended string) {
	l.write(typeEnd, &End{At: stamp(time.Now()), Ended: ended})
	if l.file != nil {
		_ = l.file.Close() // nothing depends on it
		l.file = nil
	}
}

// decide writes a decision, unless there were enough of its kind.
func (l *Log) decide(d ratelimit.Decision) {
	kind := d.Control + " " + d.Action
	if l.kinds[kind] == alike {
		l.thinned++
		return
	}
	l.kinds[kind]++
	line := decisionOf(d)
	l.write(typeDecision, &line)
}

// sample writes how things are now.
func (l *Log) sample(s ratelimit.Snapshot, g pipeline.Gauges) {
	now := time.Now()
	span := max(now.Sub(l.last), time.Millisecond).Minutes()
	l.last = now
	line := Sample{
		At:                stamp(now),
		RequestsPerMinute: finite(float64(l.sent.Swap(0)) / span),
		TokensPerMinute:   finite(float64(l.settled.Swap(0)) / span),
		RequestPace:       finite(s.RequestsPerMinute), TokenPace: finite(s.TokensPerMinute),
		InFlight: s.InFlight, ConcurrencyLimit: s.ConcurrencyLimit, Waiting: s.Waiting,
		Binding: s.Binding, Mode: g.Mode, Throttled: s.Throttled,
		Thinned: l.thinned, Dropped: l.dropped.Swap(0), WaitedSeconds: map[string]float64{},
	}
	l.thinned = 0
	clear(l.kinds)
	if !s.HoldUntil.IsZero() {
		line.HoldSeconds = finite(max(0, s.HoldUntil.Sub(now)).Seconds())
	}
	for cause, d := range s.Waited {
		if d > 0 {
			line.WaitedSeconds[cause] = finite(d.Seconds())
		}
	}
	l.write(typeSample, &line)
}

// open opens the file, and ends a line that a crash has torn.
func (l *Log) open() {
	file, err := l.fs.OpenPrivate(filepath.Join(l.dir, Name), os.O_RDWR|os.O_CREATE|os.O_APPEND)
	if err != nil {
		l.giveUp(err)
		return
	}
	l.file = file
	if l.size, err = file.Seek(0, io.SeekEnd); err != nil {
		l.giveUp(err)
		return
	}
	tail := []byte{'\n'}
	if l.size > 0 {
		if _, err = file.ReadAt(tail, l.size-1); err != nil {
			l.giveUp(err)
			return
		}
	}
	if tail[0] != '\n' {
		l.put([]byte{'\n'})
	}
}

// write appends a line of a type.
func (l *Log) write(kind string, line any) {
	if l.file == nil {
		return
	}
	b, err := json.Marshal(line)
	if err != nil { // cannot be: every number in it is finite
		l.giveUp(err)
		return
	}
	b = append([]byte(`{"type":"`+kind+`",`), append(b[1:], '\n')...)
	if l.size > 0 && l.size+int64(len(b)) > l.maxSize {
		l.rotate(kind != typeSession)
	}
	l.put(b)
}

// rotate begins a new file; within a session it begins with the session's first line.
func (l *Log) rotate(within bool) {
	_ = l.file.Close() // as in Close
	l.file = nil
	path := filepath.Join(l.dir, Name)
	if err := l.fs.Rename(path, filepath.Join(l.dir, Rotated)); err != nil {
		l.giveUp(err)
		return
	}
	l.open()
	if within {
		again := l.start
		again.Continued = true
		l.write(typeSession, &again)
	}
}

func (l *Log) put(b []byte) {
	if l.file == nil {
		return
	}
	n, err := l.file.Write(b)
	l.size += int64(n)
	if err != nil {
		l.giveUp(err)
	}
}

// giveUp writes no more: the run goes on without this evidence.
func (l *Log) giveUp(err error) {
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
	l.note(fmt.Sprintf("what the limiter does is no longer written to %s: %v", Name, err))
}
