package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/batchrun/batchrun/jobs/learned"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
	"github.com/batchrun/batchrun/ratelimit"
	"github.com/parquet-go/parquet-go"
	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"batchrun": main})
}

// TestScripts runs testdata/*.txtar, each against a server of its own, whose first tokens take as long as the
// script's file "slow" says.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup:               setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"waitfor": waitFor,
			"rows":    rows,
			"mode":    mode,
			"learn":   learn,
			"nulls":   nulls,
		},
	})
}

func setup(env *testscript.Env) error {
	opt := sim.Options{FirstToken: sim.Latency{Mean: 5 * time.Millisecond}}
	if data, err := os.ReadFile(filepath.Join(env.WorkDir, "slow")); err == nil {
		d, err := time.ParseDuration(strings.TrimSpace(string(data)))
		if err != nil {
			return err
		}
		opt.FirstToken.Mean = d
	}
	arn := func(resource string) string {
		return "arn:aws:bedrock:us-east-1:123456789012:" + resource + "/abc123def456"
	}
	opt.Foundations = map[string]string{
		arn("provisioned-model"): "amazon.nova-lite-v1:0", arn("application-inference-profile"): "anthropic.claude-3-haiku-20240307-v1:0",
		arn("custom-model-deployment"): "amazon.nova-micro-v1:0",
	}
	env.Setenv("PROVISIONED", arn("provisioned-model"))
	env.Setenv("PROFILE", arn("application-inference-profile"))
	env.Setenv("DEPLOYMENT", arn("custom-model-deployment"))
	env.Setenv("LLAMA4", "us.meta.llama4-scout-17b-instruct-v1:0")
	server, err := sim.Start(opt)
	if err != nil {
		return err
	}
	env.Defer(func() { server.Close() })
	env.Setenv("ENDPOINT", server.URL())
	env.Setenv("MODEL", "anthropic.claude-3-haiku-20240307-v1:0")
	env.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	env.Setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-test")
	env.Setenv("AWS_REGION", "us-east-1")
	env.Setenv("AWS_CONFIG_FILE", filepath.Join(env.WorkDir, "no-config"))
	env.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(env.WorkDir, "no-credentials"))
	env.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	env.Setenv("HOME", filepath.Join(env.WorkDir, ".home"))
	env.Setenv("XDG_STATE_HOME", filepath.Join(env.WorkDir, ".home", "state"))
	env.Setenv("GORACE", strings.TrimSpace(os.Getenv("GORACE")+" atexit_sleep_ms=0")) // or each command ends a second late
	env.Setenv("TMPDIR", filepath.Join(env.WorkDir, ".tmp"))
	return os.MkdirAll(filepath.Join(env.WorkDir, ".tmp"), 0o700)
}

// waitFor waits until a file is there, or has at least so many lines: waitfor FILE [LINES].
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: waitfor file [lines]")
	}
	want := 0
	if len(args) == 2 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		want = n
	}
	deadline := time.Now().Add(30 * time.Second)
	for time.Now().Before(deadline) {
		data, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && strings.Count(string(data), "\n") >= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	ts.Fatalf("%s did not come to %d lines", args[0], want)
}

// rows checks the ids of a file of rows, in any order: rows FILE ID...
func rows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: rows file [id...]")
	}
	var got []string
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var row struct {
			RecordID *string
			Text     *string
			Error    *struct{ ErrorType string }
		}
		ts.Check(json.Unmarshal([]byte(line), &row))
		id := "null"
		if row.RecordID != nil {
			id = *row.RecordID
		}
		if row.Error != nil {
			id += "=" + row.Error.ErrorType
		} else if row.Text == nil {
			ts.Fatalf("a result row without text: %s", line)
		}
		got = append(got, id)
	}
	want := slices.Clone(args[1:])
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		ts.Fatalf("%s has the rows %q, want %q", args[0], got, want)
	}
}

// learn remembers a quota as a run does that was refused for minutes: learn MODEL TOKENS, tokens a minute. The credentials of the
// scripts tell no account, so it is that of the profile without a name.
func learn(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: learn model tokens")
	}
	tokens, err := strconv.ParseFloat(args[1], 64)
	ts.Check(err)
	account := sha256.Sum256([]byte("profile "))
	ts.Check(learned.Store{Dir: learned.Dir(ts.Getenv)}.Save(
		learned.Key{Account: hex.EncodeToString(account[:6]), Endpoint: ts.Getenv("ENDPOINT"), Region: ts.Getenv("AWS_REGION"), Model: args[0]},
		learned.Entry{At: time.Now(), Learned: ratelimit.Learned{TokensPerMinute: tokens}},
	))
}

// nulls checks that a column of a Parquet file has no value in any of its rows: nulls FILE COLUMN.
func nulls(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: nulls file column")
	}
	data := []byte(ts.ReadFile(args[0]))
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	ts.Check(err)
	column, ok := file.Schema().Lookup(args[1])
	if !ok || file.NumRows() == 0 {
		ts.Fatalf("%s has %d rows, and column %s is there: %v", args[0], file.NumRows(), args[1], ok)
	}
	for _, group := range file.RowGroups() {
		rows := group.Rows()
		buf := make([]parquet.Row, group.NumRows())
		if n, err := rows.ReadRows(buf); int64(n) != group.NumRows() {
			ts.Fatalf("read %d rows of %d: %v", n, group.NumRows(), err)
		}
		for _, row := range buf {
			for _, v := range row {
				if v.Column() == column.ColumnIndex && !v.IsNull() {
					ts.Fatalf("%s: a row has %s = %v", args[0], args[1], v)
				}
			}
		}
		ts.Check(rows.Close())
	}
}

// mode checks permissions: mode 0600 FILE.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode octal file")
	}
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}
