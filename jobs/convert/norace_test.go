//go:build !race

package convert

const lines = 100_000
