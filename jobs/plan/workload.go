package plan

import (
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/ratelimit"
)

// shownRefusals is how many refused lines are told one by one.
const shownRefusals = 5

// nearLimit is the length of a body, in bytes, from which it is told that it is close to what the service takes.
const nearLimit = maxBody / 10 * 9

// maxBody is what the service takes:
// https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html.
const maxBody = 25_000_000

// A Workload is what a run would send. It is not for concurrent use, and its size does not depend on how much it has seen.
type Workload struct {
	// Most tells what one request is billed at most, as [pipeline.Spending] does, and an error where nobody can tell; nil: upper
	// bounds are not told. To be set before Add.
	Most func(req *pipeline.Request) (pipeline.Charge, error)

	refused  int64
	refusals []Refusal
	prompts  int64 // in the short form
	foreign  int64 // in another format, see [pipeline.Dialect]

	input, limit, reserve *histogram
	sample                reservoir[ratelimit.Cost]

	unset      int64 // bodies that set no limit of their own
	near       int64 // bodies close to the longest
	nearPlace  string
	overMinute int64 // requests that reserve more than a minute's quota
	overPlace  string
	perMinute  float64 // that quota; 0: none

	mostMoney, mostTokens float64 // of all requests, in parts of [price.Pico] and in tokens
	endless               int64   // requests of which nobody can tell the most
	endlessPlace          string
	endlessWhy            error
}

// A Refusal is a line that cannot be sent.
type Refusal struct {
	Place   string `json:"place"` // SOURCE:LINE
	Type    string `json:"errorType"`
	Message string `json:"message"`
}

// NewWorkload is a workload of nothing yet. tokensPerMinute is the stated quota, 0 for none: requests that reserve more are
// counted by themselves.
func NewWorkload(tokensPerMinute float64) *Workload {
	return &Workload{
		input: newHistogram(), limit: newHistogram(), reserve: newHistogram(), perMinute: tokensPerMinute,
		sample: newReservoir[ratelimit.Cost](keep),
	}
}

// Add counts a request that would be sent.
func (w *Workload) Add(req *pipeline.Request) {
	cost := ratelimit.Cost{Input: req.InputTokens, MaxTokens: req.MaxTokens}
	reserved := ratelimit.Reserves(cost)
	w.input.add(cost.Input)
	w.limit.add(cost.MaxTokens)
	w.reserve.add(int64(reserved))
	w.sample.add(cost)
	switch rec := req.Record; {
	case rec.Prompt != nil:
		w.prompts++
	case rec.Dialect != pipeline.Invoke:
		w.foreign++
	}
	if req.DefaultLimit {
		w.unset++
	}
	if len(req.Body) >= nearLimit {
		w.near++
		w.nearPlace = orElse(w.nearPlace, req.Record.Place())
	}
	if w.perMinute > 0 && reserved > w.perMinute {
		w.overMinute++
		w.overPlace = orElse(w.overPlace, req.Record.Place())
	}
	w.addMost(req)
}

// addMost takes in what a request is billed at most.
func (w *Workload) addMost(req *pipeline.Request) {
	if w.Most == nil {
		return
	}
	c, err := w.Most(req)
	if err != nil {
		if w.endless == 0 {
			w.endlessPlace, w.endlessWhy = req.Record.Place(), err
		}
		w.endless++
		return
	}
	w.mostMoney += float64(c.Money)
	w.mostTokens += float64(c.Input) + float64(c.Output)
}

// ceiled tells whether the most that all requests are billed is known.
func (w *Workload) ceiled() bool { return w.Most != nil && w.endless == 0 }

// Refuse counts a line that would become an error row without being sent.
func (w *Workload) Refuse(rec *pipeline.Record, fault *pipeline.Fault) {
	w.refused++
	if len(w.refusals) < shownRefusals {
		w.refusals = append(w.refusals, Refusal{rec.Place(), fault.Type, fault.Message})
	}
}

// requests is how many would be sent.
func (w *Workload) requests() int64 { return w.sample.seen }

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// A histogram counts tokens by number; largest and sum are exact, the rest has three digits.
type histogram struct {
	hdr      *hdrhistogram.Histogram
	largest  int64
	sum, sq  float64
	smallest int64
}

// mostTokens is what a histogram cuts numbers to.
const mostTokens = 1 << 40

func newHistogram() *histogram {
	return &histogram{hdr: hdrhistogram.New(1, mostTokens, 3), smallest: math.MaxInt64}
}

func (h *histogram) add(n int64) {
	n = min(max(n, 0), mostTokens)
	if h.hdr.RecordValue(n) != nil {
		return // cannot happen: n is in its range
	}
	h.sum += float64(n)
	h.sq += float64(n) * float64(n)
	h.largest, h.smallest = max(h.largest, n), min(h.smallest, n)
}

func (h *histogram) count() float64 { return float64(h.hdr.TotalCount()) }

func (h *histogram) mean() float64 { return h.sum / max(1, h.count()) }

// deviation is the standard deviation.
func (h *histogram) deviation() float64 {
	m := h.mean()
	return math.Sqrt(max(0, h.sq/max(1, h.count())-m*m))
}

// distribution sums it up for so many requests in place of those counted.
func (h *histogram) distribution(requests int64) Distribution {
	at := func(percent float64) int64 { return min(h.hdr.ValueAtPercentile(percent), h.largest) }
	return Distribution{
		P50: at(50), P90: at(90), P99: at(99), Max: h.largest,
		Mean: round(h.mean()), Total: int64(math.Round(h.mean() * float64(requests))),
	}
}

// A Distribution sums up many numbers of tokens.
type Distribution struct {
	P50   int64   `json:"p50"`
	P90   int64   `json:"p90"`
	P99   int64   `json:"p99"`
	Max   int64   `json:"max"`
	Mean  float64 `json:"mean"`
	Total int64   `json:"total"`
}

// round cuts what floating point adds below a thousandth.
func round(v float64) float64 { return math.Round(v*1000) / 1000 }
