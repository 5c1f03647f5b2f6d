package input

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchrun/batchrun/pipeline"
)

const bom = "\xef\xbb\xbf"

func TestReader(t *testing.T) {
	two := `{"recordId":"x","modelInput":{}}` + "\n" + `{"modelInput":{}}` + "\n"
	want := []string{"x@a:1#0", "a:2@a:2#1"}
	tests := map[string]struct {
		contents []string
		want     []string
	}{
		"plain":                           {[]string{two}, want},
		"no newline at the end":           {[]string{strings.TrimSuffix(two, "\n")}, want},
		"CRLF":                            {[]string{strings.ReplaceAll(two, "\n", "\r\n")}, want},
		"a byte order mark":               {[]string{bom + two}, want},
		"gzip":                            {[]string{gz(two)}, want},
		"gzip of many members":            {[]string{gz(two[:10], "", two[10:50], two[50:])}, want},
		"gzip with a mark":                {[]string{gz(bom + two)}, want},
		"zstd":                            {[]string{zst(two)}, want},
		"zstd of many frames":             {[]string{zst(two[:10], "", two[10:50], two[50:])}, want},
		"zstd after a skippable frame":    {[]string{"\x50\x2a\x4d\x18\x03\x00\x00\x00abc" + zst(two)}, want},
		"empty":                           {[]string{""}, nil},
		"empty gzip":                      {[]string{gz("")}, nil},
		"empty zstd":                      {[]string{zst("")}, nil},
		"only a mark":                     {[]string{bom}, nil},
		"only half a mark is a fault":     {[]string{bom[:2]}, []string{"@a:1#0F"}},
		"only blank lines":                {[]string{"\n \n\r\n\t"}, nil},
		"blank lines count":               {[]string{"\n" + two + " \t \r\n" + two}, []string{"x@a:2#1", "a:3@a:3#2", "x@a:5#4", "a:6@a:6#5"}},
		"many sources, marks in each":     {[]string{two, "", bom + "\n" + two, zst(bom + two)}, []string{"x@a:1#0", "a:2@a:2#1", "x@c:2#3", "c:3@c:3#4", "x@d:1#5", "d:2@d:2#6"}},
		"a mark inside is a fault":        {[]string{"\n" + bom + two}, []string{"@a:2#1F", "a:3@a:3#2"}},
		"a vertical tab is no blank line": {[]string{"\v\n" + two}, []string{"@a:1#0F", "x@a:2#1", "a:3@a:3#2"}},
		"a NUL byte":                      {[]string{"\x00\n" + two}, []string{"@a:1#0F", "x@a:2#1", "a:3@a:3#2"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list := files(t, tt.contents...)
			var hashes bytes.Buffer
			prints, err := Scan(t.Context(), list, &hashes)
			if err != nil {
				t.Fatal(err)
			}
			r := open(t, Options{Files: list, Hashes: bytes.NewReader(hashes.Bytes())})
			got, err := all(r)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != io.EOF {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			var lines, records int64
			for _, p := range prints {
				lines += p.Lines
				records += p.Records
			}
			if pr := r.Progress(); pr.Position != lines || pr.Records != records || records != int64(len(tt.want)) {
				t.Errorf("Progress() = %+v, the scan counted %d lines and %d records", pr, lines, records)
			}
			var ids []string
			err = Lines(t.Context(), list, func(source string, line int64, id string, ok bool) error {
				ids = append(ids, fmt.Sprintf("%s@%s:%d", id, source, line))
				if ok != (id != "") {
					t.Errorf("id %q, ok %v", id, ok)
				}
				return nil
			})
			var wantIDs []string
			for _, want := range tt.want {
				id, _, _ := strings.Cut(want, "#")
				wantIDs = append(wantIDs, id)
			}
			if diff := cmp.Diff(wantIDs, ids); diff != "" || err != nil {
				t.Errorf("Lines: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// What is not text is refused with one error that says what it is.
func TestForeignFiles(t *testing.T) {
	tests := map[string]struct{ content, want string }{
		"UTF-16, little end": {"\xff\xfe{\x00", "a: is UTF-16 or UTF-32, and JSON Lines are UTF-8"},
		"UTF-16, big end":    {"\xfe\xff\x00{", "a: is UTF-16 or UTF-32, and JSON Lines are UTF-8"},
		"UTF-16 in gzip":     {gz("\xff\xfe{\x00"), "a: is UTF-16 or UTF-32, and JSON Lines are UTF-8"},
		"zip":                {"PK\x03\x04rest", "a: is a zip archive, not JSON Lines"},
		"Parquet":            {"PAR1rest", "a: is Parquet, not JSON Lines"},
		"bzip2":              {"BZh9rest", "a: is bzip2, not JSON Lines"},
		"gzip, not really":   {"\x1f\x8b\x08\xff", "a:1: the gzip compressed data is cut short"},
		"gzip, other method": {"\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00\x00", "a:1: the gzip compressed data is damaged: gzip: invalid header"},
		"a cut skippable":    {"\x50\x2a\x4d\x18\x03", "a:1: the zstd compressed data is cut short"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list := files(t, tt.content)
			_, err := all(open(t, Options{Files: list}))
			if err == nil || err.Error() != tt.want {
				t.Errorf("Next: %v\nwant  %s", err, tt.want)
			}
			if hint(err) == "" {
				t.Error("no hint")
			}
			if _, err := Scan(t.Context(), list, nil); err == nil || err.Error() != tt.want {
				t.Errorf("Scan: %v, want %s", err, tt.want)
			}
		})
	}
}

// Wherever a compressed file is cut, what was read before is whole, and the error names the line reached.
func TestCutCompressed(t *testing.T) {
	text := numbered(80)
	for name, packed := range map[string]string{"gzip": gz(text[:1000], text[1000:]), "zstd": zst(text[:1000], text[1000:])} {
		t.Run(name, func(t *testing.T) {
			members := map[int]bool{0: true, len(gz(text[:1000])): name == "gzip", len(zst(text[:1000])): name == "zstd"}
			for cut := range len(packed) {
				if members[cut] || cut < 4 {
					continue // a file that is whole, or not known to be compressed
				}
				r := open(t, Options{Stdin: strings.NewReader(packed[:cut])})
				got, err := all(r)
				want := fmt.Sprintf("stdin:%d: the %s compressed data is cut short", len(got)+1, name)
				if err == nil || err.Error() != want {
					t.Fatalf("cut at %d: %v, want %s", cut, err, want)
				}
				for i, id := range got {
					if want := fmt.Sprintf("r%d@stdin:%d#%d", i+1, i+1, i); id != want {
						t.Fatalf("cut at %d: record %s, want %s", cut, id, want)
					}
				}
				if _, again := r.Next(t.Context()); again != err {
					t.Fatalf("the next error is %v", again)
				}
			}
			broken := []byte(packed)
			broken[len(broken)*3/4] ^= 0x40
			_, err := all(open(t, Options{Stdin: bytes.NewReader(broken)}))
			if !errors.Is(err, errDamage) && !errors.Is(err, errCut) {
				t.Errorf("damaged: %v", err)
			}
			_, err = all(open(t, Options{Stdin: strings.NewReader(packed + "garbage!")}))
			if !errors.Is(err, errDamage) && !errors.Is(err, errCut) {
				t.Errorf("garbage at the end: %v", err)
			}
		})
	}
}

// The longest line passes, one byte more is a fault, and either way the next line is read.
func TestLongLines(t *testing.T) {
	fill := func(size int, end string) string {
		head, tail := `{"recordId":"big","modelInput":{"a":"`, `"},"x":1}`
		body := strings.Repeat("b", min(size-len(head)-len(tail), MaxBody-10))
		return head + body + tail + strings.Repeat(" ", size-len(head)-len(body)-len(tail)) + end + `{"recordId":"next","modelInput":{}}`
	}
	tests := map[string]struct {
		text    string
		tooLong bool
	}{
		"a line of a block":            {fill(blockSize, "\n"), false},
		"a line of a block, CRLF":      {fill(blockSize-1, "\r\n"), false},
		"a line of a block and one":    {fill(blockSize+1, "\r\n"), false},
		"a line of three blocks":       {fill(3*blockSize, "\n"), false},
		"the longest":                  {fill(MaxLine, "\n"), false},
		"the longest, CRLF":            {fill(MaxLine, "\r\n"), false},
		"one too many":                 {fill(MaxLine+1, "\n"), true},
		"one too many, CRLF":           {fill(MaxLine+1, "\r\n"), true},
		"60 MB":                        {fill(60_000_000, "\n"), true},
		"60 MB, CRLF between blocks":   {fill(458*blockSize-1, "\r\n"), true},
		"60 MB, CRLF before the block": {fill(458*blockSize-2, "\r\n"), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list := files(t, tt.text)
			var hashes bytes.Buffer
			if _, err := Scan(t.Context(), list, &hashes); err != nil {
				t.Fatal(err)
			}
			r := open(t, Options{Files: list, Hashes: bytes.NewReader(hashes.Bytes())})
			rec, err := r.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case tt.tooLong && (!isFault(rec, pipeline.TypeRecordTooLarge) || rec.ID != "" || rec.Size > 1000):
				t.Errorf("fault %v, id %q, size %d", rec.Fault, rec.ID, rec.Size)
			case !tt.tooLong && (rec.Fault != nil || rec.ID != "big" || string(rec.Metadata) != `{"x":1}`):
				t.Errorf("fault %v, id %q, metadata %s", rec.Fault, rec.ID, rec.Metadata)
			}
			rest, err := all(r)
			if diff := cmp.Diff([]string{"next@a:2#1"}, rest); diff != "" || err != io.EOF {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	text := `{"modelInput":{"a":"` + strings.Repeat("b", MaxBody-8) + `"},"x":1}`
	rec := parseLine(text)
	if rec.Fault != nil || len(rec.Input) != MaxBody {
		t.Errorf("%d bytes: %v", len(rec.Input), rec.Fault)
	}
	rec = parseLine(strings.Replace(text, `"b`, `"bb`, 1))
	if !isFault(rec, pipeline.TypeRecordTooLarge) || rec.Input != nil || rec.ID != "in.jsonl:7" || rec.Fault.Column != 15 {
		t.Errorf("one more: %+v", rec.Fault)
	}
}

// An endless line takes no more memory than the longest.
func TestBoundedMemory(t *testing.T) {
	const most = MaxLine*5/2 + 8<<20 // the buffer, the one it grew from, and some room
	for name, size := range map[string]int64{"60 MB": 60_000_000, "600 MB": 600_000_000} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			endless := io.MultiReader(strings.NewReader(`{"modelInput":"`), io.LimitReader(forever('x'), size), strings.NewReader("\n"+numbered(1)))
			got, err := all(open(t, Options{Stdin: endless}))
			runtime.ReadMemStats(&after)
			if diff := cmp.Diff([]string{"@stdin:1#0F", "r1@stdin:2#1"}, got); diff != "" || err != io.EOF {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if grown := after.HeapSys - min(before.HeapSys, after.HeapSys); grown > most {
				t.Errorf("the heap grew by %d MB, want at most %d", grown>>20, most>>20)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 2*most {
				t.Errorf("%d MB were allocated", used>>20)
			}
		})
	}
}

type forever byte

func (c forever) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = byte(c)
	}
	return len(b), nil
}

func TestSkip(t *testing.T) {
	list := files(t, "not even JSON\n\n"+numbered(3))
	var asked []int64
	r := open(t, Options{Files: list, Strict: true, Skip: func(pos int64) bool {
		asked = append(asked, pos)
		return pos == 0 || pos == 3
	}})
	got, err := all(r)
	if diff := cmp.Diff([]string{"r1@a:3#2", "r3@a:5#4"}, got); diff != "" || err != io.EOF {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]int64{0, 2, 3, 4}, asked); diff != "" {
		t.Errorf("asked for (-want +got):\n%s", diff)
	}
	if p := r.Progress(); p != (Progress{Position: 5, Records: 4, Bytes: int64(len("not even JSON\n\n" + numbered(3)))}) {
		t.Errorf("Progress() = %+v", p)
	}
}

func TestStrict(t *testing.T) {
	r := open(t, Options{Files: files(t, numbered(2)+`{"prompt":""}`+"\n"+numbered(1)), Strict: true})
	got, err := all(r)
	strict, ok := errors.AsType[*StrictError](err)
	if len(got) != 2 || !ok || strict.Source != "a" || strict.Line != 3 || strict.Fault.Column != 11 {
		t.Fatalf("%d records, then %v", len(got), err)
	}
	if want := `a:3:11: "prompt" is empty: give a string with the prompt`; err.Error() != want || hint(err) == "" {
		t.Errorf("%v, want %s", err, want)
	}
}

// A line that changes during the run ends it, also when it is one that is done.
func TestChangedMeanwhile(t *testing.T) {
	text := numbered(5)
	tests := map[string]struct{ text, want string }{
		"a line changed":       {strings.Replace(text, `"n":3`, `"n":4`, 1), "a:3: the input changed while the run was going"},
		"a blank line changed": {strings.Replace(text, `"n":3`, `"n": 3`, 1), "a:3: the input changed while the run was going"},
		"the end is missing":   {numbered(4), "a:5: the input changed while the run was going"},
		"empty now":            {"", "a:1: the input changed while the run was going"},
		"one more line":        {numbered(6), "a:6: the input changed while the run was going"},
		"other line ends":      {strings.ReplaceAll(text, "\n", "\r\n"), "EOF"},
		"packed now":           {gz(bom + text), "EOF"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			list := files(t, text)
			var hashes bytes.Buffer
			if _, err := Scan(t.Context(), list, &hashes); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(list[0].Path, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			r := open(t, Options{Files: list, Hashes: bytes.NewReader(hashes.Bytes()), Skip: func(int64) bool { return true }})
			_, err := all(r)
			if err == nil || err.Error() != tt.want {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if tt.want != "EOF" && (!errors.Is(err, ErrChanged) || hint(err) == "") {
				t.Errorf("%#v", err)
			}
		})
	}
}

func TestResumedStdin(t *testing.T) {
	text := numbered(6)
	var first bytes.Buffer
	r := open(t, Options{Stdin: strings.NewReader(numbered(4)), HashSink: &first})
	if _, err := all(r); err != io.EOF {
		t.Fatal(err)
	}
	if first.Len() != 4*HashSize {
		t.Fatalf("%d bytes of hashes", first.Len())
	}
	odd := func(pos int64) bool { return pos%2 == 0 }
	tests := map[string]struct {
		text  string
		hold  int64
		whole bool
		want  []string
		err   string
	}{
		"goes on":              {text: text, want: []string{"r2@stdin:2#1", "r4@stdin:4#3", "r6@stdin:6#5"}},
		"the same again":       {text: numbered(4), whole: true, want: []string{"r2@stdin:2#1", "r4@stdin:4#3"}},
		"a changed line":       {text: strings.Replace(text, `"n":3`, `"n":5`, 1), err: "stdin:3: not the input this run began with: changed"},
		"a shorter one":        {text: numbered(3), err: "stdin:4: not the input this run began with: missing: the input now ends before it"},
		"none":                 {text: "", err: "stdin:1: not the input this run began with: missing: the input now ends before it"},
		"more than the whole":  {text: text, whole: true, err: "stdin:5: not the input this run began with: added after the former end"},
		"too much to be held":  {text: text, hold: 300, err: "stdin:4: the records of earlier sessions that are not done yet take more than 300 bytes, and they wait until all lines are compared"},
		"just enough is there": {text: text, hold: 1000, want: []string{"r2@stdin:2#1", "r4@stdin:4#3", "r6@stdin:6#5"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			sink := bytes.NewBuffer(bytes.Clone(first.Bytes()))
			torn := append(bytes.Clone(first.Bytes()), 1, 2, 3)
			r := open(t, Options{Stdin: strings.NewReader(tt.text), HashSink: sink, OldHashes: bytes.NewReader(torn), OldWhole: tt.whole, MaxHold: tt.hold, Skip: odd})
			got, err := all(r)
			if tt.err == "" {
				tt.err = "EOF"
				var want bytes.Buffer
				if _, err := Scan(t.Context(), files(t, tt.text), &want); err != nil || !bytes.Equal(want.Bytes(), sink.Bytes()) {
					t.Errorf("the sink has %d bytes of hashes, Scan %d (%v)", sink.Len(), want.Len(), err)
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" || err.Error() != tt.err {
				t.Errorf("%v, want %s (-want +got):\n%s", err, tt.err, diff)
			}
			if tt.err != "EOF" && hint(err) == "" {
				t.Error("no hint")
			}
		})
	}
}

// No more than 4 KiB of hashes are kept back, and Flush writes them.
func TestHashSink(t *testing.T) {
	var sink bytes.Buffer
	r := open(t, Options{Stdin: strings.NewReader(numbered(1000)), HashSink: &sink})
	for i := range 1000 {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if back := (i+1)*HashSize - sink.Len(); back > 4<<10 {
			t.Fatalf("%d bytes kept back", back)
		}
	}
	if err := r.Flush(); err != nil || sink.Len() != 1000*HashSize {
		t.Errorf("Flush: %v, %d bytes", err, sink.Len())
	}
	r = open(t, Options{Stdin: strings.NewReader(numbered(1)), HashSink: failing{}})
	if _, err := r.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(t.Context()); err == nil || err.Error() != "write the hashes of the lines: no room" {
		t.Errorf("at the end: %v", err)
	}
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no room") }

// A stop does not wait for a standard input that is silent, and nothing is left behind once it ends (goleak looks).
func TestSilentStdin(t *testing.T) {
	in, out := io.Pipe()
	r, err := Open(Options{Stdin: in})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	go io.WriteString(out, numbered(1)+`{"recordId":`)
	if rec, err := r.Next(ctx); err != nil || rec.ID != "r1" {
		t.Fatal(rec, err)
	}
	why := errors.New("stopped")
	time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
	if _, err := r.Next(ctx); err != why {
		t.Errorf("Next: %v, want the cause", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	out.Close()
}

func TestReadErrors(t *testing.T) {
	broken := errors.New("input/output error")
	r := open(t, Options{Stdin: io.MultiReader(strings.NewReader(numbered(2)+`{"x`), iotest.ErrReader(broken))})
	got, err := all(r)
	if len(got) != 2 || !errors.Is(err, broken) || err.Error() != "stdin:3: input/output error" {
		t.Errorf("%d records, then %v", len(got), err)
	}
	wrapped := fmt.Errorf("the disk: %w", io.EOF)
	_, err = all(open(t, Options{Stdin: io.MultiReader(strings.NewReader(numbered(2)), iotest.ErrReader(wrapped))}))
	if err == nil || errors.Is(err, io.EOF) {
		t.Errorf("an error that wraps io.EOF looks like the end: %v", err)
	}
	list := files(t, numbered(1))
	os.Remove(list[0].Path)
	if _, err := all(open(t, Options{Files: list})); !errors.Is(err, os.ErrNotExist) || err.Error() != "a: no such file or directory" {
		t.Errorf("a file that went away: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := open(t, Options{Files: files(t, numbered(1))}).Next(ctx); err != context.Canceled {
		t.Errorf("a context that ended: %v", err)
	}
	r = open(t, Options{Files: files(t, numbered(1))})
	r.Close()
	if _, err := r.Next(t.Context()); err == nil || err == io.EOF {
		t.Errorf("after Close: %v", err)
	}
}

func TestOptions(t *testing.T) {
	none := bytes.NewReader(nil)
	for want, o := range map[string]Options{
		"the standard input cannot be read beside files": {Files: Files([]string{"-", "a"}), Stdin: none},
		"no Stdin to read":       {},
		"Hashes are for files":   {Stdin: none, Hashes: none},
		"HashSink":               {Files: Files([]string{"a"}), HashSink: io.Discard},
		"OldWhole needs":         {Stdin: none, OldWhole: true},
		"MaxHold is negative":    {Stdin: none, MaxHold: -1},
		"no Stdin to read\ninpu": {MaxHold: -1},
	} {
		if _, err := Open(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open: %v, want %q", err, want)
		}
	}
}

func TestReadAt(t *testing.T) {
	now := time.Now()
	r := open(t, Options{Stdin: strings.NewReader(numbered(1)), Now: func() time.Time { return now }})
	if rec, err := r.Next(t.Context()); err != nil || rec.ReadAt != now {
		t.Errorf("ReadAt = %v, %v", rec.ReadAt, err)
	}
}

func TestRepeatedIDs(t *testing.T) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, `{"recordId":%d,"prompt":"p"}`+"\n"+`{"prompt":"p"}`+"\n", i%990)
	}
	r := open(t, Options{Stdin: strings.NewReader(text.String())})
	if _, err := all(r); err != io.EOF || r.RepeatedIDs() != 10 {
		t.Errorf("RepeatedIDs() = %d, %v, want 10", r.RepeatedIDs(), err)
	}
}

// What the filter gets wrong is taken off again.
func TestRepeatedIDsAreNeverChance(t *testing.T) {
	// As full as the filter of a run is after 4 million ids.
	none, some := repeats{bits: bloomBits / 32}, repeats{bits: bloomBits / 32}
	for i := range 4_000_000 / 32 {
		none.add(fmt.Appendf(nil, "id-%d", i))
		some.add(fmt.Appendf(nil, "id-%d", i%100_000))
	}
	if got := none.about.Load(); got > 200 {
		t.Errorf("about %d of 125,000 different ids were repeated", got)
	}
	if got := some.about.Load(); got < 24_000 || got > 26_000 {
		t.Errorf("about %d of 25,000 repeated ids", got)
	}
}
