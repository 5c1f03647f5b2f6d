package bedrock

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A converseStep is an event of ConverseStream before it is written.
type converseStep struct {
	kind    string
	payload fields
}

func number(n int) json.Number { return json.Number(strconv.Itoa(n)) }

// converseSteps are the events of a random answer: blocks of text, reasoning and tool calls, each of a few pieces.
func converseSteps(rnd *rand.Rand) []converseStep {
	steps := []converseStep{{"messageStart", fields{"role": "assistant"}}}
	piece := func() string {
		return []string{"", "a", " plums", "\"quoted\"\n", "日本 😀", `\`, `,"p":"x`, strings.Repeat("long ", 20)}[rnd.IntN(8)]
	}
	for i := range rnd.IntN(4) {
		at := func(kind, key string, value any) {
			steps = append(steps, converseStep{kind, fields{"contentBlockIndex": number(2 * i), key: value}})
		}
		kind := rnd.IntN(3)
		if kind == 2 {
			at("contentBlockStart", "start", fields{"toolUse": fields{"toolUseId": "t", "name": "n" + piece()}})
		}
		for range 1 + rnd.IntN(6) {
			at("contentBlockDelta", "delta", []any{
				fields{"text": piece()}, fields{"reasoningContent": fields{"text": piece()}}, fields{"toolUse": fields{"input": piece()}},
			}[kind])
		}
		if kind == 1 && rnd.IntN(2) == 0 {
			at("contentBlockDelta", "delta", fields{"reasoningContent": fields{"signature": "s" + piece()}})
		}
		steps = append(steps, converseStep{"contentBlockStop", fields{"contentBlockIndex": number(2 * i)}})
	}
	return append(
		steps, converseStep{"messageStop", fields{"stopReason": "end_turn"}},
		converseStep{"metadata", fields{
			"usage":   fields{"inputTokens": number(rnd.IntN(99)), "outputTokens": number(rnd.IntN(99))},
			"metrics": fields{"latencyMs": number(rnd.IntN(99))},
		}},
	)
}

// slowConverse makes the body of such an answer.
func slowConverse(steps []converseStep) (body fields, said string) {
	blocks := map[int]fields{}
	message := fields{}
	body = fields{"output": fields{"message": message}}
	for _, step := range steps {
		index := integral(step.payload["contentBlockIndex"])
		if blocks[index] == nil {
			blocks[index] = fields{}
		}
		b := blocks[index]
		delta, _ := step.payload["delta"].(fields)
		switch step.kind {
		case "messageStart":
			message["role"] = step.payload["role"]
		case "contentBlockStart":
			b["toolUse"] = maps.Clone(at(step.payload, "start", "toolUse").(fields))
		case "contentBlockDelta":
			switch {
			case has(delta, "text"):
				join(b, "text", delta["text"])
				said += text(delta["text"])
			case has(delta, "toolUse"):
				join(b["toolUse"].(fields), "input", at(delta, "toolUse", "input"))
			default:
				if b["reasoningContent"] == nil {
					b["reasoningContent"] = fields{"reasoningText": fields{"text": ""}}
				}
				for k, v := range at(delta, "reasoningContent").(fields) {
					join(at(b, "reasoningContent", "reasoningText").(fields), k, v)
				}
			}
		case "messageStop":
			body["stopReason"] = step.payload["stopReason"]
		case "metadata":
			maps.Copy(body, step.payload)
		}
	}
	content := []any{}
	for _, i := range slices.Sorted(maps.Keys(blocks)) {
		b := blocks[i]
		if use, ok := b["toolUse"].(fields); ok {
			use["input"] = slowInput(use["input"])
		}
		if len(b) > 0 {
			content = append(content, b)
		}
	}
	message["content"] = content
	return body, said
}

// FuzzConverseAgainstSlowReading writes random answers of Converse as the service does, filler last, or in other ways, and holds what
// the assembler makes of them against the slow reading.
func FuzzConverseAgainstSlowReading(f *testing.F) {
	for n := range uint64(64) {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		steps := converseSteps(rnd)
		var stream []byte
		for _, step := range steps {
			payload := asJSON(step.payload)
			switch rnd.IntN(4) {
			case 0:
				payload = otherwise(rnd, step.payload)
			case 1, 2:
				payload = strings.TrimSuffix(payload, "}") + `,"p":"` + "abcdefghijklmnopqrstuvwxyzABCDEF0123"[:rnd.IntN(36)] + `"}`
			}
			stream = append(stream, event(step.kind, payload)...)
		}
		got, fault := readStream(&converse, stream)
		if fault != nil {
			t.Fatalf("%+v of %+v", fault, steps)
		}
		want, said := slowConverse(steps)
		var body fields
		d := json.NewDecoder(bytes.NewReader(got.Output))
		d.UseNumber()
		if err := d.Decode(&body); err != nil {
			t.Fatalf("%v in %s", err, got.Output)
		}
		if w, g := plainly(want), plainly(body); !reflect.DeepEqual(w, g) || got.Text != said {
			t.Errorf("got  %s %q\nslow %s %q\nof %+v", asJSON(g), got.Text, asJSON(w), said, steps)
		}
	})
}
