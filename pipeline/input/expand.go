package input

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Stdin is the path that stands for the standard input.
const Stdin = "-"

// A File is one source of a run.
type File struct {
	Name string // goes into the rows: the path as the user gave it, "stdin" for the standard input
	Path string // where it is, [Stdin] for the standard input
}

// Files gives names, as [Expand] returns them, their paths.
func Files(names []string) []File {
	files := make([]File, len(names))
	for i, name := range names {
		files[i] = File{Name: name, Path: name}
		if name == Stdin {
			files[i].Name = "stdin"
		}
	}
	return files
}

// Expand turns paths and globs into the names of files, in the order of the patterns and sorted within
// a glob. No pattern, or "-", is the standard input, which stands alone.
//
// A pattern that is the name of a file is that file, whatever characters it has. A file that comes twice, by
// whichever path, is taken once, where it comes first. A glob passes over directories. All faults are
// reported together, each an [*Error].
func Expand(patterns []string) ([]string, error) {
	if len(patterns) == 0 {
		return []string{Stdin}, nil
	}
	var (
		names  []string
		faults []error
		seen   = map[string]bool{}
	)
	for _, pattern := range patterns {
		if pattern == Stdin {
			if !seen[Stdin] {
				names = append(names, Stdin)
			}
			seen[Stdin] = true
			continue
		}
		matches, err := expand(pattern)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		for _, name := range matches {
			if key := realPath(name); !seen[key] {
				seen[key] = true
				names = append(names, name)
			}
		}
	}
	if seen[Stdin] && len(patterns) > 1 && len(names)+len(faults) > 1 {
		faults = append(faults, &Error{
			Source: Stdin, Err: errors.New("the standard input cannot be read beside files"),
			hint: "give the files as one stream: cat FILE … | batchrun run …",
		})
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return names, nil
}

func expand(pattern string) ([]string, error) {
	if pattern == "" {
		return nil, &Error{Source: `""`, Err: errors.New("an input needs a name"), hint: "- is the standard input"}
	}
	if strings.HasPrefix(pattern, "s3://") {
		return nil, &Error{
			Source: pattern, Err: errors.New("not a local file"),
			hint: "copy it first: aws s3 cp " + pattern + " .",
		}
	}
	info, err := os.Stat(pattern)
	switch {
	case err == nil:
		if err := regular(pattern, info); err != nil {
			return nil, err
		}
		return []string{pattern}, nil
	case !errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(pattern, `*?[`):
		return nil, fileError(pattern, err)
	case !strings.ContainsAny(pattern, `*?[`):
		return nil, &Error{Source: pattern, Err: fs.ErrNotExist, hint: missingHint(pattern)}
	}
	matches, err := filepath.Glob(pattern)
	if err != nil {
		return nil, &Error{Source: pattern, Err: err, hint: `a [ needs its ]; write \[ for the character itself`}
	}
	var names []string
	for _, name := range matches {
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, fileError(name, err)
		case info.IsDir():
			continue
		}
		if err := regular(name, info); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		hint := "see what is there: ls " + filepath.Dir(pattern)
		if strings.Contains(pattern, "**") {
			hint = "** is no more than * here; name the folders"
		}
		return nil, &Error{Source: pattern, Err: errors.New("no file matches"), hint: hint}
	}
	slices.Sort(names)
	return names, nil
}

// regular reports an error unless a file can be read more than once.
func regular(name string, info fs.FileInfo) error {
	switch {
	case info.IsDir():
		return &Error{
			Source: name, Err: errors.New("is a directory"),
			hint: "name the files in it: '" + filepath.Join(name, "*.jsonl") + "'",
		}
	case !info.Mode().IsRegular():
		return &Error{
			Source: name, Err: errors.New("is not a regular file, and an input is read more than once"),
			hint: "read it as the standard input: … | batchrun run -i - …",
		}
	}
	return nil
}

// missingHint looks for what the user may have meant.
func missingHint(name string) string {
	for _, end := range []string{".gz", ".zst", ".jsonl", ".jsonl.gz", ".jsonl.zst"} {
		if _, err := os.Stat(name + end); err == nil {
			return fmt.Sprintf("there is %s", name+end)
		}
	}
	dir := filepath.Dir(name)
	if _, err := os.Stat(dir); err != nil {
		return "there is no directory " + dir
	}
	if !filepath.IsAbs(name) {
		if wd, err := os.Getwd(); err == nil {
			return "paths count from " + wd
		}
	}
	return "check the path"
}

// realPath is the same for two names of one file.
func realPath(name string) string {
	if abs, err := filepath.Abs(name); err == nil {
		name = abs
	}
	if real, err := filepath.EvalSymlinks(name); err == nil {
		name = real
	}
	return name
}

// fileError is what the system says about a file, without its verb and path.
func fileError(name string, err error) error {
	if path, ok := errors.AsType[*fs.PathError](err); ok {
		err = path.Err
	}
	return &Error{Source: name, Err: err}
}
