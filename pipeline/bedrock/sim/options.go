package sim

import (
	"errors"
	"fmt"
	"math"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Options configures a [Server]. The zero value is a server on a free loopback port that answers
// at once, without quotas and without faults.
type Options struct {
	// Addr is where to listen, host:port; "" is 127.0.0.1:0. Anything but a loopback address needs
	// AllowRemote.
	Addr        string
	AllowRemote bool
	// TLS serves HTTP/1.1 and HTTP/2 over TLS with a certificate made for this server. Without it
	// HTTP/1.1 and HTTP/2 with prior knowledge share the plain port.
	TLS bool
	// CertFile, with TLS, is where Start writes the certificate as PEM; "" writes none.
	CertFile string
	// MaxStreams is the number of streams at once that an HTTP/2 connection allows; 0 is 250.
	MaxStreams int
	// RequireAuth refuses requests without an Authorization header. Signatures are never checked.
	RequireAuth bool

	// Seed, the model id and the request body decide every answer.
	Seed uint64
	// Families says which family a model id belongs to where the id does not tell (provisioned and
	// other ARNs): see [FamilyNames].
	Families map[string]string
	// Foundations says which foundation model is behind an ARN that does not tell it. The control plane's lookups of provisioned
	// throughput, inference profiles and deployments answer it.
	Foundations map[string]string
	// OutputTokens is the mean length of an answer, and lengths are uniform in
	// OutputTokens±OutputSpread, at least 1; 0 is 48. The request's own limit cuts an answer short.
	OutputTokens int
	OutputSpread int
	// TokensPerChunk is how many tokens share an event; 0 is 1.
	TokensPerChunk int
	// MaxTokensLimit refuses requests that ask for more output tokens; 0 refuses none.
	MaxTokensLimit int

	// NoTokenCounts answers CountTokens as for a model that does not support it.
	NoTokenCounts bool

	// HeaderDelay is from the request's arrival to the response headers.
	HeaderDelay Latency
	// FirstToken is from the request's arrival to its first event with content. Events before that
	// come at half the time.
	FirstToken Latency
	// InterToken is between two tokens.
	InterToken Latency
	// FlushEvery is how many frames are written at once; 0 and 1 write each frame as soon as it is
	// due, as the service does. More than 1 saves processor time and delays frames; no frame waits
	// while the server sleeps.
	FlushEvery int

	// Quota holds for every model id for itself, Quotas for single ones in place of it.
	Quota  Quota
	Quotas map[string]Quota
	// Burndown multiplies output tokens in the quota; 0 takes the model's own factor from
	// docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html.
	Burndown float64
	// ThrottleInStream is the share of refusals that come as an exception after a 200.
	ThrottleInStream float64

	// MaxConcurrent is how many streams a model id serves at once, as provisioned capacity does;
	// 0 is no limit.
	MaxConcurrent int
	// Queue is how many requests may wait beyond MaxConcurrent, their headers answered; negative
	// is any number. The rest get 503.
	Queue int

	// Faults strike by chance, the first that hits counts.
	Faults []Fault
	// Outages are times of failure, counted from the server's start.
	Outages []Outage

	// KeepRecords is how many different requests are counted one by one; 0 is 200,000, negative
	// none. Beyond it only totals are kept, and [Stats].RecordsDropped says so.
	KeepRecords int
}

// An Outage is a time in which every request fails.
type Outage struct {
	After time.Duration // from the server's start
	For   time.Duration
	// Kind is how requests fail: a [FaultKinds] name that strikes before the stream; "" is
	// ServiceUnavailableException.
	Kind string
}

// maxBody is the size of a request body that the service takes: docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html.
const maxBody = 25_000_000

var plainID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:./_-]*$`)

// Validate reports everything that is wrong with the options.
func (o Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if err := o.checkAddr(); err != nil {
		errs = append(errs, err)
	}
	if o.CertFile != "" && !o.TLS {
		bad("a certificate file needs TLS")
	}
	for name, n := range map[string]int{
		"max streams": o.MaxStreams, "output tokens": o.OutputTokens, "output spread": o.OutputSpread, "tokens per chunk": o.TokensPerChunk,
		"max tokens limit": o.MaxTokensLimit, "flush every": o.FlushEvery, "max concurrent": o.MaxConcurrent,
	} {
		if n < 0 {
			bad("%s must not be negative, is %d", name, n)
		}
	}
	for id, name := range o.Families {
		if _, ok := familyByName(name); !ok {
			bad("model %q: unknown family %q; the families are %s", id, name, strings.Join(FamilyNames(), ", "))
		}
	}
	for id, model := range o.Foundations {
		if !plainID.MatchString(id) || !plainID.MatchString(model) {
			bad("model %q: foundation %q: expected ids or ARNs", id, model)
		}
	}
	for name, l := range map[string]Latency{"header delay": o.HeaderDelay, "first token": o.FirstToken, "inter-token": o.InterToken} {
		if err := l.validate(); err != nil {
			bad("%s: %w", name, err)
		}
	}
	if err := o.Quota.validate(); err != nil {
		bad("quota: %w", err)
	}
	for id, q := range o.Quotas {
		if err := q.validate(); err != nil {
			bad("quota of %q: %w", id, err)
		}
	}
	if !(o.Burndown >= 0) || math.IsInf(o.Burndown, 0) {
		bad("burndown must not be negative, is %v", o.Burndown)
	}
	if !(o.ThrottleInStream >= 0 && o.ThrottleInStream <= 1) {
		bad("share of in-stream throttles must be from 0 to 1, is %v", o.ThrottleInStream)
	}
	for _, f := range o.Faults {
		if err := f.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	for _, out := range o.Outages {
		if out.After < 0 || out.For <= 0 {
			bad("an outage needs a start that is not negative and a length above 0, has %v and %v", out.After, out.For)
		}
		if err := checkOutage(out.Kind); err != nil {
			errs = append(errs, err)
		}
	}
	// Maps were walked: the same faults read the same every time.
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

func (o Options) checkAddr() error {
	host, _, err := net.SplitHostPort(o.addr())
	if err != nil {
		return fmt.Errorf("address %q: %w", o.Addr, err)
	}
	if ip := net.ParseIP(host); o.AllowRemote || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("address %q is not loopback: others could reach the simulator; --allow-remote uses it all the same", o.Addr)
}

func (o Options) addr() string {
	if o.Addr == "" {
		return "127.0.0.1:0"
	}
	return o.Addr
}

func (o Options) outputTokens() int {
	if o.OutputTokens == 0 {
		return 48
	}
	return o.OutputTokens
}

func (o Options) keepRecords() int {
	if o.KeepRecords == 0 {
		return 200_000
	}
	return max(0, o.KeepRecords)
}

func (o Options) quotaOf(modelID string) Quota {
	if q, ok := o.Quotas[modelID]; ok {
		return q
	}
	return o.Quota
}

func (o Options) burndownOf(modelID string) float64 {
	if o.Burndown > 0 {
		return o.Burndown
	}
	return burndown(o.behind(modelID))
}

// defaultOutage is what an outage looks like unless it says otherwise.
const defaultOutage = "ServiceUnavailableException"

func checkOutage(kind string) error {
	row, ok := faultTable[kind]
	if kind == "" || ok && (row.preStream != nil || row.before != nil) {
		return nil
	}
	return fmt.Errorf("outage %q is no fault that strikes before the stream", kind)
}
