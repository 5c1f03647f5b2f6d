package ratelimit

import "time"

const (
	gateSaves   = 0.3              // seconds of a stated quota: what its rate of 0.995 leaves over in a minute
	gatedSaves  = 5                // seconds of the pace behind it
	strictFirst = 10 * time.Minute // until the gentler accounting is tried again,
	strictMost  = 2 * time.Hour    // and that much at most, doubled each time

	fullLedger = 0.98 // of the quota: a sliding minute that refuses has at least so much,
	pastLedger = 1.02 // and never more: slots of the ledger, and requests not refused yet, are less than that

	falsifyFor  = 5 * time.Minute // in which refusals make the strict accounting believed:
	falsifyNear = 2               // so many, if the ledger is not past the quota,
	falsifyMost = 3               // so many, if it is and they follow each other
	falsifyNext = 45 * time.Second
	falsifyFar  = 5 // and so many else

	// A strict minute ends with no more than the quota in the ledger, and what it refused is tried again soon.
	pastFor   = 70 * time.Second
	strayMost = 6 // refusals in falsifyFor that have another reason are those of a minute's edge, or of what differs on the way to the service
)

// A gate is what the service's accounting of a stated quota of tokens is taken to be. A service that gives back at
// once what a request reserved and did not use is a bucket of reserved tokens, whatever its size, and so is a minute
// to which refunds count when they come: the gate keeps the same bucket, so small that neither runs dry. A
// service that counts a refund only in the window of its request keeps reservations for longer: that is strict,
// and then the ledger of the last 60 s decides.
//
// Which it is shows in how full that ledger is (reservations of what is in flight, settlements of the rest):
//
//	sliding minute   never above the quota, and at it whenever something is refused
//	strict minute    not above it when the minute ends; refuses for as long before that as the reservations are too many
//	gives back       above it all the time, by what is reserved in flight; a minute may refuse now and then as it ends
//
// The less it is above the quota, the less evidence is asked for: to be wrong then costs as little.
type gate struct {
	bucket
	tpm      float64
	strict   bool
	tried    bool          // not strict, but after it was
	since    time.Time     // of strict, or tried
	lasts    time.Duration // how long strict lasts this time
	past     time.Time     // since when whatever went found the ledger past the quota; zero: the last did not
	refusals tally         // that only the strict accounting explains
	strays   tally         // that neither does, or that strict comes short by
}

// A tally counts what happens within falsifyFor of its first.
type tally struct {
	n           int
	first, last time.Time
}

func (t *tally) count(now time.Time) int {
	if t.n == 0 || now.Sub(t.first) > falsifyFor {
		t.n, t.first = 0, now
	}
	t.n++
	t.last = now
	return t.n
}

func newGate(now time.Time, tpm float64, strict bool) gate {
	g := gate{bucket: bucket{last: now, rate: share * tpm / minute}, tpm: tpm, strict: strict, since: now, lasts: strictFirst}
	g.burst = gateSaves * g.rate
	g.level = g.burst
	return g
}

// ready tells when a request may go that reserves so much: it goes into debt only where the bucket could never hold it, so that
// a minute never takes more than the quota.
func (g *gate) ready(now time.Time, held float64) time.Time {
	return g.reaches(now, min(held, g.burst))
}

// admitted notes that a request goes while the ledger of the last 60 s holds so much.
func (g *gate) admitted(now time.Time, ledger float64) {
	switch {
	case ledger <= pastLedger*g.tpm:
		g.past = time.Time{}
	case g.past.IsZero():
		g.past = now
	}
}

// disproved says that the service is not strict: it has admitted what no strict one would.
func (g *gate) disproved(now time.Time) bool {
	return !g.past.IsZero() && now.Sub(g.past) >= pastFor
}

// refused notes a refusal while the ledger of the last 60 s held so much, and with the request the whole quota, which only the
// strict accounting explains. It tells whether that is believed from now on. certain says that the quota is known to be exhausted.
func (g *gate) refused(now time.Time, ledger float64, certain bool) bool {
	most := falsifyMost
	switch {
	case ledger <= pastLedger*g.tpm:
		most = falsifyNear
	case now.Sub(g.refusals.last) > falsifyNext:
		most = falsifyFar
	}
	trial := g.tried && now.Sub(g.since) < falsifyFor
	if n := g.refusals.count(now); n < most && !certain && !trial {
		return false
	}
	if trial {
		g.lasts = min(2*g.lasts, strictMost)
	} else {
		g.lasts = strictFirst
	}
	g.strict, g.since, g.refusals = true, now, tally{}
	return true
}

// strayed notes a refusal that would speak for the strict accounting, had it not been disproved. It tells whether such refusals are
// few: then they are held for, and that is all.
func (g *gate) strayed(now time.Time) bool {
	g.tried, g.refusals = false, tally{}
	return g.strays.count(now) <= strayMost
}

// retry tries the gentler accounting again, when it is time.
func (g *gate) retry(now time.Time) bool {
	if !g.strict || now.Sub(g.since) < g.lasts {
		return false
	}
	g.strict, g.tried, g.since, g.past = false, true, now, time.Time{}
	g.last, g.level = now, 0
	return true
}
