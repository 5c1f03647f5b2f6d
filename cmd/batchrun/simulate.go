package main

import (
	"fmt"
	"strings"

	"github.com/batchrun/batchrun/jobs"
	"github.com/batchrun/batchrun/pipeline/bedrock/sim"
	"github.com/spf13/cobra"
)

func simulateCommand() *cobra.Command {
	var (
		opt                                 sim.Options
		headerDelay, firstToken, interToken string
		shape                               string
		faults                              []string
		families                            map[string]string
	)
	cmd := &cobra.Command{
		Use:   "simulate",
		Short: "Serve a rehearsal of Bedrock on this machine, with latencies, quotas and faults",
		Long: "Serve a rehearsal of Amazon Bedrock's streaming invocations until interrupted, so that a night can be rehearsed\n" +
			"before it is paid for. It speaks the real protocol to any AWS SDK. GET /stats tells what it really did.\n\n" +
			"A fault strikes by chance (--fault 'throttlingException@3 p=1%'), or where a prompt asks for it with a marker\n" +
			"such as [[fault:truncate@2 x1]]. Kinds:\n" + faultHelp(),
		Example: "  batchrun simulate --first-token 200ms --inter-token 10ms --tpm 100000\n" +
			"  batchrun simulate --addr 127.0.0.1:8080 --fault 'reset@random p=1%' --fault 'ThrottlingException p=5%'",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, l := range []struct {
				flag, text string
				into       *sim.Latency
			}{{"header-delay", headerDelay, &opt.HeaderDelay}, {"first-token", firstToken, &opt.FirstToken}, {"inter-token", interToken, &opt.InterToken}} {
				parsed, err := sim.ParseLatency(l.text)
				if err != nil {
					return &jobs.ExitError{Code: jobs.ExitUsage, Err: fmt.Errorf("--%s: %w", l.flag, err)}
				}
				*l.into = parsed
			}
			for _, text := range faults {
				f, err := sim.ParseFault(text)
				if err != nil {
					return &jobs.ExitError{Code: jobs.ExitUsage, Err: fmt.Errorf("--fault %q: %w", text, err)}
				}
				opt.Faults = append(opt.Faults, f)
			}
			opt.Quota.Shape = sim.Shape(shape)
			opt.Families = families
			if err := opt.Validate(); err != nil {
				return &jobs.ExitError{Code: jobs.ExitUsage, Err: err}
			}
			return serve(cmd, opt)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&opt.Addr, "addr", "", "host:port to listen on (default a free loopback port)")
	f.BoolVar(&opt.AllowRemote, "allow-remote", false, "listen on an address that is not loopback")
	f.BoolVar(&opt.TLS, "tls", false, "serve TLS with a certificate made for this server")
	f.StringVar(&opt.CertFile, "cert-file", "", "with --tls, write the certificate here, for AWS_CA_BUNDLE")
	f.Uint64Var(&opt.Seed, "seed", 0, "decides every answer, together with the request")
	f.IntVar(&opt.OutputTokens, "output-tokens", 0, "mean length of an answer (default 48)")
	f.IntVar(&opt.OutputSpread, "output-spread", 0, "answers are uniform in mean ± this")
	f.IntVar(&opt.TokensPerChunk, "tokens-per-chunk", 1, "tokens in one event")
	f.IntVar(&opt.MaxTokensLimit, "max-tokens-limit", 0, "refuse requests that ask for more")
	f.BoolVar(&opt.NoTokenCounts, "no-token-counts", false, "answer CountTokens as for a model that does not support it")
	f.StringVar(&headerDelay, "header-delay", "", "until the response headers: 5ms, 5ms±2ms, lognormal(5ms,0.4)")
	f.StringVar(&firstToken, "first-token", "", "until the first content, as above")
	f.StringVar(&interToken, "inter-token", "", "between tokens, as above")
	f.Float64Var(&opt.Quota.RPM, "rpm", 0, "quota: requests per minute")
	f.Float64Var(&opt.Quota.TPM, "tpm", 0, "quota: tokens per minute, counted as Bedrock does")
	f.Float64Var(&opt.Quota.TPD, "tpd", 0, "quota: tokens per rolling day")
	f.StringVar(&shape, "quota-shape", "", "bucket, minute, strict-minute or sliding (default bucket)")
	f.DurationVar(&opt.Quota.Window, "quota-window", 0, "over which rpm and tpm are counted (default 1m)")
	f.Float64Var(&opt.Burndown, "burndown", 0, "output-token multiplier (default the model's)")
	f.Float64Var(&opt.ThrottleInStream, "throttle-in-stream", 0, "share of refusals that come inside a 200")
	f.IntVar(&opt.MaxConcurrent, "max-concurrent", 0, "streams served at once, as provisioned capacity")
	f.IntVar(&opt.Queue, "queue", 0, "requests that may wait beyond that; negative is any number; the rest get 503")
	f.StringArrayVar(&faults, "fault", nil, "KIND[@N|@end|@random] [xN] [p=1%] [for=2s]; repeatable")
	f.StringToStringVar(&families, "family", nil, "MODEL=FAMILY where the id does not tell")
	f.StringToStringVar(&opt.Foundations, "foundation", nil, "ARN=MODEL-ID: the foundation model behind an ARN, for lookups and answers")
	f.BoolVar(&opt.RequireAuth, "require-auth", false, "refuse requests without an Authorization header")
	return cmd
}

// serve runs the server until the command's context ends.
func serve(cmd *cobra.Command, opt sim.Options) error {
	server, err := sim.Start(opt)
	if err != nil {
		return err
	}
	defer server.Close()
	if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", server.URL()); err != nil {
		return err
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "batchrun: a rehearsal of Bedrock answers at %s (GET /stats tells what it did); try\n\n  %s\n\n",
		server.URL(), server.ClientCommand())
	<-cmd.Context().Done()
	return nil
}

func faultHelp() string {
	var b strings.Builder
	for _, k := range sim.FaultKinds() {
		fmt.Fprintf(&b, "  %-32s %s\n", k.Name, k.Doc)
	}
	return b.String()
}
