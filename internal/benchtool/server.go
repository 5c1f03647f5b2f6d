package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
)

// serve runs the simulator, so that its processor time is not its client's. It ends with its standard input: then
// whoever started it is gone, however that ended.
func serve(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("serve", flag.ContinueOnError)
	text := f.String("options", "{}", "sim.Options as `JSON`")
	if err := f.Parse(args); err != nil {
		return err
	}
	var opts sim.Options
	if err := json.Unmarshal([]byte(*text), &opts); err != nil {
		return fmt.Errorf("-options: %w", err)
	}
	s, err := sim.Start(opts)
	if err != nil {
		return err
	}
	fmt.Println(s.URL())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	select {
	case <-gone:
	case <-ctx.Done():
	}
	return s.Close()
}

// A server is a simulator in another process.
type server struct {
	opts  sim.Options
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

// serve starts a simulator.
func (l *lab) serve(ctx context.Context, opts sim.Options) (*server, error) {
	text, err := json.Marshal(opts)
	if err != nil {
		return nil, err
	}
	s := &server{opts: opts, cmd: exec.CommandContext(ctx, l.self, "serve", "-options", string(text))}
	s.cmd.Stderr = os.Stderr
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the simulator did not start: %w", err), s.stop())
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

func (s *server) stop() error { return errors.Join(s.stdin.Close(), s.cmd.Wait()) }

// account is what the server says about what it did.
type account struct {
	sim.Stats
	PerRecord map[string]sim.RecordStats `json:"perRecord"`
}

// account asks for it, with what became of every single request if records is set.
func (s *server) account(ctx context.Context, records bool) (account, error) {
	query := ""
	if records {
		query = "?records=1"
	}
	var a account
	return a, s.call(ctx, http.MethodGet, "/stats"+query, nil, &a)
}

// reset begins a new account.
func (s *server) reset(ctx context.Context) error {
	return s.call(ctx, http.MethodPost, "/control", strings.NewReader(`{"reset":true}`), nil)
}

func (s *server) call(ctx context.Context, method, path string, body io.Reader, out any) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, body)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("simulator: %s %s: %s", method, path, resp.Status)
	}
	if out == nil {
		return nil
	}
	return json.NewDecoder(resp.Body).Decode(out)
}
