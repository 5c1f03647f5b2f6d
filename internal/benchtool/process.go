package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// spent is what a process took from its start to its end.
type spent struct {
	cpu  time.Duration // user and system
	user time.Duration
	wall time.Duration
	peak int64 // bytes resident, 0 where the system does not tell
	exit int   // -1: killed
}

// A process is one run of a client. What it prints stays in memory.
type process struct {
	cmd            *exec.Cmd
	started        time.Time
	stdout, stderr bytes.Buffer
}

// start runs a program in an environment that knows nothing of the caller's AWS settings.
func (l *lab) start(ctx context.Context, name string, args ...string) (*process, error) {
	p := &process{cmd: exec.CommandContext(ctx, name, args...)}
	p.cmd.Dir = l.dir
	p.cmd.Env = l.environment()
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.started = time.Now()
	return p, p.cmd.Start()
}

// environment has credentials that open nothing, and nothing else that would shape a run.
func (l *lab) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.dir, "TMPDIR=" + os.TempDir(),
		"AWS_ACCESS_KEY_ID=benchtool", "AWS_SECRET_ACCESS_KEY=benchtool", "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE=" + l.path("none"), "AWS_SHARED_CREDENTIALS_FILE=" + l.path("none"),
		"AWS_EC2_METADATA_DISABLED=true",
	}
}

// wait returns what the process took. An exit code is not an error here.
func (p *process) wait() (spent, error) {
	err := p.cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		return spent{}, err
	}
	state := p.cmd.ProcessState
	return spent{
		cpu: state.UserTime() + state.SystemTime(), user: state.UserTime(), wall: time.Since(p.started),
		peak: peakMemory(state), exit: state.ExitCode(),
	}, nil
}

// run starts a program and waits for it; an exit code that is not wanted is an error.
func (l *lab) run(ctx context.Context, wantExit int, name string, args ...string) (*process, spent, error) {
	p, err := l.start(ctx, name, args...)
	if err != nil {
		return nil, spent{}, err
	}
	took, err := p.wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && took.exit != wantExit {
		err = p.failure(took.exit)
	}
	return p, took, err
}

// failure tells what a process said before it ended in a way it should not have.
func (p *process) failure(exit int) error {
	return fmt.Errorf("%s: exit %d\n%s", p.cmd, exit, p.stderr.Bytes())
}
