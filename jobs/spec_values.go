package jobs

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
)

// want says what a value has to be.
func (f *setting) want() string {
	number := func(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
	between := "from " + number(f.least) + " to " + number(f.most)
	switch {
	case f.above && f.most == anyInteger:
		between = "above " + number(f.least)
	case f.above:
		between = "above " + number(f.least) + " and up to " + number(f.most)
	case f.most == anyInteger:
		between = "of at least " + number(f.least)
	}
	switch f.at(new(Spec)).(type) {
	case *bool:
		return "true or false"
	case *int, *int64:
		return "a whole number " + between
	case *float64:
		return "a number " + between
	case *Bytes:
		return fmt.Sprintf("a number of bytes such as 64MiB, from 1 to %v", Bytes(f.most))
	case *time.Duration:
		return "a duration with its unit such as 30s, above 0 and up to " + duration(time.Duration(f.most*float64(time.Second)))
	}
	if f.words != nil {
		return "one of " + strings.Join(f.words, ", ")
	}
	return f.what
}

// set gives the field of s the value that text stands for. It is left alone when text is not a value for it.
func (f *setting) set(s *Spec, text string) error {
	next := *s // a fault must not leave half of it behind
	var err error
	switch p := f.at(&next).(type) {
	case *bool:
		*p, err = strconv.ParseBool(text)
	case *int:
		*p, err = strconv.Atoi(text)
	case *int64:
		*p, err = strconv.ParseInt(text, 10, 64)
	case *float64:
		*p, err = strconv.ParseFloat(text, 64)
	case *Bytes:
		*p, err = parseBytes(text)
	case *time.Duration:
		*p, err = parseDuration(text)
	case *string:
		*p = text
	case *[]string:
		*p = append(slices.Clone(*p), text)
	}
	if err != nil {
		return errors.New("expected " + f.want())
	}
	if wrong := f.wrong(&next); wrong != "" {
		return errors.New(wrong)
	}
	if f.above && f.text(&next) == "" {
		// A script that has worked out that nothing may be spent must not get a run without a bound.
		return errors.New("expected " + f.want())
	}
	*s = next
	return nil
}

// wrong says what is wrong with the field of s by itself, or "".
func (f *setting) wrong(s *Spec) string {
	inRange := func(v float64) bool { return v >= f.least && v <= f.most }
	ok := true
	switch p := f.at(s).(type) {
	case *int:
		ok = inRange(float64(*p))
	case *int64:
		ok = inRange(float64(*p))
	case *float64:
		ok = inRange(*p) // never so for NaN
	case *Bytes:
		ok = inRange(float64(*p))
	case *time.Duration:
		ok = *p > 0 && inRange(p.Seconds())
	case *string:
		switch {
		case *p == "": // unset, by default, unless the default is something else
			def := Defaults()
			ok = *f.at(&def).(*string) == ""
		case f.words != nil:
			ok = slices.Contains(f.words, *p)
		default:
			ok = f.pattern.MatchString(*p)
			if ok && f.check != nil {
				return f.check(*p)
			}
		}
	case *[]string:
		for _, text := range *p {
			ok = ok && f.pattern.MatchString(text)
		}
	}
	if ok {
		return ""
	}
	return "expected " + f.want()
}

// text is the field's value in words, as [setting.set] would take it; "" where nothing is said and nothing stands for that.
func (f *setting) text(s *Spec) string {
	switch p := f.at(s).(type) {
	case *[]string:
		return strings.Join(*p, ", ")
	case *time.Duration:
		return duration(*p)
	case *float64:
		if f.above && *p == f.least {
			return ""
		}
		return strconv.FormatFloat(*p, 'g', -1, 64)
	case *int64:
		if f.above && float64(*p) == f.least {
			return ""
		}
		return strconv.FormatInt(*p, 10)
	case *string:
		return *p
	default:
		return fmt.Sprint(reflect.ValueOf(p).Elem())
	}
}

// duration is d without units that are zero: 10m rather than 10m0s.
func duration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

var bytesPattern = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?(B|kB|KB|MB|GB|KiB|MiB|GiB)?$`)

func parseBytes(text string) (Bytes, error) {
	if !bytesPattern.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	n, err := humanize.ParseBytes(text)
	if err == nil && n > math.MaxInt64 {
		err = strconv.ErrRange
	}
	return Bytes(n), err
}

// Narrower than [time.ParseDuration], so that the schema can say the same: no sign.
var durationPattern = regexp.MustCompile(`^(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`)

func parseDuration(text string) (time.Duration, error) {
	if !durationPattern.MatchString(text) {
		return 0, strconv.ErrSyntax
	}
	return time.ParseDuration(text)
}

func checkURL(text string) string {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "":
		return "expected an http or https URL"
	case u.User != nil:
		return "expected a URL without a user name or password" // it would show in process lists and in the run's state
	case u.RawQuery != "" || u.Fragment != "":
		return "expected a URL without ? or #: paths are added to it"
	}
	return ""
}

func checkLoopback(text string) string {
	addr, err := netip.ParseAddrPort(strings.Replace(text, "localhost:", "127.0.0.1:", 1))
	if err != nil || !addr.Addr().IsLoopback() {
		return "expected " + loopback
	}
	return ""
}
