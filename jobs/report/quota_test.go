package report

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/batchrun/batchrun/ratelimit"
)

// What the service calls the quota is said where it is not the one that was learned.
func TestQuotaThatTheServiceNames(t *testing.T) {
	q := &Quota{Learned: &ratelimit.Learned{TokensPerMinute: 118_000}}
	for name, tt := range map[string]struct {
		refusals map[string]int64
		want     string
	}{
		"tokens":   {map[string]int64{"tokens": 7}, "learned: about 118,000 tokens/min; state it with --tpm"},
		"requests": {map[string]int64{"requests": 7}, "learned: about 118,000 tokens/min with records like these (the service said: too many requests); state the quota of requests with --rpm"},
		"both":     {map[string]int64{"tokens": 1, "requests": 7}, "learned: about 118,000 tokens/min; state it with --tpm"},
		"none":     {nil, "learned: about 118,000 tokens/min; state it with --tpm"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff([]string{tt.want}, q.lines(&Attempts{ThrottledFor: tt.refusals})); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

// Each line stands only where it tells the user something about what held the run up.
func TestQuotaLines(t *testing.T) {
	const tokens, requests, input = ratelimit.BoundByTokens, ratelimit.BoundByRequests, ratelimit.BoundByInput
	limiter := func(reachable float64, waited map[string]time.Duration) ratelimit.Snapshot {
		return ratelimit.Snapshot{Reachable: reachable, Waited: waited}
	}
	both := ratelimit.Learned{TokensPerMinute: 117_893.2, RequestsPerMinute: 87.34}
	for name, tt := range map[string]struct {
		options ratelimit.Options
		limiter ratelimit.Snapshot
		learned ratelimit.Learned
		want    []string
	}{
		"nothing stated, nothing met": {ratelimit.Options{}, limiter(0.5, map[string]time.Duration{input: time.Hour}), ratelimit.Learned{}, nil},
		"a learned quota of tokens": {
			ratelimit.Options{},
			limiter(1, map[string]time.Duration{tokens: time.Hour}), both,
			[]string{"learned: about 118,000 tokens/min; state it with --tpm"},
		},
		"a learned quota of requests": {
			ratelimit.Options{},
			limiter(1, map[string]time.Duration{requests: time.Hour}), both,
			[]string{"learned: about 87.3 requests/min; state it with --rpm"},
		},
		"both": {
			ratelimit.Options{},
			limiter(1, map[string]time.Duration{requests: time.Hour, tokens: time.Minute}), both,
			[]string{"learned: about 118,000 tokens/min; state it with --tpm", "learned: about 87.3 requests/min; state it with --rpm"},
		},
		"what was remembered and never met": {
			ratelimit.Options{}, limiter(1, map[string]time.Duration{input: time.Hour, tokens: time.Second}), both, nil,
		},
		"what is stated needs no stating": {
			ratelimit.Options{TokensPerMinute: 400_000, RequestsPerMinute: 100},
			limiter(1, map[string]time.Duration{requests: time.Hour, tokens: time.Hour}), both, nil,
		},
		"too much is stated": {
			ratelimit.Options{TokensPerMinute: 456_000, RequestsPerMinute: 1000},
			ratelimit.Snapshot{Waited: map[string]time.Duration{tokens: time.Hour}, Reachable: 1, RefusedAboveTokens: 228_132.2, RefusedAboveRequests: 812.34},
			both,
			[]string{
				"stated 456,000 tokens/min, but the service refused this run more than about 228,000 (learned): others may use the rest",
				"stated 1,000 requests/min, but the service refused this run more than about 812 (learned): others may use the rest",
			},
		},
		"more was looked for, and refused": {
			ratelimit.Options{TokensPerMinute: 456_000, Probe: true},
			ratelimit.Snapshot{Waited: map[string]time.Duration{tokens: time.Hour}, Reachable: 1, RefusedAboveTokens: 228_132.2},
			ratelimit.Learned{},
			nil,
		},
		"an oversized max_tokens": {
			ratelimit.Options{TokensPerMinute: 400_000},
			limiter(0.847, map[string]time.Duration{tokens: time.Hour}),
			ratelimit.Learned{},
			[]string{"max_tokens is far above the length of the answers: on a sliding quota 84.7% is the most that can be used"},
		},
		"all there is to say of a max_tokens, and of estimates": {
			ratelimit.Options{TokensPerMinute: 400_000},
			ratelimit.Snapshot{
				Waited: map[string]time.Duration{tokens: time.Hour}, Reachable: 0.847, MaxTokens: 8192.4, OutputP99: 411.6,
				EnoughMaxTokens: 1024, ReachableThen: 0.97, InputError: 0.234, MayBeMore: true,
			},
			ratelimit.Learned{},
			[]string{
				"the stated quota was filled without one refusal: there may be more, --probe looks for it",
				"max_tokens 8,192, p99 of outputs 412: on a sliding quota 84.7% is the most that can be used; 1,024 would allow 97%",
				"input tokens were estimated 23% off on average, and reservations with them",
			},
		},
		"more was looked for": {
			ratelimit.Options{TokensPerMinute: 400_000, Probe: true},
			ratelimit.Snapshot{Waited: map[string]time.Duration{tokens: time.Hour}, Reachable: 1, MayBeMore: true},
			ratelimit.Learned{},
			nil,
		},
		"an oversized max_tokens where requests bind": {
			ratelimit.Options{RequestsPerMinute: 10}, limiter(0.847, map[string]time.Duration{requests: time.Hour}), ratelimit.Learned{}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, NewQuota(tt.options, tt.limiter, tt.learned).lines(&Attempts{})); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOversizeText(t *testing.T) {
	for want, o := range map[string]Oversize{
		"max_tokens 8,192, p99 of outputs 412: on a sliding quota 84.7% is the most that can be used; 1,024 would allow 97%": {
			Reachable: 0.847, MaxTokens: 8192, OutputP99: 412, Enough: 1024, EnoughReachable: 0.97,
		},
		"max_tokens 900, p99 of outputs 412: on a sliding quota 90% is the most that can be used": {
			Reachable: 0.9, MaxTokens: 900, OutputP99: 412, Enough: 1024, EnoughReachable: 0.89,
		},
	} {
		if got := o.text(); got != want {
			t.Errorf("text() = %q, want %q", got, want)
		}
	}
}

func TestLimitedByWhatWasLearned(t *testing.T) {
	shares := []Share{{ratelimit.BoundByTokens, 0.7}, {ratelimit.BoundByRequests, 0.2}, {ratelimit.BoundByInput, 0.1}}
	for want, q := range map[string]*Quota{
		"tokens/min (learned) 70%, requests/min (learned) 20%, input 10%": nil,
		"tokens/min 70%, requests/min (learned) 20%, input 10%":           {TokensPerMinute: 1},
		"tokens/min (learned) 70%, requests/min 20%, input 10%":           {RequestsPerMinute: 1},
	} {
		if got := sharesText(shares, q); got != want {
			t.Errorf("limited by %q, want %q", got, want)
		}
	}
}

func TestAbout(t *testing.T) {
	for v, want := range map[float64]string{117_893.2: "118,000", 999.6: "1,000", 87.34: "87.3", 1234: "1,230", 400_000: "400,000", 0.5: "0.50"} {
		if got := about(v); got != want {
			t.Errorf("about(%v) = %s, want %s", v, got, want)
		}
	}
}
