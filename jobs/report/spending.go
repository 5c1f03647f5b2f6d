package report

import "fmt"

// Spending is what a run with a bound, or with prices, has spent, over all its sessions. Costs are in Currency, to six digits; where money is not
// counted they are 0. The JSON names are stable.
type Spending struct {
	Currency string `json:"currency,omitempty"`

	Cost       float64 `json:"cost"`
	UnsureCost float64 `json:"unsureCost"` // of this, calls that failed or were cut, at what they may have cost at most
	HeldCost   float64 `json:"heldCost"`   // for calls in flight
	MaxCost    float64 `json:"maxCost,omitempty"`

	Tokens       int64 `json:"tokens"`
	UnsureTokens int64 `json:"unsureTokens"`
	HeldTokens   int64 `json:"heldTokens"`
	MaxTokens    int64 `json:"maxTokens,omitempty"`
}

// brief is what the bounds have come to, for a line of progress: of money, and of tokens where these are bounded too. Without a bound it
// is the cost.
func (s *Spending) brief() []string {
	var parts []string
	if s.MaxCost == 0 && s.MaxTokens == 0 && s.Currency != "" {
		parts = append(parts, s.price(s.Cost)+" spent")
	}
	if s.MaxCost > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s spent%s", money(s.Cost), s.price(s.MaxCost), also(s.HeldCost > 0, money(s.HeldCost)+" held")))
	}
	if s.MaxTokens > 0 {
		parts = append(parts, fmt.Sprintf("%s of %s tokens spent%s", count(s.Tokens), count(s.MaxTokens), also(s.HeldTokens > 0, count(s.HeldTokens)+" held")))
	}
	return parts
}

// text is the same for the summary, with what nobody knows for sure.
func (s *Spending) text() string {
	text := fmt.Sprintf("%s tokens", count(s.Tokens))
	if s.MaxTokens > 0 {
		text += " of " + count(s.MaxTokens)
	}
	if s.Currency != "" {
		whole := s.price(s.Cost)
		if s.MaxCost > 0 {
			whole = money(s.Cost) + " of " + s.price(s.MaxCost)
		}
		text = whole + ", " + text
	}
	switch {
	case s.UnsureCost > 0:
		text += "; " + s.price(s.UnsureCost) + " of it by calls that failed or were cut, at what they may have cost at most"
	case s.UnsureTokens > 0:
		text += "; " + count(s.UnsureTokens) + " of them by calls that failed or were cut, at what they may have taken at most"
	}
	return text
}

func also(some bool, words string) string {
	if !some {
		return ""
	}
	return " + " + words
}

func (s *Spending) price(amount float64) string { return money(amount) + " " + plain(s.Currency, 3) }
