package report

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

const minBar, maxBar = 10, 24

// The flags that end silent streams.
const firstTokenFlag, idleFlag = "--first-token-timeout", "--idle-timeout"

// Bar renders a view as one line of at most width columns, without a line end. What matters least is left out
// first, and a bar is drawn only where everything else has its place.
func Bar(v View, width int) string {
	parts := append([]string{progress(&v, true)}, details(&v, true)...)
	line := strings.Join(parts, "  ")
	for len(parts) > 1 && utf8.RuneCountInString(line) > width {
		parts = parts[:len(parts)-1]
		line = strings.Join(parts, "  ")
	}
	if room := width - utf8.RuneCountInString(line) - len("[]  "); v.Total > 0 && room >= minBar {
		return drawBar(v.Done, v.Total, min(room, maxBar)) + "  " + line
	}
	return cut(line, width)
}

func drawBar(part, whole int64, width int) string {
	full := int(float64(min(part, whole)) / float64(whole) * float64(width))
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "]"
}

// cut takes what does not fit off the end.
func cut(s string, width int) string {
	for i := range s {
		if width == 0 {
			return s[:i]
		}
		width--
	}
	return s
}

// Plain renders a view as one line without a line end.
func Plain(v View) string {
	return progress(&v, false) + ", " + strings.Join(details(&v, false), ", ") + ", after " + span(v.Elapsed)
}

// progress is how far the run is.
func progress(v *View, short bool) string {
	switch {
	case v.Total < 0:
		return count(v.Done) + " done"
	case short:
		return fmt.Sprintf("%s/%s %s", count(v.Done), count(v.Total), done(v.Done, v.Total))
	}
	return fmt.Sprintf("%s of %s done (%s)", count(v.Done), count(v.Total), done(v.Done, v.Total))
}

// details are the rest, what matters most first.
func details(v *View, short bool) []string {
	parts := []string{rate(v.Rate)}
	if left, ok := v.Left(); ok && left >= time.Second {
		parts = append(parts, pick(short, "ETA "+span(left), span(left)+" left"))
	}
	parts = append(parts, v.Binds())
	until := v.silentUntil()
	if v.Silent > 0 {
		parts = append(parts, fmt.Sprintf("%d silent for 2m", v.Silent)+pick(short, "", " (until "+until+")"))
	}
	parts = append(parts, fmt.Sprintf("%d in flight", v.InFlight))
	if v.Spending != nil {
		parts = append(parts, v.Spending.brief()...)
	}
	if v.TTFTP50 >= 0 {
		p50, p99 := latency(v.TTFTP50), latency(v.TTFTP99)
		parts = append(parts, pick(short, "TTFT "+p50+"/"+p99, "TTFT p50 "+p50+" p99 "+p99))
	}
	if v.Throttled > 0 {
		parts = append(parts, percent(v.Throttled)+" throttled")
	}
	if bad := v.Failed + v.Rejected; bad > 0 {
		parts = append(parts, count(bad)+" failed")
	}
	if v.Deferred > 0 {
		parts = append(parts, count(int64(v.Deferred))+" held by the retry budget")
	}
	if v.Waiting > 0 {
		parts = append(parts, count(int64(v.Waiting))+" waiting")
	}
	if short && v.Silent > 0 { // last, where it is the first to be left out
		parts = append(parts, "silent until "+until)
	}
	return parts
}

// silentUntil names the flags that end the streams which are silent.
func (v *View) silentUntil() string {
	switch {
	case v.Unbegun == 0:
		return idleFlag
	case v.Unbegun == v.Silent:
		return firstTokenFlag
	}
	return firstTokenFlag + ", " + idleFlag
}

func pick(short bool, brief, full string) string {
	if short {
		return brief
	}
	return full
}

// A jsonView is a view as a JSON line. Its keys stay; what is not known is left out.
type jsonView struct {
	Event            string    `json:"event"` // "progress"
	ElapsedSeconds   float64   `json:"elapsedSeconds"`
	Done             int64     `json:"done"`
	Failed           int64     `json:"failed"`
	Rejected         int64     `json:"rejected"`
	Total            *int64    `json:"total,omitempty"`
	RecordsPerSecond float64   `json:"recordsPerSecond"`
	TTFT             *jsonTTFT `json:"ttftMs,omitempty"`
	ThrottledShare   *float64  `json:"throttledShare,omitempty"`
	InFlight         int       `json:"inFlight"`
	Waiting          int       `json:"waiting"`
	Deferred         int       `json:"deferred,omitempty"` // of these, by the retry budget alone
	Silent           int       `json:"silent"`
	Unbegun          int       `json:"unbegun,omitempty"` // of these, without any content yet
	Unstored         int       `json:"unstored"`
	BufferedBytes    int64     `json:"bufferedBytes"`
	Mode             string    `json:"mode"`
	Binding          string    `json:"binding"`
	LeftSeconds      *float64  `json:"leftSeconds,omitempty"`
	Spending         *Spending `json:"spending,omitempty"` // where it is counted
}

type jsonTTFT struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
}

// JSON renders a view as one JSON object without a line end.
func JSON(v View) string {
	out := jsonView{
		Event: "progress", ElapsedSeconds: round(v.Elapsed.Seconds()), Done: v.Done, Failed: v.Failed, Rejected: v.Rejected,
		RecordsPerSecond: round(v.Rate), InFlight: v.InFlight, Waiting: v.Waiting, Deferred: v.Deferred, Silent: v.Silent, Unbegun: v.Unbegun, Unstored: v.Unstored,
		BufferedBytes: v.Buffered, Mode: string(v.Mode), Binding: v.Binding, Spending: v.Spending,
	}
	if v.Total >= 0 {
		out.Total = &v.Total
	}
	if v.TTFTP50 >= 0 {
		out.TTFT = &jsonTTFT{milliseconds(v.TTFTP50), milliseconds(v.TTFTP99)}
	}
	if v.Throttled >= 0 {
		share := round(v.Throttled)
		out.ThrottledShare = &share
	}
	if left, ok := v.Left(); ok {
		seconds := round(left.Seconds())
		out.LeftSeconds = &seconds
	}
	b, err := json.Marshal(out)
	if err != nil {
		return fmt.Sprintf(`{"event":"progress","error":%q}`, err) // cannot happen: nothing in it is not a number
	}
	return string(b)
}

func milliseconds(d time.Duration) float64 { return round(float64(d.Microseconds()) / 1000) }
