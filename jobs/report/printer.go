package report

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

// A Style is how progress is shown.
type Style string

// The styles, as --progress names them.
const (
	StyleAuto  Style = "auto"  // a bar on a terminal, else plain
	StyleBar   Style = "bar"   // one line, redrawn five times a second
	StylePlain Style = "plain" // a line at the start, every 30 s, at the end
	StyleJSON  Style = "json"  // the same as JSON lines
	StyleNone  Style = "none"  // warnings only
)

// ParseStyle finds a style by its name.
func ParseStyle(name string) (Style, error) {
	switch s := Style(name); s {
	case StyleAuto, StyleBar, StylePlain, StyleJSON, StyleNone:
		return s, nil
	case "":
		return StyleAuto, nil
	}
	return "", fmt.Errorf("progress %q is none of auto, bar, plain, json, none", name)
}

const (
	redraw       = 200 * time.Millisecond
	every        = 30 * time.Second
	maxQueued    = 256
	defaultWidth = 80
	eraseLine    = "\r\x1b[K"
)

// A Printer shows a run's progress, and the notes in between without spoiling the line. Once something cannot be
// written it falls silent: that never ends a run, nor holds it up.
type Printer struct {
	out   io.Writer
	style Style
	width func() int

	mu     sync.Mutex // of the fields below; not held while writing
	notes  []message
	lost   int // of notes; a warning always has its place
	active bool
	wake   chan struct{}

	drawn bool // a bar stands on the line; for Run only

	writing sync.Mutex // of failed and out
	failed  bool
}

// A message is a line for a person.
type message struct {
	text    string
	warning bool
}

// NewPrinter shows progress on out, which is a terminal if it is an [os.File] that is one.
func NewPrinter(out io.Writer, style Style) *Printer {
	p := &Printer{out: out, style: style, wake: make(chan struct{}, 1), width: func() int { return defaultWidth }}
	file, ok := out.(*os.File)
	terminal := ok && term.IsTerminal(int(file.Fd()))
	if terminal {
		p.width = func() int { return Width(file) }
	}
	switch {
	case style == StyleAuto && terminal && os.Getenv("TERM") != "dumb":
		p.style = StyleBar
	case style == StyleAuto:
		p.style = StylePlain
	}
	return p
}

// Style is how it shows progress: never [StyleAuto].
func (p *Printer) Style() Style { return p.style }

// Run shows what view returns until done is closed, and once more then. It returns after the last line.
func (p *Printer) Run(view func() View, done <-chan struct{}) {
	p.mu.Lock()
	p.active = true
	p.mu.Unlock()
	defer p.end()

	period := every
	if p.style == StyleBar {
		period = redraw
	}
	tick := time.NewTicker(period)
	defer tick.Stop()
	p.show(view)
	for {
		select {
		case <-done:
			p.flush()
			p.show(view)
			return
		case <-p.wake:
			p.flush()
		case <-tick.C:
			p.show(view)
		}
	}
}

// Note prints a line for a person, without waiting for it while Run is active. In [StyleJSON] it is an
// object with the event "note", in [StyleNone] nothing.
func (p *Printer) Note(text string) {
	if p.style != StyleNone {
		p.say(message{text: text})
	}
}

// Warn is Note for what may cost the user money: it is printed in every style, as the progress that one can do without is another
// thing. Other programs do the same: the AWS CLI's --only-show-errors shows warnings too, and curl's --no-progress-meter keeps
// them (https://curl.se/docs/manpage.html). In [StyleJSON] its event is "warning".
func (p *Printer) Warn(text string) { p.say(message{text, true}) }

func (p *Printer) say(m message) {
	p.mu.Lock()
	if !p.active {
		p.mu.Unlock()
		p.write(p.line(m) + "\n")
		return
	}
	if m.warning || len(p.notes) < maxQueued {
		p.notes = append(p.notes, m)
	} else {
		p.lost++
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Summary prints the body of a summary, without its account, which is for the very end. In [StyleJSON] it is an object
// with the event "summary" on one line, in [StyleNone] nothing. To be called after Run.
func (p *Printer) Summary(s *Summary) {
	switch p.style {
	case StyleNone:
	case StyleJSON:
		p.writeJSON(struct {
			Event string `json:"event"`
			*Summary
		}{"summary", s})
	default:
		p.write(s.Body())
	}
}

// writeJSON prints one object on a line.
func (p *Printer) writeJSON(v any) {
	if b, err := json.Marshal(v); err == nil { // it cannot fail: all numbers are finite
		p.write(string(b) + "\n")
	}
}

// end leaves a line of its own behind, and what was said last.
func (p *Printer) end() {
	p.mu.Lock()
	p.active = false
	p.mu.Unlock()
	if p.drawn {
		p.drawn = false
		p.write("\n")
	}
	p.flush()
}

// flush prints the notes that wait.
func (p *Printer) flush() {
	p.mu.Lock()
	notes, lost := p.notes, p.lost
	p.notes, p.lost = nil, 0
	p.mu.Unlock()
	if len(notes) == 0 {
		return
	}
	var b strings.Builder
	if p.drawn {
		p.drawn = false // to be drawn again below them
		b.WriteString(eraseLine)
	}
	for _, m := range notes {
		b.WriteString(p.line(m) + "\n")
	}
	if lost > 0 {
		b.WriteString(p.line(message{text: fmt.Sprintf("%d more messages were not shown", lost)}) + "\n")
	}
	p.write(b.String())
}

func (p *Printer) line(m message) string {
	if p.style == StyleJSON {
		event := "note"
		if m.warning {
			event = "warning"
		}
		b, err := json.Marshal(struct {
			Event string `json:"event"`
			Text  string `json:"text"`
		}{event, m.text})
		if err == nil {
			return string(b)
		}
	}
	return "batchrun: " + plain(m.text, 2000)
}

func (p *Printer) show(view func() View) {
	switch p.style {
	case StyleBar:
		line := Bar(view(), p.width())
		p.write(eraseLine + line)
		p.drawn = true
	case StylePlain:
		p.write("batchrun: " + Plain(view()) + "\n")
	case StyleJSON:
		p.write(JSON(view()) + "\n")
	}
}

func (p *Printer) write(s string) {
	p.writing.Lock()
	defer p.writing.Unlock()
	if p.failed {
		return
	}
	if _, err := io.WriteString(p.out, s); err != nil {
		p.failed = true
	}
}
