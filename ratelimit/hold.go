package ratelimit

import "time"

const (
	holdFirst  = 200 * time.Millisecond
	holdFirst2 = 2 * time.Second // the longest first hold, for requests that need long to be earned
	holdMost   = 4 * time.Second
	holdAgain  = 3 * time.Second // a refusal this soon after a hold doubles it
	holdFew    = 8 * time.Second // the longest where there are few requests, and it grows fourfold
	probeLeast = 80 * time.Millisecond
	probeMost  = 2 * time.Second

	fullKeeps = 0.996           // of what the last 60 s held when they were refused more they may hold again:
	fullFor   = 4 * time.Second // the least of the refusals so close to each other
	fullMost  = 2 * time.Second // is waited for

	dayFirst = 5 * time.Second
	dayGrow  = 1.6
	dayMost  = 10 * time.Minute
	dayProbe = 30 * time.Second // a try that lives this long was not refused
)

// A hold keeps everything back for a while after a refusal, and lets one request go alone after it. The same machine
// serves refusals of the minute's and of the day's quota.
type hold struct {
	step  time.Duration // of the last hold, before jitter
	began time.Time     // of the last hold; zero: none yet
	until time.Time
	due   bool      // the hold has not had its request yet
	alone bool      // the request is on its way
	sent  time.Time // when it left
	id    uint32    // which it is
}

// active says that a hold or its request keeps others back.
func (h *hold) active() bool { return h.due || h.alone }

// counts says that a refusal of a request sent at t is news: not the echo of what the hold answered already.
func (h *hold) counts(t time.Time) bool { return h.began.IsZero() || t.After(h.began) }

// begin holds everything back from now on for about step.
func (h *hold) begin(now time.Time, step time.Duration, jitter float64) {
	h.step, h.began = step, now
	h.until = now.Add(time.Duration(float64(step) * (0.75 + 0.5*jitter)))
	h.due, h.alone = true, false
}

// ready tells when a request may go. verdict is how long the lone request takes at most to be refused.
func (h *hold) ready(now time.Time, verdict time.Duration) time.Time {
	switch {
	case h.due && now.Before(h.until):
		return h.until
	case h.alone:
		if at := h.sent.Add(verdict); now.Before(at) {
			return at
		}
		h.alone = false
	}
	return now
}

// admitted notes that a request goes. The first after a hold goes alone.
func (h *hold) admitted(now time.Time, id uint32) {
	if h.due {
		h.due, h.alone, h.sent, h.id = false, true, now, id
	}
}

// ended notes that a request ended without being refused, or, with lost, without any verdict.
func (h *hold) ended(id uint32, lost bool) {
	if h.alone && h.id == id {
		h.alone, h.due = false, lost
	}
}

// refused notes a refusal of the minute's quota. earn is how long the pace needs for the request that was refused. Where there
// are few requests, tries are much of them.
func (h *hold) refused(now time.Time, earn time.Duration, few bool, jitter float64) {
	again, most := 2*h.step, holdMost
	if few {
		again, most = 4*h.step, holdFew
	}
	step := min(max(holdFirst, earn), holdFirst2)
	if !h.began.IsZero() && now.Sub(h.until) <= holdAgain {
		step = min(max(again, step), most)
	}
	h.begin(now, step, jitter)
}

// refusedDay notes a refusal of the day's quota. going is true while no try has succeeded since the last one.
func (h *hold) refusedDay(now time.Time, going bool, jitter float64) {
	step := dayFirst
	if going {
		step = min(time.Duration(float64(h.step)*dayGrow), dayMost)
	}
	h.begin(now, step, jitter)
}

// full is how much the last 60 s held when they were refused more, the least of the refusals of a spell.
type full struct {
	held  float64 // tokens
	until time.Time
}

// refused notes a refusal.
func (f *full) refused(now time.Time, held float64) {
	held *= fullKeeps
	if now.Before(f.until) {
		held = min(held, f.held)
	}
	f.held, f.until = held, now.Add(fullFor)
}
