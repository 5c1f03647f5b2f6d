package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// all runs every benchmark that needs no argument, each in a process of its own: on Linux a child's peak memory is at
// least that of the process it was started from.
func all(ctx context.Context, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("all takes no arguments: %q", args)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var t table
	t.row("benchmark", "verdict", "took")
	var failed error
	for _, c := range commands {
		if !c.inAll {
			continue
		}
		fmt.Printf("\n### %s\n\n", c.name)
		start := time.Now()
		cmd := exec.CommandContext(ctx, self, c.name)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		verdict := "passed"
		if err := cmd.Run(); err != nil {
			verdict = "FAILED"
			failed = errors.Join(failed, missed("%s", c.name))
		}
		t.row(c.name, verdict, time.Since(start).Round(time.Second).String())
	}
	fmt.Println()
	t.print(os.Stdout)
	return failed
}
