package sim

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func ExampleTruth() {
	body := []byte(`{"prompt":"The capital of France? [[say:It is Paris.]]","max_gen_len":20}`)
	answer, err := Truth(Options{}, "meta.llama3-8b-instruct-v1:0", body)
	fmt.Println(answer.Text, answer.StopReason, answer.Usage.OutputTokens, err)
	fmt.Println(string(answer.Body))
	// Output:
	// It is Paris. stop 3 <nil>
	// {"generation":"It is Paris.","prompt_token_count":11,"generation_token_count":3,"stop_reason":"stop"}
}

// Answers depend on seed, model and body and on nothing else, and never change between versions
// unnoticed: others keep their expectations by them.
func TestAnswersAreStable(t *testing.T) {
	body := []byte(prompts[claudeID]("hello", 8))
	first, err := Truth(Options{}, claudeID, body)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := Truth(Options{FirstToken: Latency{Mean: 5}, TokensPerChunk: 9}, claudeID, body)
	if first.Text != again.Text || string(first.Body) != string(again.Body) {
		t.Errorf("%q and %q", first.Text, again.Text)
	}
	seeded, _ := Truth(Options{Seed: 1}, claudeID, body)
	other, _ := Truth(Options{}, claudeID, []byte(prompts[claudeID]("hello!", 8)))
	if seeded.Text == first.Text || other.Text == first.Text {
		t.Errorf("the seed or the body changed nothing: %q", first.Text)
	}
	if first.StopReason != "max_tokens" || first.Usage.OutputTokens != 8 || first.MaxTokens != 8 {
		t.Errorf("%+v", first)
	}
}

// Over many answers everything that is hard to encode turns up, and lengths are as asked.
func TestAnswersAreVaried(t *testing.T) {
	var all strings.Builder
	lengths := map[int64]bool{}
	for i := range 200 {
		a, err := Truth(Options{OutputTokens: 10, OutputSpread: 4}, novaID, []byte(prompts[novaID](fmt.Sprint(i), 1000)))
		if err != nil {
			t.Fatal(err)
		}
		if n := a.Usage.OutputTokens; n < 6 || n > 14 {
			t.Errorf("%d tokens, want 10±4", n)
		}
		lengths[a.Usage.OutputTokens] = true
		all.WriteString(a.Text)
	}
	for _, w := range append(words[:], glyphs[:]...) {
		if !strings.Contains(all.String(), w) {
			t.Errorf("%q never came", w)
		}
	}
	if len(lengths) != 9 {
		t.Errorf("lengths %v", lengths)
	}
}

func TestGuardrailBlock(t *testing.T) {
	s := start(t, Options{})
	for id, prompt := range prompts {
		body := prompt("[[guardrail:block]]", 50)
		truth, err := Truth(Options{}, id, []byte(body))
		if err != nil || truth.Text != blockedText || truth.StopReason != "" || truth.Usage.OutputTokens != 0 {
			t.Errorf("%s: %+v, %v", id, truth, err)
		}
		frames, err := readFrames(post(t, transports[0].client(t, s), s, id, streamOp, body).Body)
		if err != nil || len(frames) != 1 {
			t.Fatalf("%s: %d frames, %v", id, len(frames), err)
		}
		chunk := string(frames[0].chunk(t))
		for _, part := range []string{blockedText, `"amazon-bedrock-guardrailAction":"INTERVENED"`, `"amazon-bedrock-trace":`, `.0`} {
			if part == ".0" && id == commandRID {
				continue // has no number
			}
			if !strings.Contains(chunk, part) {
				t.Errorf("%s: no %s in %s", id, part, chunk)
			}
		}
		if strings.Contains(chunk, "Metrics") || !json.Valid([]byte(chunk)) {
			t.Errorf("%s: %s", id, chunk)
		}
	}
}

// Any body is refused in the service's words or answered with valid JSON, in both ways.
func FuzzPlan(f *testing.F) {
	for id, prompt := range prompts {
		f.Add(id, prompt("x [[tokens:9]][[cite]][[tool:2]][[redacted]]", 30), false)
		f.Add(id, prompt("[[say:a\"b\\u0041 ]][[cache:read=1]][[guardrail:trace]]", 3), false)
	}
	f.Add(claudeID, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":5,`+tools+`,"stop_sequences":["e",""],"thinking":{"type":"enabled"},"messages":[{"role":"user","content":[{"type":"image"},{"type":"tool_result","content":"x"}]}]}`, false)
	f.Add(claudeID, `{"messages":[{"role":"user","content":[{"text":"[[tool:2]][[cite]]"},{"image":{}},{"cachePoint":{}}]}],`+
		`"toolConfig":{"tools":[{"toolSpec":{"name":"a"}}]},"additionalModelRequestFields":{"thinking":{"type":"enabled"}},"inferenceConfig":{"maxTokens":30}}`, true)
	f.Fuzz(func(t *testing.T, id, body string, byConverse bool) {
		opts := Options{OutputTokens: 20, OutputSpread: 19}
		p, bad := opts.plan(id, []byte(body), keyOf(id, []byte(body)), byConverse)
		if bad != nil {
			if bad.Status != 400 || bad.Message == "" || !errors.As(error(bad), new(*Error)) {
				t.Errorf("refusal %+v", bad)
			}
			return
		}
		if b := p.body(); !json.Valid(b) || utf8.ValidString(body) && !utf8.Valid(b) {
			t.Errorf("body %q", b)
		}
		p.stream(func(ev event) bool {
			if !json.Valid(ev.payload) || utf8.ValidString(body) && !utf8.Valid(ev.payload) {
				t.Errorf("chunk %q", ev.payload)
			}
			return true
		})
	})
}
