package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file reads streams a second time, slowly and plainly: encoding/json into maps, one function for each format, nothing
// shared with the assemblers. It knows well-formed streams only.

type fields = map[string]any

// slowly makes the body of a stream.
func slowly(t testing.TB, family string, stream []string) fields {
	t.Helper()
	var list []fields
	for _, c := range stream {
		var one any
		d := json.NewDecoder(strings.NewReader(c))
		d.UseNumber()
		if err := d.Decode(&one); err != nil {
			t.Fatalf("%v in %s", err, c)
		}
		if m, ok := one.(fields); ok {
			maps.DeleteFunc(m, func(k string, _ any) bool { return strings.HasPrefix(k, "amazon-bedrock-") })
			if len(m) > 0 {
				list = append(list, m)
			}
		}
	}
	first := list[0]
	switch {
	case first["type"] == "message_start":
		return slowClaude(list)
	case has(first, "completion"):
		return slowCompletion(list)
	case has(first, "messageStart", "contentBlockDelta"):
		return slowNova(list)
	case has(first, "generation"):
		return slowLlama(list)
	case has(first, "outputText"):
		return slowTitan(list)
	case has(first, "event_type"):
		return slowCommandR(list)
	case has(first, "is_finished"):
		return slowCommand(list)
	case has(first, "choices", "outputs"):
		return slowChat(list)
	case has(first, "generated_text"):
		return slowPlain(list)
	}
	return first // the body itself
}

func has(m fields, keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { _, ok := m[k]; return ok })
}

func at(v any, path ...any) any {
	for _, step := range path {
		switch k := step.(type) {
		case string:
			m, _ := v.(fields)
			v = m[k]
		case int:
			l, _ := v.([]any)
			if k >= len(l) {
				return nil
			}
			v = l[k]
		}
	}
	return v
}

func text(v any) string { s, _ := v.(string); return s }

func integral(v any) int {
	n, _ := v.(json.Number)
	f, _ := n.Float64()
	return int(f)
}

// join appends a piece to a member that is a string.
func join(m fields, key string, piece any) { m[key] = text(m[key]) + text(piece) }

func slowClaude(list []fields) fields {
	var body fields
	blocks := map[int]fields{}
	for _, c := range list {
		switch c["type"] {
		case "message_start":
			body = at(c, "message").(fields)
		case "content_block_start":
			blocks[integral(c["index"])] = at(c, "content_block").(fields)
		case "content_block_delta":
			b, d := blocks[integral(c["index"])], at(c, "delta").(fields)
			switch d["type"] {
			case "text_delta":
				join(b, "text", d["text"])
			case "thinking_delta":
				join(b, "thinking", d["thinking"])
			case "signature_delta":
				join(b, "signature", d["signature"])
			case "input_json_delta":
				join(b, "partial", d["partial_json"])
			case "citations_delta":
				l, _ := b["citations"].([]any)
				b["citations"] = append(l, d["citation"])
			}
		case "message_delta":
			for k, v := range at(c, "delta").(fields) {
				if !isNothing(v) || !has(body, k) {
					body[k] = v
				}
			}
			if u, ok := c["usage"].(fields); ok {
				maps.Copy(at(body, "usage").(fields), u)
			}
		}
	}
	content := []any{}
	for _, i := range slices.Sorted(maps.Keys(blocks)) {
		b := blocks[i]
		if b["type"] == "tool_use" {
			b["input"] = slowInput(b["partial"])
		}
		delete(b, "partial")
		content = append(content, b)
	}
	body["content"] = content
	return body
}

// slowInput is a tool's input, which came as text: JSON, nothing, or what was cut off.
func slowInput(v any) any {
	if strings.TrimSpace(text(v)) == "" {
		return fields{}
	}
	var input any
	d := json.NewDecoder(strings.NewReader(text(v)))
	d.UseNumber()
	if d.Decode(&input) != nil || d.More() {
		return v
	}
	return input
}

func slowCompletion(list []fields) fields {
	body := fields{"type": "completion", "completion": "", "stop_reason": nil, "stop": nil}
	for _, c := range list {
		join(body, "completion", c["completion"])
		for _, k := range []string{"stop_reason", "stop"} {
			if c[k] != nil {
				body[k] = c[k]
			}
		}
	}
	return body
}

func slowNova(list []fields) fields {
	var content []any
	body := fields{"stopReason": nil}
	role := any("assistant")
	last := func(kind string) fields {
		if n := len(content); n > 0 && has(content[n-1].(fields), kind) {
			return content[n-1].(fields)
		}
		b := fields{kind: ""}
		if kind == "reasoningContent" {
			b[kind] = fields{"reasoningText": fields{"text": ""}}
		}
		content = append(content, b)
		return b
	}
	tools := map[int]fields{}
	for _, c := range list {
		index := func(k string) int { return integral(at(c, k, "contentBlockIndex")) }
		switch {
		case has(c, "messageStart"):
			role = at(c, "messageStart", "role")
		case has(c, "contentBlockStart"):
			use := at(c, "contentBlockStart", "start", "toolUse").(fields)
			use["input"] = ""
			tools[index("contentBlockStart")] = use
			content = append(content, fields{"toolUse": use})
		case has(c, "contentBlockDelta"):
			d := at(c, "contentBlockDelta", "delta").(fields)
			switch {
			case has(d, "text"):
				join(last("text"), "text", d["text"])
			case has(d, "toolUse"):
				join(tools[index("contentBlockDelta")], "input", at(d, "toolUse", "input"))
			case has(d, "reasoningContent"):
				r := at(last("reasoningContent"), "reasoningContent", "reasoningText").(fields)
				join(r, "text", at(d, "reasoningContent", "text"))
				join(r, "text", at(d, "reasoningContent", "reasoningText", "text"))
				if s := text(at(d, "reasoningContent", "signature")); s != "" {
					join(r, "signature", s)
				}
			}
		case has(c, "messageStop"):
			body["stopReason"] = at(c, "messageStop", "stopReason")
		case has(c, "metadata"):
			body["usage"] = at(c, "metadata", "usage")
		}
	}
	for _, use := range tools {
		use["input"] = slowInput(use["input"])
	}
	body["output"] = fields{"message": fields{"role": role, "content": content}}
	return body
}

func slowLlama(list []fields) fields {
	body := list[0]
	for _, c := range list[1:] {
		join(body, "generation", c["generation"])
		body["generation_token_count"], body["stop_reason"] = c["generation_token_count"], c["stop_reason"]
	}
	return body
}

func slowTitan(list []fields) fields {
	results := map[int]fields{}
	for _, c := range list {
		r := results[integral(c["index"])]
		if r == nil {
			r = fields{"completionReason": nil}
			results[integral(c["index"])] = r
		}
		join(r, "outputText", c["outputText"])
		if c["totalOutputTextTokenCount"] != nil {
			r["tokenCount"] = c["totalOutputTextTokenCount"]
		}
		if c["completionReason"] != nil {
			r["completionReason"] = c["completionReason"]
		}
	}
	var all []any
	for _, i := range slices.Sorted(maps.Keys(results)) {
		all = append(all, results[i])
	}
	return fields{"inputTextTokenCount": list[0]["inputTextTokenCount"], "results": all}
}

func slowCommand(list []fields) fields {
	generations := map[int]fields{}
	var reason any
	for _, c := range list {
		if has(c, "response") {
			return at(c, "response").(fields)
		}
		if has(c, "text") || has(c, "index") {
			g := generations[integral(c["index"])]
			if g == nil {
				g = fields{}
				generations[integral(c["index"])] = g
			}
			join(g, "text", c["text"])
			for _, k := range []string{"index", "finish_reason"} {
				if c[k] != nil {
					g[k] = c[k]
				}
			}
		}
		if c["is_finished"] == true {
			reason = c["finish_reason"]
		}
	}
	var all []any
	for _, i := range slices.Sorted(maps.Keys(generations)) {
		if generations[i]["finish_reason"] == nil {
			generations[i]["finish_reason"] = reason
		}
		all = append(all, generations[i])
	}
	return fields{"generations": all}
}

func slowCommandR(list []fields) fields {
	said := fields{}
	for _, c := range list {
		switch c["event_type"] {
		case "stream-end":
			body := fields{}
			if r, ok := c["response"].(fields); ok {
				body = r
			}
			for _, k := range []string{"text", "response_id", "generation_id", "citations", "search_results", "tool_calls"} {
				if !has(body, k) && said[k] != nil {
					body[k] = said[k]
				}
			}
			body["finish_reason"] = c["finish_reason"]
			return body
		case "text-generation":
			join(said, "text", c["text"])
		}
		for _, k := range []string{"response_id", "generation_id", "tool_calls"} {
			if c[k] != nil {
				said[k] = c[k]
			}
		}
		for _, k := range []string{"citations", "search_results"} {
			if l, ok := c[k].([]any); ok {
				before, _ := said[k].([]any)
				said[k] = append(before, l...)
			}
		}
	}
	return nil
}

func slowChat(list []fields) fields {
	body, name := fields{}, "choices"
	choices := map[int]fields{}
	for _, c := range list {
		if has(c, "outputs") {
			name = "outputs"
		}
		for k, v := range c {
			if k != "choices" && k != "outputs" && (!isNothing(v) || body[k] == nil && k != "usage") {
				body[k] = v
			}
		}
		pieces, _ := c[name].([]any)
		for i, p := range pieces {
			p := p.(fields)
			if has(p, "index") {
				i = integral(p["index"])
			}
			if choices[i] == nil {
				choices[i] = fields{}
			}
			slowChoice(choices[i], p)
		}
	}
	if o, ok := body["object"].(string); ok {
		body["object"] = strings.TrimSuffix(o, ".chunk")
	}
	var all []any
	for _, i := range slices.Sorted(maps.Keys(choices)) {
		if m, ok := choices[i]["message"].(fields); ok {
			if calls, ok := m["tool_calls"].([]any); ok {
				for _, call := range calls {
					delete(call.(fields), "index")
				}
			}
		}
		all = append(all, choices[i])
	}
	body[name] = all
	return body
}

func slowChoice(choice, p fields) {
	for k, v := range p {
		switch k {
		case "delta", "message":
			m, _ := choice["message"].(fields)
			if m == nil {
				m = fields{"role": "assistant", "content": nil}
				choice["message"] = m
			}
			for k, v := range v.(fields) {
				slowMember(m, k, v)
			}
		case "text":
			join(choice, "text", v)
		case "logprobs":
			old, _ := choice[k].(fields)
			if old == nil {
				choice[k] = v
				break
			}
			if more, ok := v.(fields); ok {
				for k, v := range more {
					if l, ok := v.([]any); ok {
						before, _ := old[k].([]any)
						old[k] = append(slices.Clip(before), l...)
					}
				}
			}
		default:
			if !isNothing(v) || !has(choice, k) {
				choice[k] = v
			}
		}
	}
}

func slowMember(m fields, k string, v any) {
	switch k {
	case "content":
		blocks, ok := v.([]any)
		if !ok {
			if v != nil {
				join(m, k, v)
			}
			return
		}
		for _, b := range blocks {
			if t := at(b, "text"); t != nil {
				join(m, "content", t)
			}
			if l, ok := at(b, "thinking").([]any); ok {
				for _, b := range l {
					join(m, "reasoning_content", at(b, "text"))
				}
			}
		}
	case "reasoning_content", "reasoning", "refusal":
		if v != nil {
			join(m, k, v)
		}
	case "role":
		if text(v) != "" {
			m[k] = v
		}
	case "tool_calls":
		calls, _ := m[k].([]any)
		if calls == nil {
			calls = []any{}
		}
		for _, p := range v.([]any) {
			calls = slowCall(calls, p.(fields))
		}
		m[k] = calls
	default:
		m[k] = v
	}
}

func slowCall(calls []any, p fields) []any {
	var call fields
	for i, c := range calls {
		c := c.(fields)
		switch {
		case has(p, "index"):
			if has(c, "index") && integral(c["index"]) == integral(p["index"]) {
				call = c
			}
		case p["id"] != nil && c["id"] == p["id"], p["id"] == nil && i == len(calls)-1:
			call = c
		}
	}
	if call == nil {
		return append(calls, p)
	}
	f := call["function"].(fields)
	for k, v := range p["function"].(fields) {
		switch {
		case k == "arguments":
			join(f, k, v)
		case !isNothing(v):
			f[k] = v
		}
	}
	return calls
}

func slowPlain(list []fields) fields {
	body := list[0]
	for _, c := range list[1:] {
		for k, v := range c {
			if k == "generated_text" {
				join(body, k, v)
			} else if !isNothing(v) {
				body[k] = v
			}
		}
	}
	return body
}

// isNothing reports whether a member says nothing that was not said before.
func isNothing(v any) bool { return v == nil || v == "" }

// otherwise writes a chunk in another way that means the same: keys in another order, spaces, escapes, integers as floats.
func otherwise(rnd *rand.Rand, v any) string {
	space := func() string { return []string{"", "", "", " ", "\n", "\t "}[rnd.IntN(6)] }
	switch v := v.(type) {
	case fields:
		keys := slices.Sorted(maps.Keys(v))
		rnd.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		var members []string
		for _, k := range keys {
			members = append(members, space()+quotedOtherwise(rnd, k)+space()+":"+space()+otherwise(rnd, v[k]))
		}
		return "{" + strings.Join(members, ",") + space() + "}"
	case []any:
		var items []string
		for _, one := range v {
			items = append(items, space()+otherwise(rnd, one)+space())
		}
		return "[" + strings.Join(items, ",") + "]"
	case string:
		return quotedOtherwise(rnd, v)
	case json.Number:
		if _, err := strconv.Atoi(v.String()); err == nil && rnd.IntN(3) == 0 {
			return v.String() + ".0"
		}
		return v.String()
	}
	b, _ := json.Marshal(v)
	return string(b)
}

func quotedOtherwise(rnd *rand.Rand, s string) string {
	plainly := rnd.IntN(3) > 0
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r < 0x10000 && (r < 0x20 || r == '"' || r == '\\' || !plainly && rnd.IntN(4) == 0):
			fmt.Fprintf(&b, `\u%04x`, r)
		case r == '/' && !plainly:
			b.WriteString(`\/`)
		default:
			b.WriteRune(r)
		}
	}
	return b.String() + `"`
}

// FuzzAgainstSlowReading writes the streams of every family in other ways, and holds what the assemblers make of them
// against the slow reading of the streams as they were.
func FuzzAgainstSlowReading(f *testing.F) {
	type stream struct {
		name, family, request string
		chunks                []string
	}
	var streams []stream
	for _, name := range slices.Sorted(maps.Keys(familyCases)) {
		streams = append(streams, stream{name, name, "", familyCases[name].stream})
	}
	for _, name := range slices.Sorted(maps.Keys(assemblies)) {
		if a := assemblies[name]; a.want != "" {
			streams = append(streams, stream{name, a.family, a.request, a.stream})
		}
	}
	for n := range uint64(16) {
		f.Add(n)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		for _, s := range streams {
			var written []string
			for _, c := range s.chunks {
				var v any
				d := json.NewDecoder(strings.NewReader(c))
				d.UseNumber()
				if err := d.Decode(&v); err != nil {
					t.Fatal(err)
				}
				written = append(written, otherwise(rnd, v))
			}
			fam, _ := resolveFamily("", s.family)
			got, fault := readAnswer(fam, s.request, chunks(written...))
			if fault != nil {
				t.Fatalf("%s: %+v of %s", s.name, fault, written)
			}
			if as, _ := readAnswer(fam, s.request, chunks(s.chunks...)); got.Text != as.Text || got.StopReason != as.StopReason || got.Usage != as.Usage {
				t.Errorf("%s\ngot  %q %q %+v\nwant %q %q %+v", s.name, got.Text, got.StopReason, got.Usage, as.Text, as.StopReason, as.Usage)
			}
			want := slowly(t, s.family, s.chunks)
			_, counts := want["usage"]
			var body fields
			d := json.NewDecoder(bytes.NewReader(got.Output))
			d.UseNumber()
			if err := d.Decode(&body); err != nil {
				t.Fatalf("%s: %v in %s", s.name, err, got.Output)
			}
			if !counts && has(want, "choices") {
				delete(body, "usage") // the service's own counts
			}
			if w, g := plainly(want), plainly(body); !reflect.DeepEqual(w, g) {
				t.Errorf("%s\ngot  %s\nslow %s\nof %q", s.name, asJSON(g), asJSON(w), written)
			}
		}
	})
}

// plainly makes numbers comparable.
func plainly(v any) any {
	switch v := v.(type) {
	case fields:
		out := fields{}
		for k, one := range v {
			out[k] = plainly(one)
		}
		return out
	case []any:
		out := []any{}
		for _, one := range v {
			out = append(out, plainly(one))
		}
		return out
	case json.Number:
		f, _ := v.Float64()
		return f
	}
	return v
}

func asJSON(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
