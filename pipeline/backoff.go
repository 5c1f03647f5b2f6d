package pipeline

import "time"

const (
	backoffBase = time.Second
	backoffCap  = time.Minute
)

// backoff is how long a record waits after its nth failure, n from 1: full jitter, so that
// records which failed together do not come back together (AWS Architecture Blog, "Exponential
// Backoff And Jitter").
func backoff(n int, rand func() float64) time.Duration {
	ceiling := backoffCap
	if n = max(n, 1); n <= 6 { // 2^6 s is past the cap
		ceiling = min(backoffBase<<(n-1), backoffCap)
	}
	return time.Duration(rand() * float64(ceiling))
}
