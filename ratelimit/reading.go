package ratelimit

import (
	"math"
	"time"
)

const (
	// Readings agree where they differ by no more than a share of themselves, and by so many requests of those they are made of.
	minuteTies, minuteTiesOf = 0.005, 2
	windowTies, windowTiesOf = 0.003, 1
	flowTies, flowTiesOf     = 0.004, 1.5

	readings       = 3    // in a row that agree with the one before make a window's or a bucket's certain,
	minuteReadings = 2    // and a minute's, since minutes have to be known before
	recently       = 0.7  // weight of the last in their mean
	flowLeast      = 10   // seconds between two refusals that are a reading
	changed        = 0.02 // more than this off, twice in a row, and somebody else uses the quota
	doubts         = 3    // refusals soon after a cut that a known quota explains
	surprises      = 2    // without having asked for more, in a row, that it does not
	nearby         = 0.12 // a reading of a minute is at first no further off than this from what was admitted,
	nearer         = 0.05 // or from the one before,
	nearLast       = 0.08 // or from what was admitted at the cut before,
	fewRead        = 8    // requests a minute are the fewest that make one certain
	leastRead      = 0.4  // and later, as one of any other kind, not less than this of the one before, or it is none

	keepsExact  = 0.995 // of a quota that is known is used
	keepsWindow = 0.997 // of a window that slides may be full
	askEach     = 200   // requests without a refusal, or
	askAfter    = 180   // seconds held back, and it is asked for more,
	askUneven   = 0.2   // sooner or later by up to this part of it: refusals every two minutes would seem to be those of minutes that end,
	askMore     = 0.015 // by this share, or a request, more than what would show it:
	isMore      = 0.015 // so much admitted above what is known,
	isMoreOf    = 2     // and so many requests, since a reading is no finer than a request
	askWindow   = 0.0015
	askFastest  = 1.3 // times a minute's quota, or what is asked for, is the fastest pace that this takes
	moreDoubles = 20  // seconds in which the pace doubles where there is more

	// Refused with a request and more than this less of a window used, or with more than so many requests left in a bucket, and by more than what
	// readings of it may differ: somebody else did it.
	foreignMinute = 0.98
	foreignWindow = 0.993
	foreignFlow   = 2

	exactSaves = 0.2 // seconds of the pace, while a window's limit holds requests back
)

// A reading is what the quota was seen to hold at refusals, in tokens a second.
//
// Who is alone on a quota can read it off. At a refusal the service's own level is known: a minute, or the last 60 s, hold all that
// they may, or a bucket is empty, as it was at the refusal before, so that what was taken in between is what flowed in. Such
// readings agree to a fraction of a percent, refusal for refusal, if they are made in the way in which the service counts, and if
// nobody else takes a part. So there is one reading for each way, and the one that agrees with itself is believed: it
// tells the shape of the quota, its size, and that nobody else is there.
type reading struct {
	rate   float64 // the mean of those that agree,
	agreed int     // and how many did since one did not
	missed int     // were far off since they were certain
	sure   bool
}

// read compares a reading with those before. One that is far off may be a quota that has changed, and is believed; so is not
// the next.
func (r *reading) read(rate, ties float64, least int) {
	if rate > (1+ties)*r.rate || r.rate > (1+ties)*rate {
		if math.Abs(rate-r.rate) > changed*r.rate {
			r.missed++
		}
		r.rate, r.agreed = rate, 0
		r.sure = r.sure && r.missed < 2
		return
	}
	r.agreed++
	r.rate += recently * (rate - r.rate)
	if r.agreed >= least {
		r.sure, r.missed = true, 0
	}
}

// agreeing is how many readings of so many requests a minute, of least else, make one certain: few agree by chance, and are waited out for long.
func agreeing(least int, requests float64) int {
	if requests < fewRead {
		return math.MaxInt
	}
	return least
}

// A fill is how full the windows of a quota are, by what this limiter has taken from it: reserved while in flight, settled after.
type fill struct {
	minute float64 // the fixed minute in tokens a second, if it is known when it began; else 0
	left   float64 // seconds of it
	window float64 // the last 60 s, in tokens a second
	total  float64 // tokens ever taken,
	at     float64 // at this second
	held   float64 // tokens of the request that was to be added, of which half is in the others

	minutes bool // it is known when minutes begin, if only since the refusal
}

// A quota is what a pace knows of the quota it is a share of.
type quota struct {
	minute, window, flow reading
	tides                bool // its minutes are known
	emptied              fill // at the last refusal

	asks   int     // times that it asked for more
	quiet  float64 // seconds held back since a refusal, and of those
	asking float64 // so many in which it asked for more than is known of,
	most   float64 // which is up to so many tokens a second
	asked  bool    // the last refusal came of that
	more   bool    // there is more

	doubts    int // refusals soon after the last cut
	surprises int // in a row without having asked
}

// exact is the reading that is certain, or nil.
func (q *quota) exact() *reading {
	switch {
	case q.tides:
		if q.minute.sure {
			return &q.minute
		}
	case q.window.sure && (!q.flow.sure || q.window.agreed >= q.flow.agreed):
		return &q.window
	case q.flow.sure:
		return &q.flow
	}
	return nil
}

// A basis is what a cut goes by, in tokens a second.
type basis struct {
	admitted float64 // in the last 60 s,
	pace     float64 // which allowed so much at their end,
	last     float64 // and the same as admitted at the cut before
	requests float64 // a minute: so many were admitted
}

// read takes the readings at a refusal that cuts the pace.
func (q *quota) read(at fill, by basis) {
	switch r := q.exact(); {
	case r == nil:
	case q.foreign(r, at) || r != &q.minute && q.unasked():
		q.forget()
	case q.more && r == &q.flow:
		q.flow = reading{} // what flowed before there was more, and after
	}
	q.more, q.doubts = false, 0
	q.rest()

	near := at.minute > (1-nearby)*min(by.pace, by.admitted) && at.minute < (1+nearby)*by.admitted ||
		at.minute > 0 && math.Abs(at.minute-by.last) < nearLast*by.last ||
		q.tides && math.Abs(at.minute-q.minute.rate) < nearer*q.minute.rate
	q.tides = at.minute > 0 && (near || q.minute.sure && at.minute > leastRead*q.minute.rate)
	if !q.tides {
		q.minute = reading{}
	} else {
		q.minute.read(at.minute, minuteTies+minuteTiesOf/by.requests, agreeing(minuteReadings, by.requests))
	}
	if at.window < leastRead*q.window.rate {
		q.window = reading{}
	} else {
		q.window.read(at.window, windowTies+windowTiesOf/by.requests, agreeing(readings, by.requests))
	}
	q.flowed(at, by.requests)
}

// flowed reads what flowed in since the refusal before.
func (q *quota) flowed(at fill, requests float64) {
	d := at.at - q.emptied.at
	if q.emptied.at == 0 || d < flowLeast {
		return
	}
	// What was given back may be as much as was taken, or more: nothing has flowed then, but that is no quota.
	if rate := (at.total - q.emptied.total) / d; rate <= 0 || rate < leastRead*q.flow.rate {
		q.flow = reading{}
	} else {
		q.flow.read(rate, flowTies+flowTiesOf/(requests*d/minute), agreeing(readings, requests))
	}
}

// foreign says that somebody else caused a refusal: what is known was not used up.
func (q *quota) foreign(r *reading, at fill) bool {
	switch {
	case r == &q.minute:
		return at.minute < foreignMinute*r.rate-at.held/minute
	case r == &q.window:
		return at.window < foreignWindow*r.rate-at.held/minute
	}
	flowed := r.rate * (at.at - q.emptied.at)
	return flowed-(at.total-q.emptied.total) > foreignFlow*at.held+flowTies*flowed
}

// unasked says that the second refusal in a row came without having asked for more. A quota that is known is not used up then.
func (q *quota) unasked() bool {
	if q.asked || q.more {
		q.surprises = 0
		return false
	}
	q.surprises++
	return q.surprises >= surprises
}

// forget knows nothing any more, but when minutes begin.
func (q *quota) forget() {
	q.minute, q.window, q.flow = reading{}, reading{}, reading{}
	q.surprises = 0
}

// doubt notes a refusal soon after a cut. Too many are of a quota that has changed.
func (q *quota) doubt() {
	if q.doubts++; q.doubts > doubts {
		q.minute.sure, q.window.sure, q.flow.sure = false, false, false
	}
}

// rest asks for no more until enough requests were not refused.
func (q *quota) rest() {
	if q.asking > 0 {
		q.asked = true
		q.asks++
	}
	q.quiet, q.asking = 0, 0
}

// patience is what the time until it asks is multiplied with. Multiples of the golden ratio spread it evenly, however often it has asked.
func (q *quota) patience() float64 {
	_, part := math.Modf(float64(q.asks+1) * math.Phi)
	return 1 + askUneven*(2*part-1)
}

// limit is how many tokens a second the last 60 s may hold.
func (q *quota) limit() float64 {
	if r := q.exact(); r == &q.window && r != nil && !q.more {
		return min((keepsWindow+askWindow*q.asking)*r.rate, max(q.most, keepsWindow*r.rate))
	}
	return math.Inf(1)
}

// ask lets time pass in which requests that cost each were held back at some pace, and tells the pace from now on. All of
// the quota is used, and now and then a little more is asked for; what is admitted of that says how much more there is.
func (q *quota) ask(d time.Duration, r *reading, at fill, pace, each float64) float64 {
	past := (1+isMore)*r.rate + isMoreOf*each/minute
	q.most = past + max(askMore*r.rate, each/minute)
	if q.quiet += d.Seconds(); q.quiet > q.patience()*min(askAfter, askEach*each/pace) {
		q.asking += d.Seconds()
	}
	q.asked = false
	var now float64
	switch r {
	case &q.minute:
		if at.left <= minute-minuteEdge { // else it is with that of the minute before, which only a refusal may be of
			now = at.minute
		}
	case &q.window:
		now = at.window
	case &q.flow:
		now = r.rate + (at.total-q.emptied.total-r.rate*(at.at-q.emptied.at))/minute
	}
	q.more = q.more || now > past
	switch {
	case q.more:
		return pace * math.Exp2(d.Seconds()/moreDoubles)
	case q.asking == 0:
		return pace
	case r == &q.minute: // which shows it at its end only
		return max(keepsExact*r.rate, min(minute*(q.most-now)/max(2, at.left), max(askFastest*r.rate, q.most)))
	}
	return q.most
}
