package ratelimit

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// patient sends evenly at a rate that never changes, and after a refusal not for a while.
type patient struct {
	svc           service
	job           job
	rng           *rand.Rand
	now, at       time.Time
	every, rests  time.Duration
	queue         events
	sent, refused int
	used          float64
}

func (p *patient) next() time.Time {
	if len(p.queue) > 0 && p.queue[0].at.Before(p.at) {
		return p.queue[0].at
	}
	return p.at
}

func (p *patient) step(now time.Time) {
	p.now = now
	for len(p.queue) > 0 && !p.queue[0].at.After(now) {
		e := heap.Pop(&p.queue).(*event)
		if e.refused {
			p.refused++
			p.at = now.Add(time.Duration(float64(p.rests) * (0.75 + p.rng.Float64()/2)))
			continue
		}
		u := float64(e.usage.Input + e.usage.Output)
		p.used += u
		p.svc.settle(now, e.began, reserve(e.cost), u)
	}
	if p.at.After(now) {
		return
	}
	e := &event{began: now}
	e.cost, e.usage, e.lasts = p.job.next(p.rng)
	e.at = now.Add(e.lasts)
	if !p.svc.admit(now, reserve(e.cost)) {
		e.refused, e.at = true, now.Add(50*time.Millisecond)
	}
	p.sent++
	heap.Push(&p.queue, e)
	p.at = now.Add(p.every)
}

// TestBestOfPatientClients is the bound of the laboratory's rows with a stranger in the SDK's adaptive mode: even clients that know
// their share of the quota, send evenly and never slow down, and pause after a refusal for as long as is best, are refused more often
// than those rows ask for, unless the quota has fixed minutes. Whatever they leave the stranger takes, and presses until it is refused.
func TestBestOfPatientClients(t *testing.T) {
	for _, clients := range []int{1, 4} {
		for _, shape := range shapeNames {
			least, at := 1.0, ""
			for _, part := range []float64{0.5, 1} { // of an equal share; less would be starving
				for _, rests := range []time.Duration{500, 1000, 4000, 16_000} {
					refused, got := beside(shape, clients, part, rests*time.Millisecond)
					if got >= 0.25 && refused < least {
						least, at = refused, fmt.Sprintf("sending %.2f of an equal share, %v after a refusal, they got %.2f", part, rests*time.Millisecond, got)
					}
				}
			}
			t.Logf("%d beside a stranger, %s: refused %.2f%% at best: %s", clients, shape, 100*least, at)
			minutes := shape == "minute" || shape == "minute, no refund"
			if !minutes && least <= map[int]float64{1: 0.01, 4: 0.02}[clients] {
				t.Errorf("%s: a patient client is refused %.2f%%: then so could ours be", shape, 100*least)
			}
		}
	}
}

// beside lets patient clients share a quota with a stranger for half an hour: how many of their requests are refused, and what they
// get of an equal share.
func beside(shape string, clients int, part float64, rests time.Duration) (refused, got float64) {
	svc := shapes[shape](fast)
	start := time.Unix(1_800_000_017, 0)
	equal := 20.0 / float64(clients+1)
	var all []*patient
	actors := []actor{newAdaptive(svc, plainJob, 1, start)}
	for i := range clients {
		p := &patient{
			svc: svc, job: plainJob, rng: rand.New(rand.NewPCG(uint64(i), 9)), at: start,
			every: time.Duration(float64(time.Second) / (part * equal)), rests: rests,
		}
		all, actors = append(all, p), append(actors, p)
	}
	var n, r, u float64
	count := func(sign float64) {
		for _, p := range all {
			n, r, u = n+sign*float64(p.sent), r+sign*float64(p.refused), u+sign*p.used
		}
	}
	play(start, 10*time.Minute, actors...)
	count(-1)
	play(start.Add(10*time.Minute), 20*time.Minute, actors...)
	count(1)
	return r / n, u / (fast * 20) * float64(clients+1) / float64(clients)
}
