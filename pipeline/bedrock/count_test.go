package bedrock

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// The count is what an answer is billed for, for every family, and is no call.
func TestCountTokensIsWhatIsBilled(t *testing.T) {
	s := startSim(t, sim.Options{RequireAuth: true, Families: map[string]string{genericID: "chat"}})
	n := int64(0)
	for name, tt := range familyCases {
		m := testModel(t, s.URL(), tt.modelID)
		req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "How many tokens have \"quotes\" and 日本?"}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.CountTokens(t.Context(), req)
		if err != nil {
			t.Errorf("%s: CountTokens() = %v", name, err)
			continue
		}
		n++
		out := invokeRequest(t, m, req)
		if out.err != nil {
			t.Fatalf("%s: %+v", name, out.err)
		}
		if want := out.response.Usage.InputTokens; got != want || got < 5 {
			t.Errorf("%s: counted %d tokens, billed %d", name, got, want)
		}
	}
	if stats := s.Stats(); stats.TokenCounts != n || stats.Calls != n {
		t.Errorf("the service saw %d counts and %d calls, want %d of each", stats.TokenCounts, stats.Calls, n)
	}
}

func TestCountTokensThatFail(t *testing.T) {
	answer := func(status int, name, message string) string {
		return serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Amzn-Errortype", name)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write([]byte(`{"message":"` + message + `"}`))
		}))
	}
	outage := startSim(t, sim.Options{Outages: []sim.Outage{{For: time.Hour}}})
	tests := map[string]struct {
		url    string
		never  bool // ErrCannotCount
		kind   pipeline.Kind
		cancel bool
	}{
		"a model without it":          {url: startSim(t, sim.Options{NoTokenCounts: true}).URL(), never: true, kind: pipeline.RecordFatal},
		"no permission":               {url: answer(403, "AccessDeniedException", "not authorized to perform: bedrock:CountTokens"), never: true, kind: pipeline.JobFatal},
		"an endpoint without it":      {url: answer(404, "UnknownOperationException", "no such operation"), never: true, kind: pipeline.JobFatal},
		"a body that is malformed":    {url: answer(400, "ValidationException", "Malformed input request"), kind: pipeline.RecordFatal},
		"throttled":                   {url: answer(429, "ThrottlingException", "Too many requests"), kind: pipeline.Throttled},
		"an outage":                   {url: outage.URL(), kind: pipeline.Overload},
		"nobody there":                {url: "http://127.0.0.1:1", kind: pipeline.Transient},
		"an answer without a number":  {url: serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{}`)) })), kind: pipeline.Transient},
		"the run has ended meanwhile": {url: outage.URL(), kind: pipeline.Interrupted, cancel: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			m := testModel(t, tt.url, claudeID)
			req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: "hello"}})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancel {
				cancel()
			}
			_, err = m.CountTokens(ctx, req)
			e, ok := errors.AsType[*pipeline.InvokeError](err)
			if !ok || e.Kind != tt.kind || errors.Is(err, pipeline.ErrCannotCount) != tt.never {
				t.Errorf("CountTokens() = %v, want kind %v and never again %v", err, tt.kind, tt.never)
			}
		})
	}
}
