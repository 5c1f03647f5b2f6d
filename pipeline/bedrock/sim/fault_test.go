package sim

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// ask streams a Claude prompt and reads what comes, to the end or the error.
func ask(t testing.TB, c *http.Client, s *Server, prompt string) (*http.Response, []frame, error) {
	t.Helper()
	resp, err := send(c, s, claudeID, streamOp, prompts[claudeID](prompt, 100))
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		return resp, nil, nil
	}
	frames, err := readFrames(resp.Body)
	return resp, frames, err
}

// Every error before the stream has the service's status, type header, JSON and request id.
func TestErrorsBeforeTheStream(t *testing.T) {
	s := start(t, Options{})
	for _, tr := range transports[:2] {
		c := tr.client(t, s)
		for name, e := range preStreamErrors {
			for _, op := range []string{streamOp, wholeOp} {
				resp := post(t, c, s, novaID, op, prompts[novaID]("[[fault:"+name+"]]", 5))
				body, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				if got, want := resp.StatusCode, e.Status; got != want {
					t.Errorf("%s: status %d, want %d", name, got, want)
				}
				if got, want := resp.Header.Get("x-amzn-ErrorType"), name+":http://internal.amazon.com/coral/com.amazon.bedrock/"; got != want {
					t.Errorf("%s: type %q, want %q", name, got, want)
				}
				if got := object(t, body)["message"]; got != e.Message || resp.Header.Get("x-amzn-RequestId") == "" || resp.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s: %s %v", name, body, resp.Header)
				}
			}
		}
	}
	for _, name := range []string{"bad-gateway", "gateway-timeout", "payload-too-large"} {
		resp := post(t, http.DefaultClient, s, novaID, streamOp, prompts[novaID]("[[fault:"+name+"]]", 5))
		body, _ := io.ReadAll(resp.Body)
		if resp.Header.Get("x-amzn-ErrorType") != "" || !strings.HasPrefix(string(body), "<html>") || resp.StatusCode != faultTable[name].preStream.Status {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// In-stream exceptions come after exactly as many chunks as were asked for, under their wire name.
func TestExceptionsInTheStream(t *testing.T) {
	s := start(t, Options{})
	for _, tr := range transports[:2] {
		c := tr.client(t, s)
		for name := range inStreamMessages {
			for spec, want := range map[string]string{name: name, upperCamel(name): upperCamel(name)} {
				_, frames, err := ask(t, c, s, "[[fault:"+spec+"@3]]")
				if err != nil || len(frames) != 4 {
					t.Fatalf("%s: %d frames, %v", spec, len(frames), err)
				}
				last := frames[3]
				if last.headers[":message-type"] != "exception" || last.headers[":exception-type"] != want || object(t, last.payload)["message"] != inStreamMessages[name] {
					t.Errorf("%s: %v %s", spec, last.headers, last.payload)
				}
			}
		}
	}
	c := transports[0].client(t, s)
	_, frames, err := ask(t, c, s, "[[fault:throttlingException@end; slow down]]")
	if n := len(frames); err != nil || n < 10 || object(t, frames[n-2].chunk(t))["type"] != "message_stop" || object(t, frames[n-1].payload)["message"] != "slow down" {
		t.Errorf("after the terminal event: %d frames, %v", len(frames), err)
	}
	_, frames, _ = ask(t, c, s, "[[fault:error-frame@1]]")
	if f := frames[1]; f.headers[":message-type"] != "error" || f.headers[":error-code"] == "" || f.headers[":error-message"] == "" {
		t.Errorf("error frame: %v", f)
	}
	_, frames, _ = ask(t, c, s, "[[fault:weatherException]]")
	if f := frames[0]; len(frames) != 1 || f.headers[":exception-type"] != "weatherException" {
		t.Errorf("unmodelled: %v", frames)
	}
}

// What every other fault does to the frames a reader gets, at event 3.
func TestFaultsInTheStream(t *testing.T) {
	servers := map[bool]*Server{false: start(t, Options{}), true: start(t, Options{TLS: true})}
	eof, bad := io.ErrUnexpectedEOF, errFrame
	total := 48 + 5 // tokens of the answer below and the events around them, at most
	tests := map[string]struct {
		whole  int // frames read whole; -1: the answer and one more
		h1, h2 error
	}{
		"truncate@3":        {3, eof, errAny},
		"truncate-inside@3": {3, eof, errAny},
		"reset@3":           {3, errAny, errAny},
		"rst-stream@3":      {3, eof, errAny},
		"end@3":             {3, nil, nil},
		"end-inside@3":      {3, eof, eof},
		"empty":             {0, nil, nil},
		"html":              {0, bad, bad},
		"bad-prelude-crc@3": {3, bad, bad},
		"bad-message-crc@3": {3, bad, bad},
		"garbage@3":         {3, bad, bad},
		"short-length@3":    {3, bad, bad},
		"long-headers@3":    {3, bad, bad},
		"huge-length@3":     {3, bad, bad},
		"no-bytes@3":        {4, nil, nil},
		"not-base64@3":      {4, nil, nil},
		"not-json@3":        {4, nil, nil},
		"not-json-event@3":  {4, nil, nil},
		"not-json-error@3":  {4, nil, nil},
		"unmodelled@3":      {4, nil, nil},
		"unknown-event@3":   {-1, nil, nil},
		"unknown-headers@3": {-1, nil, nil},
		"unknown-message@3": {-1, nil, nil},
		"no-message-type@3": {-1, nil, nil},
		"big-pad@3":         {-1, nil, nil},
	}
	for _, tr := range transports {
		s := servers[tr.tls]
		c := tr.client(t, s)
		for spec, tt := range tests {
			t.Run(tr.name+"/"+spec, func(t *testing.T) {
				_, frames, err := ask(t, c, s, "[[fault:"+spec+"]]")
				want := tt.h1
				if tr.major == 2 {
					want = tt.h2
				}
				if !errors.Is(err, want) && !(want == errAny && err != nil) {
					t.Errorf("error %v, want %v", err, want)
				}
				// A reset may take with it what the client has not read.
				short := spec == "reset@3" && len(frames) < tt.whole
				if tt.whole >= 0 && len(frames) != tt.whole && !short || tt.whole < 0 && (len(frames) < total/2 || len(frames) > total+1) {
					t.Errorf("%d frames, want %d", len(frames), tt.whole)
				}
				if tt.whole < 0 && object(t, frames[len(frames)-1].chunk(t))["type"] != "message_stop" {
					t.Errorf("the stream did not go on to its end")
				}
			})
		}
	}
	for _, spec := range []string{"drop-before", "reset-before"} {
		for _, tr := range transports {
			s := servers[tr.tls]
			if _, _, err := ask(t, tr.client(t, s), s, "[[fault:"+spec+"]]"); err == nil {
				t.Errorf("%s over %s: no error", spec, tr.name)
			}
		}
	}
}

var errAny = errors.New("any error")

// Stalls: nothing comes, for as long as was asked.
func TestStalls(t *testing.T) {
	s := start(t, Options{OutputTokens: 5})
	c := transports[0].client(t, s)
	const pause = 300 * time.Millisecond
	for spec, before := range map[string]int{"stall-headers": -1, "stall-first-token": 2, "stall@4": 4, "stall@end": 99} {
		t.Run(spec, func(t *testing.T) {
			began := time.Now()
			resp := post(t, c, s, claudeID, streamOp, prompts[claudeID]("[[fault:"+spec+" for=300ms]]", 50))
			headers := time.Since(began)
			var gap time.Duration
			at, n, last := 0, 0, time.Now()
			for {
				_, err := readFrame(resp.Body)
				if d := time.Since(last); d > gap {
					gap, at = d, n
				}
				last = time.Now()
				if err != nil {
					break
				}
				n++
			}
			switch {
			case before < 0:
				if headers < pause {
					t.Errorf("headers after %v", headers)
				}
			case headers > pause/2 || gap < pause/2 || at != min(before, n):
				t.Errorf("headers after %v, longest gap %v before event %d of %d", headers, gap, at, n)
			}
		})
	}
	t.Run("until the client goes away", func(t *testing.T) {
		resp := post(t, c, s, claudeID, streamOp, prompts[claudeID]("[[fault:stall@1]]", 50))
		if _, err := readFrame(resp.Body); err != nil {
			t.Fatal(err)
		}
		if n := s.Stats().InFlight; n != 1 {
			t.Errorf("%d in flight during a stall, want 1", n)
		}
		_ = resp.Body.Close()
		for deadline := time.Now().Add(2 * time.Second); s.Stats().InFlight > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("still in flight")
			}
		}
	})
}

// Markers with a count strike so often, one after the other, and then the answer comes.
func TestFaultsByTurn(t *testing.T) {
	s := start(t, Options{})
	c := transports[0].client(t, s)
	prompt := "[[fault:ThrottlingException x2]] [[fault:end@2 x1]]"
	var got []int
	for range 5 {
		resp, frames, err := ask(t, c, s, prompt)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case resp.StatusCode != 200:
			got = append(got, resp.StatusCode)
		case len(frames) == 2:
			got = append(got, 2)
		default:
			got = append(got, 0)
		}
	}
	if diff := cmp.Diff([]int{429, 429, 2, 0, 0}, got); diff != "" {
		t.Error(diff)
	}
	rec, ok := s.Record(Key(claudeID, []byte(prompts[claudeID](prompt, 100))))
	if !ok || rec.Attempts != 5 || rec.Answers != 2 || rec.Faults != 3 || rec.Throttled != 0 {
		t.Errorf("record %+v", rec)
	}
	if st := s.Stats(); st.AnsweredTwice != 1 || st.Faults["ThrottlingException"] != 2 || st.Faults["end"] != 1 {
		t.Errorf("stats %+v", st)
	}
}

// Chance repeats: the same requests meet the same fates, in any order, and about as often as asked.
func TestFaultsByChance(t *testing.T) {
	opts := Options{OutputTokens: 2, FlushEvery: 100, Faults: []Fault{{Kind: "ServiceUnavailableException", Probability: 0.2}, {Kind: "throttlingException", Probability: 0.1, AtChunk: AtRandom}}}
	fates := func(order func(i int) int) map[int]string {
		s := start(t, opts)
		c := transports[0].client(t, s)
		out := map[int]string{}
		for i := range 300 {
			n := order(i)
			for range 2 {
				resp, frames, err := ask(t, c, s, strings.Repeat("x", n+1))
				if err != nil {
					t.Fatal(err)
				}
				fate := resp.Status
				if len(frames) > 0 {
					fate = frames[len(frames)-1].headers[":message-type"]
				}
				out[n] += fate + " "
			}
		}
		st := s.Stats()
		if n := st.Faults["ServiceUnavailableException"]; n < 80 || n > 160 {
			t.Errorf("%d of 600 attempts unavailable, want about 120", n)
		}
		if n := st.Faults["throttlingException"]; n < 25 || n > 75 {
			t.Errorf("%d of 600 attempts throttled in the stream, want about 48", n)
		}
		return out
	}
	a := fates(func(i int) int { return i })
	b := fates(func(i int) int { return 299 - i })
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("another order, other fates:\n%s", diff)
	}
}

func TestParseFault(t *testing.T) {
	tests := map[string]Fault{
		"truncate@3 x2":                   {Kind: "truncate", Probability: 1, AtChunk: 3, Times: 2},
		"stall@end for=2s":                {Kind: "stall", Probability: 1, AtChunk: AtEnd, For: 2 * time.Second},
		"reset@random p=0.25":             {Kind: "reset", Probability: 0.25, AtChunk: AtRandom},
		"ThrottlingException; wait a day": {Kind: "ThrottlingException", Probability: 1, Message: "wait a day"},
		"ThrottlingException@0":           {Kind: "throttlingException", Probability: 1, Upper: true},
		"oddException@2":                  {Kind: "oddException", Probability: 1, AtChunk: 2},
	}
	for in, want := range tests {
		got, err := ParseFault(in)
		if err != nil || got != want {
			t.Errorf("ParseFault(%q) = %+v, %v, want %+v", in, got, err, want)
		}
		if got.String() != in {
			t.Errorf("ParseFault(%q).String() = %q", in, got.String())
		}
	}
	if f, err := ParseFault("end 50%"); err != nil || f.Probability != 0.5 {
		t.Errorf("percent: %+v, %v", f, err)
	}
	for _, in := range []string{"", "nonsense", "end@-1", "end@x", "end x0", "end p=2", "end p=NaN", "end for=x", "end 0%", "end what"} {
		if f, err := ParseFault(in); err == nil {
			t.Errorf("ParseFault(%q) = %+v, want an error", in, f)
		}
	}
}

func FuzzParseFault(f *testing.F) {
	for _, k := range kindNames() {
		f.Add(k + "@3 x2 p=0.5 for=1s; words")
	}
	f.Fuzz(func(t *testing.T, in string) {
		fault, err := ParseFault(in)
		if err != nil {
			return
		}
		again, err := ParseFault(fault.String())
		if err != nil || again != fault {
			t.Errorf("%q -> %+v -> %q -> %+v, %v", in, fault, fault.String(), again, err)
		}
	})
}

// A faulty marker is answered, not ignored: a rehearsal with a typing error proves nothing.
func TestMarkerErrors(t *testing.T) {
	for _, prompt := range []string{"[[fault:trunkate]]", "[[tokens:many]]", "[[cache:read=x]]", "[[tool:x]]"} {
		if _, err := Truth(Options{}, titanID, []byte(prompts[titanID](prompt, 5))); err == nil {
			t.Errorf("%s: no error", prompt)
		}
	}
	for _, prompt := range []string{"[[1,2],[3,4]]", "[[", "[[unclosed", "[[note]] [[say:hi]]", "a[[b:c]]"} {
		if _, err := Truth(Options{}, titanID, []byte(prompts[titanID](prompt, 5))); err != nil {
			t.Errorf("%s: %v", prompt, err)
		}
	}
}

// What faults do to a plain InvokeModel.
func TestFaultsOfPlainCalls(t *testing.T) {
	s := start(t, Options{})
	tests := map[string]struct {
		status int // 0: no answer
		body   string
		cut    bool
	}{
		"throttlingException@3":         {429, `{"message":"Too many requests`, false},
		"modelStreamErrorException; no": {424, `{"message":"no","originalStatusCode":500`, false},
		"truncate@3":                    {200, `{"output"`, true},
		"reset@3":                       {200, "", true},
		"end@3":                         {200, `{"output"`, true},
		"drop-before":                   {0, "", false},
		"empty":                         {200, "", false},
		"html":                          {200, "<!DOCTYPE html>", false},
		"stall for=50ms":                {200, `{"output"`, false},
		"stall-headers for=50ms":        {200, `{"output"`, false},
		"bad-message-crc@2":             {200, `{"output"`, false}, // means nothing here
	}
	for _, tr := range transports[:2] {
		c := tr.client(t, s)
		for spec, tt := range tests {
			resp, err := send(c, s, novaID, wholeOp, prompts[novaID]("[[fault:"+spec+"]]", 50))
			if tt.status == 0 {
				if err == nil {
					t.Errorf("%s: an answer", spec)
				}
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", spec, err)
				continue
			}
			body, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode != tt.status || !strings.HasPrefix(string(body), tt.body) || (err != nil) != tt.cut {
				t.Errorf("%s: %d %q, %v", spec, resp.StatusCode, body, err)
			}
		}
	}
	if st := s.Stats(); st.Faults["stall"] != 2 || st.Faults["stall-headers"] != 2 || st.Answers != 6 {
		t.Errorf("%+v", st)
	}
}
