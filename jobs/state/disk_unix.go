//go:build linux || darwin || freebsd

package state

import (
	"math"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func freeDisk(path string) (int64, bool) {
	for {
		var st unix.Statfs_t
		err := unix.Statfs(path, &st)
		if err == nil {
			blocks, size := max(0, int64(st.Bavail)), max(1, int64(st.Bsize)) //nolint:unconvert // types differ by system
			if blocks > math.MaxInt64/size {
				return math.MaxInt64, true
			}
			return blocks * size, true
		}
		up := filepath.Dir(path)
		if up == path {
			return 0, false
		}
		path = up
	}
}
