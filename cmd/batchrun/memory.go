package main

import (
	"os"
	"runtime/debug"
)

// memoryOverhead is what a run needs beside the buffer budget: workers, sockets, the reader's
// line, the encoders.
const memoryOverhead = 64 << 20

// tuneMemory lets garbage gather while there is little in memory, because collecting it costs
// the clock of 200 streams more than it saves, and collects early when the budget is full. What the
// user set by GOGC or GOMEMLIMIT stays.
func tuneMemory(maxBuffer int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(maxBuffer + memoryOverhead)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200)
	}
}
