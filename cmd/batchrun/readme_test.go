package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/examples"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestReadme runs the commands of README.md as they stand there, over the records that stand there, against the
// rehearsal server in place of Bedrock.
func TestReadme(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	prices, err := os.ReadFile("../../examples/prices.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var script, records strings.Builder
	ran := 0
	for block := range codeBlocks(string(readme)) {
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			switch {
			case strings.HasPrefix(line, "{"):
				records.WriteString(line + "\n")
			case line == "go run ./cmd/batchrun demo":
				script.WriteString("exec batchrun demo\n")
				ran++
			case strings.HasPrefix(line, "batchrun "):
				script.WriteString("exec " + line + "\n")
				ran++
			case strings.HasPrefix(line, "go install "), strings.HasPrefix(line, "go test "): // the gate's own
			default:
				t.Errorf("README.md: no test knows the line %q", line)
			}
		}
	}
	if ran < 4 || records.Len() == 0 {
		t.Fatalf("README.md: found %d commands and %d bytes of records", ran, records.Len())
	}
	for _, file := range []struct{ name, content string }{
		{"prompts.jsonl", records.String()},
		{"tonight.jsonl", records.String()},
		{"nightly.yaml", string(examples.Nightly)},
		{"prices.yaml", string(prices)},
		{"out/.keep", ""},
	} {
		fmt.Fprintf(&script, "-- %s --\n%s", file.name, file.content)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "readme.txtar"), []byte(script.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			if err := setup(env); err != nil {
				return err
			}
			env.Setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", env.Getenv("ENDPOINT"))
			return nil
		},
	})
}

// codeBlocks yields the fenced blocks of a document.
func codeBlocks(doc string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		parts := strings.Split(doc, "\n```")
		for i := 1; i < len(parts); i += 2 {
			_, body, _ := strings.Cut(parts[i], "\n") // the language
			if !yield(body) {
				return
			}
		}
	}
}
