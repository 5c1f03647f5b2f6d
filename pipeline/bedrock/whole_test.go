package bedrock

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

func invokeAPI(o *Options) { o.API = Invoke }

// An answer in one piece is the body as it came, of every family, with the same reading of text, reason and usage as its stream; and
// no event of it passes for a first token.
func TestInvokeWhole(t *testing.T) {
	s := startSim(t, simOptions(sim.Options{}))
	for name, tt := range familyCases {
		for _, prompt := range []string{"hello", "[[tool]] [[cite]] [[cache:read=900,write=50]]", "[[guardrail:block]]", "[[guardrail:trace]] x", "[[refuse]]"} {
			for i, body := range simBodies(name, prompt) {
				m := testModel(t, s.URL(), tt.modelID, invokeAPI)
				out := invokeRequest(t, m, &pipeline.Request{Body: []byte(body)})
				if out.err != nil {
					t.Errorf("%s %s %d: %v", name, prompt, i, out.err)
					continue
				}
				truth, err := sim.Truth(simOptions(sim.Options{}), tt.modelID, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				r := out.response
				if string(r.Output) != string(truth.Body) {
					t.Errorf("%s %s %d: output\n%s\nInvokeModel returns\n%s", name, prompt, i, r.Output, truth.Body)
				}
				wantStop := truth.StopReason
				if strings.Contains(prompt, "block") {
					wantStop = r.StopReason // bodies of a blocked input differ in what they say
				}
				if r.StopReason == "" || r.StopReason != wantStop || r.Usage != pipeline.Usage(truth.Usage) {
					t.Errorf("%s %s %d: %q %+v, want %q %+v", name, prompt, i, r.StopReason, r.Usage, truth.StopReason, truth.Usage)
				}
				streamed := invokeRequest(t, testModel(t, s.URL(), tt.modelID), &pipeline.Request{Body: []byte(body)})
				if streamed.err != nil || streamed.response.Text != r.Text {
					t.Errorf("%s %s %d: text %q, its stream has %+v, %v", name, prompt, i, r.Text, streamed.response, streamed.err)
				}
				if len(out.events) != 2 || !out.events[0].Terminal || out.events[0].Content || out.events[0].Text || out.events[1].Content {
					t.Errorf("%s: events %+v", name, out.events)
				}
				if r.ServerFirstByte >= 0 || r.ServerTotal < 0 {
					t.Errorf("%s: server times %v, %v", name, r.ServerFirstByte, r.ServerTotal)
				}
			}
		}
	}
}

// What is not a whole answer is none, in whatever way it came.
func TestInvokeNotWhole(t *testing.T) {
	const body = `{"generation":"Oak.","prompt_token_count":5,"generation_token_count":3,"stop_reason":"stop"}`
	answer := func(kind, text string, length int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("X-Amzn-Requestid", requestID)
			if length > 0 {
				w.Header().Set("Content-Length", fmt.Sprint(length))
			}
			_, _ = w.Write([]byte(text))
		}
	}
	tests := map[string]struct {
		handler http.HandlerFunc
		typ     string // "" for an answer
		kind    pipeline.Kind
	}{
		"whole":                       {answer("application/json", body, 0), "", 0},
		"without a type":              {answer("", body, 0), "", 0},
		"shorter than it says":        {answer("application/json", body[:40], len(body)), pipeline.TypeTruncatedStream, pipeline.Transient},
		"all but the last byte":       {answer("application/json", body[:len(body)-1], 0), pipeline.TypeBadFrame, pipeline.Transient},
		"empty":                       {answer("application/json", "", 0), pipeline.TypeBadFrame, pipeline.Transient},
		"a page":                      {answer("text/html", "<html>sign in</html>", 0), pipeline.TypeBadFrame, pipeline.Transient},
		"a list":                      {answer("application/json", "[]", 0), pipeline.TypeBadFrame, pipeline.Transient},
		"no end":                      {answer("application/json", `{"generation":"Oak.","stop_reason":null}`, 0), typeUnknownFormat, pipeline.RecordFatal},
		"another object":              {answer("application/json", `{"message":"fine"}`, 0), typeUnknownFormat, pipeline.RecordFatal},
		"of a family that it was not": {answer("application/json", `{"outputs":[{"text":"Oak.","stop_reason":"stop"}]}`, 0), typeUnknownFormat, pipeline.JobFatal},
	}
	for name, tt := range tests {
		out := invoke(t, testModel(t, serve(t, tt.handler), "meta.llama4-scout-17b-instruct-v1:0"))
		switch {
		case tt.typ == "" && (out.err != nil || out.response.Text != "Oak." || out.response.Usage.OutputTokens != 3):
			t.Errorf("%s: %+v %v", name, out.response, out.err)
		case tt.typ != "" && (out.err == nil || out.err.Type != tt.typ || out.err.Kind != tt.kind || out.err.RequestID != requestID):
			t.Errorf("%s: %+v %+v", name, out.response, out.err)
		}
	}
}

// Many answers of one client at once: no race, no mix-up.
func TestManyWholeAnswersOfOneClient(t *testing.T) {
	s := startSim(t, sim.Options{Seed: 3, OutputTokens: 30, OutputSpread: 20})
	for _, api := range []string{Invoke, ConverseStream} {
		m := testModel(t, s.URL(), claudeID, func(o *Options) { o.API = api })
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				for i := range 6 {
					said := fmt.Sprintf("answer %d of %d", i, w)
					req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "[[say:" + said + "]]"}})
					if err != nil {
						t.Error(err)
						return
					}
					if out := invokeRequest(t, m, req); out.err != nil || out.response.Text != said {
						t.Errorf("%s: %+v %v", api, out.response, out.err)
					}
				}
			})
		}
		wg.Wait()
	}
}

// The operation is chosen by the model where nobody names one, and said.
func TestAPIOfAModel(t *testing.T) {
	tests := []struct{ id, foundation, api, want, warns string }{
		{claudeID, "", "", InvokeStream, ""},
		{"us.meta.llama4-scout-17b-instruct-v1:0", "", "", Invoke, "InvokeModel"},
		{"us.meta.llama4-scout-17b-instruct-v1:0", "", Invoke, Invoke, ""},
		{"us.meta.llama4-scout-17b-instruct-v1:0", "", ConverseStream, ConverseStream, "--api invoke"},
		{"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", "arn:aws:bedrock:us-east-1::foundation-model/meta.llama4-scout-17b-instruct-v1:0", "", Invoke, "InvokeModel"},
		{"arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc", "", ConverseStream, ConverseStream, ""},
	}
	for _, tt := range tests {
		warned := ""
		m := testModel(t, "http://localhost", tt.id, func(o *Options) {
			o.API, o.Foundation, o.Warn = tt.api, tt.foundation, func(s string) { warned += s }
		})
		if m.API() != tt.want || (warned == "") != (tt.warns == "") || !strings.Contains(warned, tt.warns) {
			t.Errorf("%s by %q: %s, warned %q", tt.id, tt.api, m.API(), warned)
		}
	}
}

// A short-form record keeps to what the model takes, and Command is not asked for a stream where there is none.
func TestEncodeForTheOtherAPIs(t *testing.T) {
	temperature := 0.5
	rec := &pipeline.Record{Prompt: &pipeline.Prompt{Text: "a \"b\"", System: "s", Temperature: &temperature, Stop: []string{"x"}}}
	tests := []struct{ id, api, want string }{
		{claudeID, ConverseStream, `{"messages":[{"role":"user","content":[{"text":"a \"b\""}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":4096,"temperature":0.5,"stopSequences":["x"]}}`},
		{llamaID, ConverseStream, `{"messages":[{"role":"user","content":[{"text":"a \"b\""}]}],"system":[{"text":"s"}],"inferenceConfig":{"maxTokens":2048,"temperature":0.5,"stopSequences":["x"]}}`},
		{commandID, Invoke, `{"prompt":"s\n\na \"b\"","max_tokens":4096,"temperature":0.5,"stop_sequences":["x"]}`},
	}
	for _, tt := range tests {
		req, err := testModel(t, "http://localhost", tt.id, func(o *Options) { o.API = tt.api }).Encode(rec)
		if err != nil || string(req.Body) != tt.want {
			t.Errorf("%s by %s: %s, want %s, %v", tt.id, tt.api, req.Body, tt.want, err)
		}
	}
	m := testModel(t, "http://localhost", llamaID, converseAPI)
	req, err := m.Encode(&pipeline.Record{Input: []byte(`{"messages":[],"inferenceConfig":{"maxTokens":77}}`)})
	if err != nil || req.MaxTokens != 77 || req.DefaultLimit {
		t.Errorf("reserves %+v, %v", req, err)
	}
	if req, _ = m.Encode(&pipeline.Record{Input: []byte(`{"messages":[]}`)}); req.MaxTokens != 2048 || !req.DefaultLimit {
		t.Errorf("without a limit %+v", req)
	}
}

func arnOf(resource string) string {
	return "arn:aws:bedrock:us-east-1:123456789012:" + resource + "/abcdefghijkl"
}

// The control plane tells what is behind an ARN, and what it does not tell is refused with the reason.
func TestLookup(t *testing.T) {
	known := map[string]string{
		arnOf("provisioned-model"): novaID, arnOf("application-inference-profile"): claudeID, arnOf("custom-model-deployment"): "amazon.nova-micro-v1:0",
	}
	s := startSim(t, sim.Options{RequireAuth: true, Foundations: known})
	for arn, id := range known {
		opts := Options{ModelID: arn, Region: "us-east-1", EndpointURL: s.URL(), IgnoreEnvironment: true}
		foundation, err := Lookup(t.Context(), opts)
		if err != nil || foundationID(foundation) != id || !CanLookup(arn) {
			t.Errorf("Lookup(%s) = %q, %v, want %s", arn, foundation, err, id)
			continue
		}
		out := invoke(t, testModel(t, s.URL(), arn, func(o *Options) { o.Foundation = foundation }))
		if out.err != nil || out.response.Text == "" {
			t.Errorf("%s: %+v", arn, out.err)
		}
	}
	refuse := func(status int, name string) string {
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amzn-Errortype", name)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"message":"sorry"}`))
		}))
	}
	for name, tt := range map[string]struct{ arn, url, message, hint string }{
		"unknown":         {arnOf("provisioned-model") + "x", s.URL(), "ResourceNotFoundException", "give --family, one of"},
		"not allowed":     {arnOf("application-inference-profile"), refuse(403, "AccessDeniedException"), "AccessDeniedException: sorry", "allow bedrock:GetInferenceProfile, or give --family"},
		"nothing behind":  {arnOf("provisioned-model"), serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("{}")) })), "no foundation model", "give --family"},
		"an id":           {claudeID, s.URL(), "no ARN", "give --family"},
		"a prompt router": {arnOf("default-prompt-router"), s.URL(), "no ARN", "give --family"},
	} {
		_, err := Lookup(t.Context(), Options{ModelID: tt.arn, Region: "us-east-1", EndpointURL: tt.url, IgnoreEnvironment: true})
		if !errors.Is(err, ErrUnknownFamily) || !strings.Contains(err.Error(), tt.message) || !strings.HasPrefix(Hint(err), tt.hint) {
			t.Errorf("%s: %v, hint %q", name, err, Hint(err))
		}
	}
}

// With an endpoint of the runtime's the account is not asked behind its back; a variable of its own names the control plane's.
func TestLookupEndpoint(t *testing.T) {
	for _, name := range os.Environ() {
		if key, _, _ := strings.Cut(name, "="); strings.HasPrefix(key, "AWS_") {
			t.Setenv(key, "")
		}
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-test")
	t.Setenv("AWS_REGION", "us-east-1")
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", os.DevNull)
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	arn := arnOf("provisioned-model")
	runtime := startSim(t, sim.Options{Foundations: map[string]string{arn: novaID}})
	control := startSim(t, sim.Options{Foundations: map[string]string{arn: claudeID}})
	for name, tt := range map[string]struct{ variable, endpoint, want string }{
		"the runtime's": {"", runtime.URL(), novaID},
		"its own":       {control.URL(), runtime.URL(), claudeID},
		"its own alone": {control.URL(), "", claudeID},
	} {
		t.Setenv(controlVariable, tt.variable)
		start := time.Now()
		got, err := Lookup(t.Context(), Options{ModelID: arn, EndpointURL: tt.endpoint})
		if err != nil || foundationID(got) != tt.want {
			t.Errorf("%s: %q, %v after %v, want %s", name, got, err, time.Since(start), tt.want)
		}
	}
}
