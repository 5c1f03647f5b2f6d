package sim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// The service's checks, in its words.
func TestRefusals(t *testing.T) {
	s := start(t, Options{MaxTokensLimit: 4096, Families: map[string]string{"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefabcdef": "claude"}})
	good := prompts[claudeID]("x", 10)
	tests := map[string]struct {
		model, body, contentType string
		message                  string // "" is success
	}{
		"good":              {claudeID, good, "application/json; charset=utf-8", ""},
		"good, provisioned": {"arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abcdefabcdef", good, "", ""},
		"foundation ARN":    {"arn:aws:bedrock:us-east-1::foundation-model/" + novaID, prompts[novaID]("x", 5), "", ""},
		"unknown model":     {"acme.talker-v1:0", good, "", "model identifier is invalid"},
		"unknown ARN":       {"arn:aws:bedrock:us-east-1:123456789012:custom-model-deployment/abcdefabcdef", good, "", "model identifier is invalid"},
		"not JSON":          {claudeID, good[:40], "", "Malformed input request"},
		"empty":             {novaID, "", "", "Malformed input request"},
		"wrong type":        {llamaID, `{"prompt":5}`, "", "Malformed input request"},
		"octet stream":      {claudeID, good, "application/octet-stream", "Content Type"},
		"no version":        {claudeID, `{"max_tokens":5,"messages":[{"role":"user","content":"x"}]}`, "", "anthropic_version"},
		"no max_tokens":     {claudeID, `{"anthropic_version":"bedrock-2023-05-31","messages":[{"role":"user","content":"x"}]}`, "", "max_tokens"},
		"no messages":       {claudeID, `{"anthropic_version":"bedrock-2023-05-31","max_tokens":5}`, "", "messages"},
		"model in the body": {claudeID, strings.Replace(good, "{", `{"model":"x",`, 1), "", "extraneous key [model]"},
		"over the limit":    {claudeID, prompts[claudeID]("x", 4097), "", "exceeds the model limit of 4096"},
		"nova, string":      {novaID, `{"messages":[{"role":"user","content":"x"}]}`, "", "JSONArray"},
		"nova, no messages": {novaID, `{}`, "", "messages"},
		"titan, no input":   {titanID, `{}`, "", "inputText"},
		"llama, too many":   {llamaID, prompts[llamaID]("x", 2049), "", "max_gen_len"},
		"too large":         {novaID, prompts[novaID](strings.Repeat("x", maxBody), 5), "", "larger than the limit of 25000000"},
	}
	c := transports[0].client(t, s)
	for name, tt := range tests {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/model/"+strings.NewReplacer("/", "%2F", ":", "%3A").Replace(tt.model)+"/invoke", strings.NewReader(tt.body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if tt.contentType != "" {
			req.Header.Set("Content-Type", tt.contentType)
		}
		resp, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case tt.message == "" && resp.StatusCode != 200,
			tt.message != "" && (resp.StatusCode != 400 || !strings.HasPrefix(resp.Header.Get("x-amzn-ErrorType"), "ValidationException:") || !strings.Contains(string(body), tt.message)):
			t.Errorf("%s: %d %s %s, want %q", name, resp.StatusCode, resp.Header.Get("x-amzn-ErrorType"), body, tt.message)
		}
	}
	if st := s.Stats(); st.Refused["ValidationException"] != 16 || st.Calls != 3 {
		t.Errorf("stats %+v", st)
	}
}

func TestRequireAuth(t *testing.T) {
	s := start(t, Options{RequireAuth: true})
	if resp := post(t, transports[0].client(t, s), s, novaID, wholeOp, prompts[novaID]("x", 5)); resp.StatusCode != 403 {
		t.Errorf("status %d, want 403", resp.StatusCode)
	}
}

// Times: headers at once, the first content when it is due, the truth about it on record, and no drift.
func TestTimes(t *testing.T) {
	const ttft, gap, n = 200 * time.Millisecond, 5 * time.Millisecond, 20
	s := start(t, Options{OutputTokens: n, FirstToken: Latency{Mean: ttft}, InterToken: Latency{Mean: gap}})
	for _, tr := range transports[:2] {
		s.ResetStats()
		c := tr.client(t, s)
		began := time.Now()
		body := prompts[claudeID]("x", 100)
		resp := post(t, c, s, claudeID, streamOp, body)
		headers := time.Since(began)
		var first time.Duration
		var metrics map[string]any
		for {
			f, err := readFrame(resp.Body)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			ev := object(t, f.chunk(t))
			if ev["type"] == "content_block_delta" && first == 0 {
				first = time.Since(began)
			}
			if m, ok := ev["amazon-bedrock-invocationMetrics"].(map[string]any); ok {
				metrics = m
			}
		}
		total := time.Since(began)
		st := s.Stats()
		rec, _ := s.Record(Key(claudeID, []byte(body)))
		truth := s.FirstTokens()[0]
		slack := 500 * time.Millisecond // a busy machine
		if headers > ttft/2 {
			t.Errorf("headers after %v", headers)
		}
		if truth < ttft || truth > first || first > ttft+slack || rec.FirstToken != truth || st.FirstToken.Count != 1 {
			t.Errorf("first token: due %v, truth %v, seen %v, record %v, stats %+v", ttft, truth, first, rec.FirstToken, st.FirstToken)
		}
		if want := ttft + (n-2)*gap; total < want || total > want+slack {
			t.Errorf("total %v, want about %v", total, want)
		}
		if ms := num(metrics["firstByteLatency"]); ms != int(truth.Milliseconds()) {
			t.Errorf("firstByteLatency %d, truth %v", ms, truth)
		}
		if ms := num(metrics["invocationLatency"]); ms < int((ttft+(n-3)*gap).Milliseconds()) || ms > int(total.Milliseconds()) {
			t.Errorf("invocationLatency %d, total %v", ms, total)
		}
	}
}

func TestHeaderDelay(t *testing.T) {
	s := start(t, Options{HeaderDelay: Latency{Mean: 50 * time.Millisecond}})
	began := time.Now()
	post(t, transports[0].client(t, s), s, titanID, streamOp, prompts[titanID]("x", 5))
	if d := time.Since(began); d < 50*time.Millisecond {
		t.Errorf("headers after %v", d)
	}
}

// Capacity: with no queue the rest is refused, with one it waits; never are more served than stated.
func TestCapacity(t *testing.T) {
	for _, queue := range []int{0, 2, -1} {
		s := start(t, Options{MaxConcurrent: 2, Queue: queue, FirstToken: Latency{Mean: 40 * time.Millisecond}, OutputTokens: 1})
		c := transports[0].client(t, s)
		var mu sync.Mutex
		codes := map[int]int{}
		var g errgroup.Group
		began := time.Now()
		for i := range 6 {
			g.Go(func() error {
				resp, err := send(c, s, novaID, streamOp, prompts[novaID](fmt.Sprint(i), 5))
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				mu.Lock()
				codes[resp.StatusCode]++
				mu.Unlock()
				_, err = io.Copy(io.Discard, resp.Body)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		served := map[int]int{0: 2, 2: 4, -1: 6}[queue]
		if codes[200] != served || codes[503] != 6-served {
			t.Errorf("queue %d: %v, want %d served", queue, codes, served)
		}
		if took := time.Since(began); queue < 0 && took < 40*time.Millisecond {
			t.Errorf("queue %d: all in %v", queue, took)
		}
		if st := s.Stats(); st.Answers != int64(served) || st.InFlight != 0 {
			t.Errorf("queue %d: %+v", queue, st)
		}
	}
}

// Outages: by call, by control and by time.
func TestOutage(t *testing.T) {
	s := start(t, Options{Outages: []Outage{{After: time.Hour, For: time.Hour, Kind: "bad-gateway"}}})
	c := transports[0].client(t, s)
	status := func() int {
		resp, _, err := ask(t, c, s, "x")
		if err != nil {
			return -1
		}
		return resp.StatusCode
	}
	control := func(body string) int {
		resp, err := c.Post(s.URL()+"/control", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	steps := []struct {
		do   func() int
		want int
	}{
		{status, 200},
		{func() int { return control(`{"outage":true}`) }, 204},
		{status, 503},
		{func() int { return control(`{"outage":"drop-before"}`) }, 204},
		{status, -1},
		{func() int { return control(`{"outage":"truncate"}`) }, 400},
		{func() int { return control(`{"outage":7}`) }, 400},
		{func() int { return control(`{"colour":7}`) }, 400},
		{func() int { return control(`{"outage":false,"reset":true}`) }, 204},
		{status, 200},
	}
	for i, step := range steps {
		if got := step.do(); got != step.want {
			t.Errorf("step %d: %d, want %d", i, got, step.want)
		}
	}
	if st := s.Stats(); st.Calls != 1 || len(st.Faults) != 0 {
		t.Errorf("after the reset: %+v", st)
	}
	if got := s.outageNow(s.started.Add(90 * time.Minute)); got != "bad-gateway" {
		t.Errorf("outage in its window: %q", got)
	}
	if got := s.outageNow(s.started.Add(2 * time.Hour)); got != "" {
		t.Errorf("outage after its window: %q", got)
	}
}

// GET /stats says what Stats says.
func TestStatsOverHTTP(t *testing.T) {
	s := start(t, Options{})
	c := transports[0].client(t, s)
	body := prompts[titanID]("x", 5)
	for range 2 {
		if _, err := io.Copy(io.Discard, post(t, c, s, titanID, streamOp, body).Body); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := c.Get(s.URL() + "/stats?records=1&firstTokens=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got struct {
		Stats
		PerRecord     map[string]RecordStats
		FirstTokensNs []int64
	}
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	rec := got.PerRecord[Key(titanID, []byte(body))]
	if got.Answers != 2 || got.AnsweredTwice != 1 || got.Records != 1 || got.Connections != 1 || got.OpenConnections != 1 || rec.Attempts != 2 || rec.Answers != 2 || len(got.FirstTokensNs) != 2 || got.PeakInFlight != 1 {
		t.Errorf("%+v", got)
	}
}

// Beyond KeepRecords only totals are kept, and a fault still lets go of a request that comes again.
func TestRecordsAreBounded(t *testing.T) {
	s := start(t, Options{KeepRecords: 3, OutputTokens: 1})
	c := transports[0].client(t, s)
	for i := range 10 {
		prompt := fmt.Sprintf("%d [[fault:end@1 x1]]", i)
		for turn, want := range []int{1, 6} {
			if _, frames, err := ask(t, c, s, prompt); err != nil || len(frames) != want {
				t.Fatalf("record %d, turn %d: %d frames, %v", i, turn, len(frames), err)
			}
		}
	}
	st := s.Stats()
	if st.Records != 3 || !st.RecordsDropped || st.Answers != 10 || len(s.Records()) != 3 || len(s.tally.retried) != 0 || len(s.FirstTokens()) != 3 {
		t.Errorf("%+v", st)
	}
}

// Many streams at once, some cut by their clients: nothing is lost from the account.
func TestManyAtOnce(t *testing.T) {
	for _, tr := range transports[:2] {
		s := start(t, Options{OutputTokens: 10, InterToken: Latency{Mean: time.Millisecond}, MaxConcurrent: 20, Queue: -1})
		c := tr.client(t, s)
		var g errgroup.Group
		g.SetLimit(40)
		for i := range 200 {
			g.Go(func() error {
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.URL()+"/model/"+novaID+"/invoke-with-response-stream", strings.NewReader(prompts[novaID](fmt.Sprint(i), 100)))
				if err != nil {
					return err
				}
				req.Header.Set("Content-Type", "application/json")
				resp, err := c.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				if i%10 == 0 {
					_, err = readFrame(resp.Body)
					return err
				}
				_, err = readFrames(resp.Body)
				return err
			})
		}
		if err := g.Wait(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); s.Stats().InFlight > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("still in flight: %+v", s.Stats())
			}
		}
		st := s.Stats()
		if st.Calls != 200 || st.Answers+st.Cancelled != 200 || st.Answers < 180 || st.PeakInFlight > 60 {
			t.Errorf("%+v", st)
		}
	}
}

// Close cuts what is under way and leaves nothing running (goleak looks).
func TestCloseWhileStreaming(t *testing.T) {
	for _, tr := range transports {
		s := start(t, Options{TLS: tr.tls, InterToken: Latency{Mean: time.Minute}})
		resp := post(t, tr.client(t, s), s, novaID, streamOp, prompts[novaID]("x", 50))
		if _, err := readFrame(resp.Body); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if _, err := readFrames(resp.Body); err == nil {
			t.Error("a stream ended cleanly when its server closed")
		}
	}
}

func TestValidate(t *testing.T) {
	if err := (Options{}).Validate(); err != nil {
		t.Errorf("the zero value: %v", err)
	}
	bad := Options{
		Addr: "0.0.0.0:0", CertFile: "x", OutputTokens: -1, Families: map[string]string{"m": "poet"}, FirstToken: Latency{Mean: -1},
		Quota: Quota{RPM: -1, Shape: "round"}, Burndown: -1, ThrottleInStream: 2, Faults: []Fault{{Kind: "nonsense"}}, Outages: []Outage{{Kind: "stall"}},
	}
	err := bad.Validate()
	for _, part := range []string{"not loopback", "needs TLS", "output tokens", "poet", "first token", "rpm", "shape", "burndown", "in-stream", "nonsense", "outage needs", `outage "stall"`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not tell of %q", err, part)
		}
	}
	if _, err := Start(bad); err == nil {
		t.Error("Start took bad options")
	}
	for _, addr := range []string{"127.0.0.1:0", "localhost:0", "[::1]:0"} {
		if err := (Options{Addr: addr}).Validate(); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for _, addr := range []string{":0", "0.0.0.0:0", "example.com:80", "nonsense", "[::]:0"} {
		if err := (Options{Addr: addr}).Validate(); err == nil {
			t.Errorf("%s: no error", addr)
		}
	}
	if err := (Options{Addr: ":0", AllowRemote: true}).Validate(); err != nil {
		t.Error(err)
	}
}

// An address in use is an error of Start and leaves nothing open.
func TestStartFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if s, err := Start(Options{Addr: l.Addr().String()}); err == nil {
		_ = s.Close()
		t.Error("started on an address in use")
	}
	if s, err := Start(Options{TLS: true, CertFile: filepath.Join(t.TempDir(), "none", "cert.pem")}); err == nil {
		_ = s.Close()
		t.Error("started without writing its certificate")
	}
}

func TestClientCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a cert.pem")
	s := start(t, Options{TLS: true, CertFile: file})
	want := "AWS_CA_BUNDLE='" + file + "' batchrun run -i prompts.jsonl -o answers.jsonl -m anthropic.claude-3-5-haiku-20241022-v1:0 --endpoint-url " + s.URL()
	if got := s.ClientCommand(); !strings.HasSuffix(got, want) || !strings.Contains(got, "AWS_REGION=us-east-1") {
		t.Errorf("%s, want an end of %s", got, want)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != string(s.CertPEM()) {
		t.Errorf("certificate file: %v", err)
	}
}

func TestUnknownPaths(t *testing.T) {
	s := start(t, Options{})
	c := transports[0].client(t, s)
	for _, path := range []string{"/", "/model//invoke", "/model/x", "/model/x/converse-later", "/statistics"} {
		resp, err := c.Post(s.URL()+path, "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 404 || resp.Header.Get("x-amzn-RequestId") == "" {
			t.Errorf("%s: %d %v", path, resp.StatusCode, resp.Header)
		}
	}
}
