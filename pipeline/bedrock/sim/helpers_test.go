package sim

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	claudeID = "us.anthropic.claude-sonnet-4-20250514-v1:0"
	novaID   = "amazon.nova-lite-v1:0"
	titanID  = "amazon.titan-text-express-v1"
	llamaID  = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.meta.llama3-3-70b-instruct-v1:0"

	claudeTextID    = "anthropic.claude-v2:1"
	mistralTextID   = "mistral.mistral-7b-instruct-v0:2"
	mistralID       = "mistral.mistral-large-2407-v1:0"
	commandID       = "cohere.command-text-v14"
	commandRID      = "cohere.command-r-plus-v1:0"
	jambaID         = "ai21.jamba-1-5-mini-v1:0"
	j2ID            = "ai21.j2-mid-v1"
	deepseekR1ID    = "us.deepseek.r1-v1:0"
	deepseekID      = "deepseek.v3-v1:0"
	openaiID        = "openai.gpt-oss-20b-1:0"
	qwenID          = "qwen.qwen3-32b-v1:0"
	chatID          = "google.gemma-3-27b-it"
	writerID        = "us.writer.palmyra-x5-v1:0"
	writerTextID    = "us.writer.palmyra-x4-v1:0" // asked with a prompt
	importedID      = "arn:aws:bedrock:us-east-1:123456789012:imported-model/abcdefabcdef"
	importedTextID  = "arn:aws:bedrock:us-east-1:123456789012:imported-model/textabcdefab" // asked with a prompt and max_tokens
	importedLlamaID = "arn:aws:bedrock:us-east-1:123456789012:imported-model/llamabcdefab" // asked with a prompt and max_gen_len
)

// prompts makes a request of each family.
var prompts = map[string]func(prompt string, max int) string{
	claudeID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"anthropic_version":"bedrock-2023-05-31","max_tokens":%d,"messages":[{"role":"user","content":%q}]}`, max, prompt)
	},
	novaID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"messages":[{"role":"user","content":[{"text":%q}]}],"inferenceConfig":{"maxTokens":%d}}`, prompt, max)
	},
	titanID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"inputText":%q,"textGenerationConfig":{"maxTokenCount":%d}}`, prompt, max)
	},
	llamaID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"prompt":%q,"max_gen_len":%d}`, prompt, max)
	},
	claudeTextID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"prompt":%q,"max_tokens_to_sample":%d}`, "\n\nHuman: "+prompt+"\n\nAssistant:", max)
	},
	commandID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"prompt":%q,"stream":true,"max_tokens":%d}`, prompt, max)
	},
	commandRID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"message":%q,"max_tokens":%d}`, prompt, max)
	},
	j2ID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"prompt":%q,"maxTokens":%d}`, prompt, max)
	},
	importedLlamaID: func(prompt string, max int) string {
		return fmt.Sprintf(`{"prompt":%q,"max_gen_len":%d}`, prompt, max)
	},
	mistralTextID: completion, deepseekR1ID: completion, writerTextID: completion, importedTextID: completion,
	mistralID: conversation, jambaID: conversation, deepseekID: conversation, openaiID: conversation, qwenID: conversation,
	chatID: conversation, writerID: conversation, importedID: conversation,
}

func completion(prompt string, max int) string {
	return fmt.Sprintf(`{"prompt":%q,"max_tokens":%d}`, prompt, max)
}

func conversation(prompt string, max int) string {
	return fmt.Sprintf(`{"messages":[{"role":"user","content":%q}],"max_tokens":%d}`, prompt, max)
}

func start(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// The transports that the server must speak with.
type transport struct {
	name  string
	major int
	tls   bool
}

var transports = []transport{{"http1", 1, false}, {"h2c", 2, false}, {"https1", 1, true}, {"https2", 2, true}}

func (tr transport) client(t testing.TB, s *Server) *http.Client {
	t.Helper()
	rt := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true, MaxIdleConnsPerHost: 100}
	switch {
	case tr.major == 1:
		rt.Protocols.SetHTTP1(true)
	case tr.tls:
		rt.Protocols.SetHTTP2(true)
	default:
		rt.Protocols.SetUnencryptedHTTP2(true)
	}
	if tr.tls {
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(s.CertPEM()) {
			t.Fatal("CertPEM holds no certificate")
		}
		rt.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	t.Cleanup(rt.CloseIdleConnections)
	return &http.Client{Transport: rt}
}

func post(t testing.TB, c *http.Client, s *Server, model, op, body string) *http.Response {
	t.Helper()
	resp, err := send(c, s, model, op, body)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func send(c *http.Client, s *Server, model, op, body string) (*http.Response, error) {
	return c.Post(s.URL()+"/model/"+url.PathEscape(model)+"/"+op, "application/json", strings.NewReader(body))
}

const streamOp, wholeOp = "invoke-with-response-stream", "invoke"

// A frame is a decoded message.
type frame struct {
	headers map[string]string
	payload []byte
}

var errFrame = errors.New("bad frame")

// readFrame reads one message and checks all of it: CRCs, lengths, headers.
func readFrame(r io.Reader) (frame, error) {
	prelude := make([]byte, 12)
	if _, err := io.ReadFull(r, prelude); err != nil {
		return frame{}, err
	}
	total, headers := binary.BigEndian.Uint32(prelude), binary.BigEndian.Uint32(prelude[4:])
	if crc32.ChecksumIEEE(prelude[:8]) != binary.BigEndian.Uint32(prelude[8:]) || total < 16 || headers > total-16 || total > 24<<20 {
		return frame{}, errFrame
	}
	rest := make([]byte, total-12)
	if _, err := io.ReadFull(r, rest); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	sum := crc32.Update(crc32.ChecksumIEEE(prelude), crc32.IEEETable, rest[:len(rest)-4])
	if sum != binary.BigEndian.Uint32(rest[len(rest)-4:]) {
		return frame{}, errFrame
	}
	f := frame{headers: map[string]string{}, payload: rest[headers : len(rest)-4]}
	sizes := []int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16}
	for h := rest[:headers]; len(h) > 0; {
		n := int(h[0])
		name, kind := string(h[1:1+n]), int(h[1+n])
		h = h[2+n:]
		size := sizes[kind]
		if size < 0 {
			size = int(binary.BigEndian.Uint16(h))
			h = h[2:]
		}
		f.headers[name], h = string(h[:size]), h[size:]
	}
	return f, nil
}

// readFrames reads to the end; the error is nil at a clean end.
func readFrames(r io.Reader) ([]frame, error) {
	var all []frame
	for {
		f, err := readFrame(r)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, f)
	}
}

// chunk is the JSON inside a chunk event; "" for other events.
func (f frame) chunk(t testing.TB) []byte {
	t.Helper()
	if f.headers[":message-type"] != "event" || f.headers[":event-type"] != "chunk" {
		t.Fatalf("not a chunk: %v %s", f.headers, f.payload)
	}
	var part struct {
		Bytes []byte `json:"bytes"`
		P     string `json:"p"`
	}
	if err := json.Unmarshal(f.payload, &part); err != nil {
		t.Fatal(err)
	}
	if part.P == "" || !strings.HasPrefix(filler, part.P) {
		t.Errorf("filler %q", part.P)
	}
	return part.Bytes
}

func object(t testing.TB, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&m); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return m
}
