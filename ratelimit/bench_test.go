package ratelimit

import (
	"context"
	"runtime"
	"sync"
	"testing"
)

func BenchmarkAcquireSucceed(b *testing.B) {
	for name, o := range map[string]Options{
		"nothing stated": {},
		"all stated":     {RequestsPerMinute: 1e12, TokensPerMinute: 1e15, TokensPerDay: 1e15},
	} {
		b.Run(name, func(b *testing.B) {
			l, err := New(o)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				p, err := l.Acquire(b.Context(), Cost{Input: 300, MaxTokens: 1000})
				if err != nil {
					b.Fatal(err)
				}
				p.FirstToken()
				p.Succeed(Usage{Input: 300, Output: 200})
			}
		})
	}
}

// Each operation is one permit handed on while 10,000 goroutines wait for it.
func BenchmarkTenThousandWait(b *testing.B) {
	l, err := New(Options{Concurrency: 16})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	served := make(chan struct{}, 1024)
	for range 10_000 {
		wg.Go(func() {
			for {
				p, err := l.Acquire(ctx, Cost{Input: 300, MaxTokens: 1000})
				if err != nil {
					return
				}
				select {
				case served <- struct{}{}:
				case <-ctx.Done():
				}
				p.FirstToken()
				p.Succeed(Usage{Input: 300, Output: 200})
			}
		})
	}
	for l.Snapshot().Waiting < 9000 {
		runtime.Gosched()
	}
	b.ReportAllocs()
	for b.Loop() {
		<-served
	}
	b.StopTimer()
	cancel()
	wg.Wait()
}
