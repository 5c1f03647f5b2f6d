package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// modelID is what all runs ask: a family whose streams have everything.
const modelID = "anthropic.claude-3-5-haiku-20241022-v1:0"

// A lab is where one command works: a directory of its own and the binaries to run.
type lab struct {
	dir      string
	batchrun string // the binary
	self     string // this program
	repo     string // the module's directory
	keep     bool
}

// labFlags adds the flags that every benchmark has.
func labFlags(name string) (*flag.FlagSet, *lab) {
	l := new(lab)
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.BoolVar(&l.keep, "keep", false, "leave the working directory behind and print its name")
	f.StringVar(&l.batchrun, "batchrun", "", "`binary` to run; built from this module by default")
	return f, l
}

// open makes the directory and builds the binary.
func (l *lab) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.self, err = os.Executable(); err != nil {
		return err
	}
	mod, err := output(ctx, "go", "env", "GOMOD")
	if err != nil {
		return err
	}
	if mod = strings.TrimSpace(mod); filepath.Base(mod) != "go.mod" {
		return errors.New("not within the module: run it as go run ./internal/benchtool")
	}
	l.repo = filepath.Dir(mod)
	if l.dir, err = os.MkdirTemp("", "benchtool-"); err != nil {
		return err
	}
	if l.batchrun != "" {
		l.batchrun, err = filepath.Abs(l.batchrun)
		return err
	}
	l.batchrun = filepath.Join(l.dir, "batchrun.exe") // a name that every system runs
	_, err = output(ctx, "go", "build", "-C", l.repo, "-trimpath", "-buildvcs=false", "-o", l.batchrun, "./cmd/batchrun")
	return err
}

// close removes the directory, unless it is to be kept.
func (l *lab) close() {
	if l.dir == "" {
		return
	}
	if l.keep {
		fmt.Fprintln(os.Stderr, "benchtool: kept", l.dir)
		return
	}
	_ = os.RemoveAll(l.dir) // what is left is in the system's temporary directory
}

// path is a file in the lab.
func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// workdir makes a new directory in the lab.
func (l *lab) workdir(name string) (string, error) {
	return os.MkdirTemp(l.dir, name+"-")
}

// output runs a command in the caller's environment and returns what it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, stderr.Bytes())
	}
	return string(out), nil
}
