package input

import (
	"context"
	"errors"
	"io"
	"slices"
)

// errFound ends the reading of a source at its first difference.
var errFound = errors.New("found")

// Compare tells whether files hold the lines that old and oldHashes were taken from, and returns nil for
// the same, or the first difference. Names and paths do not matter, but the order and the bounds of the sources
// do. A file with the name, size and time of its print is taken to be the same without being read.
func Compare(ctx context.Context, files []File, old []Print, oldHashes io.ReaderAt) (*Difference, error) {
	if diff := extraSource(files, old); diff != nil {
		return diff, nil
	}
	var pos int64
	lines := newLineReader()
	for i, f := range files {
		if i == len(old) {
			return &Difference{Source: f.Name, What: WhatOneMore}, nil
		}
		if !looksSame(f, old[i]) {
			diff, err := compareLines(ctx, lines, f, old[i], newHashCursor(oldHashes, pos))
			if diff != nil || err != nil {
				return diff, err
			}
		}
		pos += old[i].Lines
	}
	if len(files) < len(old) {
		return &Difference{Source: old[len(files)].Name, What: WhatOneFewer}, nil
	}
	return nil, nil
}

// extraSource names the source that came on top of the old ones or went from among them, where the names tell.
func extraSource(files []File, old []Print) *Difference {
	hasFile := func(name string) bool {
		return slices.ContainsFunc(files, func(f File) bool { return f.Name == name })
	}
	hasOld := func(name string) bool {
		return slices.ContainsFunc(old, func(p Print) bool { return p.Name == name })
	}
	var more, fewer []string
	for _, f := range files {
		if !hasOld(f.Name) {
			more = append(more, f.Name)
		}
	}
	for _, p := range old {
		if !hasFile(p.Name) {
			fewer = append(fewer, p.Name)
		}
	}
	switch {
	case len(files) > len(old) && len(fewer) == 0 && len(more) > 0:
		return &Difference{Source: more[0], What: WhatOneMore}
	case len(files) < len(old) && len(more) == 0 && len(fewer) > 0:
		return &Difference{Source: fewer[0], What: WhatOneFewer}
	}
	return nil
}

func looksSame(f File, old Print) bool {
	if f.Name != old.Name || f.Path == Stdin {
		return false
	}
	src, err := openFile(f)
	if err != nil {
		return false // to be reported when it is read
	}
	defer src.close()
	info, err := src.file.Stat()
	return err == nil && info.Size() == old.Size && info.ModTime().Equal(old.ModTime)
}

func compareLines(ctx context.Context, lines *lineReader, f File, old Print, hashes *hashCursor) (*Difference, error) {
	var diff *Difference
	_, n, err := eachLine(ctx, lines, f, nil, func(n int64, ln *line) error {
		if n > old.Lines {
			diff = &Difference{Source: f.Name, Line: n, What: WhatAdded}
			return errFound
		}
		sum, ok, err := hashes.next()
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("the hashes of the lines end too early")
		}
		if sum != ln.hash() {
			diff = &Difference{Source: f.Name, Line: n, What: WhatChanged}
			return errFound
		}
		return nil
	})
	switch {
	case diff != nil:
		return diff, nil
	case err != nil:
		return nil, err
	case n < old.Lines:
		return &Difference{Source: f.Name, Line: n + 1, What: WhatMissing}, nil
	}
	return nil, nil
}
