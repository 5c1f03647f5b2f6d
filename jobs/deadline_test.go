package jobs

import (
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // the table below is about zones that a machine may not have
)

func TestDeadlineOf(t *testing.T) {
	tests := map[string]struct {
		zone, now, text string
		want            string // "" for an error
	}{
		"none":                                   {"UTC", "2026-01-02T20:00:00Z", "", "0001-01-01T00:00:00Z"},
		"later today":                            {"UTC", "2026-01-02T03:00:00Z", "06:00", "2026-01-02T06:00:00Z"},
		"tomorrow":                               {"UTC", "2026-01-02T20:00:00Z", "06:00", "2026-01-03T06:00:00Z"},
		"now is over":                            {"UTC", "2026-01-02T06:00:00Z", "06:00", "2026-01-03T06:00:00Z"},
		"over the end of a year":                 {"UTC", "2026-12-31T20:00:00Z", "6:00", "2027-01-01T06:00:00Z"},
		"in the zone of the machine":             {"Asia/Kolkata", "2026-01-02T03:00:00Z", "09:00", "2026-01-02T03:30:00Z"},
		"the night clocks go forward":            {"America/New_York", "2026-03-08T01:00:00Z", "06:00", "2026-03-08T10:00:00Z"},
		"the night clocks go back":               {"America/New_York", "2026-11-01T01:00:00Z", "06:00", "2026-11-01T11:00:00Z"},
		"a time that is skipped":                 {"America/New_York", "2026-03-08T05:00:00Z", "02:30", "2026-03-08T07:00:00Z"},
		"a time that is skipped, in Europe":      {"Europe/Berlin", "2026-03-28T22:00:00Z", "02:30", "2026-03-29T01:00:00Z"},
		"a time that comes twice, the first":     {"America/New_York", "2026-11-01T05:00:00Z", "01:30", "2026-11-01T05:30:00Z"},
		"a time that comes twice, the second":    {"America/New_York", "2026-11-01T05:45:00Z", "01:30", "2026-11-01T06:30:00Z"},
		"a time that comes twice, both are over": {"America/New_York", "2026-11-01T06:45:00Z", "01:30", "2026-11-02T06:30:00Z"},
		"clocks that skip midnight":              {"America/Santiago", "2026-09-05T20:00:00Z", "00:15", "2026-09-06T04:00:00Z"},
		"a duration":                             {"America/New_York", "2026-03-08T05:00:00Z", "6h", "2026-03-08T11:00:00Z"},
		"a duration of two units":                {"UTC", "2026-01-02T20:00:00Z", "1h30m", "2026-01-02T21:30:00Z"},
		"a moment":                               {"UTC", "2026-01-02T20:00:00Z", "2026-01-03T06:00:00+01:00", "2026-01-03T05:00:00Z"},
		"a moment that has passed":               {"UTC", "2026-01-02T20:00:00Z", "2026-01-02T06:00:00Z", ""},
		"no duration at all":                     {"UTC", "2026-01-02T20:00:00Z", "0s", ""},
		"no such time":                           {"UTC", "2026-01-02T20:00:00Z", "24:00", ""},
		"no such day":                            {"UTC", "2026-01-02T20:00:00Z", "2026-02-30T06:00:00Z", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			zone, err := time.LoadLocation(tt.zone)
			if err != nil {
				t.Fatal(err)
			}
			now, err := time.Parse(time.RFC3339, tt.now)
			if err != nil {
				t.Fatal(err)
			}
			at, err := deadlineOf(tt.text, now.In(zone))
			got := at.UTC().Format(time.RFC3339)
			if err != nil {
				got = ""
			}
			if got != tt.want {
				t.Errorf("deadlineOf(%q) at %s in %s = %q, %v, want %q", tt.text, tt.now, tt.zone, got, err, tt.want)
			}
		})
	}
}

// What the pattern of the schema takes and what the command takes differ only where no pattern can say it.
func TestDeadlinePattern(t *testing.T) {
	for _, text := range []string{"06:00", "6:00", "23:59", "6h", "90m", "1h30m", "2026-01-02T06:00:00Z", "2026-01-02T06:00:00.5+01:00"} {
		if _, err := parseDeadline(text, time.Now()); err != nil || !deadlinePattern.MatchString(text) {
			t.Errorf("%q: %v, pattern %v", text, err, deadlinePattern.MatchString(text))
		}
	}
	for _, text := range []string{"24:00", "6", "6:0", "06:00:00", "six", "-6h", "2026-01-02", "06:00 tomorrow", "06:00\n"} {
		if deadlinePattern.MatchString(text) {
			t.Errorf("the pattern takes %q", text)
		}
	}
}

func TestArgsThatGoOn(t *testing.T) {
	tests := map[string]struct {
		args     []string
		deadline string
		want     []string
	}{
		"a time of day comes again": {[]string{"run", "--deadline", "06:00"}, "06:00", []string{"run", "--deadline", "06:00"}},
		"a moment does not":         {[]string{"run", "--deadline", "2026-01-02T06:00:00Z", "-c", "4"}, "2026-01-02T06:00:00Z", []string{"run", "-c", "4"}},
		"in one word":               {[]string{"run", "--deadline=2026-01-02T06:00:00Z"}, "2026-01-02T06:00:00Z", []string{"run"}},
		"in a job file":             {[]string{"run", "job.yaml"}, "2026-01-02T06:00:00Z", []string{"run", "job.yaml", "--deadline="}},
		"none":                      {[]string{"run"}, "", []string{"run"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := againArgs(tt.args, tt.deadline); !slices.Equal(got, tt.want) {
				t.Errorf("againArgs(%q, %q) = %q, want %q", tt.args, tt.deadline, got, tt.want)
			}
		})
	}
}
