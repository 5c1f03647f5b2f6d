package jobs

import (
	"context"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/batchrun/batchrun/jobs/learned"
	"github.com/batchrun/batchrun/jobs/limits"
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

// unreachable is a model of which only the account is needed.
func unreachable(t *testing.T) *bedrock.Model {
	t.Helper()
	model, err := bedrock.New(t.Context(), bedrock.Options{
		ModelID: "amazon.nova-lite-v1:0", IgnoreEnvironment: true, EndpointURL: "http://127.0.0.1:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := model.Prepare(t.Context()); err != nil {
		t.Fatal(err)
	}
	return model
}

// A bucket is a service that has so many tokens a minute, ten seconds' worth of them at once.
type bucket struct {
	mu       sync.Mutex
	tpm      float64
	level    float64
	filledAt time.Time
}

func (b *bucket) take(tokens float64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.level = min(b.tpm/6, b.level+b.tpm*now.Sub(b.filledAt).Minutes())
	b.filledAt = now
	if b.level < tokens {
		return false
	}
	b.level -= tokens
	return true
}

// send asks the service, as fast as the limiter lets it, for so long; each request takes 1,500 tokens. It counts the refusals of the first minute.
func send(ctx context.Context, l *ratelimit.Limiter, service *bucket, long time.Duration) (refused int64) {
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	start := time.Now()
	var early atomic.Int64
	var workers sync.WaitGroup
	for range 32 {
		workers.Go(func() {
			for {
				permit, err := l.Acquire(ctx, ratelimit.Cost{Input: 500, MaxTokens: 1000})
				if err != nil {
					return
				}
				if !service.take(1500) {
					if time.Since(start) < time.Minute {
						early.Add(1)
					}
					permit.Throttled(false)
					time.Sleep(200 * time.Millisecond)
					continue
				}
				time.Sleep(time.Second)
				permit.FirstToken()
				time.Sleep(time.Second)
				permit.Succeed(ratelimit.Usage{Input: 500, Output: 1000})
			}
		})
	}
	workers.Wait()
	return early.Load()
}

// What refusals teach one run is where the next begins: through the limiter, the file in the user's folder, and the first line of limits.jsonl.
// Three refusals that agree are learned from, and a limiter takes no two within 19 seconds for two: so this is in a bubble's time, with a bucket in
// the service's place. What a command shows of it is in learned.txtar.
func TestAQuotaIsLearnedAndRemembered(t *testing.T) {
	model, dir := unreachable(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		const tpm = 450_000
		service := &bucket{tpm: tpm}
		run := func() (start limits.Start, notes string, refused int64) {
			var out strings.Builder
			j := &job{spec: valid(), env: Env{Remember: dir}, model: model, printer: report.NewPrinter(&out, report.StylePlain)}
			o := limitsOf(&j.spec, "")
			o.Burndown = 1
			j.remember(&o)
			limiter, err := ratelimit.New(o)
			if err != nil {
				t.Fatal(err)
			}
			s, over := &session{job: j, limiter: limiter}, make(chan struct{})
			var keeper sync.WaitGroup
			keeper.Go(func() { s.keepLearning(over) })
			refused = send(t.Context(), limiter, service, 6*time.Minute)
			close(over)
			keeper.Wait()
			return j.limitsStart(time.Now(), &o), out.String(), refused
		}
		start, notes, first := run()
		if start.Learned != nil || notes != "" || first == 0 {
			t.Errorf("the first run begins at %+v, says %q, and is refused %d times in its first minute; want refusals, and nothing else", start.Learned, notes, first)
		}
		time.Sleep(time.Hour)
		start, notes, second := run()
		if start.Learned == nil || math.Abs(start.Learned.TokensPerMinute/tpm-1) > 0.1 {
			t.Errorf("the second run begins at %+v, want about %d tokens a minute", start.Learned, tpm)
		}
		if !strings.HasPrefix(notes, "batchrun: starting from 4") || !strings.Contains(notes, " tokens/min, learned 1 hour ago; --no-learned") {
			t.Errorf("the second run says %q", notes)
		}
		if 4*second > first {
			t.Errorf("refused %d times in the first minute, and %d times once the quota was known", first, second)
		}
		t.Logf("refused in the first minute: %d, then %d; learned %+v", first, second, start.Learned)
	})
}

func TestALearnedQuotaYieldsToAStatedOne(t *testing.T) {
	model, dir := unreachable(t), t.TempDir()
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
