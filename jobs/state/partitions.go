package state

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
)

// partitions groups records of one width by their first byte, so that equal ones come together without all of them
// being in memory: beyond a limit they go to temporary files.
type partitions struct {
	width int
	limit int    // bytes in memory
	temp  string // where temporary files go, "" for the system's place

	held  int
	parts [256][]byte
	dir   string // "": nothing is on disk
}

// add takes a record; equal records must begin with the same byte.
func (p *partitions) add(record []byte) error {
	i := record[0]
	p.parts[i] = append(p.parts[i], record...)
	if p.held += len(record); p.held < p.limit {
		return nil
	}
	return p.spill()
}

func (p *partitions) spill() (err error) {
	if p.dir == "" {
		if p.dir, err = os.MkdirTemp(p.temp, "batchrun-verify-"); err != nil {
			return err
		}
	}
	for i, part := range p.parts {
		if len(part) == 0 {
			continue
		}
		file, err := os.OpenFile(p.file(i), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return err
		}
		_, err = file.Write(part)
		if err = errors.Join(err, file.Close()); err != nil {
			return err
		}
		p.parts[i] = part[:0]
	}
	p.held = 0
	return nil
}

func (p *partitions) file(i int) string { return filepath.Join(p.dir, strconv.Itoa(i)) }

// each calls f with the records of each group, one after the other.
func (p *partitions) each(f func(records [][]byte) error) error {
	for i, part := range p.parts {
		data := part
		if p.dir != "" {
			onDisk, err := p.read(i)
			if err != nil {
				return err
			}
			data = append(onDisk, part...)
		}
		records := make([][]byte, 0, len(data)/p.width)
		for len(data) >= p.width {
			records = append(records, data[:p.width])
			data = data[p.width:]
		}
		if len(records) == 0 {
			continue
		}
		if err := f(records); err != nil {
			return err
		}
	}
	return nil
}

func (p *partitions) read(i int) ([]byte, error) {
	file, err := os.Open(p.file(i))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(bufio.NewReader(file))
}

// close removes the temporary files.
func (p *partitions) close() error {
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}
