package sim

import (
	"encoding/json"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// assemble makes the InvokeModel body out of chunks, family by family, in the plainest way.
func assemble(t *testing.T, chunks []map[string]any) map[string]any {
	t.Helper()
	var body map[string]any
	for i, c := range chunks {
		_, metrics := c["amazon-bedrock-invocationMetrics"]
		if last := i == len(chunks)-1; metrics != last {
			t.Errorf("chunk %d of %d: metrics %v", i, len(chunks), metrics)
		}
		for k := range c {
			if strings.HasPrefix(k, "amazon-bedrock-") {
				delete(c, k)
			}
		}
		switch {
		case c["completion"] != nil:
			body = addCompletion(body, c)
		case c["type"] != nil:
			body = addClaude(t, body, c)
		case c["outputText"] != nil:
			body = addTitan(body, c)
		case c["generation"] != nil:
			body = addLlama(body, c)
		case c["choices"] != nil:
			body = addChat(body, c, "choices")
		case c["outputs"] != nil:
			body = addChat(body, c, "outputs")
		case c["event_type"] != nil:
			body, _ = c["response"].(map[string]any)
		case c["is_finished"] != nil:
			body = addCommand(body, c)
		case c["completions"] != nil, c["generations"] != nil:
			body = c
		default:
			body = addNova(t, body, c)
		}
	}
	return body
}

func addClaude(t *testing.T, body, c map[string]any) map[string]any {
	block := func() map[string]any { return body["content"].([]any)[num(c["index"])].(map[string]any) }
	join := func(b, d map[string]any, member, from string) {
		s, _ := b[member].(string)
		b[member] = s + d[from].(string)
	}
	switch c["type"] {
	case "message_start":
		return c["message"].(map[string]any)
	case "content_block_start":
		body["content"] = append(body["content"].([]any), c["content_block"])
	case "content_block_delta":
		d := c["delta"].(map[string]any)
		switch d["type"] {
		case "text_delta":
			join(block(), d, "text", "text")
		case "thinking_delta":
			join(block(), d, "thinking", "thinking")
		case "signature_delta":
			join(block(), d, "signature", "signature")
		case "input_json_delta":
			join(block(), d, "input", "partial_json")
		case "citations_delta":
			block()["citations"] = append(block()["citations"].([]any), d["citation"])
		default:
			t.Errorf("delta %v", d)
		}
	case "content_block_stop":
		if b := block(); b["type"] == "tool_use" {
			b["input"] = toolInput(b["input"])
		}
	case "message_delta":
		maps.Copy(body, c["delta"].(map[string]any))
		maps.Copy(body["usage"].(map[string]any), c["usage"].(map[string]any))
	case "message_stop":
	default:
		t.Errorf("event %v", c)
	}
	return body
}

func toolInput(v any) any {
	s, _ := v.(string)
	if s == "" {
		return map[string]any{}
	}
	var out any
	d := json.NewDecoder(strings.NewReader(s))
	d.UseNumber()
	if d.Decode(&out) != nil {
		return s
	}
	return out
}

func num(v any) int {
	n, _ := v.(json.Number).Int64()
	return int(n)
}

func addNova(t *testing.T, body, c map[string]any) map[string]any {
	if m, ok := c["messageStart"].(map[string]any); ok {
		m["content"] = []any{}
		return map[string]any{"output": map[string]any{"message": m}}
	}
	message := body["output"].(map[string]any)["message"].(map[string]any)
	content := message["content"].([]any)
	last := func() map[string]any {
		if len(content) == 0 {
			return nil
		}
		return content[len(content)-1].(map[string]any)
	}
	for k, v := range c {
		v := v.(map[string]any)
		switch k {
		case "contentBlockStart":
			content = append(content, v["start"])
		case "contentBlockDelta":
			d := v["delta"].(map[string]any)
			if s, ok := d["text"].(string); ok {
				if last() == nil || last()["text"] == nil {
					content = append(content, map[string]any{"text": ""})
				}
				last()["text"] = last()["text"].(string) + s
				break
			}
			if r, ok := d["reasoningContent"].(map[string]any); ok {
				if last() == nil || last()["reasoningContent"] == nil {
					content = append(content, map[string]any{"reasoningContent": map[string]any{"reasoningText": map[string]any{"text": ""}}})
				}
				said := last()["reasoningContent"].(map[string]any)["reasoningText"].(map[string]any)
				said["text"] = said["text"].(string) + r["text"].(string)
				break
			}
			use := last()["toolUse"].(map[string]any)
			before, _ := use["input"].(string)
			use["input"] = before + d["toolUse"].(map[string]any)["input"].(string)
		case "contentBlockStop":
		case "messageStop":
			body["stopReason"] = v["stopReason"]
			for _, b := range content {
				if use, ok := b.(map[string]any)["toolUse"].(map[string]any); ok {
					use["input"] = toolInput(use["input"])
				}
			}
		case "metadata":
			body["usage"] = v["usage"]
		default:
			t.Errorf("event %s", k)
		}
	}
	message["content"] = content
	return body
}

func addTitan(body, c map[string]any) map[string]any {
	result := map[string]any{"outputText": ""}
	if body != nil {
		result = body["results"].([]any)[0].(map[string]any)
	}
	result["outputText"] = result["outputText"].(string) + c["outputText"].(string)
	result["tokenCount"], result["completionReason"] = c["totalOutputTextTokenCount"], c["completionReason"]
	return map[string]any{"inputTextTokenCount": c["inputTextTokenCount"], "results": []any{result}}
}

func addLlama(body, c map[string]any) map[string]any {
	if body == nil {
		return c
	}
	body["generation"] = body["generation"].(string) + c["generation"].(string)
	body["generation_token_count"], body["stop_reason"] = c["generation_token_count"], c["stop_reason"]
	return body
}

func addChat(body, c map[string]any, list string) map[string]any {
	next := c[list].([]any)[0].(map[string]any)
	said, ok := next["delta"].(map[string]any)
	if !ok {
		said, ok = next["message"].(map[string]any)
	}
	if !ok {
		said = next
	}
	calls, _ := said["tool_calls"].([]any)
	delete(said, "tool_calls")
	if body == nil {
		body = c
		if ok {
			delete(next, "delta")
			next["message"] = said
		}
		if o, _ := body["object"].(string); o != "" {
			body["object"] = strings.TrimSuffix(o, ".chunk")
		}
	} else {
		whole := body[list].([]any)[0].(map[string]any)
		into := whole
		if ok {
			into = whole["message"].(map[string]any)
		}
		for k, v := range said {
			if s, isText := v.(string); isText && (k == "content" || k == "text" || k == "reasoning_content") {
				before, _ := into[k].(string)
				into[k] = before + s
			} else {
				into[k] = v
			}
		}
		for _, k := range []string{"finish_reason", "stop_reason"} {
			if v, has := next[k]; has {
				whole[k] = v
			}
		}
		if c["usage"] != nil {
			body["usage"] = c["usage"]
		}
		next = whole
	}
	for _, call := range calls {
		message, call := next["message"].(map[string]any), call.(map[string]any)
		all, _ := message["tool_calls"].([]any)
		if i := num(call["index"]); i < len(all) {
			f := all[i].(map[string]any)["function"].(map[string]any)
			f["arguments"] = f["arguments"].(string) + call["function"].(map[string]any)["arguments"].(string)
		} else {
			delete(call, "index")
			all = append(all, call)
		}
		message["tool_calls"] = all
	}
	return body
}

func addCompletion(body, c map[string]any) map[string]any {
	if body != nil {
		c["completion"] = body["completion"].(string) + c["completion"].(string)
	}
	return c
}

func addCommand(body, c map[string]any) map[string]any {
	if body == nil {
		body = map[string]any{"generations": []any{map[string]any{"text": ""}}}
	}
	g := body["generations"].([]any)[0].(map[string]any)
	if s, ok := c["text"].(string); ok {
		g["text"] = g["text"].(string) + s
	}
	if c["is_finished"] == true {
		g["finish_reason"] = c["finish_reason"]
	}
	return body
}

// unstreamed takes out of a body what its family's stream does not have.
func unstreamed(model string, body map[string]any) map[string]any {
	switch {
	case model == commandID:
		delete(body, "id")
		delete(body, "prompt")
		delete(body["generations"].([]any)[0].(map[string]any), "id")
	case body["choices"] != nil && model != jambaID:
		delete(body, "usage") // the invocation metrics have it
	}
	return body
}

const tools = `"tools":[{"name":"lookup","input_schema":{}},{"name":"sum","input_schema":{}}]`

// The stream, assembled, equals the body of InvokeModel and what Truth says, on every transport.
func TestStreamEqualsInvokeEqualsTruth(t *testing.T) {
	type request struct{ model, body string }
	requests := map[string]request{}
	for id, prompt := range prompts {
		name := map[string]string{claudeID: "claude", novaID: "nova", titanID: "titan", llamaID: "llama"}[id]
		if name == "" {
			name = id
		}
		requests[name+" plain"] = request{id, prompt("hello 你好 \"q\"", 400)}
		requests[name+" cut by max tokens"] = request{id, prompt("hello", 7)}
		requests[name+" one token"] = request{id, prompt("hello", 1)}
		requests[name+" says"] = request{id, prompt("x [[say:Paris,  the é🌊\\n capital]]", 400)}
		requests[name+" nothing"] = request{id, prompt("x [[tokens:0]]", 400)}
		requests[name+" long"] = request{id, prompt("x [[tokens:400]]", 2000)}
		requests[name+" refuses"] = request{id, prompt("x [[refuse]]", 400)}
		requests[name+" caches"] = request{id, prompt("x [[cache:read=40,write=7]]", 400)}
		requests[name+" guardrail trace"] = request{id, prompt("x [[guardrail:trace]]", 400)}
	}
	claudeWith := func(members, prompt string) request {
		return request{claudeID, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":100,` + members + `,"messages":[{"role":"user","content":[{"type":"text","text":"` + prompt + `"}]}]}`}
	}
	requests["claude thinks"] = claudeWith(`"thinking":{"type":"enabled","budget_tokens":1024}`, "x")
	requests["claude thinks and is cut"] = request{claudeID, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":10,"thinking":{"type":"enabled"},"messages":[{"role":"user","content":"x"}]}`}
	requests["claude redacted"] = claudeWith(`"temperature":1`, "[[redacted]]")
	requests["claude cites"] = claudeWith(`"temperature":1`, "[[cite]]")
	requests["claude stop sequence"] = claudeWith(`"stop_sequences":["END"]`, "[[say:one two END three]]")
	requests["claude tool by choice"] = claudeWith(tools+`,"tool_choice":{"type":"any"}`, "x")
	requests["claude named tool"] = claudeWith(tools+`,"tool_choice":{"type":"tool","name":"sum"}`, "x")
	requests["claude two tools"] = claudeWith(tools, "[[tool:2]]")
	requests["claude empty tool"] = claudeWith(tools, "[[tool:empty]]")
	requests["claude tool cut off"] = claudeWith(tools, "[[tool]][[tokens:98]]")
	novaTools := `"toolConfig":{"tools":[{"toolSpec":{"name":"a"}},{"toolSpec":{"name":"b"}}]}`
	requests["nova two tools"] = request{novaID, `{` + novaTools + `,"messages":[{"role":"user","content":[{"text":"[[tool:2]]"}]}]}`}
	requests["nova tool cut off"] = request{novaID, `{` + novaTools + `,"inferenceConfig":{"max_new_tokens":21},"messages":[{"role":"user","content":[{"text":"[[tool]][[tokens:20]]"}]}]}`}

	requests["nova reasons"] = request{novaID, `{"inferenceConfig":{"maxTokens":90,"reasoningConfig":{"type":"enabled","maxReasoningEffort":"low"}},"messages":[{"role":"user","content":[{"text":"x"}]}]}`}
	chatTools := `"tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}]`
	for _, id := range []string{mistralID, jambaID, deepseekID, openaiID, qwenID, chatID, writerID, importedID} {
		with := func(members, prompt string) request {
			return request{id, `{"max_tokens":100,` + members + `,"messages":[{"role":"user","content":[{"type":"text","text":"` + prompt + `"}]}]}`}
		}
		requests[id+" two tools"] = with(chatTools, "[[tool:2]]")
		requests[id+" tool by choice"] = with(chatTools+`,"tool_choice":"required"`, "x")
		requests[id+" named tool"] = with(chatTools+`,"tool_choice":{"type":"function","function":{"name":"b"}}`, "x")
		requests[id+" tool cut off"] = with(chatTools, "[[tool]][[tokens:98]]")
		requests[id+" reasons"] = with(`"reasoning_effort":"high"`, "x")
		requests[id+" stop sequence"] = with(`"stop":"END"`, "[[say:one two END three]]")
	}
	requests["command-r two tools"] = request{commandRID, `{"message":"[[tool:2]]","max_tokens":100,"tools":[{"name":"a"},{"name":"b"}]}`}
	requests["command without stream"] = request{commandID, `{"prompt":"x","max_tokens":100}`}

	for _, opts := range []Options{{Seed: 1}, {Seed: 2, TokensPerChunk: 3, FlushEvery: 8, OutputTokens: 20, OutputSpread: 19}} {
		plain := start(t, opts)
		secure := opts
		secure.TLS = true
		servers := map[bool]*Server{false: plain, true: start(t, secure)}
		for i, tr := range transports {
			if i > 0 && opts.Seed > 1 {
				continue
			}
			s := servers[tr.tls]
			c := tr.client(t, s)
			for name, req := range requests {
				t.Run(tr.name+"/"+name, func(t *testing.T) {
					truth, err := Truth(opts, req.model, []byte(req.body))
					if err != nil {
						t.Fatal(err)
					}
					want := object(t, truth.Body)

					resp := post(t, c, s, req.model, wholeOp, req.body)
					if resp.ProtoMajor != tr.major {
						t.Fatalf("protocol %s", resp.Proto)
					}
					whole, err := io.ReadAll(resp.Body)
					if err != nil || resp.StatusCode != 200 {
						t.Fatalf("%d %s %v", resp.StatusCode, whole, err)
					}
					got := object(t, whole)
					for k := range got {
						if strings.HasPrefix(k, "amazon-bedrock-") {
							delete(got, k)
						}
					}
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("invoke (-truth +got):\n%s", diff)
					}

					resp = post(t, c, s, req.model, streamOp, req.body)
					frames, err := readFrames(resp.Body)
					if err != nil {
						t.Fatal(err)
					}
					var chunks []map[string]any
					for i, f := range frames {
						if c := f.chunk(t); string(c) != `"[DONE]"` {
							chunks = append(chunks, object(t, c))
						} else if i != len(frames)-1 || !strings.Contains(req.model, "writer.") {
							t.Errorf("an end mark as frame %d of %d", i, len(frames))
						}
					}
					if diff := cmp.Diff(unstreamed(req.model, want), unstreamed(req.model, assemble(t, chunks))); diff != "" {
						t.Errorf("stream (-truth +got):\n%s", diff)
					}
					if h := resp.Header; h.Get("Content-Type") != "application/vnd.amazon.eventstream" || h.Get("X-Amzn-Bedrock-Content-Type") != "application/json" || len(h.Get("X-Amzn-Requestid")) != 36 {
						t.Errorf("headers %v", h)
					}
				})
			}
		}
	}
}
