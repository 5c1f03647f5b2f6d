//go:build !unix

package atomicfile

// NoFollow is nothing here: open cannot refuse a symlink.
const NoFollow = 0

func noFollowError(err error) error { return err }

func syncDir(string) error { return nil }
