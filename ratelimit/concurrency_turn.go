package ratelimit

import (
	"math"
	"time"
)

const (
	few      = 8   // streams in flight that no service queues, as far as can be known at the start
	slopeRun = 32  // first tokens over which the running means of the slope go
	slopeAll = 300 // and over which it forgets
	outlier  = 5.0 // a first token later than so many times the running mean counts as that late
)

// A turn is what was seen since the limit of streams was last judged: of the streams that began in it, and of the time.
type turn struct {
	began             time.Time
	span              float64 // seconds
	full              float64 // and seconds in which no other could begin
	starts, overloads float64 // streams that began, and overloads among them

	done float64 // streams that ended in success, whenever they began

	n, wait, input float64 // first tokens, seconds and tokens of input in all
	light, lightly float64 // first tokens of streams that began beside few others, and their seconds

	ends, out, decode float64 // successes, tokens of output in all, and seconds from the first token to the end
}

// A level is a turn in short: how the service does with so many streams.
type level struct {
	limit float64
	n     float64 // first tokens seen
	mean  float64 // seconds to the first token
	input float64 // mean tokens of input of those
	rate  float64 // streams that ended in success, a second
	ends  float64 // streams seen from beginning to end,
	out   float64 // and mean tokens of output of those
	speed float64 // tokens a second of one stream; 0: not known
	share float64 // of overloads among those that began,
	doubt float64 // and its standard error, at most
	used  bool    // the limit kept streams waiting
}

func (t *turn) level(limit float64) level {
	l := level{limit: limit, n: t.n, ends: t.ends, share: (t.overloads + 1) / (t.starts + few), doubt: 0.5 / math.Sqrt(t.starts+1)}
	if t.n > 0 {
		l.mean, l.input = t.wait/t.n, t.input/t.n
	}
	if t.span > 0 {
		l.rate, l.used = t.done/t.span, t.full >= usedLeast*t.span
	}
	if t.decode > 0 {
		l.speed, l.out = t.out/t.decode, t.out/t.ends
	}
	return l
}

// overloads says that more streams than usual were overloaded, beyond doubt.
func (l *level) overloads(usual float64) bool { return l.share > usual+aboveUsual+l.doubt }

// A slope learns what a token of input adds to the time to the first token, and how much that time varies besides. It looks
// at what differs between neighbours, so that a queue, which all of them share, does not count.
type slope struct {
	n                        float64
	wait, input              float64 // running means
	waits, inputs, covariant float64 // sums of squares, forgetting
}

// learn notes a first token, and returns its seconds with an outlier cut off.
func (s *slope) learn(wait, input float64) float64 {
	if s.n >= few {
		wait = min(wait, outlier*s.wait)
	}
	s.n++
	w := 1 / min(s.n, slopeRun)
	dw, di := wait-s.wait, input-s.input
	s.wait += w * dw
	s.input += w * di
	if s.n == 1 {
		return wait
	}
	keep := 1 - 1/min(s.n, slopeAll)
	s.waits = keep*s.waits + dw*dw
	s.inputs = keep*s.inputs + di*di
	s.covariant = keep*s.covariant + dw*di
	return wait
}

// each is the seconds that a token of input adds; 0 unless that stands out of the noise.
func (s *slope) each() float64 {
	if s.inputs <= 0 || s.waits <= 0 || s.covariant <= 0 {
		return 0
	}
	if r2 := s.covariant * s.covariant / (s.inputs * s.waits); r2*min(s.n, slopeAll) < 9 { // three standard errors
		return 0
	}
	return s.covariant / s.inputs
}

// deviation is the standard deviation of a first token's seconds, without what the input explains.
func (s *slope) deviation() float64 {
	if s.n < 2 {
		return math.Inf(1)
	}
	v := s.waits - s.each()*s.covariant
	return math.Sqrt(max(0, v) / min(s.n, slopeAll))
}
