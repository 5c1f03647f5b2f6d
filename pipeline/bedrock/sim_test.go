package bedrock

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

func startSim(t testing.TB, opts sim.Options) *sim.Server {
	t.Helper()
	s, err := sim.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// simBodies are requests that bring out what the families can do.
func simBodies(family, prompt string) (bodies []string) {
	quoted := string(appendString(nil, prompt))
	switch family {
	case "claude":
		base := `{"anthropic_version":"bedrock-2023-05-31","max_tokens":500,"messages":[{"role":"user","content":` + quoted + `}]`
		tools := `,"tools":[{"name":"pick","input_schema":{"type":"object","properties":{"n":{"type":"integer"}}}}]`
		thinking := `,"thinking":{"type":"enabled","budget_tokens":1024}`
		bodies = append(bodies, base+`}`, base+tools+`}`, base+thinking+`}`, base+tools+thinking+`}`, strings.Replace(base, "500", "3", 1)+`}`)
	case "nova":
		base := `{"messages":[{"role":"user","content":[{"text":` + quoted + `}]}],"inferenceConfig":{"maxTokens":500}`
		tools := `,"toolConfig":{"tools":[{"toolSpec":{"name":"pick","inputSchema":{"json":{"type":"object","properties":{"n":{"type":"integer"}}}}}}]}`
		reasoning := strings.Replace(base, `500}`, `500,"reasoningConfig":{"type":"enabled","maxReasoningEffort":"low"}}`, 1)
		bodies = append(bodies, base+`}`, base+tools+`}`, reasoning+`}`, reasoning+tools+`}`)
	case "llama":
		bodies = append(bodies, `{"prompt":`+quoted+`,"max_gen_len":300}`)
	case "titan":
		bodies = append(bodies, `{"inputText":`+quoted+`}`)
	case "claude-text":
		framed := string(appendString(nil, "\n\nHuman: "+prompt+"\n\nAssistant:"))
		bodies = append(bodies, `{"prompt":`+framed+`,"max_tokens_to_sample":300}`, `{"prompt":`+framed+`,"max_tokens_to_sample":3}`)
	case "mistral-text", "deepseek-r1":
		bodies = append(bodies, `{"prompt":`+quoted+`,"max_tokens":300}`, `{"prompt":`+quoted+`}`)
	case "command":
		bodies = append(bodies, `{"prompt":`+quoted+`,"stream":true,"max_tokens":300}`, `{"prompt":`+quoted+`,"stream":true}`, `{"prompt":`+quoted+`,"max_tokens":30}`)
	case "command-r":
		base := `{"message":` + quoted + `,"max_tokens":300`
		bodies = append(bodies, base+`}`, base+`,"tools":[{"name":"pick","description":"x","parameter_definitions":{}}]}`, `{"message":`+quoted+`}`)
	case "j2":
		bodies = append(bodies, `{"prompt":`+quoted+`,"maxTokens":300}`, `{"prompt":`+quoted+`}`)
	default: // chat completions
		base := `{"messages":[{"role":"user","content":` + quoted + `}],"max_tokens":500`
		tools := `,"tools":[{"type":"function","function":{"name":"pick","parameters":{"type":"object"}}}]`
		bodies = append(bodies, base+`}`, base+tools+`}`, base+`,"reasoning_effort":"high"}`, base+tools+`,"reasoning_effort":"low"}`, strings.Replace(base, "500", "3", 1)+`,"reasoning_effort":"high"}`)
		switch family {
		case "writer":
			bodies = append(bodies, `{"prompt":`+quoted+`,"max_tokens":40}`, `{"messages":[{"role":"user","content":`+quoted+`}]}`)
		case "imported":
			bodies = append(bodies, `{"prompt":`+quoted+`,"max_tokens":40}`, `{"prompt":`+quoted+`,"max_gen_len":40}`)
		case "openai":
			bodies = append(bodies, strings.Replace(base, "max_tokens", "max_completion_tokens", 1)+`}`, `{"messages":[{"role":"user","content":`+quoted+`}]}`)
		}
	}
	return bodies
}

// simOptions are those of a simulator that answers for every model of familyCases.
func simOptions(opts sim.Options) sim.Options {
	opts.Families = map[string]string{genericID: "chat"}
	return opts
}

// The assembled body is the body that InvokeModel returns, and text, stop reason and usage are the truth's.
func TestAssembledEqualsInvokeModel(t *testing.T) {
	opts := simOptions(sim.Options{Seed: 7, OutputTokens: 40, OutputSpread: 39})
	prompts := []string{
		"hello", "[[tool]]", "[[tool:2]]", "[[tool:empty]]", "[[cite]]", "[[redacted]]", "[[refuse]]",
		"[[cache:read=900,write=100]]", "[[guardrail:block]]", "[[guardrail:trace]]", "[[say:naïve \"quotes\"\n\ttab 日本 😀]]", "[[tokens:1]]", "[[tokens:2000]]",
	}
	s := startSim(t, opts)
	for name, tt := range familyCases {
		m := testModel(t, s.URL(), tt.modelID)
		for _, prompt := range prompts {
			for i, body := range simBodies(name, prompt) {
				for n := range 3 {
					body := strings.Replace(body, "hello", fmt.Sprint("hello ", n), 1)
					truth, err := sim.Truth(opts, tt.modelID, []byte(body))
					if err != nil {
						t.Fatalf("%s %s %d: %v", name, prompt, i, err)
					}
					req, err := m.Encode(&pipeline.Record{Input: []byte(body)})
					if err != nil {
						t.Fatal(err)
					}
					if req.MaxTokens != truth.MaxTokens {
						t.Errorf("%s %s: %d tokens reserved, the service reserves %d", name, prompt, req.MaxTokens, truth.MaxTokens)
					}
					out := invokeRequest(t, m, req)
					if out.err != nil {
						t.Fatalf("%s %s %d: %+v", name, prompt, i, out.err)
					}
					r := out.response
					if r.Text != truth.Text {
						t.Errorf("%s %s %d: text %q, want %q", name, prompt, i, r.Text, truth.Text)
					}
					if prompt == "[[guardrail:block]]" {
						if r.StopReason != "guardrail_intervened" && r.StopReason != truth.StopReason {
							t.Errorf("%s: blocked with stop reason %q", name, r.StopReason)
						}
						continue
					}
					if r.StopReason != truth.StopReason || r.Usage != pipeline.Usage(truth.Usage) {
						t.Errorf("%s %s %d: %q %+v, want %q %+v", name, prompt, i, r.StopReason, r.Usage, truth.StopReason, truth.Usage)
					}
					if name == "command" && i < 2 { // the third body does not ask for a stream, and gets the body as a chunk
						truth.Body = withoutIDs(truth.Body)
					}
					if got, want := string(r.Output), string(truth.Body); got != want {
						if !sameJSON(t, r.Output, truth.Body) {
							t.Errorf("%s %s %d: assembled\n%s\nInvokeModel returns\n%s", name, prompt, i, got, want)
						} else if !sameKeys(r.Output, truth.Body) {
							t.Errorf("%s %s %d: other key order\n%s\nInvokeModel\n%s", name, prompt, i, got, want)
						}
					}
				}
			}
		}
	}
}

// withoutIDs is the body of a Command without what its stream does not have.
func withoutIDs(body []byte) []byte {
	var whole struct {
		Generations []struct {
			Reason string `json:"finish_reason"`
			Text   string `json:"text"`
		} `json:"generations"`
	}
	if json.Unmarshal(body, &whole) != nil {
		return body
	}
	out, _ := json.Marshal(whole)
	return out
}

func sameJSON(t testing.TB, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal(a, &x); err != nil {
		t.Errorf("%v in %s", err, a)
	}
	if err := json.Unmarshal(b, &y); err != nil {
		t.Errorf("%v in %s", err, b)
	}
	return reflect.DeepEqual(x, y)
}

// sameKeys compares the order of the top-level keys.
func sameKeys(a, b []byte) bool {
	x, y := parseObject(a), parseObject(b)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if string(x[i].key) != string(y[i].key) {
			return false
		}
	}
	return true
}

// Every fault that the simulator knows ends in an error, and the next attempt in the answer.
func TestEveryFaultOfTheSimulator(t *testing.T) {
	if testing.Short() {
		t.Skip()
	}
	s := startSim(t, simOptions(sim.Options{}))
	for name, tt := range familyCases {
		m := testModel(t, s.URL(), tt.modelID)
		for _, kind := range sim.FaultKinds() {
			f := kind.Name
			if f == "guardrail-block" {
				continue // an answer of another kind, which TestAssembledEqualsInvokeModel looks at
			}
			if strings.Contains(f, "stall") || strings.Contains(f, "hang") || strings.Contains(f, "slow") || strings.Contains(f, "silent") {
				continue // pipeline's clocks end those
			}
			req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "[[fault:" + f + " x1]] hello"}})
			if err != nil {
				t.Fatal(err)
			}
			first := invokeRequest(t, m, req)
			second := invokeRequest(t, m, req)
			if second.err != nil {
				t.Errorf("%s %s: the second attempt: %+v", name, f, second.err)
				continue
			}
			switch {
			case first.err != nil:
				if first.err.Type == "" || first.err.Kind == pipeline.Interrupted {
					t.Errorf("%s %s: %+v", name, f, first.err)
				}
				t.Logf("%s %s: %s, %s %d", name, f, first.err.Kind, first.err.Type, first.err.Code)
			case string(first.response.Output) != string(second.response.Output):
				t.Errorf("%s %s: taken for whole: %s", name, f, first.response.Output)
			default:
				t.Logf("%s %s: whole", name, f)
			}
		}
	}
}

// Many streams of one client at once, over both protocols: no race, no mix-up.
func TestManyStreamsOfOneClient(t *testing.T) {
	opts := sim.Options{Seed: 3, OutputTokens: 60, OutputSpread: 50}
	plain, secure := startSim(t, opts), startSim(t, sim.Options{Seed: 3, OutputTokens: 60, OutputSpread: 50, TLS: true})
	const workers, calls = 24, 12
	for name, s := range map[string]*sim.Server{"HTTP/1.1": plain, "HTTP/2": secure} {
		m := testModel(t, s.URL(), claudeID)
		if name == "HTTP/2" {
			trust(t, m, s.CertPEM())
		}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range calls {
					body := fmt.Sprintf(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":500,"messages":[{"role":"user","content":"call %d of %d"}]}`, i, w)
					truth, err := sim.Truth(opts, claudeID, []byte(body))
					if err != nil {
						t.Error(err)
						return
					}
					for ev, err := range m.Invoke(t.Context(), &pipeline.Request{Body: []byte(body)}) {
						if err != nil {
							t.Errorf("%s: %v", name, err)
						} else if ev.Response != nil && ev.Response.Text != truth.Text {
							t.Errorf("%s: %q, want %q", name, ev.Response.Text, truth.Text)
						}
					}
				}
			})
		}
		wg.Wait()
		t.Logf("%s: %d calls over %d connections", name, workers*calls, m.Connections())
	}
}

// BenchmarkCall is a whole call of 50 chunks against the simulator in the same process.
func BenchmarkCall(b *testing.B) {
	s := startSim(b, sim.Options{OutputTokens: 50, FlushEvery: 16})
	m := testModel(b, s.URL(), claudeID)
	req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range m.Invoke(b.Context(), req) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkOpen is the client's side of a call that is answered by an empty answer without any network.
func BenchmarkOpen(b *testing.B) {
	m := testModel(b, "http://localhost", claudeID)
	stream := chunks(claudeStream...)
	m.client = bedrockruntime.New(m.client.Options(), func(o *bedrockruntime.Options) {
		o.HTTPClient = smithyhttp.ClientDoFunc(func(r *http.Request) (*http.Response, error) {
			c := callOf(r.Context())
			c.sent, c.response = true, &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(stream))}
			return c.response, nil
		})
	})
	req, _ := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range m.Invoke(b.Context(), req) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
