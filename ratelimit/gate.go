package ratelimit

import "time"

const (
	gateSaves   = 0.3 // seconds of a stated quota: what its rate of 0.995 leaves over in a minute
	gatedSaves  = 5   // seconds of the pace behind it
	fullLedger  = 0.98
	falsifyFor  = 5 * time.Minute
	falsifyMost = 3
	strictFirst = 10 * time.Minute // until the gentler accounting is tried again,
	strictMost  = 2 * time.Hour    // and that much at most, doubled each time
)

// A gate is what the service's accounting of a stated quota of tokens is taken to be. A service that gives back at
// once what a request reserved and did not use is a bucket of reserved tokens, whatever its size, and so is a minute
// to which refunds count when they come: the gate keeps the same bucket, so small that neither runs dry. A
// service that counts a refund only in the window of its request keeps reservations for longer: that is strict,
// and then the ledger of the last 60 s decides.
type gate struct {
	bucket
	strict   bool
	tried    bool          // not strict, but after it was
	since    time.Time     // of strict, or tried
	lasts    time.Duration // how long strict lasts this time
	refusals int           // that only the strict accounting explains,
	first    time.Time     // the first of them
}

func newGate(now time.Time, tpm float64, strict bool) gate {
	g := gate{bucket: bucket{last: now, rate: share * tpm / minute}, strict: strict, since: now, lasts: strictFirst}
	g.burst = gateSaves * g.rate
	g.level = g.burst
	return g
}

// ready tells when a request may go that reserves so much: it goes into debt only where the bucket could never hold it, so that
// a minute never takes more than the quota.
func (g *gate) ready(now time.Time, held float64) time.Time {
	return g.reaches(now, min(held, g.burst))
}

// refused notes a refusal of a quota whose ledger of the last 60 s was full, which only the strict accounting explains.
// It tells whether that is believed from now on. certain says that the quota is known to be exhausted.
func (g *gate) refused(now time.Time, certain bool) bool {
	if g.refusals == 0 || now.Sub(g.first) > falsifyFor {
		g.refusals, g.first = 0, now
	}
	g.refusals++
	trial := g.tried && now.Sub(g.since) < falsifyFor
	if !certain && !trial && g.refusals < falsifyMost {
		return false
	}
	if trial {
		g.lasts = min(2*g.lasts, strictMost)
	} else {
		g.lasts = strictFirst
	}
	g.strict, g.since, g.refusals = true, now, 0
	return true
}

// retry tries the gentler accounting again, when it is time.
func (g *gate) retry(now time.Time) bool {
	if !g.strict || now.Sub(g.since) < g.lasts {
		return false
	}
	g.strict, g.tried, g.since = false, true, now
	g.last, g.level = now, 0
	return true
}
