package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/eventstream"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// A promiseRow is what was seen of one family.
type promiseRow struct {
	stream, assembled, tools, reasoning, guardrail, traces, cuts int

	missing lacks
}

// TestPromise holds every family to the promise that a stream without its terminal event is no result, that one that lost another
// of its chunks is none or the same, and that a whole one is the body of InvokeModel: against the rehearsal server, which knows nothing of the assemblers. With -v it prints
// what was seen, as a table.
func TestPromise(t *testing.T) {
	opts := simOptions(sim.Options{Seed: 11, OutputTokens: 12, OutputSpread: 8, FlushEvery: 1 << 10})
	s := startSim(t, opts)
	rows := map[string]promiseRow{}
	for _, name := range Families() {
		t.Run(name, func(t *testing.T) { rows[name] = keepsPromise(t, s, opts, name) })
	}
	if testing.Verbose() {
		t.Log("\n" + promiseTable(rows))
	}
}

func promiseTable(rows map[string]promiseRow) string {
	var b strings.Builder
	b.WriteString("| family | streams | equal to InvokeModel | with tool calls | with reasoning | blocked by a guardrail | traces kept out | cuts, none a result | one chunk missing: noticed | nothing lost | a piece, as nobody can tell |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, name := range slices.Sorted(maps.Keys(rows)) {
		r := rows[name]
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d | %d | %d |\n", name, r.stream, r.assembled, r.tools, r.reasoning, r.guardrail, r.traces, r.cuts,
			r.missing.noticed, r.missing.same, r.missing.pieces)
	}
	return b.String()
}

func keepsPromise(t *testing.T, s *sim.Server, opts sim.Options, name string) (row promiseRow) {
	modelID := familyCases[name].modelID
	f, err := resolveFamily("", name)
	if err != nil {
		t.Fatal(err)
	}
	for _, prompt := range []string{"hello", "[[tool]]", "[[tool:2]]", "[[tool:empty]]", "[[redacted]]", "[[cite]]", "[[tokens:0]]", "[[say:naïve \"q\" 😀]]", "[[guardrail:block]]", "[[guardrail:trace]]"} {
		for _, body := range simBodies(name, prompt) {
			truth, err := sim.Truth(opts, modelID, []byte(body))
			if err != nil {
				t.Fatalf("%s: %v", body, err)
			}
			whole := post(t, s, modelID, "invoke", body)
			stream := post(t, s, modelID, "invoke-with-response-stream", body)
			r, fault := readAnswer(f, body, stream)
			if fault != nil {
				t.Errorf("%s: %+v", body, fault)
				continue
			}
			row.stream++
			if bytes.Contains(r.Output, []byte(bedrockPrefix)) || bytes.Contains(r.Output, []byte("Ada Lovelace")) {
				t.Errorf("%s: something of Bedrock's own is in %s", body, r.Output)
			} else if strings.Contains(prompt, "guardrail") { // whose last chunk has one
				row.traces++
			}
			switch {
			case r.Text != truth.Text:
				t.Errorf("%s: text %q, want %q", body, r.Text, truth.Text)
			case strings.Contains(prompt, "guardrail:block"):
				row.guardrail++
			default:
				sameAsInvoke(t, name, body, r, whole)
				row.assembled++
			}
			if bytes.Contains(r.Output, []byte(`"pick"`)) {
				row.tools++
			}
			if bytes.Contains(r.Output, []byte(`reasoning`)) || bytes.Contains(r.Output, []byte(`"thinking"`)) {
				row.reasoning++
			}
			if strings.Contains(prompt, "guardrail:block") {
				row.cuts += cutsOfOneFrame(t, f, body, stream)
			} else {
				row.cuts += cuts(t, f, body, stream, prompt == "hello")
				row.missing.leaveOut(t, f, body, stream, r)
			}
		}
	}
	if row.stream == 0 || row.assembled == 0 || row.guardrail == 0 || row.cuts == 0 || row.missing.noticed == 0 {
		t.Errorf("nothing was looked at: %+v", row)
	}
	return row
}

// post asks the rehearsal server, without anything of this package.
func post(t testing.TB, s *sim.Server, modelID, operation, body string) []byte {
	t.Helper()
	resp, err := http.Post(s.URL()+"/model/"+url.PathEscape(modelID)+"/"+operation, "application/json", strings.NewReader(body)) //nolint:noctx // the server is this test's own
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s %v", body, resp.StatusCode, all, err)
	}
	return all
}

func sameAsInvoke(t *testing.T, family, request string, r *pipeline.Response, body []byte) {
	t.Helper()
	want := parseObject(body).unwrapped().append(nil)
	if family == "command" && strings.Contains(request, `"stream":true`) {
		want = withoutIDs(want)
	}
	if !json.Valid(r.Output) || !sameJSON(t, r.Output, want) {
		t.Errorf("%s: assembled\n%s\nInvokeModel returns\n%s", request, r.Output, want)
	}
}

// cuts cuts a stream at every frame, and if wanted at every byte of one frame in the middle and of the last that counts. It
// counts the cuts. None of them is a result.
func cuts(t *testing.T, f *family, request string, stream []byte, bytewise bool) (n int) {
	t.Helper()
	frames := framesOf(t, stream)
	last := len(frames) - 1 // the frame with the terminal event
	for last > 0 {
		if r, _ := readAnswer(f, request, bytes.Join(frames[:last], nil)); r == nil {
			break
		}
		last--
	}
	ends := 1
	if f == &writer { // an end mark behind the reason
		ends = 2
	}
	if len(frames)-last > ends {
		t.Errorf("%s: whole with %d of %d chunks", request, last+1, len(frames))
	}
	try := func(part []byte, where string) {
		n++
		if r, fault := readAnswer(f, request, part); r != nil || fault.name != pipeline.TypeTruncatedStream && fault.name != pipeline.TypeBadFrame {
			t.Errorf("%s: cut %s it is taken for whole: %+v, %+v", request, where, r, fault)
		}
	}
	for i := range last + 1 {
		before := bytes.Join(frames[:i], nil)
		try(before, fmt.Sprintf("before chunk %d of %d", i, len(frames)))
		if !bytewise || i != last && i != last/2 {
			continue
		}
		for b := 1; b < len(frames[i]); b++ {
			try(append(bytes.Clone(before), frames[i][:b]...), fmt.Sprintf("%d bytes into chunk %d", b, i))
		}
	}
	return n
}

// lacks counts streams from which one frame was taken, by what became of them.
type lacks struct{ noticed, same, pieces int }

// telling is what a chunk has whose loss must be noticed: where an answer or a tool call begins, and how it ends.
var telling = regexp.MustCompile(`"message_(start|delta|stop)"|"messageStop"|"metadata"|"is_finished":true` +
	`|"(stop_reason|finish_reason|completionReason|stopReason)":"|"name":"pick"|"redacted_thinking"`)

// leaveOut takes one frame after another out of a stream. What is left is no result, or one from which nothing is missing but a
// piece of text, of reasoning or of a tool's input: chunks are not numbered, so nobody can tell that one is gone.
func (l *lacks) leaveOut(t *testing.T, f *family, request string, stream []byte, whole *pipeline.Response) {
	t.Helper()
	frames := framesOf(t, stream)
	for i, frame := range frames {
		r, fault := readAnswer(f, request, bytes.Join(slices.Delete(slices.Clone(frames), i, i+1), nil))
		switch said := bodyOf(t, frame); {
		case fault != nil && (fault.name == pipeline.TypeTruncatedStream || fault.name == typeUnknownFormat):
			l.noticed++
		case fault != nil:
			t.Errorf("%s: without %s: %+v", request, said, fault)
		case r.Text == whole.Text && r.StopReason == whole.StopReason && r.Usage == whole.Usage && sameJSON(t, r.Output, whole.Output):
			l.same++
		case telling.Match(said):
			t.Errorf("%s: without %s it is taken for whole: %s", request, said, r.Output)
		default:
			l.pieces++
		}
	}
}

// bodyOf is what a frame says: of a chunk the JSON inside.
func bodyOf(t *testing.T, frame []byte) []byte {
	t.Helper()
	msg, err := eventstream.NewDecoder(bytes.NewReader(frame)).Next()
	if err != nil {
		t.Fatal(err)
	}
	if string(msg.EventType) != "chunk" {
		return append([]byte(`"`+string(msg.EventType)+`" `), msg.Payload...)
	}
	body, err := newStream().unwrap(msg.Payload)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// cutsOfOneFrame cuts a blocked answer, which has no terminal event and is whole where it ends, at every byte.
func cutsOfOneFrame(t *testing.T, f *family, request string, stream []byte) (n int) {
	t.Helper()
	for b := 1; b < len(stream); b++ {
		n++
		if r, _ := readAnswer(f, request, stream[:b]); r != nil {
			t.Errorf("%s: blocked, cut at byte %d of %d, and taken for whole: %+v", request, b, len(stream), r)
		}
	}
	return n
}

// framesOf splits a stream by the lengths its frames begin with.
func framesOf(t *testing.T, stream []byte) (frames [][]byte) {
	t.Helper()
	for len(stream) > 0 {
		if len(stream) < 16 {
			t.Fatalf("%d bytes left over", len(stream))
		}
		n := int(stream[0])<<24 | int(stream[1])<<16 | int(stream[2])<<8 | int(stream[3])
		frames, stream = append(frames, stream[:n]), stream[n:]
	}
	return frames
}
