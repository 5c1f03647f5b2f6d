package pipeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/batchrun/batchrun/ratelimit"
)

// A purse is a Spending in tokens: a call takes 100 plus its position's own, and an answer costs 10 of them.
type purse struct {
	mu          sync.Mutex
	bound       int64
	spent, held int64
	vain        int             // calls of Hold that found no room
	durable     map[*claim]bool // what is journaled and has not ended
	peak        int64           // of spent and held
	disk        error
	most        func(req *Request) (Charge, error)
}

func (p *purse) Most(req *Request) (Charge, error) {
	if p.most != nil {
		return p.most(req)
	}
	return Charge{Output: 100}, nil
}

func (p *purse) Room(c Charge) Room {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room(c)
}

func (p *purse) room(c Charge) Room {
	switch {
	case p.spent+c.Output > p.bound:
		return RoomNever
	case p.spent+p.held+c.Output > p.bound:
		return RoomLater
	}
	return RoomNow
}

func (p *purse) Hold(c Charge) Hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.room(c) != RoomNow {
		p.vain++
		return nil
	}
	p.held += c.Output
	p.peak = max(p.peak, p.spent+p.held)
	return &claim{p: p, of: c.Output}
}

func (p *purse) Stop(place string, c Charge) string {
	return fmt.Sprintf("%d of %d are spent, %s may cost %d", p.spent, p.bound, place, c.Output)
}

type claim struct {
	p     *purse
	of    int64
	ended bool
}

func (c *claim) Journal() error {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.p.disk != nil {
		return c.p.disk
	}
	if c.p.durable == nil {
		c.p.durable = map[*claim]bool{}
	}
	c.p.durable[c] = true
	return nil
}

func (c *claim) end(cost int64) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	if c.ended {
		panic("a hold was ended twice")
	}
	c.ended = true
	delete(c.p.durable, c)
	c.p.held -= c.of
	c.p.spent += cost
}

func (c *claim) Settle(*Request, *Response) { c.end(10) }
func (c *claim) Keep()                      { c.end(c.of) }
func (c *claim) Release()                   { c.end(0) }

// A bound is used up as far as whole holds reach, never passed, and what is left can be resumed: the next session
// sends nothing and says the same.
func TestSpendingStops(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1000, 16, nil)
		p := &purse{bound: 2000}
		s.cfg.Spending = p
		err := s.run(t.Context(), t)
		if stopReason(err) != StopSpending {
			t.Fatalf("Run() = %v, want a stop for spending", err)
		}
		// 191 answers cost 1,910; another could cost 100.
		if want := "1910 of 2000 are spent, test.jsonl:"; s.store.succeeded() != 191 || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%d answers, %q; want 191, %q", s.store.succeeded(), err, want)
		}
		if p.peak > p.bound || p.held != 0 || len(p.durable) != 0 {
			t.Errorf("up to %d of %d at once, %d are still held, %d in the file", p.peak, p.bound, p.held, len(p.durable))
		}
		next := newSetup(t, 1000, 16, nil)
		next.cfg.Spending = p
		if again := next.run(t.Context(), t); stopReason(again) != StopSpending || next.model.total != 0 {
			t.Errorf("the next session sent %d calls: %v", next.model.total, again)
		}
	})
}

// Where holds are far above what calls cost, calls wait for those in flight, and go as soon as these have ended: without
// asking again and again, and without a wait longer than that.
func TestSpendingWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 40, 16, nil)
		p := &purse{bound: 300 + 400} // room for few at a time, and for all in the end
		s.cfg.Spending = p
		start := time.Now()
		if err := s.run(t.Context(), t); err != nil {
			t.Fatal(err)
		}
		// Seven at a time at first, four at the end, 200 ms each.
		if took := time.Since(start); took > 9*200*time.Millisecond || s.model.peak > 7 || s.store.succeeded() != 40 {
			t.Errorf("%d answers in %v, %d at a time", s.store.succeeded(), took, s.model.peak)
		}
		if p.vain > 40 || p.peak > p.bound { // each record once too early, at most
			t.Errorf("%d were asked for in vain by 40 calls, up to %d of %d held", p.vain, p.peak, p.bound)
		}
	})
}

// What a call costs is told by how it ended.
func TestSpendingBills(t *testing.T) {
	refused := fails(RecordFatal, "ValidationException")
	refused.err.Unbilled = true
	throttled := fails(Throttled, "ThrottlingException")
	throttled.err.Unbilled = true
	tests := map[string]struct {
		first step // of one record; then it is answered
		spent int64
	}{
		"an answer":                     {fine, 10},
		"refused":                       {refused, 0},
		"throttled, then answered":      {throttled, 10},
		"in-stream throttled, answered": {fails(Throttled, "ThrottlingException"), 110},
		"failed, then answered":         {fails(Transient, "InternalServerException"), 110},
		"cut short, then answered":      {step{text: "ha", empty: true}, 110},
		"silent for ever, answered":     {step{hang: true}, 110},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				s := newSetup(t, 1, 1, func(_ *Record, nth int) step {
					if nth == 1 {
						return tt.first
					}
					return fine
				})
				p := &purse{bound: 1000}
				s.cfg.Spending, s.cfg.FirstTokenTimeout = p, time.Minute
				_ = s.run(t.Context(), t) // a record that is refused stops a run of one
				if p.spent != tt.spent || p.held != 0 {
					t.Errorf("%d are spent, want %d; %d held", p.spent, tt.spent, p.held)
				}
			})
		})
	}
}

// Calls that were cut at the end of --drain may be billed whole.
func TestSpendingAfterCut(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 10, 4, func(*Record, int) step { return step{hang: true} })
		p := &purse{bound: 1000}
		s.cfg.Spending, s.cfg.Drain = p, time.Second
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.run(ctx, t); !errors.Is(err, ErrInterrupted) || p.spent != 400 {
			t.Errorf("Run() = %v, %d are spent, want 400 for the four that were cut", err, p.spent)
		}
	})
}

// Ctrl-C works while calls wait for money.
func TestSpendingInterrupted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 100, 8, func(*Record, int) step { return step{wait: time.Hour, text: "x"} })
		s.cfg.Spending, s.cfg.Drain = &purse{bound: 250}, 2*time.Second
		s.cfg.FirstTokenTimeout = 2 * time.Hour
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		start := time.Now()
		if err := s.run(ctx, t); !errors.Is(err, ErrInterrupted) || time.Since(start) > 63*time.Second || s.model.peak != 2 {
			t.Errorf("Run() = %v after %v, %d at a time", err, time.Since(start), s.model.peak)
		}
	})
}

// A run in an outage pays for its probes, and stops when they have used up what there is.
func TestSpendingInOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 1000, 8, func(rec *Record, _ int) step {
			if rec.Pos < 40 {
				return fine
			}
			return fails(Transient, "InternalServerException")
		})
		p := &purse{bound: 6000}
		s.cfg.Spending = p
		err := s.run(t.Context(), t)
		if stopReason(err) != StopSpending || p.peak > p.bound || p.spent <= p.bound-100 {
			t.Errorf("Run() = %v, %d of %d spent, up to %d", err, p.spent, p.bound, p.peak)
		}
	})
}

// An outage that costs nothing is waited out also where calls wait for money.
func TestSpendingWaitsInOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		start := time.Now()
		s := newSetup(t, 1190, 64, func(*Record, int) step {
			if age := time.Since(start); age < 3500*time.Millisecond || age > 2*time.Minute {
				return fine
			}
			out := fails(Overload, "ServiceUnavailableException")
			out.err.Unbilled = true
			return out
		})
		p := &purse{bound: 12_000}
		s.cfg.Spending = p
		if err := s.run(t.Context(), t); err != nil || s.store.succeeded() != 1190 {
			t.Errorf("Run() = %v, %d answers, %d spent; %q", err, s.store.succeeded(), p.spent, s.notices)
		}
		if len(s.notices) != 2 || p.peak <= p.bound-100 {
			t.Errorf("up to %d of %d were spent and held, said %q", p.peak, p.bound, s.notices)
		}
	})
}

// A record that was handed back for want of room, or of a permit, has not been tried: its first call is still to come.
func TestHandedBackIsNotTried(t *testing.T) {
	s := newSetup(t, 1, 1, nil)
	r, err := New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	d := newDispatcher(r, nil, nil, nil, nil)
	one := &task{rec: &Record{}}
	d.ready = append(d.ready, one)
	d.sent(one)
	d.unsent(one)
	d.sent(one)
	d.count(one, true)
	if d.firsts.calls != 1 || d.again.calls != 0 || one.order != 1 {
		t.Errorf("%d first calls and %d again, of record %d; want one first of record 1", d.firsts.calls, d.again.calls, one.order)
	}
	d.ready = append(d.ready, one)
	d.sent(one)
	d.unsent(one)
	d.sent(one)
	if d.count(one, true); d.firsts.calls != 1 || d.again.calls != 1 {
		t.Errorf("%d first calls and %d again; want one of each", d.firsts.calls, d.again.calls)
	}
}

// To ask for room changes nothing, whatever the answer is; only then it is taken on, or the run stops.
func TestRoomOnlyAsks(t *testing.T) {
	for bound, want := range map[int64]Room{1000: RoomNow, 150: RoomLater, 50: RoomNever} {
		p := &purse{bound: bound}
		d := &dispatcher{Runner: &Runner{cfg: Config{Spending: p}}}
		if want == RoomLater {
			p.held = 100
		}
		held, next := p.held, &task{asked: true, most: Charge{Output: 100}}
		for range 2 {
			if got := d.room(next); got != want || d.stopping || next.held != nil || p.held != held {
				t.Errorf("with %d: room %v, stopping %v, %d held; want room %v and nothing else", bound, got, d.stopping, p.held, want)
			}
		}
		if got := d.takeOn(next); got != (want == RoomNow) || got != (next.held != nil) {
			t.Errorf("with %d: taken on %v, its hold %v", bound, got, next.held)
		}
	}
}

// A call whose cost has no bound is not sent; nor is one whose hold cannot be written.
func TestSpendingCannotTell(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 100, 4, nil)
		s.cfg.Spending = &purse{bound: 1e6, most: func(req *Request) (Charge, error) {
			if req.Record.Pos == 20 {
				return Charge{}, errors.New("no limit is set")
			}
			return Charge{Output: 100}, nil
		}}
		err := s.run(t.Context(), t)
		if stopReason(err) != StopNoCeiling || !strings.Contains(err.Error(), "test.jsonl:21: no limit is set") || s.model.calls[20] != 0 {
			t.Errorf("Run() = %v, %d calls of the record", err, s.model.calls[20])
		}
		if s.store.succeeded() != s.model.total {
			t.Errorf("%d answers of %d calls are stored", s.store.succeeded(), s.model.total)
		}
	})
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 100, 4, nil)
		p := &purse{bound: 1e6, disk: errors.New("no space left on device")}
		s.cfg.Spending = p
		if err := s.run(t.Context(), t); stopReason(err) != StopStore || s.model.total != 0 || p.held != 0 {
			t.Errorf("Run() = %v, %d calls, %d held", err, s.model.total, p.held)
		}
	})
}

// Who waits for a permit when the job as a whole has to wait, or ends, gives back what was held.
func TestSpendingGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 200, 16, nil)
		lim, err := ratelimit.New(ratelimit.Options{RequestsPerMinute: 60, Concurrency: 16})
		if err != nil {
			t.Fatal(err)
		}
		p := &purse{bound: 1e6}
		s.cfg.Limiter, s.cfg.Spending = lim, p
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := s.run(ctx, t); !errors.Is(err, ErrInterrupted) || p.held != 0 || len(p.durable) != 0 {
			t.Errorf("Run() = %v, %d are held, %d in the file", err, p.held, len(p.durable))
		}
		if p.spent != int64(10*s.store.succeeded()) || s.store.succeeded() == 0 {
			t.Errorf("%d are spent for %d answers", p.spent, s.store.succeeded())
		}
	})
	bubble(t, func(t *testing.T) {
		s := newSetup(t, 20, 4, nil)
		s.model.prepare = &InvokeError{Kind: JobFatal, Type: "CredentialsError"}
		p := &purse{bound: 1e6}
		s.cfg.Spending = p
		if err := s.run(t.Context(), t); stopReason(err) != StopJobFatal || p.held != 0 || p.spent != 0 {
			t.Errorf("Run() = %v, %d are held, %d spent without credentials", err, p.held, p.spent)
		}
	})
}
