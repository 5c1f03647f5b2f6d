package state

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/sinks"
)

// VerifyOptions says what [Verify] looks at.
type VerifyOptions struct {
	Output string
	Errors string // "": [ErrorsPath] of Output
	Dir    string // the state directory, "": [DirPath] of Output; it need not be there
	// Lines yields every non-blank line of the input in order: its source as the rows call it, its number, its
	// record id and whether it has one. It stops with the error that yield returns. nil: the rows are checked
	// among themselves and against the journal.
	Lines func(yield func(source string, line int64, id string, idKnown bool) error) error
	Limit int    // how many differences are told, 0: 20
	Temp  string // for temporary files, "": the system's place
	// Memory bounds what is held before it goes to temporary files, 0: 64 MiB. One 256th of all lines is
	// compared at a time, at 41 bytes each.
	Memory int
}

// A VerifyReport is what [Verify] found.
type VerifyReport struct {
	Records   int64 // non-blank input lines; -1 where no input was given
	Succeeded int64 // lines with a row in the output
	Failed    int64 // with an error row only, of a record that was sent
	Rejected  int64 // with an error row only, as it could not be
	Left      int64 // without a row; -1 where no input was given
	// Surplus counts the rows that no line needs, and that are in no figure above: second rows of a line, and rows of lines that the
	// input, or the journal, does not have. So Records are always Succeeded + Failed + Rejected + Left.
	Surplus int64
	// RepeatedIDs counts the records whose id an earlier record has. They are told apart by source and line.
	RepeatedIDs int64

	State    bool    // the state directory was there
	Finished bool    // and says the run is finished
	Exit     int     // its exit code
	Round    int     // retry rounds begun
	Holder   *Holder // who works on it right now
	Notes    []string

	// Differences are the first of them, one line each, beginning with the place. Total counts all.
	Differences []string
	Total       int64

	limit int
}

// OK tells whether every line has exactly one row, and the run is finished as far as that is known.
func (v *VerifyReport) OK() bool {
	return v.Total == 0 && v.Left <= 0 && (!v.State || v.Finished)
}

func (v *VerifyReport) differ(format string, args ...any) {
	v.Total++
	if len(v.Differences) < v.limit {
		v.Differences = append(v.Differences, fmt.Sprintf(format, args...))
	}
}

// Verify proves from the files that every input line has exactly one row. It changes nothing. Rows and lines are
// matched by source and line; ids are compared by the first 16 bytes of their SHA-256. An error is
// something that kept it from looking, never what it found.
func Verify(ctx context.Context, opt VerifyOptions) (*VerifyReport, error) {
	if opt.Errors == "" {
		opt.Errors = ErrorsPath(opt.Output)
	}
	if opt.Dir == "" {
		opt.Dir = DirPath(opt.Output)
	}
	if opt.Limit == 0 {
		opt.Limit = 20
	}
	if opt.Memory == 0 {
		opt.Memory = 64 << 20
	}
	v := &verifier{
		opt: opt, VerifyReport: &VerifyReport{Records: -1, Left: -1, limit: opt.Limit},
		keys:    partitions{width: keyWidth, limit: opt.Memory / 2, temp: opt.Temp},
		ids:     partitions{width: idWidth, limit: opt.Memory / 2, temp: opt.Temp},
		sources: map[string]uint32{},
	}
	err := v.run(ctx)
	if err = errors.Join(err, v.keys.close(), v.ids.close()); err != nil {
		return nil, err
	}
	return v.VerifyReport, nil
}

type verifier struct {
	*VerifyReport
	opt  VerifyOptions
	p    *progress // nil without state
	spec *spec

	first   map[string]int64
	keys    partitions // of rows and lines, see key
	ids     partitions
	sources map[string]uint32
	names   []string
	found   []finding

	results, errors int64 // rows that were read, whatever they are
}

// A finding is a difference at a line of the input. They come in the order of partitions and are told in that
// of the input.
type finding struct {
	key  [keySame - 1]byte // source and line
	text string
}

func (v *verifier) differAt(key []byte, format string, args ...any) {
	v.Total++
	v.found = append(v.found, finding{[keySame - 1]byte(key[1:]), fmt.Sprintf(format, args...)})
	if len(v.found) > 1000+2*v.limit {
		v.sortFound()
	}
}

// sortFound keeps the first differences only.
func (v *verifier) sortFound() {
	slices.SortStableFunc(v.found, func(a, b finding) int { return bytes.Compare(a.key[:], b.key[:]) })
	v.found = v.found[:min(len(v.found), v.limit)]
}

func (v *verifier) run(ctx context.Context) error {
	if err := v.readState(); err != nil {
		return err
	}
	if err := v.readOutput(ctx); err != nil {
		return err
	}
	if err := v.readErrors(ctx); err != nil {
		return err
	}
	if v.p != nil {
		want := v.p.counts()
		if v.results != want.Succeeded {
			v.differ("%s: %d rows, the journal counts %d", v.opt.Output, v.results, want.Succeeded)
		}
		if v.errors != want.Failed+want.Rejected {
			v.differ("%s: %d rows, the journal counts %d", v.opt.Errors, v.errors, want.Failed+want.Rejected)
		}
	}
	if v.opt.Lines != nil {
		v.Records, v.Left = 0, 0
		err := v.opt.Lines(func(source string, line int64, id string, idKnown bool) error {
			v.Records++
			return errors.Join(context.Cause(ctx), v.add(kindLine, source, line, v.Records, id, idKnown))
		})
		if err != nil {
			return err
		}
	}
	if err := v.keys.each(v.match); err != nil {
		return err
	}
	v.sortFound()
	for _, f := range v.found {
		if len(v.Differences) < v.limit {
			v.Differences = append(v.Differences, f.text)
		}
	}
	return v.ids.each(v.countRepeated)
}

// readState reads the journal, if there is one.
func (v *verifier) readState() error {
	s, err := readSpec(v.opt.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	v.State, v.spec = true, s
	v.Holder = HeldBy(v.opt.Dir)
	v.first = firstPositions(s.Frozen.Input)
	p := newProgress(s.Created)
	if !v.kind().HasPlace() {
		p.order = &order{keepOutput: true}
	}
	name := filepath.Join(v.opt.Dir, journalName)
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		v.p = p
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	if _, _, err := journal.Replay(name, file, p.replay); err != nil {
		v.differ("%v", err)
		return nil // the rows can still be held against the input
	}
	v.p, v.Finished, v.Exit, v.Round = p, p.finished, p.exit, p.round
	switch {
	case p.finished:
	case p.roundOpen:
		v.Notes = append(v.Notes, fmt.Sprintf("unfinished: retry round %d has %d records to go; the same command goes on", p.round, p.todo.GetCardinality()))
	default:
		v.Notes = append(v.Notes, "unfinished: the same command goes on")
	}
	if p.rewriting != nil {
		// The rewritten file counts as soon as it stands: opening the run will say so.
		r := &Run{opt: Options{Errors: v.opt.Errors}, p: p}
		if r.rewritten() {
			_ = p.apply(&entry{Type: entryClosed, Errors: p.rewriting})
		}
	}
	return nil
}

// readOutput takes in the result rows: of the output, and of a spool that is not sealed.
func (v *verifier) readOutput(ctx context.Context) error {
	parquet, err := isParquet(v.opt.Output)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return err
	}
	if v.spec != nil {
		parquet = v.spec.Frozen.Format == Parquet
	}
	row := func(place string, number int64, r *sinks.Row) error {
		v.results++
		if v.ordered() && !v.place(r, v.p.order.results, number) {
			v.Surplus++
			v.differ("%s:%d: a result the journal does not count", place, number)
			return nil
		}
		return v.result(fmt.Sprintf("%s:%d", place, number), number, r)
	}
	if !parquet {
		if missing {
			v.differ("%s: is missing", v.opt.Output)
			return nil
		}
		size := int64(-1)
		if v.p != nil {
			size = v.counted(v.p.output)
			v.checkMark(v.opt.Output, v.p.output)
		}
		return v.eachRow(ctx, v.opt.Output, size, func(number, _ int64, r *sinks.Row) error { return row(v.opt.Output, number, r) })
	}
	resealed := false
	if v.p != nil && !missing {
		r := &Run{opt: Options{Output: v.opt.Output}, p: v.p, spec: v.spec}
		resealed = r.resealed()
	}
	wanted := v.p == nil || v.p.sealed != nil || resealed
	switch {
	case missing && wanted:
		v.differ("%s: is missing", v.opt.Output)
	case missing:
		v.Notes = append(v.Notes, "the Parquet file is made when the run finishes")
	case !wanted:
		v.differ("%s: is there, but this run has not written it yet", v.opt.Output)
	default:
		var number int64
		for r, err := range sinks.ParquetRows(v.opt.Output) {
			number++
			if err != nil {
				v.differ("%s: row %d: %v", v.opt.Output, number, err)
				break
			}
			if err := errors.Join(context.Cause(ctx), row(v.opt.Output, number, r)); err != nil {
				return err
			}
		}
	}
	if v.p == nil || v.p.sealedRound == v.p.round || resealed || v.p.output.Size == 0 {
		return nil
	}
	spool := filepath.Join(v.opt.Dir, spoolName)
	v.checkMark(spool, v.p.output)
	return v.eachRow(ctx, spool, v.p.output.Size, func(number, _ int64, r *sinks.Row) error { return row(spool, number, r) })
}

func isParquet(path string) (bool, error) {
	file, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	var magic [4]byte
	n, _ := file.Read(magic[:])
	return string(magic[:n]) == "PAR1", nil
}

// counted is how much of a file is looked at. What is past its mark is no part of a run that goes on, as the next session sets it
// aside; but one that is finished should have nothing there, so the rows are named.
func (v *verifier) counted(mark sinks.Mark) int64 {
	if v.Finished {
		return -1
	}
	return mark.Size
}

// checkMark reports a file that is not as the journal left it.
func (v *verifier) checkMark(path string, mark sinks.Mark) {
	if err := sinks.CheckMark(path, mark); err != nil {
		v.differ("%v", err)
		return
	}
	if info, err := os.Stat(path); err == nil && info.Size() > mark.Size {
		what := fmt.Sprintf("%s: %d bytes past what the journal counts", path, info.Size()-mark.Size)
		if v.Finished {
			v.differ("%s", what)
		} else {
			v.Notes = append(v.Notes, what+"; they are kept aside on the next run")
		}
	}
}

// eachRow parses the rows of a JSON Lines file. What is not a row is a difference.
func (v *verifier) eachRow(ctx context.Context, path string, size int64, f func(number, offset int64, r *sinks.Row) error) error {
	var number, offset int64
	for line, err := range sinks.Lines(path, size) {
		if errors.Is(err, fs.ErrNotExist) {
			v.differ("%s: is missing", path)
			return nil
		}
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return err
		}
		number++
		row, err := v.parse(line)
		switch {
		case errors.Is(err, errNeedsState):
			return fmt.Errorf("%s:%d: %w", path, number, err)
		case err != nil:
			v.differ("%s:%d: %v", path, number, err)
		case !bytes.HasSuffix(line, []byte("\n")):
			v.differ("%s:%d: the row is cut off", path, number)
		default:
			if err := f(number, offset, row); err != nil {
				return err
			}
		}
		offset += int64(len(line))
	}
	return nil
}

func (v *verifier) result(place string, number int64, r *sinks.Row) error {
	switch {
	case r.Error != nil:
		v.differ("%s: %s:%d: an error row among the results", place, r.Source, r.Line)
	case v.kind() == sinks.Text && r.HasText: // it has nothing else
	case r.ModelOutput == nil || !r.HasText:
		v.differ("%s: %s:%d: a result without modelOutput or text", place, r.Source, r.Line)
	case !sinks.ValidJSON(r.ModelOutput):
		v.differ("%s: %s:%d: modelOutput is not JSON", place, r.Source, r.Line)
	}
	if pos, ok := v.position(r); ok && !v.p.ok.Contains(uint64(pos)) {
		v.differ("%s: %s:%d: a result the journal does not count", place, r.Source, r.Line)
	}
	return v.add(kindResult, r.Source, r.Line, number, r.RecordID, r.HasID)
}

func (v *verifier) readErrors(ctx context.Context) error {
	size := int64(-1)
	if v.p != nil {
		size = v.counted(v.p.errors)
		v.checkMark(v.opt.Errors, v.p.errors)
	} else if !exists(v.opt.Errors) {
		return nil // a copy of the output alone may have had none
	}
	return v.eachRow(ctx, v.opt.Errors, size, func(number, offset int64, r *sinks.Row) error {
		place := fmt.Sprintf("%s:%d", v.opt.Errors, number)
		if v.ordered() && !v.place(r, v.p.order.errors, number) {
			v.errors++
			v.Surplus++
			v.differ("%s: an error the journal does not count", place)
			return nil
		}
		kind := kindFailed
		if e := r.Error; e != nil && r.Attempts == 0 && e.ErrorCode == 0 && (e.ErrorType == pipeline.TypeInvalidRecord || e.ErrorType == pipeline.TypeRecordTooLarge) {
			kind = kindRejected
		}
		if pos, ok := v.position(r); ok {
			if v.p.roundOpen && offset < v.p.roundStart && v.p.again.Contains(uint64(pos)) {
				return nil // the round has a newer row, and will drop this one when it closes
			}
			switch { // rows of other programs do not tell one from the other
			case v.p.failed.Contains(uint64(pos)):
				kind = kindFailed
			case v.p.rejected.Contains(uint64(pos)):
				kind = kindRejected
			default:
				v.differ("%s: %s:%d: an error the journal does not count", place, r.Source, r.Line)
			}
		}
		switch {
		case r.Error == nil:
			v.differ("%s: %s:%d: an error row without error", place, r.Source, r.Line)
		case r.ModelOutput != nil:
			v.differ("%s: %s:%d: an error row with modelOutput", place, r.Source, r.Line)
		}
		v.errors++
		return v.add(kind, r.Source, r.Line, number, r.RecordID, r.HasID)
	})
}

// errNeedsState is a row whose place only the journal tells, where there is none.
var errNeedsState = errors.New("rows of this kind do not say where their records stand: verify them beside the run's state directory")

// kind is the kind of rows, as far as the state tells.
func (v *verifier) kind() sinks.Rows {
	if v.spec == nil {
		return ""
	}
	return sinks.Rows(v.spec.Frozen.Rows)
}

// ordered tells whether the journal has to say where rows belong.
func (v *verifier) ordered() bool { return v.p != nil && v.p.order != nil }

// parse reads a row of the kind that the run writes.
func (v *verifier) parse(line []byte) (*sinks.Row, error) {
	if v.spec != nil && v.kind().HasPlace() {
		return sinks.ParseRow(line)
	}
	row, kind, err := sinks.ParseAnyRow(line)
	switch {
	case v.spec == nil && (err != nil || kind.HasPlace()):
		return sinks.ParseRow(line)
	case err != nil:
		return nil, err
	case !v.ordered(): // no state, or its journal is damaged
		return nil, errNeedsState
	case kind != v.kind() && !(row.Error != nil && kind == sinks.Text): // an error row may have nothing that tells
		return nil, fmt.Errorf("a row of the kind %s among those of the kind %s", kind, v.kind())
	}
	return row, nil
}

// place says where the record of the number-th row stands; false past the end of what the journal counts.
func (v *verifier) place(r *sinks.Row, order []int64, number int64) (ok bool) {
	if number > int64(len(order)) {
		return false
	}
	r.Source, r.Line, ok = places(v.spec.Frozen.Input).at(order[number-1])
	return ok
}

// position tells where the record of a row stands; ok is false without a journal, or if the source is none of
// its inputs, which matching will find.
func (v *verifier) position(r *sinks.Row) (pos int64, ok bool) {
	if v.p == nil {
		return 0, false
	}
	first, ok := v.first[r.Source]
	return first + r.Line - 1, ok && r.Line > 0
}

// A key is a row or a line: hash byte, source (4), line (8), kind, whether it has an id, number (8), id (16). Sorted by
// bytes, what belongs to one line stands together, the line first.
const (
	keyWidth = 1 + 4 + 8 + 1 + 1 + 8 + 16
	keySame  = 1 + 4 + 8
	idWidth  = 16
)

const (
	kindLine byte = iota
	kindResult
	kindFailed
	kindRejected
)

func (v *verifier) add(kind byte, source string, line, number int64, id string, idKnown bool) error {
	n, ok := v.sources[source]
	if !ok {
		n = uint32(len(v.names))
		v.sources[source] = n
		v.names = append(v.names, source)
	}
	var k [keyWidth]byte
	k[0] = byte((uint64(line) + uint64(n)*31) * 0x9E3779B97F4A7C15 >> 56)
	binary.BigEndian.PutUint32(k[1:], n)
	binary.BigEndian.PutUint64(k[5:], uint64(line))
	k[13] = kind
	binary.BigEndian.PutUint64(k[15:], uint64(number))
	if idKnown {
		k[14] = 1
		sum := sha256.Sum256([]byte(id))
		copy(k[23:], sum[:16])
		if (kind == kindLine) == (v.opt.Lines != nil) {
			if err := v.ids.add(k[23:]); err != nil {
				return err
			}
		}
	}
	return v.keys.add(k[:])
}

// match compares what belongs to the same line.
func (v *verifier) match(keys [][]byte) error {
	slices.SortFunc(keys, bytes.Compare)
	for len(keys) > 0 {
		n := 1
		for n < len(keys) && bytes.Equal(keys[n][:keySame], keys[0][:keySame]) {
			n++
		}
		v.matchLine(keys[:n])
		keys = keys[n:]
	}
	return nil
}

func (v *verifier) matchLine(keys [][]byte) {
	where := fmt.Sprintf("%s:%d", v.names[binary.BigEndian.Uint32(keys[0][1:])], binary.BigEndian.Uint64(keys[0][5:]))
	rows := keys
	for len(rows) > 0 && rows[0][13] == kindLine {
		rows = rows[1:]
	}
	lines := keys[:len(keys)-len(rows)]
	v.count(lines, rows)
	switch {
	case len(lines) > 1:
		v.differAt(keys[0], "%s: the input has this line %d times", where, len(lines))
	case len(lines) == 0 && v.opt.Lines != nil:
		v.differAt(keys[0], "%s: %s: a row for a line the input does not have", where, v.rowPlace(rows[0]))
	case len(rows) == 0:
		if v.p == nil || v.p.finished {
			v.differAt(keys[0], "%s: no row", where)
		}
	}
	for i, row := range rows {
		if i > 0 {
			v.differAt(keys[0], "%s: %s: a second row, the first is %s", where, v.rowPlace(row), v.rowPlace(rows[0]))
		}
		if len(lines) > 0 && !bytes.Equal(row[23:], lines[0][23:]) || len(lines) > 0 && row[14] != lines[0][14] {
			v.differAt(keys[0], "%s: %s: its recordId is not that of the line", where, v.rowPlace(row))
		}
	}
}

// count takes in what is there for one line: its first row counts, a result before an error, and what is more does not.
func (v *verifier) count(lines, rows [][]byte) {
	if v.opt.Lines != nil {
		v.Left += int64(max(0, len(lines)-len(rows)))
	}
	needed := rows
	if v.opt.Lines != nil {
		needed = rows[:min(len(lines), len(rows))]
	} else if len(rows) > 1 {
		needed = rows[:1]
	}
	for _, row := range needed {
		switch row[13] {
		case kindResult:
			v.Succeeded++
		case kindFailed:
			v.Failed++
		case kindRejected:
			v.Rejected++
		}
	}
	v.Surplus += int64(len(rows) - len(needed))
}

func (v *verifier) rowPlace(key []byte) string {
	name := v.opt.Output
	if key[13] != kindResult {
		name = v.opt.Errors
	}
	return fmt.Sprintf("%s:%d", name, binary.BigEndian.Uint64(key[15:]))
}

func (v *verifier) countRepeated(ids [][]byte) error {
	slices.SortFunc(ids, bytes.Compare)
	for i := 1; i < len(ids); i++ {
		if bytes.Equal(ids[i], ids[i-1]) {
			v.RepeatedIDs++
		}
	}
	return nil
}
