package price

import (
	"math"
	"math/bits"
)

// Pico is how many parts of the currency's unit exact amounts are counted in: one a token is a millionth of the unit for a
// million tokens, less than any price has digits for.
const Pico = 1_000_000_000_000

// dearest is where exact amounts end: about four million of the currency. Sums of two of them are still no overflow.
const dearest = math.MaxInt64 / 2

// A Meter bills tokens in whole parts of [Pico], every price rounded up: sums of them are exact, and never too small. The zero
// Meter bills nothing.
type Meter struct {
	usual, long exact
	threshold   int64 // of input tokens, above which long holds
}

// exact is what one token costs.
type exact struct{ input, output, cacheRead, write5m, write1h int64 }

// A Count is tokens as the service bills them.
type Count struct{ Input, Output, CacheRead, CacheWrite5m, CacheWrite1h int64 }

// Meter is what the entry's tokens cost, times a multiplier; ok is false where it has no prices for tokens.
func (e *Entry) Meter(multiplier float64) (m Meter, ok bool) {
	if !e.ByToken() {
		return Meter{}, false
	}
	rates := func(of *Entry) exact {
		one := func(t Tokens) int64 { // by Bill, so that there is one reading of the table
			v := of.Bill(t).Total() * multiplier * Pico
			return int64(min(math.Ceil(v-1e-4), 1<<50)) // a price's decimals are exact to far more digits
		}
		return exact{one(Tokens{Input: 1}), one(Tokens{Output: 1}), one(Tokens{CacheRead: 1}), one(Tokens{CacheWrite5m: 1}), one(Tokens{CacheWrite1h: 1})}
	}
	usual, long := *e, *e
	usual.Long = nil
	m.threshold = math.MaxInt64
	if e.Long != nil {
		m.threshold = e.Long.Threshold
		above := *e.Long
		above.Threshold = -1 // holds for every request
		long.Long = &above
	}
	m.usual, m.long = rates(&usual), rates(&long)
	return m, true
}

// Or is the dearer of two meters, price by price: for who does not know which of them will hold.
func (m Meter) Or(o Meter) Meter {
	return Meter{m.usual.or(o.usual), m.long.or(o.long), min(m.threshold, o.threshold)}
}

func (r exact) or(s exact) exact {
	return exact{
		max(r.input, s.input), max(r.output, s.output), max(r.cacheRead, s.cacheRead), max(r.write5m, s.write5m), max(r.write1h, s.write1h),
	}
}

// Cost is what one request costs. It may be called concurrently.
func (m Meter) Cost(c Count) int64 {
	r := m.usual
	if c.Input+c.CacheRead+c.CacheWrite5m+c.CacheWrite1h > m.threshold {
		r = m.long
	}
	return sum(times(r.input, c.Input), times(r.output, c.Output), times(r.cacheRead, c.CacheRead),
		times(r.write5m, c.CacheWrite5m), times(r.write1h, c.CacheWrite1h))
}

// Most is what one request with so much input costs at most; with a cache, whatever of it is read from there or written to it.
func (m Meter) Most(input, output int64, cache bool) int64 {
	r := m.usual
	if input > m.threshold {
		r = r.or(m.long)
	}
	in := r.input
	if cache {
		in = max(r.input, r.cacheRead, r.write5m, r.write1h)
	}
	return sum(times(in, input), times(r.output, output))
}

func times(price, n int64) int64 {
	hi, lo := bits.Mul64(uint64(max(price, 0)), uint64(max(n, 0)))
	if hi > 0 || lo > dearest {
		return dearest
	}
	return int64(lo)
}

func sum(amounts ...int64) (all int64) {
	for _, a := range amounts {
		all = min(all+a, dearest)
	}
	return all
}
