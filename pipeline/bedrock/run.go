package bedrock

// Nearly all chunks of a stream are the one before with another piece of text. Such a run of chunks is scanned once: of those
// that follow, what stands before and behind the piece is compared, and only the piece itself is read. JSON whose
// one string is replaced by another has no other reading, so this is what the assembler would have found.
type run struct {
	event          string  // of Converse, the type of the event
	filled         bool    // of Converse, whether it ends with filler
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
	body, r.filled = withoutFiller(env.event, body)
	r.behind = append(r.behind[:0], body[from+len(p.raw):]...)
}

// take takes in a chunk that goes on with the run, and reports whether it does.
func (r *run) take(event string, body []byte) bool {
	if r.into == nil || event != r.event {
		return false
	}
	body, filled := withoutFiller(event, body)
	head := len(r.before)
	if filled != r.filled || len(body) <= head+len(r.behind) || string(body[:head]) != string(r.before) {
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

// withoutFiller is an event of Converse up to the filler of random length that it ends with, and whether there is one. A
// family's filler is beside its chunk, not in it.
func withoutFiller(event string, body []byte) ([]byte, bool) {
	const begins, ends = `,"p":"`, `"}`
	i := len(body) - len(ends)
	if event == "" || i < 0 || string(body[i:]) != ends {
		return body, false
	}
	for i > 0 && isLetterOrDigit(body[i-1]) {
		i--
	}
	if i < len(begins) || string(body[i-len(begins):i]) != begins {
		return body, false
	}
	return body[:i-len(begins)], true
}

func isLetterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}
