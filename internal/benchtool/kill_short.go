package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// shortRecords make a job that is over in a moment, so that kills come while it lays out its files, takes stock, seals
// and rewrites as often as while it sends.
const shortRecords = 100

// short does a short job n times over. It is killed in turns at some moment and at one of the changes that it makes to
// its files, every other time once more on its way from there, and then comes to its end.
func (k *killing) short(ctx context.Context, opts sim.Options, undisturbed map[string]content, n int) error {
	input := k.path("short.jsonl")
	if err := killInput(input, shortRecords, k.retry); err != nil {
		return err
	}
	want, err := readInput(input)
	if err != nil {
		return err
	}
	server, j, err := k.begin(ctx, opts, input)
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()
	if k.retry {
		if err := k.firstRun(ctx, j); err != nil {
			return err
		}
		j.more = append(j.more, "--retry-failed")
	}
	dir := filepath.Dir(j.output)
	saved := dir + ".saved"
	if err := copyTree(saved, dir); err != nil {
		return err
	}
	all, err := k.session(ctx, j, time.Hour, 0)
	if err != nil {
		return err
	}
	for i := range n {
		if err := copyTree(dir, saved); err != nil {
			return err
		}
		k.shortJobs++
		for range 1 + i%2 {
			after, atChange := time.Hour, 1+k.rng.IntN(all.changes)
			if k.rng.IntN(2) == 0 {
				after, atChange = time.Duration(k.rng.Int64N(int64(all.took))), 0
			}
			how, err := k.session(ctx, j, after, atChange)
			if err != nil {
				return err
			}
			if how.killed {
				k.shortKills++
			}
		}
		if _, err := k.session(ctx, j, time.Hour, 0); err != nil {
			return err
		}
		before := k.found.n
		if err := k.check(ctx, j, want, undisturbed); err != nil {
			return err
		}
		if k.found.n > before {
			return nil // the files tell more than another hundred jobs
		}
	}
	return nil
}

// A session is how one start of a short job went.
type session struct {
	killed  bool
	took    time.Duration
	changes int // of its files, as far as they were seen
}

// session starts a job and kills it after a time, or at its atChange-th change of files.
func (k *killing) session(ctx context.Context, j job, after time.Duration, atChange int) (how session, err error) {
	dir := filepath.Dir(j.output)
	before := look(dir)
	p, err := k.start(ctx, k.batchrun, j.args()...)
	if err != nil {
		return how, err
	}
	var took spent
	done := make(chan error, 1)
	go func() {
		var err error
		took, err = p.wait()
		done <- err
	}()
	timeout := time.After(after)
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			how.killed, how.took = stopped(took), took.wall
			switch {
			case ctx.Err() != nil:
				err = context.Cause(ctx)
			case err == nil && !how.killed && took.exit != someFailed:
				err = p.failure(took.exit)
			case err == nil && how.killed && after == time.Hour && atChange == 0:
				err = fmt.Errorf("%s: killed by somebody else", p.cmd)
			}
			return how, err
		case <-timeout:
			k.stop(p)
		case <-tick.C:
			now := look(dir)
			if now == before {
				continue
			}
			before = now
			if how.changes++; how.changes == atChange {
				k.stop(p)
			}
		}
	}
}

// look is what can be seen of a directory: names and sizes, of what is in its own directories as well.
func look(dir string) string {
	var b strings.Builder
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil //nolint:nilerr // what has just gone is not there
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d\n", path, info.Size())
		}
		return nil
	})
	return b.String()
}

// copyTree replaces a directory by a copy of another.
func copyTree(to, from string) error {
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(path, from))
		if d.IsDir() {
			return os.Mkdir(target, info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}
