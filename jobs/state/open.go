package state

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/batchrun/batchrun/jobs/journal"
	"github.com/batchrun/batchrun/sinks"
)

const freshHint = "--fresh moves the old output, errors and state aside and starts again"

// Open starts a run, or resumes the one that is there. Where it refuses, with a *[RefusedError], a
// *[MismatchError] or a *[LockedError], nothing was touched.
func Open(opt Options) (*Run, error) {
	if err := opt.complete(); err != nil {
		return nil, err
	}
	for range 10 { // each time another process came in between
		there, err := checkDir(opt.Dir)
		if err != nil {
			return nil, err
		}
		var r *Run
		switch {
		case !there:
			r, err = begin(opt)
		case opt.Fresh:
			if err = startAfresh(opt); err == nil {
				opt.Fresh = false
				continue
			}
		default:
			r, err = resume(opt)
		}
		if errors.Is(err, errMoved) || errors.Is(err, errRaced) {
			continue
		}
		return r, err
	}
	return nil, fmt.Errorf("%s: other processes keep making and moving it", opt.Dir)
}

var errRaced = errors.New("another process was first")

// checkDir looks whether the state directory is there and fit to be used, without touching it.
func checkDir(dir string) (there bool, err error) {
	info, err := os.Lstat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case info.Mode()&fs.ModeSymlink != 0:
		return false, &RefusedError{Reason: dir + ": is a symlink, which is refused for a state directory", Hint: "name the directory itself with --state"}
	case !info.IsDir():
		return false, &RefusedError{Reason: dir + ": is not a directory", Hint: "name another state directory with --state"}
	case foreign(info):
		return false, &RefusedError{Reason: dir + ": belongs to another user", Hint: "name another state directory with --state"}
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return false, err
	}
	stranger, hasSpec := "", false
	for _, e := range names {
		switch e.Name() {
		case specName:
			hasSpec = true
		case lockName, "." + specName + ".batchrun-tmp":
		default:
			stranger = e.Name()
		}
		if e.Type()&fs.ModeSymlink != 0 {
			return false, &RefusedError{
				Reason: filepath.Join(dir, e.Name()) + ": is a symlink, which is refused in a state directory",
				Hint:   "remove it if you know how it came there; " + freshHint,
			}
		}
	}
	if !hasSpec && stranger != "" {
		return false, &RefusedError{
			Reason: fmt.Sprintf("%s: is not a state directory: it holds %s but no %s", dir, stranger, specName),
			Hint:   "name another state directory with --state",
		}
	}
	return true, nil
}

// checkNew refuses to begin where an output or errors file stands already.
func checkNew(opt Options) error {
	if exists(opt.Output) {
		return &RefusedError{Reason: opt.Output + ": exists, but there is no state of a run that wrote it", Hint: "name another output, or use --fresh to move it aside"}
	}
	return checkErrorsNew(opt)
}

func checkErrorsNew(opt Options) error {
	if !exists(opt.Errors) {
		return nil
	}
	whose := "exists, but there is no state of a run that wrote it"
	if owner := errorsOwner(opt); owner != "" {
		whose = "belongs to the run in " + owner
	}
	return &RefusedError{Reason: opt.Errors + ": " + whose, Hint: "name another file for the error rows with --errors FILE"}
}

// errorsOwner looks for another run beside the errors file that writes to it.
func errorsOwner(opt Options) (dir string) {
	dirs, _ := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(opt.Errors)), "*.batchrun"))
	for _, dir := range dirs {
		if s, err := readSpec(dir); err == nil && s.Errors == opt.Errors && dir != opt.Dir {
			return dir
		}
	}
	return ""
}

func escapeGlob(path string) string {
	var b []byte
	for _, c := range []byte(path) {
		if c == '*' || c == '?' || c == '[' || c == '\\' {
			b = append(b, '[', c, ']')
			if c == '\\' {
				b = append(b[:len(b)-3], '\\', '\\')
			}
			continue
		}
		b = append(b, c)
	}
	return string(b)
}

// begin makes the state directory of a new run.
func begin(opt Options) (_ *Run, err error) {
	if opt.RetryFailed {
		return nil, &RefusedError{Reason: opt.Dir + ": there is no earlier run whose failed records could be sent again", Hint: "leave --retry-failed out for the first run"}
	}
	if !opt.Fresh {
		if err := checkNew(opt); err != nil {
			return nil, err
		}
	} else if owner := errorsOwner(opt); owner != "" && exists(opt.Errors) {
		return nil, checkErrorsNew(opt)
	}
	if err := opt.fs.MkdirPrivate(opt.Dir); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, errRaced
		}
		return nil, err
	}
	if err := opt.fs.SyncDir(filepath.Dir(opt.Dir)); err != nil {
		return nil, err
	}
	return resume(opt)
}

// resume opens a state directory that is there, though it may be empty still.
func resume(opt Options) (_ *Run, err error) {
	lock, err := lockDir(opt.Dir, opt.Now(), opt.Command)
	if err != nil {
		return nil, err
	}
	r := &Run{opt: opt, fs: opt.fs, lock: lock}
	defer func() {
		if err != nil {
			_ = r.Close()
		}
	}()
	r.spec, err = readSpec(opt.Dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := r.writeFirstSpec(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, &RefusedError{Reason: err.Error(), Hint: freshHint, Err: err}
	default:
		if err := r.compare(); err != nil {
			return nil, err
		}
	}
	r.first = firstPositions(r.spec.Frozen.Input)
	r.p = newProgress(opt.Now())
	if !r.kind().HasPlace() {
		r.p.order = &order{}
	}
	r.journal, err = journal.Open(filepath.Join(opt.Dir, journalName), opt.fs, r.p.replay)
	if err != nil {
		return nil, &RefusedError{Reason: err.Error(), Hint: freshHint, Err: err}
	}
	if r.p.run == "" {
		err = r.makeFiles()
	} else {
		r.resumed = true
		err = r.checkFiles()
	}
	if err != nil {
		return nil, err
	}
	if info, err := os.Lstat(opt.Dir); err == nil && info.Mode().Perm() != 0o700 {
		if err := os.Chmod(opt.Dir, 0o700); err != nil {
			return nil, err
		}
	}
	if err := r.takeUp(); err != nil {
		return nil, err
	}
	return r, nil
}

// writeFirstSpec freezes the settings in a directory that holds nothing yet.
func (r *Run) writeFirstSpec() error {
	if r.opt.Fresh {
		if err := moveAside(r.fs, r.opt.Output, r.opt.Errors); err != nil {
			return err
		}
	}
	if err := checkNew(r.opt); err != nil {
		return err
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	r.spec = &spec{
		Version: specVersion, Run: hex.EncodeToString(id[:]), Created: r.now(),
		Output: r.opt.Output, Errors: r.opt.Errors, Frozen: r.opt.Frozen,
	}
	r.justBegun = true
	return writeSpec(r.fs, r.opt.Dir, r.spec)
}

// compare refuses when what shapes the answers has changed.
func (r *Run) compare() error {
	m := &MismatchError{Dir: r.opt.Dir, Differences: differences(r.spec.Frozen, r.opt.Frozen)}
	same := r.opt.CompareInput
	if same == nil {
		same = compareInput
	}
	m.Input = same(r.spec.Frozen.Input, r.opt.Frozen.Input)
	if len(m.Differences) > 0 || m.Input != nil {
		return m
	}
	return nil
}

func (r *Run) parquet() bool { return r.spec.Frozen.Format == Parquet }

// kind is the kind of rows that the run writes.
func (r *Run) kind() sinks.Rows { return sinks.Rows(r.spec.Frozen.Rows) }

// rows is the file that results are appended to.
func (r *Run) rows() sinks.JSONLOptions {
	o := sinks.JSONLOptions{Path: r.opt.Output, Keep: r.opt.Dir, Rows: r.kind(), FS: r.fs}
	if r.parquet() {
		o.Path, o.Private = filepath.Join(r.opt.Dir, spoolName), true
	}
	return o
}

func (r *Run) errorRows() sinks.JSONLOptions {
	return sinks.JSONLOptions{Path: r.opt.Errors, Keep: r.opt.Dir, Rows: r.kind(), FS: r.fs}
}

// makeFiles makes the empty files of a run that has just begun. A crash may have left some of them.
func (r *Run) makeFiles() error {
	if r.parquet() && exists(r.opt.Output) {
		return checkNew(r.opt)
	}
	files := []sinks.JSONLOptions{r.rows(), r.errorRows()}
	if owner := errorsOwner(r.opt); owner != "" && exists(r.opt.Errors) {
		return checkErrorsNew(r.opt)
	}
	for _, o := range files {
		if info, err := os.Lstat(o.Path); err == nil && (!info.Mode().IsRegular() || info.Size() > 0) {
			return &RefusedError{Reason: o.Path + ": exists, and this run has not written anything yet", Hint: "name another output, or use --fresh to move it aside"}
		}
	}
	for _, o := range files {
		if !r.justBegun && exists(o.Path) {
			continue // made before a crash
		}
		if err := sinks.CreateJSONL(o); err != nil {
			return err
		}
	}
	return r.note(&entry{Type: entryBegin, At: r.now(), Run: r.spec.Run})
}

// checkFiles refuses when the files are not as the run left them.
func (r *Run) checkFiles() error {
	if r.p.run != r.spec.Run {
		return &RefusedError{Reason: r.opt.Dir + ": journal and spec.json are of different runs", Hint: freshHint}
	}
	if err := r.checkErrors(); err != nil {
		return err
	}
	if !r.parquet() {
		return r.refuse(sinks.CheckMark(r.opt.Output, r.p.output), r.opt.Output)
	}
	if err := r.checkParquet(); err != nil {
		return err
	}
	if r.p.sealedRound == r.p.round {
		return nil // the spool is spent
	}
	spool := r.rows().Path
	if !exists(spool) && r.p.output.Size == 0 && r.p.sealed != nil {
		return nil // a round began, and its spool is still to be made
	}
	return r.refuse(sinks.CheckMark(spool, r.p.output), spool)
}

func (r *Run) refuse(err error, path string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &RefusedError{Reason: path + ": is missing, but this run has written to it", Hint: "put it back; " + freshHint, Err: err}
	case errors.Is(err, sinks.ErrNotOurs):
		return &RefusedError{Reason: err.Error(), Hint: "put back the file as the run left it; " + freshHint, Err: err}
	}
	return err
}

// checkErrors checks the errors file, which a crash may have left before or after its replacement.
func (r *Run) checkErrors() error {
	if r.rewritten() {
		return nil
	}
	return r.refuse(sinks.CheckMark(r.opt.Errors, r.p.errors), r.opt.Errors)
}

// rewritten tells whether the errors file was replaced and the journal does not know it yet.
func (r *Run) rewritten() bool {
	if r.p.rewriting == nil {
		return false
	}
	info, err := os.Stat(r.opt.Errors)
	return err == nil && info.Size() == r.p.rewriting.Size && sinks.CheckMark(r.opt.Errors, *r.p.rewriting) == nil
}

// checkParquet checks the sealed file, which a crash may have left before or after its replacement.
func (r *Run) checkParquet() error {
	path := r.opt.Output
	if r.resealed() {
		return nil
	}
	if r.p.sealed == nil {
		if exists(path) {
			return &RefusedError{Reason: path + ": exists, but this run has not written it yet", Hint: "move it away: the run will write there"}
		}
		return nil
	}
	info, err := os.Stat(path)
	if err == nil && info.Size() != r.p.sealed.Size {
		err = fmt.Errorf("%s: %w: %d bytes, it was sealed with %d", path, sinks.ErrNotOurs, info.Size(), r.p.sealed.Size)
	}
	if err == nil {
		seal, got, rerr := sinks.ReadSeal(path)
		if rerr != nil || seal != r.p.sealed.ID || got.Rows != r.p.sealed.Rows {
			err = fmt.Errorf("%s: %w", path, sinks.ErrNotOurs)
		}
	}
	return r.refuse(err, path)
}

// sealID names the sealing of the round that is open.
func (r *Run) sealID() string { return fmt.Sprintf("%s/%d", r.spec.Run, r.p.round) }

// resealed tells whether the Parquet file was replaced and the journal does not know it yet.
func (r *Run) resealed() bool {
	if r.p.sealedRound == r.p.round || !exists(r.opt.Output) {
		return false
	}
	seal, got, err := sinks.ReadSeal(r.opt.Output)
	return err == nil && seal == r.sealID() && got.Rows == r.p.counts().Succeeded
}

// takeUp makes the journal say what a crash kept from it, begins a retry round if one is wanted, and opens
// the files. From here on things are touched.
func (r *Run) takeUp() error {
	for _, name := range []string{r.opt.Output, r.opt.Errors, filepath.Join(r.opt.Dir, specName)} {
		name, err := resolve(name)
		if err == nil {
			err = r.fs.RemoveTemp(name)
		}
		if err != nil {
			return err
		}
	}
	if r.spec.Output != r.opt.Output || r.spec.Errors != r.opt.Errors {
		s := *r.spec
		s.Output, s.Errors = r.opt.Output, r.opt.Errors
		if err := writeSpec(r.fs, r.opt.Dir, &s); err != nil {
			return err
		}
		r.spec = &s
	}
	if r.parquet() && r.resealed() {
		if err := r.noteSealed(); err != nil {
			return err
		}
		r.notes = append(r.notes, "the output was sealed when the run was cut short")
	}
	if r.rewritten() {
		if err := r.noteClosed(); err != nil {
			return err
		}
		r.notes = append(r.notes, "the errors file was rewritten when the run was cut short")
	}
	if r.parquet() && r.p.sealedRound == r.p.round {
		if err := r.removeSpool(); err != nil {
			return err
		}
	}
	// A round that was closed but not noted as finished is the one this command began before it was killed.
	if r.opt.RetryFailed && (r.p.finished || r.p.round == 0) && !r.p.failed.IsEmpty() {
		if err := r.note(&entry{Type: entryRound, At: r.now(), Round: r.p.round + 1}); err != nil {
			return err
		}
	}
	if r.p.finished {
		return nil
	}
	if err := r.openFiles(); err != nil {
		return err
	}
	host, _ := os.Hostname()
	return r.note(&entry{Type: entryOpen, At: r.now(), Session: &sessionEntry{
		PID: os.Getpid(), Host: host, Command: r.opt.Command, Settings: r.opt.Settings, Counted: r.opt.Counted,
	}})
}

func (r *Run) openFiles() (err error) {
	rows := r.rows()
	rows.Mark = r.p.output
	if r.parquet() && !exists(rows.Path) { // the one before is sealed
		if err := sinks.CreateJSONL(rows); err != nil {
			return err
		}
	}
	errorRows := r.errorRows()
	errorRows.Mark = r.p.errors
	for _, o := range []sinks.JSONLOptions{rows, errorRows} {
		if info, err := os.Stat(o.Path); err == nil && info.Size() > o.Mark.Size {
			r.notes = append(r.notes, fmt.Sprintf("%s: %d bytes past what counts are kept in %s", o.Path, info.Size()-o.Mark.Size, r.opt.Dir))
		}
	}
	if r.out, err = sinks.OpenJSONL(rows); err != nil {
		return err
	}
	r.errs, err = sinks.OpenJSONL(errorRows)
	return err
}
