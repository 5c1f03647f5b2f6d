//go:build race

package convert

// lines is fewer than elsewhere: the race detector makes every one ten times as slow, and there is no race in their number.
const lines = 10_000
