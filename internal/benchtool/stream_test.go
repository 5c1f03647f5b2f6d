package main

import (
	"strings"
	"testing"
	"time"
)

const benchmarkPrinted = `goos: linux
pkg: github.com/batchrun/batchrun/pipeline/bedrock
BenchmarkStream/llama/batchrun-2   	     649	    500000 ns/op	 958.95 MB/s	      2000 chunks/op	    600000 cpu-ns/op	   90945 B/op	      27 allocs/op
BenchmarkStream/llama/sdk-2        	      25	  10000000 ns/op	  58.61 MB/s	      2000 chunks/op	  12000000 cpu-ns/op	 8524953 B/op	  118376 allocs/op
BenchmarkStream/claude-text/batchrun-2  	     649	   1000000 ns/op	      2000 chunks/op	   800000 cpu-ns/op	 5000000 B/op	      4000 allocs/op
BenchmarkStream/claude-text/sdk-2  	      25	  10000000 ns/op	      2000 chunks/op	   8000000 cpu-ns/op	 8000000 B/op	  118000 allocs/op
PASS
`

func TestReadings(t *testing.T) {
	var all []*readings
	for range 3 { // rounds
		if err := addReadings(&all, benchmarkPrinted); err != nil {
			t.Fatal(err)
		}
	}
	if len(all) != 2 || all[0].family != "llama" || len(all[0].ours) != 3 || len(all[1].theirs) != 3 {
		t.Fatalf("read %+v", all)
	}
	if got, want := all[1].ours[2], (reading{500 * time.Nanosecond, 400 * time.Nanosecond, 2500, 2}); got != want {
		t.Errorf("a reading is %+v, want %+v", got, want)
	}
	all[0].theirs[0] = reading{wall: 100 * time.Microsecond, cpu: 100 * time.Microsecond} // in this round the machine had other work

	var b strings.Builder
	over := printReadings(&b, all, streamBounds{time: 0.06, allocs: 1})
	want := "" +
		"| family      | ns  | B    | allocations | SDK: ns | B    | allocations | ratio | target |            | by the wall clock: ns | SDK: ns | ratio |\n" +
		"| ---         | --- | ---  | ---         | ---     | ---  | ---         | ---   | ---    | ---        | ---                   | ---     | ---   |\n" +
		"| llama       | 300 | 45   | 0.01        | 6000    | 4262 | 59          | 0.050 | 0.06   | reached    | 250                   | 5000    | 0.050 |\n" +
		"| claude-text | 400 | 2500 | 2.00        | 4000    | 4000 | 59          | 0.100 | 0.06   | **missed** | 500                   | 5000    | 0.100 |\n"
	if b.String() != want {
		t.Errorf("printed\n%swant\n%s", b.String(), want)
	}
	if len(over) != 1 || !strings.HasPrefix(over[0], "claude-text: 0.100 ") {
		t.Errorf("over their bounds: %q", over)
	}
	if over := printReadings(&b, all, streamBounds{time: 0.1, allocs: 1}); len(over) != 1 {
		t.Errorf("two allocations a chunk pass: %q", over)
	}
}

func TestReadingsThatCannotBeRead(t *testing.T) {
	for _, line := range []string{
		"BenchmarkStream/llama/batchrun-2 1 500000 ns/op 7 allocs/op",
		"BenchmarkStream/llama/batchrun-2 1 2000 chunks/op",
		"BenchmarkStream/llama/batchrun-2 1 many ns/op 2000 chunks/op",
		"BenchmarkStream/llama/other-2 1 500000 ns/op 2000 chunks/op",
		"BenchmarkStream/llama/batchrun-2",
	} {
		var all []*readings
		if err := addReadings(&all, line+"\n"); err == nil {
			t.Errorf("%q was read as %+v", line, all)
		}
	}
}
