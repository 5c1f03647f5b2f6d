package pipeline

// A Charge is what calls cost: money, in millionths of a millionth of a currency (0 where nobody counts money), and tokens as
// they are billed. Output tokens count once: burndown is about quotas and never enters a bill
// (https://docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html).
type Charge struct {
	Money  int64 `json:"money,omitempty"`
	Input  int64 `json:"input,omitempty"` // read from caches and written to them included
	Output int64 `json:"output,omitempty"`
}

// Room says whether a charge can still be taken on.
type Room uint8

// What room there is.
const (
	RoomNow   Room = iota
	RoomLater      // not unless calls in flight turn out to cost less than is held for them
	RoomNever      // not even if they cost nothing
)

// A Spending keeps a run within what it may cost. It knows the prices; the pipeline asks before every call, and tells how the
// call went. All methods may be called concurrently, and none waits for another call to end.
type Spending interface {
	// Most is what one call with a request can be billed at most. An error says why nobody can tell, in one line; such a
	// call cannot be kept within any bound.
	Most(req *Request) (Charge, error)
	// Room tells whether there is room for a charge. While nothing is held it is never [RoomLater].
	Room(c Charge) Room
	// Hold takes a charge on. It is nil where there is no room now. Nothing of it is durable yet.
	Hold(c Charge) Hold
	// Stop says in one sentence what was spent, and that a call of the record at a place, for which there never will be room,
	// would pass the bound. It is called once, after all other calls have ended: the run sends nothing any more.
	Stop(place string, c Charge) string
}

// A Hold is what a call may cost, as on a card, while nobody knows what it does cost. One goroutine uses it; the first of Settle, Keep and
// Release ends it.
type Hold interface {
	// Journal makes it durable: from here on it counts, whatever becomes of this process. The call may be sent only after it
	// has returned nil.
	Journal() error
	// Settle replaces it by what the service says of the whole answer to a request.
	Settle(req *Request, r *Response)
	// Keep leaves all of it spent: the service may have worked, and nobody knows how much of it is billed.
	Keep()
	// Release gives all of it back: nothing was sent, or nothing of it is billed.
	Release()
}

// unbounded is the Spending of a run without bounds.
type unbounded struct{}

func (unbounded) Most(*Request) (Charge, error) { return Charge{}, nil }
func (unbounded) Room(Charge) Room              { return RoomNow }
func (unbounded) Hold(Charge) Hold              { return unbounded{} }
func (unbounded) Stop(string, Charge) string    { return "" }
func (unbounded) Journal() error                { return nil }
func (unbounded) Settle(*Request, *Response)    {}
func (unbounded) Keep()                         {}
func (unbounded) Release()                      {}

// hold takes on what one call of a task can cost. It is nil where there is no room for it now, or stop says why there
// never will be.
func (w *worker) hold(t *task) (held Hold, stop error) {
	held, t.held = t.held, nil
	most, err := w.cfg.Spending.Most(t.req) // anew for each call: the input may have been counted since
	if err == nil && held != nil && most == t.most {
		return held, nil
	}
	if held != nil {
		held.Release()
	}
	if err != nil {
		return nil, &StopError{Reason: StopNoCeiling, Err: err, Detail: t.rec.Place()}
	}
	t.most, t.asked = most, true
	return w.cfg.Spending.Hold(most), nil
}

// bill ends a hold with what the call has cost. What failed after the service may have begun to work counts in full:
// no page of AWS says that a broken answer is free, and the part of it that arrived says nothing of the part that did not.
func bill(held Hold, o *outcome) {
	switch {
	case o.err == nil:
		held.Settle(o.task.req, o.response)
	case o.err.Unbilled:
		held.Release()
	default:
		held.Keep()
	}
}

// room tells whether there is room for a call of a task; nil, for none, needs none. What a new record may cost is not known before a
// worker has encoded it: that worker hands it back, once.
func (d *dispatcher) room(t *task) Room {
	if t == nil || !t.asked {
		return RoomNow
	}
	return d.cfg.Spending.Room(t.most)
}

// takeOn takes on what a call of a task may cost, before the task goes out: between a look and a worker's own hold others could take the
// same room, and tasks would go to and fro in vain. It reports false where that has happened already.
func (d *dispatcher) takeOn(t *task) bool {
	if t == nil || !t.asked {
		return true
	}
	t.held = d.cfg.Spending.Hold(t.most)
	return t.held != nil
}

// stopShort ends the run at a task for which there never will be room, although smaller records may follow: which of them went would
// depend on chance.
func (d *dispatcher) stopShort(t *task) {
	d.short = t
	d.stop(&StopError{Reason: StopSpending})
}

// retract gives back what was taken on for a task that no worker was free for.
func (d *dispatcher) retract(t *task) {
	if t != nil && t.held != nil {
		t.held.Release()
		t.held = nil
	}
}

// spent says why the run cannot go on, by what its last calls have cost.
func (d *dispatcher) spent() error {
	return &StopError{Reason: StopSpending, Detail: d.cfg.Spending.Stop(d.short.rec.Place(), d.short.most)}
}
