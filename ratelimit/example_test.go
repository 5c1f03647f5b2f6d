package ratelimit_test

import (
	"context"
	"fmt"

	"github.com/batchrun/batchrun/ratelimit"
)

func Example() {
	limiter, err := ratelimit.New(ratelimit.Options{TokensPerMinute: 1_000_000, Burndown: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	permit, err := limiter.Acquire(context.Background(), ratelimit.Cost{Input: 4_000, MaxTokens: 32_000})
	if err != nil {
		fmt.Println(err) // the context ended
		return
	}
	fmt.Println(limiter.Snapshot().InFlight, "in flight")
	// … the request is sent and its stream read to the end …
	permit.Succeed(ratelimit.Usage{Input: 3_000, CacheWrite: 1_000, Output: 1_000})
	fmt.Println(limiter.Snapshot().InFlight, "in flight")
	// Output:
	// 1 in flight
	// 0 in flight
}

func ExampleOptions_Validate() {
	fmt.Println(ratelimit.Options{RequestsPerMinute: -1, Burndown: -5}.Validate())
	// Output:
	// requests per minute: -1 is not a finite number of at least 0
	// burndown: -5 is not a finite number of at least 0
}
