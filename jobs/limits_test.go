package jobs

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/batchrun/batchrun/jobs/learned"
	"github.com/batchrun/batchrun/jobs/report"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/ratelimit"
)

// What the limiter works with comes from the job file, and flags win over it.
func TestQuotasAreStatedInTheJobFileAndByFlag(t *testing.T) {
	const head = "input: in.jsonl\noutput: out.jsonl\nmodel: us.anthropic.claude-sonnet-4-5-20250929-v1:0\n"
	for name, tt := range map[string]struct {
		file  string
		flags []string
		want  ratelimit.Options
	}{
		"nothing stated": {"", nil, ratelimit.Options{Burndown: 5, Concurrency: 32}},
		"in the job file": {
			"rpm: 10\ntpm: 20\ntpd: 30\nburndown: 2.5\nconcurrency: 4\nprobe: true\n", nil,
			ratelimit.Options{RequestsPerMinute: 10, TokensPerMinute: 20, TokensPerDay: 30, Burndown: 2.5, Concurrency: 4, Probe: true},
		},
		"by flags": {
			"", strings.Fields("--rpm 1 --tpm 2 --tpd 3 --burndown 15 --concurrency 5 --probe"),
			ratelimit.Options{RequestsPerMinute: 1, TokensPerMinute: 2, TokensPerDay: 3, Burndown: 15, Concurrency: 5, Probe: true},
		},
		"flags over the job file": {
			"rpm: 10\ntpm: 20\ntpd: 30\nburndown: 2.5\nprobe: true\n", strings.Fields("--tpm 2 --burndown 1 --rpm 0 --probe=false"),
			ratelimit.Options{TokensPerMinute: 2, TokensPerDay: 30, Burndown: 1, Concurrency: 32},
		},
	} {
		t.Run(name, func(t *testing.T) {
			file, _, err := Load("job.yaml", []byte(head+tt.file))
			if err != nil {
				t.Fatal(err)
			}
			flags, fs := Defaults(), pflag.NewFlagSet("run", pflag.ContinueOnError)
			flags.Register(fs)
			if err := fs.Parse(tt.flags); err != nil {
				t.Fatal(err)
			}
			spec := Merge(file, flags, fs.Changed)
			if diff := cmp.Diff(tt.want, limitsOf(&spec, spec.Model)); diff != "" {
				t.Errorf("the limiter's options (-want +got):\n%s", diff)
			}
		})
	}
}

func TestALearnedQuotaYieldsToAStatedOne(t *testing.T) {
	model, err := bedrock.New(t.Context(), bedrock.Options{
		ModelID: "amazon.nova-lite-v1:0", IgnoreEnvironment: true, EndpointURL: "http://127.0.0.1:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	all := ratelimit.Learned{TokensPerMinute: 118_000, RequestsPerMinute: 90, Concurrency: 24}
	for name, tt := range map[string]struct {
		edit func(*Spec)
		want ratelimit.Learned
		note string
	}{
		"nothing stated": {func(*Spec) {}, all, "starting from 118,000 tokens/min, 90.0 requests/min, 24 streams, learned 3 hours ago; --no-learned starts from nothing"},
		"tokens stated":  {func(s *Spec) { s.TPM = 5 }, ratelimit.Learned{RequestsPerMinute: 90, Concurrency: 24}, "starting from 90.0 requests/min, 24 streams, learned 3 hours ago"},
		"all stated":     {func(s *Spec) { s.TPM, s.RPM = 5, 5 }, ratelimit.Learned{Concurrency: 24}, "starting from 24 streams, learned 3 hours ago"},
		"not wanted":     {func(s *Spec) { s.NoLearned = true }, ratelimit.Learned{}, ""},
		"another model":  {func(s *Spec) { s.Model = "amazon.nova-pro-v1:0" }, ratelimit.Learned{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			spec := valid()
			j := &job{spec: spec, env: Env{Remember: dir}, model: model, printer: report.NewPrinter(&out, report.StylePlain)}
			if err := (learned.Store{Dir: dir}).Save(j.quotaKey(), learned.Entry{At: time.Now().Add(-3*time.Hour - time.Minute), Learned: all}); err != nil {
				t.Fatal(err)
			}
			tt.edit(&j.spec)
			o := limitsOf(&j.spec, j.spec.Model)
			j.remember(&o)
			if o.Start != tt.want {
				t.Errorf("starts from %+v, want %+v", o.Start, tt.want)
			}
			if got := out.String(); !strings.HasPrefix(got, "batchrun: "+tt.note) && tt.note != "" || tt.note == "" && got != "" {
				t.Errorf("says %q, want %q", got, tt.note)
			}
		})
	}
}
