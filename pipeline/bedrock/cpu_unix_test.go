//go:build unix

package bedrock

import (
	"syscall"
	"time"
)

// processorTime is what this process has taken so far, user and system.
func processorTime() (time.Duration, bool) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, false
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), true
}
