package jobs_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
	"github.com/batchrun/batchrun/sinks"
)

// familyModels has a model of each family; those whose id does not tell are given the family as well.
var familyModels = map[string]string{
	"claude": claudeID, "nova": novaID, "llama": "meta.llama3-8b-instruct-v1:0", "titan": "amazon.titan-text-express-v1",
	"claude-text": "anthropic.claude-v2:1", "mistral-text": "mistral.mistral-7b-instruct-v0:2", "mistral": "mistral.mistral-large-2407-v1:0",
	"command-r": "cohere.command-r-plus-v1:0", "command": "cohere.command-text-v14", "jamba": "ai21.jamba-1-5-mini-v1:0", "j2": "ai21.j2-mid-v1",
	"deepseek-r1": "us.deepseek.r1-v1:0", "deepseek": "deepseek.v3-v1:0", "openai": "openai.gpt-oss-20b-1:0", "qwen": "qwen.qwen3-32b-v1:0",
	"writer": "us.writer.palmyra-x5-v1:0", "chat": "google.gemma-3-27b-it",
	"imported": "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefghijkl", "generic": "newco.wonder-v1:0",
}

// sameRequest is one request as lines of other programs, and in the short form.
const sameRequest = `{"custom_id":"openai","method":"POST","url":"/v1/chat/completions","body":{"model":"gpt","max_tokens":60,"messages":[{"role":"user","content":"Hi"}]}}
{"custom_id":"anthropic","params":{"model":"claude","max_tokens":60,"messages":[{"role":"user","content":"Hi"}]}}
{"recordId":"converse","modelInput":{"messages":[{"role":"user","content":[{"text":"Hi"}]}],"inferenceConfig":{"maxTokens":60}}}
{"id":"short","prompt":"Hi","maxTokens":60}
`

// TestRowsOfOtherProgramsAreWhole runs the same lines over every family with every kind of rows, and reads back what the
// rows of our own say.
func TestRowsOfOtherProgramsAreWhole(t *testing.T) {
	server, err := sim.Start(sim.Options{Seed: 2, OutputTokens: 20, OutputSpread: 10, Families: map[string]string{familyModels["generic"]: "chat"}})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	for _, family := range bedrock.Families() {
		t.Run(family, func(t *testing.T) {
			own := rowsOfRun(t, family, sinks.Full, server.URL())
			for _, kind := range []sinks.Rows{sinks.Bedrock, sinks.OpenAI, sinks.Anthropic, sinks.Text} {
				for id, row := range rowsOfRun(t, family, kind, server.URL()) {
					want := own[id]
					if row.Text != want.Text || row.Text == "" {
						t.Errorf("%s %s: text %q, want %q", kind, id, row.Text, want.Text)
					}
					if kind == sinks.Bedrock && id != "converse" && !bytes.Equal(row.ModelInput, want.ModelInput) {
						t.Errorf("%s %s: modelInput %s, want %s", kind, id, row.ModelInput, want.ModelInput)
					}
					counts := row.Usage.InputTokens + row.Usage.CacheReadInputTokens
					if (kind == sinks.OpenAI || kind == sinks.Anthropic) && (counts != want.Usage.InputTokens || row.Usage.OutputTokens != want.Usage.OutputTokens || counts == 0) {
						t.Errorf("%s %s: usage %+v, want %+v", kind, id, row.Usage, want.Usage)
					}
				}
			}
		})
	}
}

// rowsOfRun are the rows of a run over sameRequest, by their ids.
func rowsOfRun(t *testing.T, family string, kind sinks.Rows, endpoint string) map[string]*sinks.Row {
	t.Helper()
	dir := t.TempDir()
	spec := jobs.Defaults()
	spec.Input, spec.Output, spec.Rows = []string{filepath.Join(dir, "in.jsonl")}, filepath.Join(dir, "out.jsonl"), string(kind)
	spec.Model, spec.Family, spec.Region, spec.Progress = familyModels[family], family, "us-east-1", "none"
	if err := os.WriteFile(spec.Input[0], []byte(sameRequest), 0o600); err != nil {
		t.Fatal(err)
	}
	outcome, err := jobs.Run(t.Context(), spec, isolated(endpoint))
	if err != nil || outcome.Account != "4 read = 4 succeeded + 0 failed + 0 rejected + 0 left" {
		t.Fatalf("%s: %v, %q", kind, err, outcome.Account)
	}
	data, err := os.ReadFile(spec.Output)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*sinks.Row{}
	for line := range bytes.Lines(data) {
		row, got, err := sinks.ParseAnyRow(line)
		if err != nil || got != kind {
			t.Fatalf("%s: %s is %s, %v", kind, line, got, err)
		}
		rows[row.RecordID] = row
	}
	if len(rows) != 4 {
		t.Fatalf("%s: %d rows", kind, len(rows))
	}
	return rows
}
