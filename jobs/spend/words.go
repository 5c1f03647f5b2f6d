package spend

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/pipeline"
)

// Stop says what was spent, and that a call of the record at a place would pass the bound. From here on there is no room for any
// call, nor is there in a session to come that is opened with the same options: smaller records that would still fit are not picked out, so
// that the same command does the same.
func (l *Ledger) Stop(place string, c pipeline.Charge) string {
	l.mu.Lock()
	if l.stopped == nil {
		l.stopped = &stop{Place: place, Charge: c, Under: l.under()}
		l.group.line.Stopped = l.stopped
	}
	place, c = l.stopped.Place, l.stopped.Charge
	l.mu.Unlock()
	s := l.Spent()
	unit := " " + s.Currency
	if s.MaxMoney > 0 && add(s.Money, c.Money) > s.MaxMoney {
		return fmt.Sprintf("--max-cost is %s%s: %s are spent%s, and %s may cost up to %s",
			Money(s.MaxMoney), unit, Money(s.Money), unsure(s.UnsureMoney > 0, Money(s.UnsureMoney)), place, Money(c.Money))
	}
	return fmt.Sprintf("--max-tokens-total is %s: %s are spent%s, and %s may take up to %s",
		comma(s.MaxTokens), comma(s.Tokens), unsure(s.UnsureTokens > 0, comma(s.UnsureTokens)), place, comma(tokens(c)))
}

func unsure(some bool, amount string) string {
	if !some {
		return ""
	}
	return " (" + amount + " of it by calls that failed or were cut, at what they may have cost at most)"
}

// Money is an amount in parts of [price.Pico] as people read it, rounded to the nearest digit it shows: two digits behind the
// point, more where an amount is small.
func Money(pico int64) string {
	value, digits := float64(pico)/price.Pico, 6
	switch {
	case value >= 1000:
		digits = 2
	case value >= 1:
		digits = 4
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	point := strings.IndexByte(text, '.')
	for len(text) > point+3 && text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	if value >= 1000 {
		return humanize.CommafWithDigits(math.Round(value*100)/100, 2)
	}
	return text
}

func comma(n int64) string { return humanize.Comma(n) }
