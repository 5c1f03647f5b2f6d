package bedrock

// Nearly all chunks of a stream are the one before with another piece of text. Such a run of chunks is scanned once: of those
// that follow, what stands before and behind the piece is compared, and only the piece itself is read. JSON whose
// one string is replaced by another has no other reading, so this is what the assembler would have found.
type run struct {
	event          string  // of Converse, the type of the event
	before, behind []byte  // what stands around the piece, with its quotes
	into           *[]byte // where pieces go; nil where there is no run
	signs          signs   // of every chunk of it
}

// A piece is the string in a chunk whose only effect was to be appended to a text.
type piece struct {
	raw  []byte // as it stands in the chunk, escapes and all
	into *[]byte
}

// begin makes a chunk that was taken in the first of a run, if another piece is all that could change with the next.
func (r *run) begin(body []byte, env *envelope, sg signs) {
	r.into = nil
	p := env.piece
	if p.into == nil || len(p.raw) == 0 || sg.terminal || env.faultType != "" || env.metrics.came || env.intervened || env.tier+env.latency != "" {
		return
	}
	from := cap(body) - cap(p.raw) // both end where their array does
	if from < 1 || from+len(p.raw) >= len(body) || &body[from] != &p.raw[0] || body[from-1] != '"' {
		return // not a string of this chunk
	}
	r.event, r.into, r.signs = env.event, p.into, sg
	r.before = append(r.before[:0], body[:from]...)
	r.behind = append(r.behind[:0], body[from+len(p.raw):]...)
}

// take takes in a chunk that goes on with the run, and reports whether it does.
func (r *run) take(event string, body []byte) bool {
	head := len(r.before)
	if r.into == nil || event != r.event || len(body) <= head+len(r.behind) || string(body[:head]) != string(r.before) {
		return false
	}
	s := scanner{b: body, i: head - 1}
	raw, _ := s.text()
	if len(raw) == 0 || string(body[head+len(raw):]) != string(r.behind) {
		return false
	}
	*r.into = append(*r.into, raw...)
	return true
}
