package bedrock

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/batchrun/batchrun/pipeline"
)

// cleanEnvironment hides the developer's own AWS configuration.
func cleanEnvironment(t *testing.T) (dir string) {
	t.Helper()
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "AWS_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	dir = t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	return dir
}

func hintOf(err error) string {
	if h, ok := errors.AsType[interface {
		error
		Hint() string
	}](err); ok {
		return h.Hint()
	}
	return ""
}

func TestNewSaysWhatIsMissing(t *testing.T) {
	arn := "arn:aws:bedrock:eu-west-1:123456789012:provisioned-model/abcdefghijkl"
	tests := map[string]struct {
		env        map[string]string
		opts       Options
		want, hint string
	}{
		"no region":                  {nil, Options{ModelID: claudeID}, "no AWS region", "--region"},
		"no model":                   {nil, Options{Region: "us-east-1"}, "no model", "--model"},
		"a profile that is not":      {map[string]string{"AWS_PROFILE": "ghost"}, Options{ModelID: claudeID}, "profile ghost does not exist", "--profile"},
		"an unknown family":          {nil, Options{ModelID: arn, Region: "x"}, "does not tell its family", "--family"},
		"a family that is not":       {nil, Options{ModelID: arn, Family: "gpt"}, "unknown family", "claude, nova"},
		"an endpoint that is none":   {nil, Options{ModelID: claudeID, EndpointURL: "localhost:80"}, "not an http or https URL", "https://"},
		"a password in the endpoint": {nil, Options{ModelID: claudeID, EndpointURL: "https://u:hunter2@x"}, "user name or password", "leave them out"},
		"a password in AWS_ENDPOINT": {map[string]string{"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://u:hunter2@x"}, Options{ModelID: claudeID, Region: "us-east-1"}, "user name or password", "leave them out"},
		"an HTTP version":            {nil, Options{ModelID: claudeID, HTTPVersion: "3"}, "HTTP version", "1.1"},
		"a bearer token over http":   {map[string]string{"AWS_BEARER_TOKEN_BEDROCK": "hunter2"}, Options{ModelID: claudeID, Region: "us-east-1", EndpointURL: "http://localhost:1"}, "never sent over plain http", "unset AWS_BEARER_TOKEN_BEDROCK"},
		"negative tokens":            {nil, Options{ModelID: claudeID, MaxTokens: -1}, "max tokens is -1", "positive"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t)
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			m, err := New(t.Context(), tt.opts)
			if m != nil || err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(hintOf(err), tt.hint) ||
				strings.Contains(err.Error(), "\n") || strings.Contains(err.Error()+hintOf(err), "hunter2") {
				t.Errorf("%v (hint: %s), want …%s… (hint: …%s…)", err, hintOf(err), tt.want, tt.hint)
			}
		})
	}
	cleanEnvironment(t)
	if m, err := New(t.Context(), Options{ModelID: arn, Family: "claude"}); err != nil || m.Region() != "eu-west-1" {
		t.Errorf("the region of an ARN is not used: %v", err)
	}
}

func TestNoCredentials(t *testing.T) {
	cleanEnvironment(t)
	// A metadata service that never answers, as where packets to it get lost.
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+mute.Addr().String())
	for name, disabled := range map[string]string{"without a metadata service": "false", "with it switched off": "true"} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && disabled == "false" {
				t.Skip("takes five seconds")
			}
			t.Setenv("AWS_EC2_METADATA_DISABLED", disabled)
			m, err := New(t.Context(), Options{ModelID: claudeID, Region: "us-east-1"})
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			err = m.Prepare(t.Context())
			e, ok := errors.AsType[*pipeline.InvokeError](err)
			if !ok || e.Kind != pipeline.JobFatal || e.Message != "no AWS credentials were found" || !strings.Contains(hintOf(err), "AWS_PROFILE") {
				t.Errorf("%v, hint %q", err, hintOf(err))
			}
			t.Logf("after %v", time.Since(start))
			if d := time.Since(start); d > 12*time.Second {
				t.Errorf("it took %v to find that out", d)
			}
			// And an attempt without Prepare says the same.
			if disabled == "true" {
				if e := invoke(t, m).err; e == nil || e.Kind != pipeline.JobFatal || e.Message != "no AWS credentials were found" {
					t.Errorf("Invoke: %+v", e)
				}
			}
		})
	}
}

// Credentials are resolved once, again after Refresh, and never in an attempt.
func TestPrepareAndRefresh(t *testing.T) {
	dir := cleanEnvironment(t)
	count := filepath.Join(dir, "count")
	script := filepath.Join(dir, "creds.sh")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(script, "#!/bin/sh\necho x >> "+count+"\necho '{\"Version\":1,\"AccessKeyId\":\"AKIDPROCESS\",\"SecretAccessKey\":\"s\"}'\n")
	write(filepath.Join(dir, "config"), "[profile p]\nregion = eu-north-1\ncredential_process = "+script+"\n")
	var auth atomic.Value
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth.Store(r.Header.Get("Authorization"))
		serveStream(chunks(claudeStream...))(w, r)
	}))
	m, err := New(t.Context(), Options{ModelID: claudeID, Profile: "p", EndpointURL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	resolved := func() int { b, _ := os.ReadFile(count); return strings.Count(string(b), "x") }
	for range 3 {
		if err := m.Prepare(t.Context()); err != nil {
			t.Fatal(err)
		}
		if out := invoke(t, m); out.err != nil {
			t.Fatal(out.err)
		}
	}
	if n := resolved(); n != 1 || m.Region() != "eu-north-1" || !strings.Contains(auth.Load().(string), "AKIDPROCESS/") {
		t.Errorf("resolved %d times, region %s, %v", n, m.Region(), auth.Load())
	}
	m.Refresh()
	if err := m.Prepare(t.Context()); err != nil || resolved() != 2 {
		t.Errorf("after Refresh: %v, resolved %d times", err, resolved())
	}
	write(script, "#!/bin/sh\necho trouble >&2\nexit 3\n")
	m.Refresh()
	err = m.Prepare(t.Context())
	if e, ok := errors.AsType[*pipeline.InvokeError](err); !ok || e.Kind != pipeline.JobFatal || strings.Contains(e.Message, "\n") || hintOf(err) == "" {
		t.Errorf("%v (hint: %s)", err, hintOf(err))
	}
}

func TestBearerToken(t *testing.T) {
	cleanEnvironment(t)
	t.Setenv("AWS_BEARER_TOKEN_BEDROCK", "token-of-the-test")
	var auth atomic.Value
	srv := h2Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth.Store(r.Header.Get("Authorization"))
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"message":"token-of-the-test is no good"}`)
	}))
	m, err := New(t.Context(), Options{ModelID: claudeID, Region: "us-east-1", EndpointURL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	m.http.tr.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	e := invoke(t, m).err
	if e.Kind != pipeline.JobFatal || e.Message != "[redacted] is no good" || auth.Load() != "Bearer token-of-the-test" {
		t.Errorf("%+v, sent %q", e, auth.Load())
	}
}

func TestIgnoreEnvironment(t *testing.T) {
	cleanEnvironment(t)
	for k, v := range map[string]string{
		"AWS_BEARER_TOKEN_BEDROCK": "token", "AWS_PROFILE": "ghost", "AWS_REGION": "mars-1", "AWS_ACCESS_KEY_ID": "AKIDENV",
		"AWS_SECRET_ACCESS_KEY": "env", "AWS_ENDPOINT_URL": "http://nowhere.invalid", "AWS_MAX_ATTEMPTS": "9",
		"HTTP_PROXY": "http://nowhere.invalid", "AWS_CA_BUNDLE": "/nowhere",
	} {
		t.Setenv(k, v)
	}
	var auth atomic.Value
	m := testModel(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		auth.Store(r.Header.Get("Authorization"))
		serveStream(chunks(claudeStream...))(w, r)
	})), claudeID)
	if err := m.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out := invoke(t, m); out.err != nil || !strings.Contains(auth.Load().(string), "Credential=AKIDREHEARSAL/") || !strings.Contains(auth.Load().(string), "us-east-1") {
		t.Errorf("%v %v", out.err, auth.Load())
	}
}
