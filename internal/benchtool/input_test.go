package main

import (
	"encoding/json"
	"path/filepath"
	"testing"
)

// What the generators write are records, as many and as large as asked for.
func TestGenerators(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "in.jsonl")
	lines := func(t *testing.T) (n, longest int) {
		t.Helper()
		ids := map[string]bool{}
		err := eachLine(path, func(line []byte) error {
			var rec struct {
				RecordID, ID string
				ModelInput   modelInput
			}
			n++
			if err := json.Unmarshal(line, &rec); err != nil {
				return err
			}
			ids[rec.RecordID+rec.ID] = true
			for _, turn := range rec.ModelInput.Messages {
				longest = max(longest, len(turn.Content))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(ids) != n {
			t.Errorf("%d ids in %d lines", len(ids), n)
		}
		return n, longest
	}
	if err := messages(path, 100); err != nil {
		t.Fatal(err)
	}
	if n, _ := lines(t); n != 100 {
		t.Errorf("messages(100) wrote %d records", n)
	}
	if err := prompts(path, 100); err != nil {
		t.Fatal(err)
	}
	if n, _ := lines(t); n != 100 {
		t.Errorf("prompts(100) wrote %d records", n)
	}
	if err := giants(path, 3, 1_000_000); err != nil {
		t.Fatal(err)
	}
	if n, longest := lines(t); n != 3 || longest != 1_000_000 {
		t.Errorf("giants(3, 1000000) wrote %d records of up to %d bytes", n, longest)
	}
}
