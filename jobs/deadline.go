package jobs

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"
)

const deadlineWant = "a time of day such as 06:00, a duration from now such as 6h, or a time such as 2026-01-02T06:00:00Z"

// Of what looks like a deadline, checkDeadline says whether it is one.
var deadlinePattern = regexp.MustCompile(`^(([01]?[0-9]|2[0-3]):[0-5][0-9]|[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]+([Zz]|[+-][0-9]{2}:[0-9]{2})|` +
	strings.Trim(durationPattern.String(), "^$") + `)$`)

func checkDeadline(text string) string {
	if _, err := parseDeadline(text, time.Now()); err != nil {
		return "expected " + deadlineWant
	}
	return ""
}

// deadlineOf is the moment that a deadline means at now; zero for "". One that has passed is a *[SpecError].
func deadlineOf(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := parseDeadline(text, now)
	if err != nil {
		return time.Time{}, err
	}
	if !at.After(now.Round(0)) {
		return time.Time{}, &SpecError{[]Fault{{Key: "deadline", Message: text + " has passed: give a later one, or a duration such as 6h"}}}
	}
	return at, nil
}

// parseDeadline reads a deadline as it was said at now, in the time zone of now. The result is on the wall clock.
func parseDeadline(text string, now time.Time) (time.Time, error) {
	if d, err := parseDuration(text); err == nil {
		if d <= 0 || d > year*time.Second {
			return time.Time{}, errors.New("not above 0 and up to a year")
		}
		return now.Add(d).Round(0), nil
	}
	if clock, err := time.Parse("15:04", text); err == nil {
		return nextClock(clock.Hour(), clock.Minute(), now), nil
	}
	return time.Parse(time.RFC3339, strings.ToUpper(text))
}

// absoluteDeadline reports whether a deadline means the same moment whenever it is said: one that was met cannot be said again.
func absoluteDeadline(text string) bool {
	_, err := time.Parse(time.RFC3339, strings.ToUpper(text))
	return err == nil
}

// nextClock is the first moment after now at which clocks in its zone show the hour and minute. On the day on which they skip
// that time it is the moment at which they do; on the day on which they show it twice both count.
func nextClock(hour, minute int, now time.Time) time.Time {
	now = now.Round(0)
	y, m, d := now.Date()
	for day := d; ; day++ {
		for _, at := range shows(y, m, day, hour, minute, now.Location()) {
			if at.After(now) {
				return at
			}
		}
	}
}

// shows are the moments of a day at which clocks show a time, or skip it, in their order.
func shows(y int, m time.Month, day, hour, minute int, zone *time.Location) []time.Time {
	said := time.Date(y, m, day, hour, minute, 0, 0, time.UTC)
	noon := time.Date(y, m, day, 12, 0, 0, 0, zone)
	var moments []time.Time
	for _, near := range []time.Duration{-dayOfClocks, dayOfClocks} { // the zone's offsets before and after whatever happens that day
		_, offset := noon.Add(near).Zone()
		at := said.Add(-time.Duration(offset) * time.Second).In(zone)
		if onClocks(at).Equal(said) && !slices.ContainsFunc(moments, at.Equal) {
			moments = append(moments, at)
		}
	}
	if moments != nil {
		slices.SortFunc(moments, time.Time.Compare)
		return moments
	}
	// Date takes a skipped time by the offset of before or after; the skip is the bound of that zone nearest to it.
	at := time.Date(y, m, day, hour, minute, 0, 0, zone)
	begins, ends := at.ZoneBounds()
	if onClocks(at).After(said) {
		return []time.Time{begins}
	}
	return []time.Time{ends}
}

// onClocks is what clocks show at a moment, to be compared with what they show at another.
func onClocks(at time.Time) time.Time {
	_, offset := at.Zone()
	return at.Add(time.Duration(offset) * time.Second).UTC()
}

// dayOfClocks is past any change of clocks on a day, seen from its noon.
const dayOfClocks = 14 * time.Hour

// againArgs is the command line that goes on: a moment that will have passed is no deadline for it. One that stands in a job
// file is taken back by an empty flag.
func againArgs(args []string, deadline string) []string {
	if !absoluteDeadline(deadline) {
		return args
	}
	var again []string
	said := false
	for i := 0; i < len(args); i++ {
		switch {
		case args[i] == "--deadline":
			i++
			said = true
		case strings.HasPrefix(args[i], "--deadline="):
			said = true
		default:
			again = append(again, args[i])
		}
	}
	if !said {
		again = append(again, "--deadline=")
	}
	return again
}
