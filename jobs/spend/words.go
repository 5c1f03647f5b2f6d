package spend

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/jobs/words"
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
			exactly(s.MaxMoney), unit, exactly(s.Money), unsure(s.UnsureMoney > 0, exactly(s.UnsureMoney)), place, exactly(c.Money))
	}
	return fmt.Sprintf("--max-tokens-total is %s: %s are spent%s, and %s may take up to %s",
		words.Count(s.MaxTokens), words.Count(s.Tokens), unsure(s.UnsureTokens > 0, words.Count(s.UnsureTokens)), place, words.Count(tokens(c)))
}

func unsure(some bool, amount string) string {
	if !some {
		return ""
	}
	return " (" + amount + " of it by calls that failed or were cut, at what they may have cost at most)"
}

// exactly is an amount in parts of [price.Pico], so that what is left under a bound can be told from nothing: six digits behind the
// point, four from 1 on, of which two stay where they are 0, and two from 1,000 on.
func exactly(pico int64) string {
	value, digits := float64(pico)/price.Pico, 6
	switch {
	case value >= 1000:
		return words.Money(value)
	case value >= 1:
		digits = 4
	}
	text := strconv.FormatFloat(value, 'f', digits, 64)
	point := strings.IndexByte(text, '.')
	for len(text) > point+3 && text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	return text
}
