//go:build unix

package state

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"testing"

	"github.com/batchrun/batchrun/pipeline"
)

func TestModesWhateverTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o777} {
		t.Run(fmt.Sprintf("%03o", umask), func(t *testing.T) {
			if umask == 0o777 && os.Geteuid() != 0 {
				t.Skip("output cannot be read back") // root can
			}
			j := newJob(t, Parquet)
			was := syscall.Umask(umask)
			defer syscall.Umask(was)
			stopped(t, j, 12)
			dir := j.options(nil).Output + ".batchrun"
			if err := os.Chmod(dir, 0o755); err != nil { // somebody was careless
				t.Fatal(err)
			}
			stopped(t, j, 15)
			_ = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
				if err != nil {
					t.Fatal(err)
				}
				info, _ := e.Info()
				want := fs.FileMode(0o600)
				if e.IsDir() {
					want = 0o700
				}
				if got := info.Mode().Perm(); got != want {
					t.Errorf("%s: %o, want %o", path, got, want)
				}
				return nil
			})
			finished(t, j)
			for _, name := range []string{"out.parquet", "out.errors.jsonl"} {
				info, err := os.Stat(filepath.Join(j.dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if got, want := info.Mode().Perm(), fs.FileMode(0o666&^umask); got != want {
					t.Errorf("%s: %o, want %o", name, got, want)
				}
			}
		})
	}
}

// TestMain lets the test binary be the other process of a test.
func TestMain(m *testing.M) {
	switch dir := os.Getenv("BATCHRUN_TEST_DIR"); os.Getenv("BATCHRUN_TEST_HELPER") {
	case "hold":
		os.Exit(hold(dir))
	case "full":
		os.Exit(full(dir))
	}
	// Thousands of short runs, each with the buffers of a Parquet file: collecting them less often halves the time.
	debug.SetGCPercent(400)
	os.Exit(m.Run())
}

func helper(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BATCHRUN_TEST_HELPER="+what, "BATCHRUN_TEST_DIR="+dir)
	cmd.Stderr = os.Stderr
	return cmd
}

// hold stores one record, says so and stays until it is killed, or its parent is gone.
func hold(dir string) int {
	j := newJobIn(dir, JSONL)
	opt := j.options(nil)
	opt.Command = "batchrun run job.yaml"
	r, err := Open(opt)
	if err == nil {
		err = r.Commit(context.Background(), []*pipeline.Result{j.result(0, 0)})
	}
	fmt.Println(err)
	_, _ = io.Copy(io.Discard, os.Stdin)
	return 1
}

// The second process is refused and told who has the run; the lock dies with its holder.
func TestLockAcrossProcesses(t *testing.T) {
	j := newJob(t, JSONL)
	cmd := helper(t, "hold", j.dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "<nil>\n" {
		t.Fatalf("helper: %q, %v", line, err)
	}
	for _, fresh := range []bool{false, true} {
		opt := j.options(nil)
		opt.Fresh = fresh
		_, err = Open(opt)
		locked, ok := errors.AsType[*LockedError](err)
		if !ok {
			t.Fatalf("%T: %v", err, err)
		}
		if locked.PID != cmd.Process.Pid || locked.Host == "" || locked.Command != "batchrun run job.yaml" {
			t.Errorf("held by %+v, want process %d", locked.Holder, cmd.Process.Pid)
		}
	}
	v, err := Verify(context.Background(), VerifyOptions{Output: j.options(nil).Output, Lines: j.lines})
	if err != nil || v.Holder == nil || v.Holder.PID != cmd.Process.Pid || v.Finished || v.Total != 0 || v.Left != 20 {
		t.Errorf("verify of a run at work: %+v, %v", v, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	sent := 0
	if err := j.run(j.options(nil), 0, func(pos int64) {
		if sent++; pos == 0 {
			t.Error("position 0 was sent again")
		}
	}); err != nil {
		t.Fatal(err)
	}
	if sent != 20 {
		t.Errorf("%d sent after the kill, want 20", sent)
	}
	j.verify(t)
}

// full runs a job with files limited to ever more bytes, as on a disk that is full and then has room again.
func full(dir string) int {
	signal.Ignore(syscall.SIGXFSZ)
	j := newJobIn(dir, filepath.Base(dir))
	refused := 0
	for limit := uint64(600); ; limit += 100 {
		lim := syscall.Rlimit{Cur: limit, Max: ^uint64(0)}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &lim); err != nil {
			fmt.Println(err)
			return 1
		}
		err := j.run(j.options(nil), int(limit/100)%2, func(int64) {})
		if err == nil {
			fmt.Println("refused", refused)
			return 0
		}
		if !errors.Is(err, syscall.EFBIG) {
			fmt.Println(err)
			return 1
		}
		refused++
	}
}

// A file that can grow no further, as the kernel tells it: nothing is lost and nothing stored twice.
func TestDiskFull(t *testing.T) {
	for _, format := range []string{JSONL, Parquet} {
		dir := filepath.Join(tempDir(t), format)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		out, err := helper(t, "full", dir).Output()
		var refused int
		if _, serr := fmt.Sscanf(string(out), "refused %d", &refused); err != nil || serr != nil || refused < 10 {
			t.Fatalf("%s: %s %v", format, out, err)
		}
		j := newJobIn(dir, format)
		if diff := diffMaps(undisturbed(t, format, false), j.outcome(t)); diff != "" {
			t.Errorf("%s:\n%s", format, diff)
		}
		j.verify(t)
	}
}
