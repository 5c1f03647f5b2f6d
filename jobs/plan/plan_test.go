package plan

import (
	"flag"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

var update = flag.Bool("update", false, "rewrite golden files")

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// workload is n requests alike.
func workload(n int, tpm float64, input, maxTokens int64) *Workload {
	w := NewWorkload(tpm)
	rec := &pipeline.Record{Source: "in.jsonl", Line: 1, Prompt: &pipeline.Prompt{}}
	for range n {
		w.Add(&pipeline.Request{Record: rec, InputTokens: input, MaxTokens: maxTokens})
	}
	return w
}

func spread(t *testing.T, text string) *Spread {
	t.Helper()
	s, err := ParseTokens(text)
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func report(t *testing.T, w *Workload, o Options) *Report {
	t.Helper()
	r, err := w.Plan(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// near says that got is within a part of want.
func near(t *testing.T, what string, got, want, part float64) {
	t.Helper()
	if math.Abs(got-want) > part*math.Abs(want) {
		t.Errorf("%s is %v, want %v within %.1f %%", what, got, want, 100*part)
	}
}

func TestDuration(t *testing.T) {
	const first, perToken = 0.5, 0.01
	tests := map[string]struct {
		n                int
		limits           ratelimit.Options
		input, maxTokens int64
		output           string
		want             float64 // seconds
		bound            string
	}{
		"tokens": {
			3_000,
			ratelimit.Options{TokensPerMinute: 60_000, Concurrency: 500},
			100, 150, "100",
			3_000 * 200 / (0.995 * 1000), ratelimit.BoundByTokens,
		},
		"tokens, far more than are followed": {
			1_000_000,
			ratelimit.Options{TokensPerMinute: 60_000, Concurrency: 500},
			100, 150, "100",
			1_000_000 * 200 / (0.995 * 1000), ratelimit.BoundByTokens,
		},
		"tokens, settled above the reservation": {
			3_000,
			ratelimit.Options{TokensPerMinute: 60_000, Burndown: 5, Concurrency: 500},
			100, 150, "100±50",
			3_000 * 600 / (0.995 * 1000), ratelimit.BoundByTokens,
		},
		"requests": {
			2_000,
			ratelimit.Options{RequestsPerMinute: 600, Concurrency: 500},
			100, 150, "100",
			2_000 / (0.995 * 10), ratelimit.BoundByRequests,
		},
		"streams": {
			2_000,
			ratelimit.Options{Concurrency: 10},
			100, 150, "100±50",
			2_000 / 10 * (first + 100*perToken), ratelimit.BoundByConcurrency,
		},
		"streams, answers cut short at max_tokens": {
			2_000,
			ratelimit.Options{Concurrency: 10},
			100, 50, "100±20",
			2_000 / 10 * (first + 50*perToken), ratelimit.BoundByConcurrency,
		},
		"the quota of the day: three and a half of it": {
			7_000,
			ratelimit.Options{TokensPerDay: 400_000, TokensPerMinute: 60_000, Concurrency: 500},
			100, 150, "100",
			3*24*3600 + 200_000/(0.995*1000), ratelimit.BoundByTokens,
		},
		"a quota of the day that lasts": {
			3_000,
			ratelimit.Options{TokensPerDay: 600_001, TokensPerMinute: 60_000, Concurrency: 500},
			100, 150, "100",
			3_000 * 200 / (0.995 * 1000), ratelimit.BoundByTokens,
		},
		"one request": {1, ratelimit.Options{TokensPerMinute: 60_000}, 100, 150, "100", first + 100*perToken, ratelimit.BoundByInput},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := report(t, workload(tt.n, tt.limits.TokensPerMinute, tt.input, tt.maxTokens), Options{
				Limits: tt.limits,
				Expect: Expect{Output: spread(t, tt.output), FirstToken: &Spread{Mean: first}, Speed: 1 / perToken},
			})
			near(t, "the duration", r.Duration.Seconds, tt.want, 0.015)
			if got := r.Duration.LimitedBy[0].What; got != tt.bound {
				t.Errorf("limited by %s, want %s", got, tt.bound)
			}
			if d := r.Duration; d.Low > d.Seconds || d.High < d.Seconds {
				t.Errorf("from %v to %v, and %v is expected", d.Low, d.High, d.Seconds)
			}
		})
	}
}

// TestCountingService: where each request counts for a minute as reserved until it ends, no client gets more than
// 1 / (1 + E[D·(R−U)] / (60·E[U])) of the quota, and the plan says about that.
func TestCountingService(t *testing.T) {
	const tpm = 600_000
	r := report(t, workload(20_000, tpm, 100, 2_000), Options{
		Limits: ratelimit.Options{TokensPerMinute: tpm, Concurrency: 1_000},
		Expect: Expect{Output: spread(t, "200"), FirstToken: &Spread{Mean: 1}, Speed: 50},
	})
	const used, idle = 300, 1_800 * 5. / 60
	bound := used / (used + idle)
	near(t, "reachable", r.Tokens.Reachable, bound, 0.001)
	near(t, "the duration on a counting service", r.Duration.Counting, 20_000*used/(tpm/60)/bound, 0.06)
	if r.Duration.Counting < r.Duration.Seconds*0.999 {
		t.Errorf("a counting service takes %v s, less than the %v s of one that gives back at once", r.Duration.Counting, r.Duration.Seconds)
	}
}

// TestTrend: an input whose requests grow is followed in its order, whatever part of it is kept.
func TestTrend(t *testing.T) {
	const half = keep * 3 / 4
	w := workload(half, 0, 100, 100)
	req := &pipeline.Request{Record: &pipeline.Record{}, InputTokens: 1_900, MaxTokens: 100}
	for range half {
		w.Add(req)
	}
	const tpm = 60e6
	r := report(t, w, Options{
		Expect: Expect{Output: spread(t, "10"), FirstToken: &Spread{}, Speed: 1_000}, Limits: ratelimit.Options{TokensPerMinute: tpm, Concurrency: 1_000},
	})
	near(t, "the duration", r.Duration.Seconds, 2*half*1_010/(0.995*tpm/60), 0.01)
}

// A fussy service refuses every third request.
type fussy struct {
	open
	asked int
}

func (f *fussy) admit(time.Duration, float64) (int64, bool) {
	f.asked++
	return 0, f.asked%3 != 0
}

// TestRefusedGoAgain: a request that is refused is sent again until it is not.
func TestRefusedGoAgain(t *testing.T) {
	const n = 600
	s := &fussy{}
	c, err := newCourse(ratelimit.Options{Concurrency: 10, Burndown: 1}, s, n, func(int) planned {
		return planned{ratelimit.Cost{Input: 10, MaxTokens: 10}, ratelimit.Usage{Input: 10, Output: 5}, time.Second, 2 * time.Second}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.run(); err != nil {
		t.Fatal(err)
	}
	if c.used != n*15 || s.asked != n+c.refuse || c.refuse < n/3 {
		t.Errorf("%v tokens used, %d sent, %d refused; want %d tokens, and all but the refused served", c.used, s.asked, c.refuse, n*15)
	}
}

// TestCounting holds the model of the service to the accounting it stands for.
func TestCounting(t *testing.T) {
	s := &counting{perMinute: 100}
	grant, ok := s.admit(0, 90)
	if _, second := s.admit(time.Second, 20); !ok || second {
		t.Fatalf("90 of 100 admitted: %v; 20 more: %v, want true, false", ok, second)
	}
	s.settle(2*time.Second, grant, 90, 30)
	if _, ok := s.admit(3*time.Second, 70); !ok {
		t.Error("70 are refused after 90 were settled at 30")
	}
	if _, ok := s.admit(time.Minute-1, 1); ok {
		t.Error("1 more is admitted before the first has left the window")
	}
	if _, ok := s.admit(time.Minute, 30); !ok {
		t.Error("30 are refused when the first has left the window")
	}
	s.settle(time.Minute, grant, 90, 0) // it has left: nothing to correct
	if s.total != 100 {
		t.Errorf("100 are in the window, counted as %v", s.total)
	}
}

func TestReturning(t *testing.T) {
	s := newReturning(60)
	if _, ok := s.admit(0, 60); !ok {
		t.Fatal("a minute of quota is refused at the start")
	}
	if _, ok := s.admit(time.Second, 2); ok {
		t.Error("2 are admitted a second after all was taken at 1 a second")
	}
	s.settle(time.Second, 0, 60, 10)
	if _, ok := s.admit(time.Second, 51); !ok {
		t.Error("51 are refused after 50 came back")
	}
	if _, ok := s.admit(time.Hour, 1_000); !ok {
		t.Error("what is larger than a minute's quota is refused from a full service, and would be for ever")
	}
}

func TestCost(t *testing.T) {
	tab, err := price.Load("p.yaml", []byte(`
currency: USD
per: 1000
prices:
  - {model: m, input: 1, output: 10, cache_read: 0.1, cache_write_5m: 2, tier_multiplier: {batch: 0.5}, long_context: {threshold_input_tokens: 100, input: 3, output: 30}}
  - {model: provisioned-model/x, provisioned: {hourly_per_mu: 36}, reserved: {per_1k_tpm_month: 7}}
`))
	if err != nil {
		t.Fatal(err)
	}
	long := workload(500, 0, 90, 200)
	for range 500 {
		long.Add(&pipeline.Request{Record: &pipeline.Record{}, InputTokens: 110, MaxTokens: 200})
	}
	cached := &Like{Path: "out.jsonl", Rows: 1e9, Input: 10, CacheRead: 70, CacheWrite: 20, sample: newReservoir[answer](1)}
	cached.sample.add(answer{output: 100, first: time.Second, total: 2 * time.Second})
	twoRows := &Like{Path: "out.jsonl", Rows: 2, sample: newReservoir[answer](2)}
	twoRows.sample.add(answer{output: 50, first: time.Second, total: 2 * time.Second})
	twoRows.sample.add(answer{output: 150, first: time.Second, total: 2 * time.Second})
	tests := map[string]struct {
		w     *Workload
		model string
		e     Expect
		want  Cost
	}{
		"what is certain has no range": {
			workload(1_000, 0, 50, 200), "m",
			Expect{Output: spread(t, "100")},
			Cost{Total: 1_050, Low: 1_050, High: 1_050, Longest: 2_050, Input: 50, Output: 1_000, Tiers: map[string]float64{"batch": 525}},
		},
		"unknown answers cost the most they can": {
			workload(1_000, 0, 50, 200), "m",
			Expect{},
			Cost{Total: 2_050, Low: 2_050, High: 2_050, Longest: 2_050, Input: 50, Output: 2_000, Tiers: map[string]float64{"batch": 1_025}},
		},
		// Uniform in 100±60 has a deviation of 60/√3; 1.2816 of it, over √1000 answers.
		"a range where answers differ": {
			workload(1_000, 0, 50, 200), "m",
			Expect{Output: spread(t, "100±60")},
			Cost{Total: 1_050, Low: 1_050 - 14.04, High: 1_050 + 14.04, Longest: 2_050, Input: 50, Output: 1_000, Tiers: map[string]float64{"batch": 525}},
		},
		// The mean of two rows may be off by 1.2816 of their deviation over √2.
		"a wide range where few rows tell": {
			workload(1_000, 0, 50, 200), "m",
			Expect{Like: twoRows},
			Cost{Total: 1_050, Low: 1_050 - 453.6, High: 1_050 + 453.6, Longest: 2_050, Input: 50, Output: 1_000, Tiers: map[string]float64{"batch": 525}},
		},
		"half of the requests have a long context": {
			long, "m",
			Expect{Output: spread(t, "100")},
			Cost{
				Total: 500*0.09 + 500*0.33 + 500*1 + 500*3, Low: 2_210, High: 2_210, Longest: 45 + 165 + 500*2 + 500*6,
				Input: 45 + 165, Output: 2_000, Tiers: map[string]float64{"batch": 1_105},
			},
		},
		"cached as in the rows": {
			workload(1_000, 0, 50, 200), "m",
			Expect{Like: cached},
			Cost{
				Total: 5 + 3.5 + 20 + 1_000, Low: 1_028.5, High: 1_028.5, Longest: 40 + 20 + 2_000,
				Input: 5, Output: 1_000, CacheRead: 35 * 0.1, CacheWrite: 10 * 2, Tiers: map[string]float64{"batch": 514.25},
			},
		},
		"by the hour": { // 1,000 answers of 1 s in 10 streams, 150 tokens each
			workload(1_000, 0, 50, 200), "provisioned-model/x",
			Expect{Output: spread(t, "100"), FirstToken: &Spread{}, Speed: 100},
			Cost{
				Provisioned: &ProvisionedCost{ModelUnits: 2, PerHour: 72, Hours: 100. / 3600, Total: 2, PerMillionTokens: 2 / 0.15},
				Reserved:    &ReservedCost{TokensPerMinute: 90_000, PerMonth: 630},
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			r := report(t, tt.w, Options{
				Model: tt.model, Expect: tt.e, Prices: tab, PriceFile: "p.yaml", ModelUnits: 2, Limits: ratelimit.Options{Concurrency: 10},
			})
			tt.want.Currency, tt.want.Price = "USD", r.Cost.Price
			about := cmp.Comparer(func(a, b float64) bool { return math.Abs(a-b) <= 2e-3*max(math.Abs(a), math.Abs(b)) })
			if diff := cmp.Diff(&tt.want, r.Cost, about); diff != "" {
				t.Errorf("cost (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("nothing of it is above the most", func(t *testing.T) {
		w := NewWorkload(0)
		w.Most = func(*pipeline.Request) (pipeline.Charge, error) { return pipeline.Charge{Money: price.Pico}, nil } // a sample says 2.05
		for range 10 {
			w.Add(&pipeline.Request{Record: &pipeline.Record{Source: "in.jsonl", Line: 1}, InputTokens: 50, MaxTokens: 200})
		}
		c := report(t, w, Options{Model: "m", Prices: tab, PriceFile: "p.yaml"}).Cost
		if c.AtMost != 10 || max(c.Total, c.High, c.Longest) != 10 || math.Abs(c.Input+c.Output-c.Total) > 1e-5 {
			t.Errorf("%v in and %v out are %v, up to %v, with the longest answers %v, at most %v", c.Input, c.Output, c.Total, c.High, c.Longest, c.AtMost)
		}
	})
	t.Run("no price is no cost, and said", func(t *testing.T) {
		r := report(t, workload(1, 0, 1, 1), Options{Model: "other", Region: "eu-west-1", Prices: tab, PriceFile: "p.yaml"})
		if r.Cost != nil || !slices.Contains(r.Warnings, "p.yaml has no price for other in eu-west-1: the cost is not told") {
			t.Errorf("cost %v, warnings %q", r.Cost, r.Warnings)
		}
	})
}

func TestWarnings(t *testing.T) {
	const tpm = 60_000
	expect := func(text string, speed float64) Expect {
		return Expect{Output: spread(t, text), Speed: speed}
	}
	body := func(w *Workload, input, limit int64, size int, unset bool) *Workload {
		w.Add(&pipeline.Request{
			Record: &pipeline.Record{Source: "big.jsonl", Line: 7}, Body: make([]byte, size), InputTokens: input, MaxTokens: limit, DefaultLimit: unset,
		})
		return w
	}
	tests := map[string]struct {
		w    *Workload
		o    Options
		want []string // the beginning of each
	}{
		"nothing to say": {workload(10, tpm, 10, 100), Options{Expect: expect("60", 50)}, nil},
		"nothing to send": {NewWorkload(tpm), Options{}, []string{
			"nothing would be sent",
		}},
		"max_tokens far above the answers, and streams that last": {
			workload(10, tpm, 100, 2_000),
			Options{Expect: expect("200±100", 10)},
			[]string{"max_tokens of 2,000 on average is 10 times the expected answer: a service that counts reservations for a full minute gives 32% of the quota at most, and 90% with the 300 of the longest answer expected"},
		},
		"the same with streams that are short": {workload(10, tpm, 100, 2_000), Options{Expect: Expect{Output: spread(t, "200"), FirstToken: &Spread{}, Speed: 10_000}}, nil},
		"and with answers nobody knows":        {workload(10, tpm, 100, 2_000), Options{}, nil},
		"no limit": {
			body(workload(10, tpm, 10, 100), 10, 100, 10, true),
			Options{Expect: expect("60", 50)},
			[]string{"1 of 11 records set no limit for their answer"},
		},
		"more than a minute's quota": {
			body(workload(10, tpm, 10, 100), tpm-99, 100, 10, false),
			Options{Expect: expect("60", 50)},
			[]string{"records that reserve more than the 60,000 tokens of a whole minute: 1, the first big.jsonl:7; each goes alone"},
		},
		"close to the longest": {
			body(workload(10, tpm, 10, 100), 10, 100, nearLimit, false),
			Options{Expect: expect("60", 50)},
			[]string{"requests longer than 22,500,000 of the 25,000,000 bytes that the service takes: 1, the first big.jsonl:7"},
		},
		"ids twice": {workload(10, tpm, 10, 100), Options{RepeatedIDs: 3, Expect: expect("60", 50)}, []string{"records with an id that an earlier one has: about 3;"}},
		"notes first, and no quota": {
			workload(10, 0, 10, 100),
			Options{Notes: []string{"a note"}, Expect: expect("60", 50)},
			[]string{"a note", "no quota is stated"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tt.o.Limits = ratelimit.Options{TokensPerMinute: tt.w.perMinute}
			got := report(t, tt.w, tt.o).Warnings
			for i := range max(len(got), len(tt.want)) {
				if i >= len(got) || i >= len(tt.want) || !strings.HasPrefix(got[i], tt.want[i]) {
					t.Fatalf("warnings %q\n    want %q", got, tt.want)
				}
			}
		})
	}
}

// TestBounded: what a workload holds does not grow with what it has seen, and the mean of all is the mean that is planned with.
func TestBounded(t *testing.T) {
	w := workload(keep, 0, 10, 100)
	req := &pipeline.Request{Record: &pipeline.Record{}, InputTokens: 1_000, MaxTokens: 100}
	if n := testing.AllocsPerRun(keep-1, func() { w.Add(req) }); n != 0 {
		t.Errorf("a request more allocates %v times", n)
	}
	r := report(t, w, Options{Expect: Expect{Output: spread(t, "1")}, Limits: ratelimit.Options{TokensPerMinute: 1e6}})
	near(t, "settled", float64(r.Tokens.Settled), keep*11+keep*1_001, 0.001)
	if got, want := r.Tokens.Input.Total, int64(keep*1_010); got != want {
		t.Errorf("%d tokens of input, want %d", got, want)
	}
}

func full() *Report {
	return &Report{
		Model: "us.anthropic.claude-sonnet-4-5-20250929-v1:0", Family: "claude", Region: "us-east-1",
		Records: Records{Read: 100_009, ToSend: 100_000, Refused: 9, Prompts: 99_000, ModelInputs: 1_000, RepeatedIDs: 12},
		Refused: []Refusal{
			{"prompts.jsonl:42", "InvalidRecord", "invalid JSON: unexpected end of input"},
			{"prompts.jsonl:77", "InvalidRecord", "the prompt is \x1b[31mempty: give it some text"},
		},
		Tokens: &Tokens{
			Input:       Distribution{310, 900, 2_048, 18_311, 402.137, 40_213_700},
			MaxTokens:   Distribution{4_096, 4_096, 4_096, 4_096, 4_096, 409_600_000},
			Reservation: Distribution{4_406, 4_996, 6_144, 22_407, 4_498.137, 449_813_700},
			Output:      Distribution{187, 420, 771, 2_210, 221.4, 22_140_000},
			OutputFrom:  "the 900 result rows of out/last.jsonl", InputRatio: 0.93, Settled: 148_098_741, Reachable: 0.81,
		},
		Quota: Quota{RequestsPerMinute: 1_000, TokensPerMinute: 400_000, TokensPerDay: 576_000_000, Burndown: 5, Concurrency: 64},
		Duration: &Duration{
			Seconds: 22_326.5, Low: 21_900, High: 22_800, Counting: 27_563, Refused: 0.0004,
			LimitedBy: []Share{{"tokens", 0.97}, {"concurrency", 0.03}},
			Streams:   21.3, RequestsPerMinute: 268.7, TokensPerMinute: 397_999, FirstTokenSeconds: 0.812, TokensPerSecond: 61.2,
		},
		Cost: &Cost{
			Currency: "USD", Total: 444.3, Low: 441.9, High: 446.7, Longest: 6_256.2, AtMost: 9_331.5, Input: 112.2, Output: 332.1, CacheRead: 0.042, CacheWrite: 1.5,
			Price: "prices.yaml:5, anthropic.claude-sonnet-4-5-*", Tiers: map[string]float64{"flex": 222.15, "batch": 222.15},
			Provisioned: &ProvisionedCost{ModelUnits: 2, PerHour: 88, Hours: 6.2, Total: 545.76, PerMillionTokens: 8.75},
			Reserved:    &ReservedCost{TokensPerMinute: 167_570, PerMonth: 16_757},
		},
		Assumptions: []string{"answers: length by the 900 result rows of out/last.jsonl", "nothing of the quota is used by others, and no call fails"},
		Warnings:    []string{"records with an id that an earlier one has: about 12; their rows are told apart by source and line only", "another"},
	}
}

func TestGolden(t *testing.T) {
	empty := report(t, NewWorkload(0), Options{Model: "amazon.nova-lite-v1:0", Family: "nova"})
	plainOne := full()
	plainOne.Records = Records{Read: 3, ToSend: 3, ModelInputs: 3}
	plainOne.Refused, plainOne.Cost, plainOne.Assumptions, plainOne.Warnings = nil, nil, nil, []string{}
	plainOne.Quota = Quota{Burndown: 1, Concurrency: 32}
	plainOne.Duration = &Duration{Seconds: 4.31, Low: 4.31, High: 4.31, Counting: 4.31, Streams: 3, RequestsPerMinute: 41.7, TokensPerMinute: 27_888}
	byToken := full()
	byToken.Cost = &Cost{Currency: "EUR", Total: 0.0123, Low: 0.0123, High: 0.0123, Longest: 12.5, Input: 0.0003, Output: 0.012, Price: "p.yaml:3, *"}
	for name, r := range map[string]*Report{"full": full(), "nothing": empty, "plain": plainOne, "cheap": byToken} {
		t.Run(name, func(t *testing.T) {
			golden(t, name+".txt", r.Text())
			got, err := r.JSON()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name+".json", string(got))
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update { // go test ./jobs/plan -update
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, diff)
	}
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{span(0.04), "0.0s"},
		{span(59.6), "1m00s"},
		{span(3_600), "1h00m"},
		{span(90_000), "1d01h"},
		{percent(0.9999), ">99%"},
		{percent(0.0001), "<0.1%"},
		{percent(1), "100%"},
		{percent(0), "0%"},
		{figure(9.994), "9.99"},
		{figure(12), "12"},
		{atMost(0.01241), "0.013"},
		{atMost(0.0999), "0.10"},
		{atMost(12.341), "12.35"},
		{atMost(12.34), "12.34"},
		{atMost(0), "0.00"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
