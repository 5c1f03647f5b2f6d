package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

func TestSameJSON(t *testing.T) {
	tests := map[string]struct {
		a, b string
		want bool
	}{
		"space and order": {`{"a":1,"b":[2, 3]}`, `{"b":[2,3],"a":1}`, true},
		"escapes":         {`"\u00e9"`, `"é"`, true},
		"number":          {`1`, `1.0`, false},
		"large number":    {`9007199254740993`, `9007199254740992`, false},
		"nothing":         {``, ``, true},
		"nothing and {}":  {``, `{}`, false},
		"missing field":   {`{"a":null}`, `{}`, false},
		"not JSON":        {`{`, `{}`, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := sameJSON([]byte(tt.a), []byte(tt.b)); got != tt.want {
				t.Errorf("sameJSON(%s, %s) = %v, want %v", tt.a, tt.b, got, tt.want)
			}
		})
	}
}

func TestLastTally(t *testing.T) {
	tests := map[string]struct {
		printed string
		want    tally
		fault   string
	}{
		"after other lines": {"batchrun: done\n10 read = 7 succeeded + 2 failed + 1 rejected + 0 left\n", tally{10, 7, 2, 1, 0}, ""},
		"does not add up":   {"10 read = 7 succeeded + 2 failed + 0 rejected + 0 left", tally{}, "does not add up"},
		"another last line": {"1 read = 1 succeeded + 0 failed + 0 rejected + 0 left\nbye", tally{}, "not an account"},
		"nothing":           {"", tally{}, "not an account"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := lastTally(tt.printed)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("lastTally(%q): %v, want %q", tt.printed, err, tt.fault)
				}
				return
			}
			if err != nil || got != tt.want {
				t.Errorf("lastTally(%q) = %v, %v, want %v", tt.printed, got, err, tt.want)
			}
		})
	}
}

// Rows that are right pass, and each thing that can be wrong with one is found.
func TestChecks(t *testing.T) {
	input := newMessage("r0000001", "who?")
	body := fmt.Sprintf(`{"anthropic_version":%q,"max_tokens":1024,"messages":[{"role":"user","content":"who?"}]}`, input.ModelInput.Version)
	truth, err := sim.Truth(sim.Options{}, modelID, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	u := truth.Usage
	right := fmt.Sprintf(`{"recordId":"r0000001","source":"in.jsonl","line":1,"modelId":%q,"modelInput":%s,"modelOutput":%s,"text":%s,`+
		`"stopReason":%q,"usage":{"inputTokens":%d,"outputTokens":%d},"attempts":1,"metadata":{"note":"n"}}`,
		modelID, body, truth.Body, quoted(truth.Text), truth.StopReason, u.InputTokens, u.OutputTokens)
	failed := `{"recordId":"r0000001","source":"in.jsonl","line":1,"modelInput":` + body + `,"error":{"errorCode":400,"errorType":"ValidationException"},"metadata":{"note":"n"}}`

	tests := map[string]struct {
		rows, errors string
		want         string // part of the fault; "" for none
	}{
		"a result":              {right, "", ""},
		"an error":              {"", failed, ""},
		"no row":                {"", "", "has no row"},
		"two rows":              {right + "\n" + right, "", "has two rows"},
		"result and error":      {right, failed, "has two rows"},
		"an error among rows":   {failed, "", "wrong file"},
		"no id":                 {strings.Replace(right, `"r0000001"`, "null", 1), "", "without recordId"},
		"an unknown id":         {strings.Replace(right, "r0000001", "r2", 1), "", "not in the input"},
		"another input":         {strings.Replace(right, "who?", "why?", 1), "", "modelInput is"},
		"no metadata":           {strings.Replace(right, `,"metadata":{"note":"n"}`, "", 1), "", "metadata is"},
		"no text":               {strings.Replace(right, `"text":`, `"texts":`, 1), "", "text"},
		"a cut text":            {strings.Replace(right, `"text":"`, `"text":"cut`, 1), "", "text"},
		"another stop reason":   {strings.Replace(right, `"stopReason":"`, `"stopReason":"x`, 1), "", "stop reason"},
		"other usage":           {strings.Replace(right, `"inputTokens":`, `"inputTokens":1`, 1), "", "usage"},
		"another model output":  {strings.Replace(right, `"modelOutput":{`, `"modelOutput":{"x":1,`, 1), "", "modelOutput"},
		"a row without its end": {right[:len(right)-2], "", "unexpected end"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j := job{input: filepath.Join(dir, "in.jsonl"), output: filepath.Join(dir, "out.jsonl")}
			input.Note = "n"
			var line strings.Builder
			if err := writeLine(&line, input); err != nil {
				t.Fatal(err)
			}
			write(t, j.input, strings.TrimSuffix(line.String(), "\n"))
			write(t, j.output, tt.rows)
			write(t, j.errorRows(), tt.errors)
			want, err := readInput(j.input)
			if err != nil {
				t.Fatal(err)
			}
			var found faults
			rows, err := rowsByID(j, want, &found)
			if err == nil {
				checkTruth(sim.Options{}, rows, &found)
				err = found.err()
			}
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("found %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("found %v, want %q", err, tt.want)
			}
		})
	}
}

func quoted(s string) string {
	var b strings.Builder
	_ = writeLine(&b, s)
	return strings.TrimSpace(b.String())
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if text != "" {
		text += "\n"
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
