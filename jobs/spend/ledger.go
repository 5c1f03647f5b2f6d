package spend

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/jobs/price"
	"github.com/batchrun/batchrun/jobs/words"
	"github.com/batchrun/batchrun/pipeline"
)

// Options are the bounds of a run, and how its calls are priced.
type Options struct {
	// Path is the file; "" keeps the count in memory only, for this process.
	Path string
	// MaxMoney is the bound in parts of [price.Pico], MaxTokens in tokens; 0 for none.
	MaxMoney, MaxTokens int64
	// Currency is that of the prices; "" without them.
	Currency string
	// Meter tells the prices at a time; nil: money is not counted. It may be called concurrently.
	Meter func(at time.Time) price.Meter
	// Most is how many tokens a call with a request is billed at most; see [pipeline.Spending]. It may be called concurrently.
	Most func(req *pipeline.Request) (input, output int64, err error)
	// Counting says that Most goes by the service's own count of inputs.
	Counting bool
	// Rows is what rows tell of earlier sessions.
	Rows Rows
	// Notice is told what a person should know, one line each; nil: nobody.
	Notice func(string)

	Now func() time.Time // nil: time.Now
	FS  *atomicfile.FS   // nil: the operating system
}

// Rows is what the whole answers of a run's earlier sessions have used: what is known of sessions that did not count.
type Rows struct {
	All       pipeline.Usage // of all sessions
	Uncounted pipeline.Usage // of those that had no Ledger
}

// A Spent is what a ledger holds at one moment. Money is in parts of [price.Pico].
type Spent struct {
	Currency string // "" where money is not counted

	Money, Tokens             int64 // of all calls that have ended
	UnsureMoney, UnsureTokens int64 // of these, calls that failed or were cut, at what they may have cost at most
	HeldMoney, HeldTokens     int64 // for calls in flight
	MaxMoney, MaxTokens       int64 // the bounds; 0 for none
}

// A Ledger counts what a run has spent. All methods but Close may be called concurrently.
type Ledger struct {
	opt Options

	mu     sync.Mutex
	known  pipeline.Charge           // what calls have cost, as the service says
	unsure pipeline.Charge           // what calls that failed or were cut may have cost
	held   pipeline.Charge           // of all holds
	open   map[int64]pipeline.Charge // holds in the file that have not ended, by id
	lastID int64
	group  *group // what is to be written next
	passed bool   // a call has cost more than was held for it, which was said
	loose  bool   // calls went out without a durable hold, which was said

	unpriced pipeline.Charge // of known and unsure, tokens that nobody has priced
	rows     pipeline.Usage  // of sessions that did not count, as far as it is in known
	currency string
	stopped  *stop // why there is no room for anything; nil while there may be

	disk    sync.Mutex       // of what follows; taken before mu
	journal *journal.Journal // nil where it could not be opened again
	limit   int64            // size from which the file is replaced; less than 0 where it may lack a hold of a call that goes
}

var _ pipeline.Spending = (*Ledger)(nil)

// A group is what one fsync makes durable. Marks are added under mu while it is the ledger's; the rest is the disk's.
type group struct {
	line line
	done bool
	err  error
}

// Most is what one call costs at most, as [pipeline.Spending] describes it.
func (l *Ledger) Most(req *pipeline.Request) (c pipeline.Charge, err error) {
	if c.Input, c.Output, err = l.opt.Most(req); err != nil {
		return c, err
	}
	c.Money = l.meter().Most(c.Input, c.Output, asksCache(req.Body))
	return c, nil
}

// meter is the prices of this moment; the zero Meter where there are none.
func (l *Ledger) meter() price.Meter {
	if l.opt.Meter == nil {
		return price.Meter{}
	}
	return l.opt.Meter(l.opt.Now())
}

// Room tells whether there is room for a charge.
func (l *Ledger) Room(c pipeline.Charge) pipeline.Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(c)
}

func (l *Ledger) room(c pipeline.Charge) pipeline.Room {
	ended := plus(l.known, l.unsure)
	switch {
	case l.stopped != nil || !l.opt.covers(plus(ended, c)):
		return pipeline.RoomNever
	case !l.opt.covers(plus(plus(ended, l.held), c)):
		return pipeline.RoomLater
	}
	return pipeline.RoomNow
}

// bounded tells whether there is a bound at all.
func (o *Options) bounded() bool { return o.MaxMoney > 0 || o.MaxTokens > 0 }

// covers reports whether the bounds allow for a charge.
func (o *Options) covers(c pipeline.Charge) bool {
	return (o.MaxMoney == 0 || c.Money <= o.MaxMoney) && (o.MaxTokens == 0 || tokens(c) <= o.MaxTokens)
}

// Hold takes a charge on; nil where there is no room now.
func (l *Ledger) Hold(c pipeline.Charge) pipeline.Hold {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.room(c) != pipeline.RoomNow {
		return nil
	}
	l.held = plus(l.held, c)
	return &hold{l: l, charge: c, meter: l.meter()}
}

// A hold is a [pipeline.Hold].
type hold struct {
	l      *Ledger
	charge pipeline.Charge
	meter  price.Meter // of when it was made
	id     int64       // in the file; 0 while it is not
	ended  bool
}

// Journal makes the hold durable. Where nothing is bounded the count stops no call: a disk that refuses is told once.
func (r *hold) Journal() error {
	l := r.l
	if l.opt.Path == "" {
		return nil
	}
	l.mu.Lock()
	l.lastID++
	r.id = l.lastID
	l.open[r.id] = r.charge
	g := l.group
	g.line.Held = append(g.line.Held, mark{r.id, r.charge})
	l.mu.Unlock()
	err := l.flush(g)
	if err == nil || l.opt.bounded() {
		return err
	}
	l.mu.Lock()
	told := l.loose
	l.loose = true
	l.mu.Unlock()
	if !told {
		l.opt.Notice(fmt.Sprintf("what the run spends cannot be noted, and only its rows tell if it is killed before it can be: %v", err))
	}
	return nil
}

// Settle replaces the hold by what an answer has used.
func (r *hold) Settle(req *pipeline.Request, response *pipeline.Response) {
	c, told := r.cost(req, response)
	if !told {
		r.Keep()
		return
	}
	l := r.l
	if r.end(&l.known, c) {
		l.finish(mark{r.id, c})
		l.look(r.charge, c)
	}
}

// cost is what an answer has cost; told is false where the service does not say.
func (r *hold) cost(req *pipeline.Request, response *pipeline.Response) (c pipeline.Charge, told bool) {
	u := response.Usage
	c = pipeline.Charge{Input: u.InputTokens + u.CacheReadInputTokens + u.CacheWriteInputTokens, Output: u.OutputTokens}
	if c.Input <= 0 || c.Output < 0 || c.Output == 0 && response.Text != "" {
		return c, false
	}
	n := price.Count{Input: u.InputTokens, Output: u.OutputTokens, CacheRead: u.CacheReadInputTokens, CacheWrite5m: u.CacheWriteInputTokens}
	if n.CacheWrite5m > 0 && asksLong(req.Body) {
		n.CacheWrite5m, n.CacheWrite1h = 0, n.CacheWrite5m
	}
	c.Money = r.meter.Cost(n)
	return c, true
}

// Keep leaves the hold spent. In the file it stays as it is.
func (r *hold) Keep() {
	r.end(&r.l.unsure, r.charge)
}

// Release gives the hold back.
func (r *hold) Release() {
	if r.end(&r.l.known, pipeline.Charge{}) {
		r.l.finish(mark{ID: r.id})
	}
}

// end moves the hold from what is held to a sum, as the charge that it has become. It reports whether it was there.
func (r *hold) end(sum *pipeline.Charge, c pipeline.Charge) bool {
	l := r.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.ended {
		return false
	}
	r.ended = true
	l.held = minus(l.held, r.charge)
	delete(l.open, r.id)
	l.spend(sum, c)
	return true
}

// spend adds a charge to a sum. The caller holds mu.
func (l *Ledger) spend(sum *pipeline.Charge, c pipeline.Charge) {
	*sum = plus(*sum, c)
	if l.opt.Meter == nil {
		l.unpriced = plus(l.unpriced, pipeline.Charge{Input: c.Input, Output: c.Output})
	}
}

// look says once that a bound was not one: then the sum may pass what was allowed by as much.
func (l *Ledger) look(held, cost pipeline.Charge) {
	if !l.opt.bounded() || cost.Money <= held.Money && tokens(cost) <= tokens(held) {
		return
	}
	l.mu.Lock()
	said := l.passed
	l.passed = true
	l.mu.Unlock()
	if said {
		return
	}
	billed, most := words.Count(tokens(cost))+" tokens", words.Count(tokens(held))
	if tokens(cost) <= tokens(held) {
		billed, most = exactly(cost.Money)+" "+l.opt.Currency, exactly(held.Money)
	}
	l.opt.Notice(fmt.Sprintf("a call was billed %s, more than the %s that were taken for its most: please report it, with the model", billed, most))
}

// Spent is the state of the ledger now.
func (l *Ledger) Spent() Spent {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Spent{
		Currency: l.opt.Currency,
		Money:    plus(l.known, l.unsure).Money, Tokens: tokens(plus(l.known, l.unsure)),
		UnsureMoney: l.unsure.Money, UnsureTokens: tokens(l.unsure),
		HeldMoney: l.held.Money, HeldTokens: tokens(l.held),
		MaxMoney: l.opt.MaxMoney, MaxTokens: l.opt.MaxTokens,
	}
}

// finish writes the end of a call, as far as nobody else is writing: then it goes with what comes next.
func (l *Ledger) finish(m mark) {
	if m.ID == 0 {
		return
	}
	l.mu.Lock()
	l.group.line.Ended = append(l.group.line.Ended, m)
	l.mu.Unlock()
	if !l.disk.TryLock() {
		return
	}
	defer l.disk.Unlock()
	l.mu.Lock()
	g := l.group
	// Whoever holds is about to write all of it, and to sync; or somebody has written it just now.
	if len(g.line.Held) > 0 || len(g.line.Ended) == 0 {
		l.mu.Unlock()
		return
	}
	l.group = new(group)
	l.mu.Unlock()
	g.done = true
	_ = l.write(g.line) // lost, it counts at its hold; the next hold meets the same disk and says so
}

// flush makes a group durable, unless somebody else has done it meanwhile.
func (l *Ledger) flush(g *group) error {
	l.disk.Lock()
	defer l.disk.Unlock()
	if g.done {
		return g.err
	}
	l.mu.Lock()
	l.group = new(group) // from here on nobody adds to g
	l.mu.Unlock()
	g.done = true
	if g.err = l.write(g.line); g.err == nil {
		g.err = l.journal.Sync()
	}
	if g.err == nil && l.journal.Size() > l.limit {
		g.err = l.replace()
	}
	if g.err != nil && !l.opt.bounded() {
		l.limit = -1
	}
	return g.err
}

// Close writes what is left to be written. The ledger is not used any more after it.
func (l *Ledger) Close() error {
	if l.opt.Path == "" {
		return nil
	}
	l.mu.Lock()
	g := l.group
	l.mu.Unlock()
	var err error
	switch { // nothing is held any more
	case len(g.line.Ended) > 0 || g.line.Stopped != nil:
		err = l.flush(g)
	case l.limit < 0:
		l.disk.Lock()
		err = l.replace()
		l.disk.Unlock()
	case l.journal != nil:
		err = l.journal.Sync()
	}
	if l.journal != nil {
		err = errors.Join(err, l.journal.Close())
	}
	return err
}

func tokens(c pipeline.Charge) int64 { return add(c.Input, c.Output) }

func plus(a, b pipeline.Charge) pipeline.Charge {
	return pipeline.Charge{Money: add(a.Money, b.Money), Input: add(a.Input, b.Input), Output: add(a.Output, b.Output)}
}

func minus(a, b pipeline.Charge) pipeline.Charge {
	return pipeline.Charge{Money: a.Money - b.Money, Input: a.Input - b.Input, Output: a.Output - b.Output}
}

// most is where sums end: two of them are still no overflow.
const most = 1 << 62

func add(a, b int64) int64 { return min(a+b, most-1) }

// asksCache reports whether a request may write to a cache. None does without being told to, by members that are called cache_control
// or cachePoint (https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html).
func asksCache(body []byte) bool { return bytes.Contains(body, []byte("cache")) }

// asksLong reports whether a request asks a cache to keep for an hour.
func asksLong(body []byte) bool { return bytes.Contains(body, []byte(`"1h"`)) }
