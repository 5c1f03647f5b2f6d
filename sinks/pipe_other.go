//go:build !unix

package sinks

import (
	"errors"
	"io"
	"os"
)

func isBrokenPipe(err error) bool {
	return errors.Is(err, io.ErrClosedPipe) || errors.Is(err, os.ErrClosed)
}
