package words

import (
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for want, got := range map[string]string{
		"1,234,567": Count(1_234_567),
		"0%":        Percent(-1), "<0.1%": Percent(0.0001), "2.1%": Percent(0.021), "10%": Percent(0.0996), ">99%": Percent(0.9999), "100%": Percent(1),
		"59s": Span(59*time.Second + 400*time.Millisecond), "1m00s": Span(59*time.Second + 600*time.Millisecond), "2h05m": Span(2*time.Hour + 5*time.Minute), "3d04h": Span(76 * time.Hour),
		"0.00": Money(0), "0.000012": Money(0.000_012), "0.050": Money(0.05), "0.50": Money(0.5), "1.00": Money(0.999), "12,345.68": Money(12_345.678),
		"1,433": Figure(1432.6), "100": Figure(99.96), "99.9": Figure(99.94), "10.0": Figure(9.996), "0.05": Figure(0.05),
		`a\x1b[0m\n…`: Plain("a\x1b[0m\nmore", 6), "ü": Plain("ü", 10), "…": Plain("ü", 1),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
