package ratelimit

import (
	"slices"
	"testing"
	"time"
)

// TestRivalsAreAskedForTogether: whoever sees too many refusals asks at the same minutes of the clock.
func TestRivalsAreAskedForTogether(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 0, 20, 0, time.UTC)
	tests := []struct {
		name string
		r    rivals
		due  []int // minutes past three
	}{
		{"alone", rivals{}, []int{3, 6, 9, 12, 15, 18, 21, 24}},
		{"alone, and told so", rivals{quiet: true}, []int{12, 24}},
		{"asking", rivals{state: asking}, []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24}},
		{"pressed", rivals{state: pressed, asked: 1}, []int{3, 6, 9, 12, 15, 18, 21, 24}},
		{"pressed for long", rivals{state: pressed, asked: 2}, []int{12, 24}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, due := test.r, []int(nil)
			for now := start; now.Before(start.Add(24 * time.Minute)); now = now.Add(7 * time.Second) {
				if r.due(now) {
					due = append(due, now.Minute())
				}
			}
			if !slices.Equal(due, test.due) {
				t.Errorf("due at %v, want %v", due, test.due)
			}
		})
	}
}

func TestRivalsPressWhereRefusalsGoOn(t *testing.T) {
	tests := []struct {
		name                  string
		before, sent, refused float64
		want                  bool
	}{
		{"as many as before", 0.05, 500, 25, true},
		{"half of them", 0.05, 500, 13, true},
		{"few are left", 0.05, 500, 9, false},
		{"none", 0.05, 500, 0, false},
		{"all: the service is out", 0.05, 500, 500, false},
		{"few requests, and one of them refused", 0.04, 70, 1, true},
		{"few requests, none refused", 0.04, 70, 0, false},
		{"hardly any requests", 0.1, 10, 0, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := rivals{state: hearing, before: test.before, sent: test.sent, refused: test.refused}
			if got := r.press(); got != test.want {
				t.Errorf("press() = %v, want %v", got, test.want)
			}
		})
	}
}

// TestRivalsThatLeave: runners that a rival has pressed go back to refusing little, though each still sees the others press.
func TestRivalsThatLeave(t *testing.T) {
	for _, shape := range shapeNames {
		t.Run(shape, func(t *testing.T) {
			sc := scenario{job: plainJob, tpm: fast, runners: 4, join: time.Minute, stranger: true, warm: 50, lasts: 10}
			noticed := false
			sc.at = func(sec int, l *lab) {
				for _, s := range l.ours {
					noticed = noticed || s.core.rivals.state == pressed
				}
				if sec == 25*60 {
					l.alien.quit()
				}
			}
			got, _ := sc.play(shape, 1)
			if !noticed {
				t.Error("nobody noticed the rival")
			}
			if got.refused > 0.015 || got.share < 0.97 {
				t.Errorf("half an hour after it left: %v", got)
			}
		})
	}
}
