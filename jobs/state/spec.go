package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

const (
	specVersion = 1
	specName    = "spec.json"
	lockName    = "lock"
	journalName = "journal"
	spoolName   = "spool.jsonl"
)

// spec is the content of spec.json.
type spec struct {
	Version int       `json:"version"`
	Run     string    `json:"run"`
	Created time.Time `json:"created"`
	Output  string    `json:"output"` // where they were when the run began, for people
	Errors  string    `json:"errors"`
	Frozen  Frozen    `json:"frozen"`
}

// ReadFrozen reads what a run was started with, without opening it: ok is false where there is no run. It lets a
// caller compare the input by size and time before it reads it.
func ReadFrozen(dir string) (frozen Frozen, ok bool, err error) {
	s, err := readSpec(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Frozen{}, false, nil
	}
	if err != nil {
		return Frozen{}, false, err
	}
	return s.Frozen, true, nil
}

// ReadPaths reads where the output and the error rows of a run were, as absolute paths, without opening it; both are ""
// where there is no run.
func ReadPaths(dir string) (output, errorRows string, err error) {
	s, err := readSpec(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	if err != nil {
		return "", "", err
	}
	return s.Output, s.Errors, nil
}

func readSpec(dir string) (*spec, error) {
	name := filepath.Join(dir, specName)
	file, err := (*atomicfile.FS)(nil).OpenPrivate(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var s spec
	if err := json.NewDecoder(file).Decode(&s); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if s.Version != specVersion {
		return nil, fmt.Errorf("%s: version %d, this program knows %d", name, s.Version, specVersion)
	}
	return &s, nil
}

func writeSpec(fsys *atomicfile.FS, dir string, s *spec) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return fsys.Write(filepath.Join(dir, specName), 0o600, func(w io.Writer) error {
		_, err := w.Write(append(data, '\n'))
		return err
	})
}
