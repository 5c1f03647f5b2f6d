package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Positions for Fault.AtChunk that are not a count.
const (
	AtEnd    = -1 // after the terminal event
	AtRandom = -2 // before an event chosen by the seed, never the first
)

// A Fault is something that goes wrong with an attempt. It comes from [Options].Faults, where it
// strikes by chance, or from a marker in the prompt (see the package documentation).
//
// Chance is drawn from the seed, the request and the number of the attempt, so a run repeats
// whatever the order in which its requests arrive.
type Fault struct {
	// Kind is one of [FaultKinds], or any other lower-camel name that ends in Exception, for an
	// in-stream exception that the service does not model.
	Kind string
	// Probability that an attempt is struck, above 0 and at most 1.
	Probability float64
	// AtChunk counts the chunk events that come whole before the fault strikes, whatever they
	// carry; it may also be AtEnd or AtRandom. A count beyond the answer means before its last
	// event. Faults before the stream ignore it.
	AtChunk int
	// Times limits the fault to the first attempts of each request that get past the quota;
	// 0 is no limit.
	Times int
	// For is how long a stall lasts before the stream goes on; 0 is until the client goes away.
	For time.Duration
	// Upper spells the type of an in-stream exception in upper camel case, as the service's errors
	// before the stream are spelled.
	Upper bool
	// Message replaces the words of an error, exception or error frame.
	Message string
}

// ParseFault reads "KIND[@N|@end|@random] [xN] [p=0.01|1%] [for=2s] [; message]". Without p the
// probability is 1. An upper-camel exception with a position is an in-stream exception that is
// spelled so; without one it is an error before the stream.
func ParseFault(s string) (Fault, error) {
	f, err := parseFault(s)
	if err == nil {
		err = f.validate()
	}
	if err != nil {
		return Fault{}, fmt.Errorf("fault %q: %w", s, err)
	}
	return f, nil
}

func parseFault(s string) (Fault, error) {
	f := Fault{Probability: 1}
	spec, message, _ := strings.Cut(s, ";")
	f.Message = strings.TrimSpace(message)
	words := strings.Fields(spec)
	if len(words) == 0 {
		return f, errors.New("needs a kind")
	}
	kind, at, placed := strings.Cut(words[0], "@")
	f.Kind = kind
	switch {
	case !placed:
	case at == "end":
		f.AtChunk = AtEnd
	case at == "random":
		f.AtChunk = AtRandom
	default:
		n, err := strconv.Atoi(at)
		if err != nil || n < 0 {
			return f, fmt.Errorf("position %q is neither a count nor end nor random", at)
		}
		f.AtChunk = n
	}
	if row, ok := faultTable[kind]; ok && row.preStream != nil && placed && strings.HasSuffix(kind, "Exception") {
		f.Kind, f.Upper = lowerCamel(kind), true
	}
	for _, word := range words[1:] {
		if err := f.parseWord(word); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Fault) parseWord(word string) (err error) {
	if n, ok := strings.CutPrefix(word, "x"); ok {
		if f.Times, err = strconv.Atoi(n); err == nil && f.Times < 1 {
			err = errors.New("a fault that strikes less than once")
		}
		return err
	}
	p, named := strings.CutPrefix(word, "p=")
	p, percent := strings.CutSuffix(p, "%")
	if named || percent {
		f.Probability, err = strconv.ParseFloat(p, 64)
		if percent {
			f.Probability /= 100
		}
		return err
	}
	if d, ok := strings.CutPrefix(word, "for="); ok {
		f.For, err = time.ParseDuration(d)
		return err
	}
	return fmt.Errorf("unknown word %q", word)
}

var unmodelledException = regexp.MustCompile(`^[a-z][A-Za-z0-9]*Exception$`)

func (f Fault) validate() error {
	_, known := faultTable[f.Kind]
	var errs []error
	if !known && !unmodelledException.MatchString(f.Kind) {
		errs = append(errs, fmt.Errorf("unknown kind %q; the kinds are %s", f.Kind, strings.Join(kindNames(), ", ")))
	}
	if !(f.Probability > 0 && f.Probability <= 1) {
		errs = append(errs, fmt.Errorf("probability %v of %s is not above 0 and at most 1", f.Probability, f.Kind))
	}
	if f.AtChunk < AtRandom || f.Times < 0 || f.For < 0 {
		errs = append(errs, fmt.Errorf("%s: position, times and duration must not be negative", f.Kind))
	}
	return errors.Join(errs...)
}

// String is what [ParseFault] reads.
func (f Fault) String() string {
	kind := f.Kind
	if f.Upper {
		kind = upperCamel(kind)
	}
	switch {
	case f.AtChunk == AtEnd:
		kind += "@end"
	case f.AtChunk == AtRandom:
		kind += "@random"
	case f.AtChunk > 0 || f.Upper:
		kind += "@" + strconv.Itoa(f.AtChunk)
	}
	if f.Times > 0 {
		kind += " x" + strconv.Itoa(f.Times)
	}
	if f.Probability != 1 {
		kind += " p=" + strconv.FormatFloat(f.Probability, 'g', -1, 64)
	}
	if f.For > 0 {
		kind += " for=" + f.For.String()
	}
	if f.Message != "" {
		kind += "; " + f.Message
	}
	return kind
}

func lowerCamel(s string) string { return strings.ToLower(s[:1]) + s[1:] }
func upperCamel(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// A FaultKind names something that can go wrong.
type FaultKind struct {
	Name string
	Doc  string // one line
}

// FaultKinds lists what a [Fault] can be, sorted by name.
func FaultKinds() []FaultKind {
	kinds := make([]FaultKind, 0, len(faultTable))
	for name, row := range faultTable {
		kinds = append(kinds, FaultKind{Name: name, Doc: row.doc})
	}
	slices.SortFunc(kinds, func(a, b FaultKind) int { return strings.Compare(a.Name, b.Name) })
	return kinds
}

func kindNames() []string {
	var names []string
	for _, k := range FaultKinds() {
		names = append(names, k.Name)
	}
	return names
}

// chooseFault says what strikes turn n (from 1) of a request, if anything. Markers go before
// chance: each holds for its own number of turns, then the next one takes over.
func chooseFault(markers, chances []Fault, n int, rng *rand.Rand) *Fault {
	for i := range markers {
		f := &markers[i]
		if f.Times == 0 || n <= f.Times {
			if f.Probability < 1 && rng.Float64() >= f.Probability {
				return nil
			}
			return f
		}
		n -= f.Times
	}
	if len(markers) > 0 {
		return nil // this prompt says exactly what happens to it
	}
	for i := range chances {
		hit := rng.Float64() < chances[i].Probability // drawn even when it is spent, so that turns stay alike
		if hit && (chances[i].Times == 0 || n <= chances[i].Times) {
			return &chances[i]
		}
	}
	return nil
}
