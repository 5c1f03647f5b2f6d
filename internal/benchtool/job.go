package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// A job is one run of batchrun, or of the loop: what is read, what is written, who answers.
type job struct {
	input       string
	output      string
	url         string
	concurrency int
	more        []string // flags of batchrun
}

func (j job) args() []string {
	args := []string{
		"run", "-i", j.input, "-o", j.output, "-m", modelID, "--endpoint-url", j.url,
		"-c", strconv.Itoa(j.concurrency), "--progress", "none",
		"--no-learned", // or a run would begin with what the one before found
	}
	return append(args, j.more...)
}

// errorRows is where batchrun puts the error rows.
func (j job) errorRows() string {
	return strings.TrimSuffix(j.output, filepath.Ext(j.output)) + ".errors.jsonl"
}

// runBatchrun runs a job in which nothing fails, and holds its account against the number of records.
func (l *lab) runBatchrun(ctx context.Context, j job, want tally) (spent, error) {
	p, took, err := l.run(ctx, 0, l.batchrun, j.args()...)
	if err != nil {
		return took, err
	}
	got, err := lastTally(p.stderr.String())
	if err == nil && got != want {
		err = fmt.Errorf("%s: says %v, expected %v", p.cmd, got, want)
	}
	return took, err
}

// verify runs batchrun verify, which has to agree.
func (l *lab) verify(ctx context.Context, j job) error {
	_, _, err := l.run(ctx, 0, l.batchrun, "verify", j.output, "-i", j.input)
	return err
}

// runLoop runs the job with the loop and tells how many records it lost.
func (l *lab) runLoop(ctx context.Context, j job) (took spent, lost int, err error) {
	p, took, err := l.run(ctx, 0, l.self, "loop", "-i", j.input, "-o", j.output, "-endpoint-url", j.url, "-c", strconv.Itoa(j.concurrency))
	if err == nil {
		_, err = fmt.Sscanf(p.stderr.String(), "%d failed", &lost)
	}
	return took, lost, err
}

// A tally is the last line that a run prints: read = succeeded + failed + rejected + left.
type tally struct{ read, succeeded, failed, rejected, left int64 }

var tallyLine = regexp.MustCompile(`^(\S+) read = (\S+) succeeded \+ (\S+) failed \+ (\S+) rejected \+ (\S+) left`)

// lastTally reads it from what a run has printed.
func lastTally(printed string) (tally, error) {
	lines := strings.Split(strings.TrimSpace(printed), "\n")
	last := lines[len(lines)-1]
	m := tallyLine.FindStringSubmatch(last)
	if m == nil {
		return tally{}, fmt.Errorf("the last line is not an account: %q", last)
	}
	var n [5]int64
	for i := range n {
		digits := strings.NewReplacer(",", "", "_", "").Replace(m[i+1])
		var err error
		if n[i], err = strconv.ParseInt(digits, 10, 64); err != nil {
			return tally{}, fmt.Errorf("account %q: %w", last, err)
		}
	}
	t := tally{n[0], n[1], n[2], n[3], n[4]}
	if t.read != t.succeeded+t.failed+t.rejected+t.left {
		return t, fmt.Errorf("account %q does not add up", last)
	}
	return t, nil
}

// String is the account as a run prints it.
func (t tally) String() string {
	return fmt.Sprintf("%d read = %d succeeded + %d failed + %d rejected + %d left", t.read, t.succeeded, t.failed, t.rejected, t.left)
}
