package lab

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"
)

// One processor, as for the table: the order of goroutines repeats, and with two the race detector of Go 1.26 crashes when
// a goroutine of a bubble selects on a timer that is due while others are fired (golang.org/issue/78156). The SDK's adaptive mode
// does so whenever it sleeps for nothing.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	goleak.VerifyTestMain(m)
}
