package floors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/batchrun/batchrun"

// A pkg is what the test needs of a package: its path within the module and its imports without those of its tests.
type pkg struct {
	path    string
	imports []string
}

func TestImportsGoDown(t *testing.T) {
	root := moduleRoot(t)
	told := map[string]bool{}
	for _, goos := range []string{"linux", "darwin", "windows"} {
		for _, fault := range faults(list(t, root, goos)) {
			if !told[fault] {
				t.Errorf("built for %s: %s", goos, fault)
			}
			told[fault] = true
		}
	}
}

// The rules, on a program that breaks each of them once.
func TestFaults(t *testing.T) {
	own := func(paths ...string) []string {
		for i := range paths {
			paths[i] = module + "/" + paths[i]
		}
		return paths
	}
	tests := map[string]struct {
		pkg  pkg
		want string // part of the fault; "" for none
	}{
		"down":                   {pkg{"jobs", own("pipeline", "sinks", "jobs/journal")}, ""},
		"up":                     {pkg{"pipeline", own("sinks")}, "imports sinks (floor 2)"},
		"up to its parent":       {pkg{"jobs/journal", own("jobs")}, "imports jobs (floor 3)"},
		"beside":                 {pkg{"sinks", own("pipeline/bedrock")}, "imports pipeline/bedrock (floor 2)"},
		"beside, as listed":      {pkg{"jobs/journal", own("internal/atomicfile")}, ""},
		"inside jobs":            {pkg{"jobs", own("jobs/state", "jobs/report")}, ""},
		"not in the table":       {pkg{"sinks/csv", nil}, "add it to Table in internal/floors/floors.go"},
		"imports an unknown one": {pkg{"jobs", own("pipeline/novel")}, "imports pipeline/novel, which is not in Table"},
		"the SDK where it may":   {pkg{"pipeline/bedrock", []string{"github.com/aws/smithy-go"}}, ""},
		"the SDK elsewhere":      {pkg{"pipeline", []string{"github.com/aws/aws-sdk-go-v2/aws"}}, "imports github.com/aws/aws-sdk-go-v2/aws: only"},
		"other libraries":        {pkg{"pipeline", []string{"golang.org/x/sync/errgroup", "time"}}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := faults([]pkg{tt.pkg})
			if tt.want == "" {
				if len(got) > 0 {
					t.Errorf("faults(%v) = %q, want none", tt.pkg, got)
				}
				return
			}
			if len(got) != 1 || !strings.Contains(got[0], tt.want) {
				t.Errorf("faults(%v) = %q, want one with %q", tt.pkg, got, tt.want)
			}
		})
	}
}

// Every library that the program or its tests import is named in ARCHITECTURE.md with why, and nothing that is not required.
func TestLibrariesAreNamed(t *testing.T) {
	root := moduleRoot(t)
	out := run(t, root, nil, "go", "mod", "edit", "-json")
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := bytes.Cut(text, []byte("\n## Libraries\n"))
	if !found {
		t.Fatal("ARCHITECTURE.md: no section ## Libraries")
	}
	section, _, _ = bytes.Cut(section, []byte("\n## "))

	named := map[string]bool{} // the paths in backquotes of the table's second column
	for _, row := range regexp.MustCompile(`(?m)^\|[^|]*\|([^|]*)\|`).FindAllSubmatch(section, -1) {
		for _, path := range regexp.MustCompile("`([^`]+)`").FindAllSubmatch(row[1], -1) {
			named[string(path[1])] = true
		}
	}
	for _, req := range mod.Require {
		path := regexp.MustCompile(`/v[0-9]+$`).ReplaceAllString(req.Path, "")
		if !req.Indirect && !named[path] {
			t.Errorf("go.mod requires %s, which the table of libraries in ARCHITECTURE.md does not name", path)
		}
		delete(named, path)
	}
	for path := range named {
		t.Errorf("ARCHITECTURE.md names %s, which go.mod does not require", path)
	}
}

// faults says which imports break which rule.
func faults(pkgs []pkg) []string {
	var found []string
	fault := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	for _, p := range pkgs {
		floor, known := Table[p.path]
		if !known {
			fault("%s stands on no floor: add it to Table in internal/floors/floors.go, to the table in ARCHITECTURE.md "+
				"and to the depguard rules in .golangci.yml", p.path)
			continue
		}
		for _, path := range p.imports {
			if path == "github.com/aws" || strings.HasPrefix(path, "github.com/aws/") {
				if !slices.Contains(AWS, p.path) {
					fault("%s imports %s: only %s may import the AWS SDK", p.path, path, strings.Join(AWS, ", "))
				}
				continue
			}
			below, own := strings.CutPrefix(path, module+"/")
			if !own {
				continue
			}
			belowFloor, known := Table[below]
			switch {
			case !known:
				fault("%s imports %s, which is not in Table of internal/floors/floors.go", p.path, below)
			case belowFloor < floor:
			case belowFloor == floor && (floor == 3 || slices.Contains(Beside[p.path], below)):
			default:
				fault("%s (floor %d) imports %s (floor %d): imports go down only; declare the interface where it is used, "+
					"or move what both need to a lower floor", p.path, floor, below, belowFloor)
			}
		}
	}
	return found
}

// list asks the go command for the packages of the module.
func list(t *testing.T, root, goos string) []pkg {
	t.Helper()
	touch(t, root)
	// -e: a package that does not build at the moment still has imports.
	out := run(t, root, []string{"GOOS=" + goos, "CGO_ENABLED=0"}, "go", "list", "-e", "-json=ImportPath,Imports", "./...")
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		path, _ := strings.CutPrefix(p.ImportPath, module+"/")
		pkgs = append(pkgs, pkg{path, p.Imports})
	}
	if len(pkgs) < 2 {
		t.Fatalf("go list in %s found %d packages", root, len(pkgs))
	}
	return pkgs
}

// touch looks at every Go file of the module, because go test keeps the result of a test as long as the files stay the
// same that the test itself has seen, and it does not see those the go command reads.
func touch(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // gone since its directory was read
			return nil
		case err != nil:
			return err
		case d.IsDir() && path != root && strings.HasPrefix(d.Name(), "."):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			_, _ = os.Stat(path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}

func run(t *testing.T, dir string, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	return out
}
