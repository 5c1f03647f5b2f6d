package sim

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// boto3 reads every family and knows every exception by its type. It shares no code with us.
func TestBoto3(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if err := exec.Command(python, "-c", "import boto3").Run(); err != nil {
		t.Skip("boto3 is not installed for python3")
	}
	s := start(t, Options{RequireAuth: true})
	run(t, "", python, filepath.Join("testdata", "check_boto3.py"), s.URL())
}

// The AWS SDK for JavaScript does the same over HTTP/2 without TLS. It is fetched from npm, so it
// runs only when asked for.
func TestJavaScriptSDK(t *testing.T) {
	if os.Getenv("BATCHRUN_NPM") != "1" {
		t.Skip("set BATCHRUN_NPM=1 to fetch the SDK from npm and run this test")
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "js"))); err != nil {
		t.Fatal(err)
	}
	run(t, dir, "npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
	s := start(t, Options{RequireAuth: true})
	run(t, dir, "node", "check.mjs", s.URL())
}

func run(t *testing.T, dir, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	t.Logf("%s", out)
}
