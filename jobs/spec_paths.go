package jobs

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// OutputFormat is jsonl or parquet, as --format or the name of the output says.
func (s *Spec) OutputFormat() (string, error) {
	name := strings.ToLower(filepath.Base(s.Output))
	byName := ""
	switch ext := filepath.Ext(name); {
	case s.Output == "-" && s.Format == "parquet":
		return "", errors.New("a Parquet file cannot be streamed: nothing of it can be read before it is closed")
	case s.Output == "-":
		return "jsonl", nil
	case strings.HasPrefix(s.Output, "s3://"):
		return "", fmt.Errorf("an object store cannot be the output yet: %s", quote(s.Output))
	case strings.HasSuffix(s.Output, "/") || strings.HasSuffix(s.Output, string(filepath.Separator)):
		return "", fmt.Errorf("a directory cannot be the output yet: %s", quote(s.Output))
	case ext == ".gz" || ext == ".zst":
		return "", fmt.Errorf("output is not compressed, leave out %s; Parquet compresses by itself", ext)
	case ext == ".jsonl" || ext == ".parquet":
		byName = ext[1:]
	}
	switch {
	case byName == "" && s.Format == "":
		return "", fmt.Errorf("%s does not tell the format: end it in .jsonl or .parquet, or give --format", quote(s.Output))
	case byName != "" && s.Format != "" && byName != s.Format:
		return "", fmt.Errorf("%s is %s by its name, --format says %s", quote(s.Output), byName, s.Format)
	case byName != "":
		return byName, nil
	}
	return s.Format, nil
}

// Stem is the output's file name without its .jsonl or .parquet; "" for standard output.
func (s *Spec) Stem() string {
	if s.Output == "" || s.Output == "-" {
		return ""
	}
	name := filepath.Base(s.Output)
	for _, exts := range [][]string{{".gz", ".zst"}, {".jsonl", ".parquet"}} {
		if ext := filepath.Ext(name); len(ext) < len(name) && slices.Contains(exts, strings.ToLower(ext)) {
			name = strings.TrimSuffix(name, ext)
		}
	}
	return name
}

// ErrorsPath is where error rows go: --errors, else STEM.errors.jsonl beside the output; "" when the output is
// standard output and nothing was said.
func (s *Spec) ErrorsPath() string {
	if s.Errors != "" || s.Stem() == "" {
		return s.Errors
	}
	return filepath.Join(filepath.Dir(s.Output), s.Stem()+".errors.jsonl")
}

// StatePath is the run's own directory: --state, else OUTPUT.batchrun; "" when the output is standard output.
func (s *Spec) StatePath() string {
	if s.Output == "" || s.Output == "-" {
		return ""
	}
	if s.State != "" {
		return s.State
	}
	return filepath.Clean(s.Output) + ".batchrun"
}
