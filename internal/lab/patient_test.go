package lab

import (
	"bytes"
	"context"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// With the quota to itself a patient client gets the part that it sends, evenly, and is never refused.
func TestPatientGetsItsPart(t *testing.T) {
	sc := quotaRow("nobody else", time.Minute, Target{})
	sc.Lasts = 4 * time.Minute
	for _, shape := range Shapes {
		for _, part := range []float64{0.5, 0.85} {
			o := play(t, sc, Cell{Row: sc.Name, Shape: shape, Seed: 1, Kind: Patient, Patience: Patience{Part: part, Rest: time.Second}}).Outcome
			if math.Abs(o.Share-part) > 0.02 || o.Throttled > 0 {
				t.Errorf("%s: who sends %v of the quota got %.3f, with %.2f %% refused", shape, part, o.Share, 100*o.Throttled)
			}
			if o.Answered != o.Records || o.Again+o.Twice > 0 {
				t.Errorf("%s: %d of %d records answered, %d stored again, %d paid twice", shape, o.Answered, o.Records, o.Again, o.Twice)
			}
		}
	}
}

// After a refusal it sends nothing until its rest is over, then as before, and what was refused is sent again.
func TestPatientRests(t *testing.T) {
	const rate, records, every = 10.0, 3000, 100 * time.Millisecond
	tokens := rate * meanUse(plain, 1)
	for name, tt := range map[string]struct {
		how         Patience
		least, most time.Duration // between a refusal and the next call
	}{
		"a second":              {Patience{Part: 1, Rest: time.Second}, 750 * time.Millisecond, 1250*time.Millisecond + every},
		"sixteen seconds":       {Patience{Part: 1, Rest: 16 * time.Second}, 12 * time.Second, 20*time.Second + every},
		"until the full minute": {Patience{Part: 1, FullMinute: true}, 0, time.Minute + every},
	} {
		var svc *Service
		var p *pool
		synctest.Test(t, func(*testing.T) {
			half := func(time.Duration) float64 { return tokens / 2 }
			svc = NewService(Config{Seed: 1, Shape: Minute, Tokens: half, Workload: func(int64) Workload { return plain }})
			p = newPool(svc, records, nil)
			newPatient(p, 0, 1, rate, tt.how, 1).run(context.Background(), streams)
		})
		calls := svc.Calls()
		if p.answered != records || p.again > 0 || answeredTwice(calls) > 0 {
			t.Errorf("%s: %d of %d records answered, %d stored again", name, p.answered, records, p.again)
		}
		refused, gaps := 0, map[time.Duration]bool{}
		for i, c := range calls[:len(calls)-1] {
			gap := calls[i+1].At - c.At
			if c.Fate != Refused {
				if i+1 < records && gap < every {
					t.Errorf("%s: %v between two calls, want %v at least", name, gap, every)
				}
				continue
			}
			refused++
			gaps[gap] = true
			if rested := gap - DefaultRTT; rested < tt.least || rested > tt.most {
				t.Errorf("%s: a refusal at %v, the next call %v later", name, c.At, gap)
			}
			if into := (calls[i+1].At + svc.phase) % window; tt.how.FullMinute && into > every+DefaultRTT {
				t.Errorf("%s: a refusal at %v, and the next call %v into a minute", name, c.At, into)
			}
		}
		if refused < 8 || len(gaps) < refused/2 {
			t.Errorf("%s: %d refusals, and %d different rests", name, refused, len(gaps))
		}
	}
}

// The best is who was refused least among those who did all else that is asked of ours.
func TestBestOfPatients(t *testing.T) {
	sc := quotaRow("a row", 0, Target{Share: 0.965, Throttled: 0.01, Stranger: 0.5})
	sc.Stranger = true
	run := func(throttled float64, change func(o *Outcome)) Result {
		o := &Outcome{Share: 0.95, Bound: 0.98, Throttled: throttled, Least: 0.4, Stranger: 1.6, Jain: 1, Records: 9, Answered: 9}
		change(o)
		return Result{Cell: Cell{Row: sc.Name, Shape: Minute, Kind: Patient, Patience: Patience{Part: throttled, Rest: time.Second}}, Outcome: o}
	}
	as := func(*Outcome) {}
	poor := []Result{
		run(0.001, func(o *Outcome) { o.Least = 0.39 }),
		run(0.002, func(o *Outcome) { o.Stranger = 0.49 }),
		run(0.003, func(o *Outcome) { o.Share = 0.94 }),
		run(0.004, func(o *Outcome) { o.Answered = 8 }),
	}
	ours := run(0.05, as)
	ours.Kind, ours.Patience = Ours, Patience{}
	better := ours
	better.Outcome = run(0.04, as).Outcome
	for name, tt := range map[string]struct {
		runs []Result
		want []string
	}{
		"nobody played":                {nil, nil},
		"none does what is asked":      {poor, []string{"none of 4 compares", "| 0.10 (0.390)", "| ≤ 1 "}},
		"the target is above the best": {append([]Result{run(0.02, as), run(0.008, as)}, poor...), []string{"| 0.008, 1s", "| 0.80 ", "| 0.10 (0.390)", "| ≤ 1 "}},
		"the target is below the best": {append([]Result{run(0.02, as), run(0.03, as)}, poor...), []string{"| 0.02, 1s", "| 2.00 ", "| 5.00 ", "| ≤ 1: below the best"}},
	} {
		var out bytes.Buffer
		PrintBest(&out, []*Scenario{sc}, append([]Result{better, ours}, tt.runs...))
		if tt.want == nil && out.Len() > 0 {
			t.Errorf("%s: PrintBest wrote %q, want nothing", name, &out)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: PrintBest wrote\n%swant %q in it", name, &out, want)
			}
		}
	}
}
