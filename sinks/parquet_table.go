package sinks

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"
)

// HoldsRows tells a Parquet file of rows, as [SealParquet] makes them, from a table of anything else.
func HoldsRows(path string) (bool, error) {
	file, f, err := openParquet(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	for _, name := range []string{"record_id", "source", "line", "model_output"} {
		if _, ok := f.Schema().Lookup(name); !ok {
			return false, nil
		}
	}
	return true, nil
}

// ParquetTable yields the rows of any Parquet file as JSON objects, a member for each column in the order of their names. A row is
// valid until the next. Timestamps are numbers in the unit of their column, and bytes are text.
func ParquetTable(path string) func(yield func(row []byte, err error) bool) {
	return func(yield func([]byte, error) bool) {
		file, f, err := openParquet(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer file.Close()
		r := parquet.NewReader(f)
		defer r.Close()
		for {
			row := map[string]any{}
			err := r.Read(&row)
			if errors.Is(err, io.EOF) {
				return
			}
			var line []byte
			if err == nil {
				line, err = json.Marshal(row)
			}
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}
