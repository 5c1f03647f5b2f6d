package sim

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// countSuffix is the path of CountTokens: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_CountTokens.html.
const countSuffix = "/count-tokens"

// A countRequest is its body: what InvokeModel would be sent, in base64, or what Converse would.
type countRequest struct {
	Input struct {
		InvokeModel *struct {
			Body []byte `json:"body"`
		} `json:"invokeModel"`
		Converse json.RawMessage `json:"converse"`
	} `json:"input"`
}

// serveCount answers CountTokens by the rule that answers are billed by, what a cache has of the input included: counting knows no caches
// (https://docs.anthropic.com/en/docs/build-with-claude/token-counting). It takes nothing of a quota and is no call.
func (s *Server) serveCount(w http.ResponseWriter, r *http.Request, id string) {
	tokens, bad := s.countInput(r, id)
	if bad != nil {
		if bad.Status != 0 {
			s.refuse(w, bad)
		}
		return
	}
	s.tally.countedTokens()
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"inputTokens":` + strconv.FormatInt(tokens, 10) + `}`)) // a client that has gone needs no answer
}

func (s *Server) countInput(r *http.Request, id string) (int64, *Error) {
	switch {
	case s.opts.RequireAuth && r.Header.Get("Authorization") == "":
		return 0, &Error{Status: http.StatusForbidden, Type: "MissingAuthenticationTokenException", Message: "Missing Authentication Token"}
	case s.outageNow(time.Now()) != "":
		return 0, &Error{Status: http.StatusServiceUnavailable, Type: "ServiceUnavailableException", Message: msgConnections}
	case s.opts.NoTokenCounts:
		return 0, validation("The provided model doesn't support counting tokens.")
	}
	body, bad := readBody(new(bytes.Buffer), r)
	if bad != nil {
		return 0, bad
	}
	var in countRequest
	if err := json.Unmarshal(body, &in); err != nil || (in.Input.InvokeModel == nil) == (in.Input.Converse == nil) {
		return 0, malformed("one of input.invokeModel and input.converse is required")
	}
	asked := []byte(in.Input.Converse)
	if in.Input.InvokeModel != nil {
		asked = in.Input.InvokeModel.Body
	}
	p, bad := s.opts.plan(id, asked, keyOf(id, asked), in.Input.Converse != nil)
	if bad != nil {
		return 0, bad
	}
	return p.usage.InputTokens + p.usage.CacheReadInputTokens + p.usage.CacheWriteInputTokens, nil
}

func (t *tally) countedTokens() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.TokenCounts++
}
