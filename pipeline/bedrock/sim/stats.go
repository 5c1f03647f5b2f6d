package sim

import (
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Stats is the server's own account of what it did, to hold a client's account against. Calls
// are requests for a model that passed validation.
type Stats struct {
	Since time.Time `json:"since"` // the server's start, or the last reset

	Calls      int64 `json:"calls"`
	HTTP2Calls int64 `json:"http2Calls"` // those of Calls that came over HTTP/2
	Answers    int64 `json:"answers"`    // given whole, up to the terminal event
	Throttled  int64 `json:"throttled"`  // refused by the quota or for lack of capacity
	Cancelled  int64 `json:"cancelled"`  // the client went away first
	// Faults counts the faults that struck, by kind; outages are among them.
	Faults map[string]int64 `json:"faults"`
	// Refused counts the requests that failed validation or authentication, by error type.
	Refused map[string]int64 `json:"refused"`

	// TokenCounts are the answers of CountTokens, which is no call.
	TokenCounts int64 `json:"tokenCounts"`

	InFlight     int64 `json:"inFlight"`
	PeakInFlight int64 `json:"peakInFlight"`
	// Connections counts those accepted; OpenConnections are those open now. They outlive a reset.
	Connections     int64 `json:"connections"`
	OpenConnections int64 `json:"openConnections"`

	// Records counts the different requests seen, and AnsweredTwice those of them that got more
	// than one whole answer. RecordsDropped says that there were more than KeepRecords, so that
	// both are too low.
	Records        int64 `json:"records"`
	AnsweredTwice  int64 `json:"answeredTwice"`
	RecordsDropped bool  `json:"recordsDropped"`

	// Tokens of whole answers.
	InputTokens  int64 `json:"inputTokens"`
	OutputTokens int64 `json:"outputTokens"`
	// Billed is what all calls are billed at the harshest: as soon as the model may have begun, the input and all of the answer that
	// it would have given, whether or not the client took it, and also where the call failed with a status that does not say that
	// nothing was done. Only refusals are free: quota, capacity, 4xx but 408 and 424.
	Billed Usage `json:"billed"`
	// Quota tokens, of all admitted calls: what was reserved at their start and what was settled
	// at their end.
	ReservedTokens float64 `json:"reservedTokens"`
	SettledTokens  float64 `json:"settledTokens"`

	// FirstToken is from the arrival of a request to the moment its first event with content was
	// handed to the network.
	FirstToken Percentiles `json:"firstToken"`

	// Minutes tells the admitted calls by the minute since Since in which they were admitted.
	Minutes []MinuteStats `json:"minutes"`
}

// MinuteStats is what was admitted in one minute.
type MinuteStats struct {
	Minute   int64   `json:"minute"` // 0 is the first
	Calls    int64   `json:"calls"`
	Reserved float64 `json:"reserved"` // quota tokens
	Settled  float64 `json:"settled"`  // quota tokens, of those calls of this minute that ended
}

// Percentiles describe a distribution of times, in nanoseconds, exact to 3 digits (Min and Max
// as well).
type Percentiles struct {
	Count int64         `json:"count"`
	Mean  time.Duration `json:"meanNs"`
	Min   time.Duration `json:"minNs"`
	P50   time.Duration `json:"p50Ns"`
	P90   time.Duration `json:"p90Ns"`
	P95   time.Duration `json:"p95Ns"`
	P99   time.Duration `json:"p99Ns"`
	P999  time.Duration `json:"p999Ns"`
	Max   time.Duration `json:"maxNs"`
}

// RecordStats is what became of one request (see [Key]) over all its attempts.
type RecordStats struct {
	Attempts  int `json:"attempts"`  // all that arrived
	Answers   int `json:"answers"`   // given whole
	Throttled int `json:"throttled"` // refused by the quota or for lack of capacity
	Faults    int `json:"faults"`    // struck
	// FirstToken and Total are from the request's arrival to its first content and to its terminal
	// event, of the last attempt that came so far.
	FirstToken time.Duration `json:"firstTokenNs"`
	Total      time.Duration `json:"totalNs"`
}

// record is RecordStats in small.
type record struct {
	attempts, answers, throttled, faults, turns int32
	firstToken, total                           time.Duration
}

// tally counts. Its methods may be called concurrently.
type tally struct {
	mu         sync.Mutex
	keep       int
	stats      Stats // without what snapshot adds
	records    map[key]record
	retried    map[key]int32 // turns of requests beyond keep that were struck and not yet answered
	firstToken *hdrhistogram.Histogram
	raw        []time.Duration
	minutes    []MinuteStats
}

func newTally(keep int, now time.Time) *tally {
	t := &tally{keep: keep}
	t.firstToken = hdrhistogram.New(1, int64(2*time.Hour), 3)
	t.reset(now)
	return t
}

// reset forgets all but connections and the calls in flight.
func (t *tally) reset(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats = Stats{
		Since: now, Faults: make(map[string]int64), Refused: make(map[string]int64),
		InFlight: t.stats.InFlight, PeakInFlight: t.stats.InFlight,
		Connections: t.stats.Connections, OpenConnections: t.stats.OpenConnections,
	}
	t.records, t.retried = make(map[key]record), make(map[key]int32)
	t.firstToken.Reset()
	t.raw, t.minutes = nil, nil
}

// update changes the record of k where it is kept.
func (t *tally) update(k key, change func(*record)) bool {
	rec, ok := t.records[k]
	if !ok {
		if len(t.records) >= t.keep {
			t.stats.RecordsDropped = true
			return false
		}
		t.stats.Records++
	}
	change(&rec)
	t.records[k] = rec
	return true
}

// begin counts a call and tells its turn: the how manieth attempt of this request it is, without
// those that were throttled.
func (t *tally) begin(k key, http2 bool) (turn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Calls++
	if http2 {
		t.stats.HTTP2Calls++
	}
	t.stats.InFlight++
	t.stats.PeakInFlight = max(t.stats.PeakInFlight, t.stats.InFlight)
	kept := t.update(k, func(r *record) {
		r.attempts++
		r.turns++
		turn = int(r.turns)
	})
	if !kept {
		turn = int(t.retried[k]) + 1
	}
	return turn
}

// An outcome is how a call ended.
type outcome uint8

const (
	cancelled outcome = iota
	whole
	throttled
	faulted
)

// end counts the end of a call.
func (t *tally) end(k key, how outcome, kind string, firstToken, total time.Duration, usage Usage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.InFlight--
	switch how {
	case cancelled:
		t.stats.Cancelled++
	case whole:
		t.stats.Answers++
		t.stats.InputTokens += usage.InputTokens
		t.stats.OutputTokens += usage.OutputTokens
	case throttled:
		t.stats.Throttled++
	case faulted:
	}
	if kind != "" {
		t.stats.Faults[kind]++
	}
	if firstToken > 0 {
		_ = t.firstToken.RecordValue(int64(firstToken)) // refuses only times above its range
		if len(t.raw) < t.keep {
			t.raw = append(t.raw, firstToken)
		}
	}
	kept := t.update(k, func(r *record) {
		switch how {
		case whole:
			if r.answers++; r.answers == 2 {
				t.stats.AnsweredTwice++
			}
			r.total = total
		case throttled:
			r.throttled++
			r.turns--
		case cancelled, faulted:
		}
		if kind != "" {
			r.faults++
		}
		if firstToken > 0 {
			r.firstToken = firstToken
		}
	})
	if !kept {
		switch how {
		case whole:
			delete(t.retried, k)
		case faulted:
			t.retried[k]++
		case cancelled, throttled:
		}
	}
}

// billed counts what a call costs.
func (t *tally) billed(u Usage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := &t.stats.Billed
	b.InputTokens += u.InputTokens
	b.OutputTokens += u.OutputTokens
	b.CacheReadInputTokens += u.CacheReadInputTokens
	b.CacheWriteInputTokens += u.CacheWriteInputTokens
}

func (t *tally) refused(errorType string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.Refused[errorType]++
}

// admitted counts a reservation and tells the minute it belongs to.
func (t *tally) admitted(now time.Time, reserved float64) (minute int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.ReservedTokens += reserved
	minute = int64(now.Sub(t.stats.Since) / time.Minute)
	m := t.minute(minute)
	m.Calls++
	m.Reserved += reserved
	return minute
}

func (t *tally) settled(minute int64, used float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.stats.SettledTokens += used
	t.minute(minute).Settled += used
}

// minute finds or makes the entry of a minute; they are few and the last is the usual one.
func (t *tally) minute(n int64) *MinuteStats {
	for i := len(t.minutes) - 1; i >= 0 && t.minutes[i].Minute >= n; i-- {
		if t.minutes[i].Minute == n {
			return &t.minutes[i]
		}
	}
	i, _ := slices.BinarySearchFunc(t.minutes, n, func(m MinuteStats, n int64) int { return int(m.Minute - n) })
	t.minutes = slices.Insert(t.minutes, i, MinuteStats{Minute: n})
	return &t.minutes[i]
}

func (t *tally) connection(opened bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if opened {
		t.stats.Connections++
		t.stats.OpenConnections++
	} else {
		t.stats.OpenConnections--
	}
}

// snapshot is a copy that nobody else writes to.
func (t *tally) snapshot() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.stats
	s.Faults, s.Refused = maps.Clone(s.Faults), maps.Clone(s.Refused)
	s.Minutes = slices.Clone(t.minutes)
	h := t.firstToken
	at := func(q float64) time.Duration { return time.Duration(h.ValueAtQuantile(q)) }
	if s.FirstToken.Count = h.TotalCount(); s.FirstToken.Count > 0 {
		s.FirstToken = Percentiles{
			Count: h.TotalCount(), Mean: time.Duration(h.Mean()), Min: time.Duration(h.Min()), P50: at(50), P90: at(90),
			P95: at(95), P99: at(99), P999: at(99.9), Max: time.Duration(h.Max()),
		}
	}
	return s
}

func (r record) public() RecordStats {
	return RecordStats{int(r.attempts), int(r.answers), int(r.throttled), int(r.faults), r.firstToken, r.total}
}

// Stats is the account up to now. It may be called concurrently. A call counts as ended just
// before the last bytes of its answer are written, so that a client that has read them finds it
// counted.
func (s *Server) Stats() Stats { return s.tally.snapshot() }

// ResetStats begins a new account. Calls in flight end in the new one; the attempts of each
// request are counted anew, and with them the faults that strike a number of times.
func (s *Server) ResetStats() { s.tally.reset(time.Now()) }

// Record is the account of one request, by its [Key].
func (s *Server) Record(recordKey string) (RecordStats, bool) {
	var k key
	if n, err := hex.Decode(k[:], []byte(recordKey)); err != nil || n != len(k) || len(recordKey) != 2*len(k) {
		return RecordStats{}, false
	}
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	r, ok := s.tally.records[k]
	return r.public(), ok
}

// Records is the account of every request that is kept, by [Key].
func (s *Server) Records() map[string]RecordStats {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	all := make(map[string]RecordStats, len(s.tally.records))
	for k, r := range s.tally.records {
		all[hex.EncodeToString(k[:])] = r.public()
	}
	return all
}

// FirstTokens lists the first-token times in the order of their calls' ends, the first
// KeepRecords of them.
func (s *Server) FirstTokens() []time.Duration {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	return slices.Clone(s.tally.raw)
}
