package plan

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// What is assumed of a model that nobody has measured.
const (
	DefaultFirstToken = time.Second // until the first token
	DefaultSpeed      = 60          // output tokens per second of one stream, after the first
)

// A Spread is the distribution of an amount that is never negative: all Mean; or uniform in Mean ± Half; or lognormal
// with that mean, Sigma being the standard deviation of the logarithm.
type Spread struct{ Mean, Half, Sigma float64 }

// ParseTokens reads the spread of a number of tokens: 200, 200±50, 200+-50 or lognormal(200,0.8).
func ParseTokens(text string) (Spread, error) {
	s, err := parseSpread(text, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	if err != nil {
		return s, errors.New("expected a number of tokens such as 200, 200±50 or lognormal(200,0.8)")
	}
	if s.Mean < 1 {
		return s, errors.New("expected at least 1 token on average")
	}
	return s, nil
}

// ParseLatency reads the spread of a time, in seconds: 1s, 1s±300ms, 1s+-300ms or lognormal(1s,0.4).
func ParseLatency(text string) (Spread, error) {
	s, err := parseSpread(text, func(s string) (float64, error) {
		d, err := time.ParseDuration(s)
		return d.Seconds(), err
	})
	if err != nil {
		return s, errors.New("expected a duration such as 800ms, 1s±300ms or lognormal(1s,0.4)")
	}
	return s, nil
}

// parseSpread reads a spread; number reads an amount.
func parseSpread(text string, number func(string) (float64, error)) (s Spread, err error) {
	text = strings.ReplaceAll(strings.TrimSpace(text), "+-", "±")
	mean, half, uniform := strings.Cut(text, "±")
	if args, ok := strings.CutPrefix(text, "lognormal("); ok {
		args, closed := strings.CutSuffix(args, ")")
		middle, sigma, two := strings.Cut(args, ",")
		if !closed || !two {
			return s, strconv.ErrSyntax
		}
		if s.Sigma, err = strconv.ParseFloat(strings.TrimSpace(sigma), 64); err != nil {
			return s, err
		}
		mean = middle
	} else if uniform {
		if s.Half, err = number(strings.TrimSpace(half)); err != nil {
			return s, err
		}
	}
	if s.Mean, err = number(strings.TrimSpace(mean)); err != nil {
		return s, err
	}
	const most = 1e9
	if !(s.Mean >= 0 && s.Mean <= most && s.Half >= 0 && s.Half <= s.Mean && s.Sigma >= 0 && s.Sigma <= 5) {
		return s, strconv.ErrRange
	}
	return s, nil
}

// at is the value below which the part u of all lies, u between 0 and 1.
func (s Spread) at(u float64) float64 {
	switch {
	case s.Sigma > 0:
		return s.Mean * math.Exp(s.Sigma*math.Sqrt2*math.Erfinv(2*u-1)-s.Sigma*s.Sigma/2)
	case s.Half > 0:
		return s.Mean + s.Half*(2*u-1)
	}
	return s.Mean
}

// Expect is what is expected of answers. What is said by itself counts more than what Like shows. With nothing known of
// their length answers are taken to reach their max_tokens, which is the most they can cost.
type Expect struct {
	Output     *Spread // tokens; nil: as Like
	FirstToken *Spread // seconds; nil: as Like, else [DefaultFirstToken]
	Speed      float64 // tokens per second of one stream; 0: as Like, else [DefaultSpeed]
	Like       *Like   // rows of an earlier run; nil: none
}

// known says that something is known of the length of answers.
func (e *Expect) known() bool { return e.Output != nil || e.Like != nil }

// An answer is one as it is expected.
type answer struct {
	output int64 // tokens
	first  time.Duration
	total  time.Duration
}

// Steps of a sequence that fills the unit square evenly: Roberts' R2, from the root of x³ = x + 1.
const (
	stepOutput  = 0.7548776662466927
	stepLatency = 0.5698402909980532
)

func even(i int, step float64) float64 {
	_, u := math.Modf(0.5 + float64(i)*step)
	return min(max(u, 1e-9), 1-1e-9)
}

// answer is the ith answer, to a request that allows limit tokens. Scale stretches its length.
func (e *Expect) answer(i int, limit int64, scale float64) answer {
	u, v := even(i, stepOutput), even(i, stepLatency)
	first, perToken := DefaultFirstToken.Seconds(), 1.0/DefaultSpeed
	output := float64(limit)
	if e.Like != nil {
		row := e.Like.at(u)
		output = float64(row.output)
		if e.Output != nil { // the length has nothing to do with the row then
			row = e.Like.at(v)
		}
		first = row.first.Seconds()
		perToken = (row.total - row.first).Seconds() / float64(max(1, row.output))
	}
	if e.Output != nil {
		output = e.Output.at(u)
	}
	if e.FirstToken != nil {
		first = e.FirstToken.at(v)
	}
	if e.Speed > 0 {
		perToken = 1 / e.Speed
	}
	if e.known() {
		output *= scale
	}
	output = min(max(1, math.Round(output)), float64(max(1, limit)))
	return answer{int64(output), seconds(first), seconds(first + output*perToken)}
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s, 1e9) * float64(time.Second))
}
