package sinks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"runtime/metrics"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"github.com/batchrun/batchrun/pipeline"
)

// spool writes rows to a file and returns its path and size.
func spool(t testing.TB, batch []*pipeline.Result) (string, int64) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "spool")
	data := encoded(batch)
	if err := os.WriteFile(path, append(data, "a row that is not counted"...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path, int64(len(data))
}

// The columns have the types and the order that the documentation gives them.
func TestParquetSchema(t *testing.T) {
	const want = `message parquetRow {
	required binary record_id (STRING);
	required binary source (STRING);
	required int64 line (INT(64,true));
	required binary model_id (STRING);
	optional binary model_input (STRING);
	required binary model_output (STRING);
	required binary text (STRING);
	required binary stop_reason (STRING);
	required int64 input_tokens (INT(64,true));
	required int64 output_tokens (INT(64,true));
	required int64 cache_read_input_tokens (INT(64,true));
	required int64 cache_write_input_tokens (INT(64,true));
	optional int64 started_at (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS));
	optional double queued_ms;
	optional double connect_ms;
	optional double first_token_ms;
	optional double first_text_ms;
	optional double total_ms;
	optional double elapsed_ms;
	optional double inter_token_p50_ms;
	optional double inter_token_max_ms;
	optional double server_first_byte_ms;
	optional double server_total_ms;
	required int32 attempts (INT(32,true));
	optional binary request_id (STRING);
	optional binary metadata (STRING);
}`
	for name, batch := range map[string][]*pipeline.Result{"a run with rows": batchOf(0, 3), "a run without": nil} {
		path, size := spool(t, batch)
		out := filepath.Join(t.TempDir(), "out.parquet")
		if _, err := SealParquet(context.Background(), SealOptions{Path: out, Seal: "x", Spool: path, SpoolSize: size, Rows: int64(len(batch))}); err != nil {
			t.Fatal(err)
		}
		file, f, err := openParquet(out)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if diff := cmp.Diff(want, f.Schema().String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestParquetReadsBack(t *testing.T) {
	batch := batchOf(0, 500)
	batch[1].Request.Body = json.RawMessage("{\"doubled\":1,\"doubled\":\"\xff\"}")
	batch[2].Response.Text, batch[2].Response.RequestID, batch[2].Record.Metadata = "", "", nil
	batch[3].Response.ServiceTier = "flex"
	batch[4].Response.ServiceTier, batch[4].Response.PerformanceLatency, batch[4].Record.Metadata = "default", "optimized", nil
	batch[5].Response.PerformanceLatency = "a \"mode\" of tomorrow"
	batch[6].Response.PerformanceLatency, batch[6].Record.Metadata = "standard", json.RawMessage(`{}`)
	batch[7].Record.Metadata = json.RawMessage(`{"batchrun.other":[1, 2.50]}`)
	for i, r := range batch { // all different, and kept while the next are read
		r.Timing.Queued = time.Duration(i) * time.Millisecond
		r.Timing.Started = r.Timing.Started.Add(time.Duration(i) * time.Second)
		if i%3 == 0 {
			r.Timing.Connect = -1
		}
	}
	path, size := spool(t, batch)
	out := filepath.Join(t.TempDir(), "out.parquet")
	sealed, err := SealParquet(context.Background(), SealOptions{Path: out, Seal: "run/0", Spool: path, SpoolSize: size, Rows: 500})
	if err != nil {
		t.Fatal(err)
	}
	seal, got, err := ReadSeal(out)
	if err != nil || seal != "run/0" || got != sealed || got.Rows != 500 {
		t.Errorf("seal %q %+v, want %+v; %v", seal, got, sealed, err)
	}
	var rows []*Row
	for row, err := range ParquetRows(out) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	raw, err := parquet.ReadFile[parquetRow](out)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{
		3: `"batchrun.serviceTier":"flex"}`, 4: `{"batchrun.serviceTier":"default","batchrun.performanceLatency":"optimized"}`,
	} {
		if got := raw[n].Metadata; !strings.HasSuffix(got, want) {
			t.Errorf("row %d: metadata %s, want an end of %s", n, got, want)
		}
	}
	for n, row := range rows {
		want, err := ParseRow(AppendRow(nil, batch[n], Full))
		if err != nil {
			t.Fatal(err)
		}
		if n == 6 { // nothing is left of an object without members
			want.Metadata = nil
		}
		if n == 1 {
			want.ModelInput = []byte("{\"doubled\":1,\"doubled\":\"\uFFFD\"}")
		}
		if diff := cmp.Diff(want, row); diff != "" {
			t.Fatalf("row %d (-want +got):\n%s", n, diff)
		}
	}
	if len(rows) != 500 {
		t.Errorf("%d rows", len(rows))
	}
}

// A retry round's file has the old rows and the new ones; one that has not as many as are counted replaces nothing.
func TestParquetTakesOverOldRows(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.parquet")
	ctx := context.Background()
	path, size := spool(t, batchOf(0, 300))
	if _, err := SealParquet(ctx, SealOptions{Path: out, Seal: "run/0", Spool: path, SpoolSize: size, Rows: 300}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(out, 0o640); err != nil {
		t.Fatal(err)
	}
	was, _ := os.ReadFile(out)
	path, size = spool(t, batchOf(300, 5))
	opt := SealOptions{Path: out, Seal: "run/1", Spool: path, SpoolSize: size, Old: true, Rows: 304}
	if _, err := SealParquet(ctx, opt); err == nil {
		t.Error("sealed with a row too many")
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	opt.Rows = 305
	if _, err := SealParquet(ended, opt); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if is, _ := os.ReadFile(out); string(is) != string(was) {
		t.Error("a failed sealing changed the file")
	}
	if left, _ := os.ReadDir(filepath.Dir(out)); len(left) != 1 {
		t.Errorf("a failed sealing left %v", left)
	}
	if _, err := SealParquet(ctx, opt); err != nil {
		t.Fatal(err)
	}
	var line int64
	for row, err := range ParquetRows(out) {
		if err != nil || row.Line != line {
			t.Fatalf("row %d is of line %d: %v", line, row.Line, err)
		}
		line++
	}
	if info, _ := os.Stat(out); line != 305 || info.Mode().Perm() != 0o640 {
		t.Errorf("%d rows, mode %v", line, info.Mode())
	}
}

// Row groups are bounded by bytes, the footer does not hold answers, and neither does the memory hold the file.
func TestParquetBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("writes 600 MB")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "spool")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	enc := rowEncoder{w: file}
	r := result()
	noise := make([]byte, 3<<20)
	const rows = 70
	for i := range rows {
		x := uint32(i + 1)
		for k := range noise {
			x = x*1664525 + 1013904223
			noise[k] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"[x>>26]
		}
		r.Record.Line = int64(i)
		r.Request.Body = json.RawMessage(fmt.Sprintf(`{"x":"%s"}`, noise))
		enc.row(r)
	}
	enc.flush()
	info, _ := file.Stat()
	_ = file.Close()
	out := filepath.Join(dir, "out.parquet")
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // what is held, not what is still to be collected
	peak, stop := watchHeap()
	if _, err := SealParquet(context.Background(), SealOptions{Path: out, Seal: "0", Spool: path, SpoolSize: info.Size(), Rows: rows}); err != nil {
		t.Fatal(err)
	}
	if _, err := SealParquet(context.Background(), SealOptions{Path: out, Seal: "1", Spool: path, Old: true, Rows: rows}); err != nil {
		t.Fatal(err)
	}
	stop()
	t.Logf("peak heap %d MB for %d MB", *peak>>20, info.Size()>>20)
	if *peak > 180<<20 {
		t.Errorf("the heap grew to %d MB", *peak>>20)
	}
	if sealed, err := os.Stat(out); err != nil || sealed.Size() > info.Size()*101/100 {
		t.Errorf("the sealed file is larger than the spool: %v", sealed.Size())
	}
	pf, f, err := openParquet(out)
	if err != nil {
		t.Fatal(err)
	}
	defer pf.Close()
	if n := len(f.RowGroups()); n < 6 {
		t.Errorf("%d row groups for 210 MB", n)
	}
	for _, g := range f.Metadata().RowGroups {
		for _, c := range g.Columns {
			if n := len(c.MetaData.Statistics.MaxValue); n > 1000 {
				t.Errorf("%v: a bound of %d bytes in the footer", c.MetaData.PathInSchema, n)
			}
			if c.MetaData.Codec.String() != "ZSTD" {
				t.Errorf("%v: codec %v", c.MetaData.PathInSchema, c.MetaData.Codec)
			}
		}
	}
}

// watchHeap looks at the heap every millisecond, without stopping the world as [runtime.ReadMemStats] does.
func watchHeap() (peak *uint64, stop func()) {
	peak = new(uint64)
	done, gone := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(gone)
		heap := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			metrics.Read(heap)
			*peak = max(*peak, heap[0].Value.Uint64())
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return peak, func() { close(done); <-gone }
}

// The file is plain Parquet: a reader that knows nothing of our types reads it.
func TestParquetForOthers(t *testing.T) {
	path, size := spool(t, batchOf(1, 1))
	out := filepath.Join(t.TempDir(), "out.parquet")
	if _, err := SealParquet(context.Background(), SealOptions{Path: out, Seal: "x", Spool: path, SpoolSize: size, Rows: 1}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := parquet.NewReader(file)
	rows := make([]parquet.Row, 2)
	n, err := r.ReadRows(rows)
	if n != 1 || err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(n, err)
	}
	names := map[string]parquet.Value{}
	for _, v := range rows[0] {
		names[strings.Join(r.Schema().Columns()[v.Column()], ".")] = v
	}
	if us := names["started_at"].Int64(); us != 1767323045678901 {
		t.Errorf("started_at is %d", us)
	}
	if q := names["queued_ms"].Double(); q != 1.2 {
		t.Errorf("queued_ms is %v", q)
	}
	if v := names["inter_token_max_ms"]; !v.IsNull() {
		t.Errorf("inter_token_max_ms is %v, want null", v)
	}
	if s := names["metadata"].String(); s != `{"expected":"4","n":1.0}` {
		t.Errorf("metadata is %s", s)
	}
}
