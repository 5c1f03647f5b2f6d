package bedrock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// A call is taken to be free only where the server, which bills as harshly as it can be read, has billed nothing; and every refusal is.
func TestUnbilled(t *testing.T) {
	refusals := []string{
		"ThrottlingException", "ServiceQuotaExceededException", "ModelNotReadyException", "ServiceUnavailableException",
		"ValidationException", "AccessDeniedException", "ResourceNotFoundException", "ExpiredTokenException", "bare-429",
	}
	for _, api := range []string{InvokeStream, ConverseStream, Invoke} {
		server, err := sim.Start(sim.Options{FirstToken: sim.Latency{Mean: time.Millisecond}})
		if err != nil {
			t.Fatal(err)
		}
		m := testModel(t, server.URL(), claudeID, func(o *Options) { o.API = api })
		for _, kind := range sim.FaultKinds() {
			for _, at := range []string{"", "@1", "@end"} {
				before := server.Stats().Billed
				e := callOnce(t, m, fmt.Sprintf("[[fault:%s%s]] %s", kind.Name, at, api))
				after := server.Stats().Billed
				billed := after != before
				switch {
				case e != nil && e.Unbilled && billed:
					t.Errorf("%s, %s%s: %v is taken to be free, and was billed", api, kind.Name, at, e)
				case at == "" && slices.Contains(refusals, kind.Name) && (e == nil || !e.Unbilled || billed):
					t.Errorf("%s, %s: %v is not taken to be free; billed: %v", api, kind.Name, e, billed)
				case e == nil && !billed:
					t.Errorf("%s, %s%s: an answer was not billed", api, kind.Name, at)
				}
			}
		}
		if err := server.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// callOnce makes one attempt, and cuts it when it is silent.
func callOnce(t *testing.T, m *Model, prompt string) *pipeline.InvokeError {
	t.Helper()
	req, err := m.Encode(&pipeline.Record{Prompt: &pipeline.Prompt{Text: prompt, MaxTokens: 20}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, err := range m.Invoke(ctx, req) {
		if e, failed := errors.AsType[*pipeline.InvokeError](err); failed {
			return e
		}
	}
	return nil
}

// What never left this machine is free.
func TestUnsentIsUnbilled(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	_ = l.Close()
	if e := callOnce(t, testModel(t, url, claudeID), "hi"); e == nil || e.Type != pipeline.TypeConnectionError || !e.Unbilled {
		t.Errorf("a connection that is refused: %+v, want one that is free", e)
	}
}
