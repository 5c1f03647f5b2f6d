package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// The versions that were tried.
const (
	duckdbPackage = "@duckdb/node-api@1.5.6-r.1"
	sdkPackage    = "@aws-sdk/client-bedrock-runtime@3.1162.0"
)

//go:embed duckdb.mjs
var duckdbScript []byte

//go:embed js.mjs
var jsScript []byte

// node runs a script that needs one npm package, in a directory of its own. What the script prints is shown; it exits 1
// where something is wrong.
func (l *lab) node(ctx context.Context, pkg string, script []byte, args ...string) error {
	dir, err := l.workdir("node")
	if err != nil {
		return err
	}
	install := exec.CommandContext(ctx, "npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", dir, pkg)
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", install, err, out)
	}
	file := filepath.Join(dir, "script.mjs")
	if err := os.WriteFile(file, script, 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "node", append([]string{file}, args...)...)
	cmd.Dir, cmd.Env = dir, l.environment()
	out, err := cmd.CombinedOutput()
	os.Stdout.Write(out)
	if _, exited := errors.AsType[*exec.ExitError](err); exited {
		return missed("%s found faults", pkg)
	}
	return err
}

// duckdb reads a Parquet file with a reader that is not Go's.
func duckdb(ctx context.Context, args []string) error {
	f, l := labFlags("duckdb")
	rows := f.Int("rows", -1, "rows that the file must have; -1: any number")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 {
		return errors.New("duckdb needs one FILE.parquet")
	}
	path, err := filepath.Abs(f.Arg(0))
	if err != nil {
		return err
	}
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	return l.readWithDuckDB(ctx, path, *rows)
}

func (l *lab) readWithDuckDB(ctx context.Context, path string, rows int) error {
	return l.node(ctx, duckdbPackage, duckdbScript, path, strconv.Itoa(rows))
}

// js lets the AWS SDK for JavaScript read the simulator's streams: what it reads is what a client that is not ours
// makes of them.
func js(ctx context.Context, args []string) error {
	f, l := labFlags("js")
	if err := f.Parse(args); err != nil {
		return err
	}
	if err := l.open(ctx); err != nil {
		return err
	}
	defer l.close()
	server, err := l.serve(ctx, sim.Options{FirstToken: sim.Latency{Mean: 20 * time.Millisecond}})
	if err != nil {
		return err
	}
	defer func() { _ = server.stop() }()
	body := []byte(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":64,"messages":[{"role":"user","content":"Who counts the boats?"}]}`)
	truth, err := sim.Truth(server.opts, modelID, body)
	if err != nil {
		return err
	}
	return l.node(ctx, sdkPackage, jsScript, server.url, modelID, string(body), truth.Text)
}
