package sim

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"time"
)

// serveStats answers GET /stats: [Stats] as JSON. ?records=1 adds "perRecord" (see Records),
// ?firstTokens=1 adds "firstTokensNs".
func (s *Server) serveStats(w http.ResponseWriter, r *http.Request) {
	out := struct {
		Stats
		PerRecord   map[string]RecordStats `json:"perRecord,omitempty"`
		FirstTokens []time.Duration        `json:"firstTokensNs,omitempty"`
	}{Stats: s.Stats()}
	if r.FormValue("records") != "" {
		out.PerRecord = s.Records()
	}
	if r.FormValue("firstTokens") != "" {
		out.FirstTokens = s.FirstTokens()
	}
	w.Header().Set("Content-Type", "application/json")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(out) // a client that has gone needs no statistics
}

// control is the body of POST /control. What is absent stays as it is.
type control struct {
	// Outage is true, false, or a kind as in [Outage].
	Outage json.RawMessage `json:"outage"`
	// Reset begins a new account.
	Reset bool `json:"reset"`
}

func (s *Server) serveControl(w http.ResponseWriter, r *http.Request) {
	if !fromLoopback(r) {
		http.Error(w, "control is for this machine only", http.StatusForbidden)
		return
	}
	var in control
	dec := json.NewDecoder(io.LimitReader(r.Body, 1<<16))
	dec.DisallowUnknownFields()
	err := dec.Decode(&in)
	if err == nil {
		err = s.control(in)
	}
	if err != nil {
		http.Error(w, "control: "+err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *Server) control(in control) error {
	var kind string
	switch string(in.Outage) {
	case "", "null":
	case "true":
		_ = s.SetOutage("") // the default is known
	case "false":
		s.EndOutage()
	default:
		if json.Unmarshal(in.Outage, &kind) != nil {
			return errors.New("outage is true, false or the kind of a fault")
		}
		if err := s.SetOutage(kind); err != nil {
			return err
		}
	}
	if in.Reset {
		s.ResetStats()
	}
	return nil
}

func fromLoopback(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	ip := net.ParseIP(host)
	// A browser says where its page came from; no page has any business here.
	return err == nil && ip != nil && ip.IsLoopback() && r.Header.Get("Origin") == ""
}
