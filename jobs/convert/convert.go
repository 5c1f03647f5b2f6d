// Package convert turns files of requests, and files of rows, from one published format into another.
//
// [Run] reads files of either kind: requests in any of the forms that package pipeline/input knows, or rows of any of the kinds
// that package sinks knows, Parquet included; of any other Parquet file each row is a line, with a member for each column. Which of both a file has, its first line tells, and all lines of all files must be alike.
// The output appears whole or not at all. What cannot be said in the new format, and rows that are errors, go to an errors file.
package convert

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/batchrun/batchrun/internal/atomicfile"
	"github.com/batchrun/batchrun/jobs/state"
	"github.com/batchrun/batchrun/pipeline"
	"github.com/batchrun/batchrun/pipeline/bedrock"
	"github.com/batchrun/batchrun/pipeline/dialect"
	"github.com/batchrun/batchrun/pipeline/input"
	"github.com/batchrun/batchrun/sinks"
)

// What requests can be converted to. All but Converse and Chat are names of kinds of rows as well.
const (
	Bedrock   = "bedrock"   // Bedrock batch, in the format of a model
	Converse  = "converse"  // Bedrock batch, in the form of Converse
	OpenAI    = "openai"    // OpenAI Batch
	Anthropic = "anthropic" // Anthropic Message Batches
	Chat      = "chat"      // chat messages
)

// Kinds are all that requests and rows can be converted to.
func Kinds() []string { return append([]string{Converse, Chat}, sinks.Kinds()...) }

// Options says what [Run] converts.
type Options struct {
	Inputs []string // paths and globs of JSON Lines, compressed or not, or of Parquet
	Output string   // a path ending in .jsonl or .parquet, which must not exist, or "-"
	Errors string   // "": STEM.errors.jsonl beside the output; written only where there is something to write
	To     string   // one of [Kinds]

	// Model and Family say whose bodies Bedrock requests get. Model also is the model that OpenAI and Anthropic requests name, ""
	// for the one that they named; and that of rows that name none.
	Model, Family string
	MaxTokens     int64           // of requests that set no limit, where the format wants one; 0: 4096
	Template      *input.Template // nil: lines say themselves what they are

	Stdout io.Writer
	Notice func(string) // is told what the user should know; nil for not at all
}

// A Result counts what was read. Read is the sum of the others.
type Result struct {
	Read, Converted, Errors int64
	ErrorsPath              string // where error rows are, "" where there are none
}

// A UsageError says what is wrong with what was asked for. Nothing was written.
type UsageError struct {
	Message, HintText string
}

// Error is what is wrong.
func (e *UsageError) Error() string { return e.Message }

// Hint says what to do, and may be "".
func (e *UsageError) Hint() string { return e.HintText }

// Run converts. When it fails nothing is left behind.
func Run(ctx context.Context, opt Options) (Result, error) {
	c := &converter{opt: opt}
	if err := c.check(); err != nil {
		return Result{}, err
	}
	return c.run(ctx)
}

type converter struct {
	opt     Options
	files   []input.File
	parquet bool // the output is
	parser  *input.Parser
	encoder *bedrock.Encoder // for requests of Bedrock only

	known bool // whether they are rows
	rows  bool
	out   io.Writer
	buf   []byte
	errs  *errorFile
	n     Result
}

// check looks at everything before anything is written.
func (c *converter) check() error {
	o := &c.opt
	if !slices.Contains(Kinds(), o.To) {
		return &UsageError{fmt.Sprintf("--to is %q, expected one of %s", o.To, strings.Join(Kinds(), ", ")), ""}
	}
	c.parquet = strings.HasSuffix(strings.ToLower(o.Output), ".parquet")
	switch {
	case o.Output == "":
		return &UsageError{"no output", "give -o FILE.jsonl, FILE.parquet or -"}
	case c.parquet && (!sinks.Rows(o.To).Valid() || !sinks.Rows(o.To).HasPlace()):
		return &UsageError{fmt.Sprintf("%s cannot be columns of a Parquet file", o.To), "give an output that ends in .jsonl, or --to full"}
	}
	if o.MaxTokens == 0 {
		o.MaxTokens = 4096
	}
	if o.Errors == "" && o.Output != "-" {
		o.Errors = state.ErrorsPath(o.Output)
	}
	if _, err := os.Lstat(o.Output); o.Output != "-" && err == nil {
		return &UsageError{o.Output + ": exists already", "name another output, or move it away"}
	}
	names, err := input.Expand(o.Inputs)
	if err != nil {
		return err
	}
	if slices.Contains(names, input.Stdin) {
		return &UsageError{"the standard input cannot be converted", "name files with -i"}
	}
	c.files = input.Files(names)
	c.parser = input.NewParser(o.Template)
	return nil
}

func (c *converter) run(ctx context.Context) (Result, error) {
	c.errs = &errorFile{path: c.opt.Errors}
	err := c.write(ctx)
	if err = errors.Join(err, c.errs.close(err == nil)); err != nil {
		return Result{}, err
	}
	if c.n.Errors > 0 {
		c.n.ErrorsPath = c.opt.Errors
	}
	return c.n, nil
}

// write makes the output: streamed, or whole or not at all.
func (c *converter) write(ctx context.Context) error {
	convert := func(w io.Writer) error {
		c.out = w
		return c.read(ctx)
	}
	var fs *atomicfile.FS
	switch {
	case c.opt.Output == "-":
		w := bufio.NewWriterSize(c.opt.Stdout, 256<<10)
		if err := convert(w); err != nil {
			return err
		}
		return w.Flush()
	case !c.parquet:
		return fs.Write(c.opt.Output, 0o666, convert)
	}
	// Nothing of a Parquet file can be written before all is known: the rows go beside it first.
	spool := c.opt.Output + ".spool"
	tmp, err := fs.WriteTemp(spool, 0o666, convert)
	if err != nil {
		return err
	}
	defer func() { _ = fs.RemoveTemp(spool) }()
	_, err = sinks.SealParquet(ctx, sinks.SealOptions{Path: c.opt.Output, Seal: "convert", Spool: tmp, SpoolSize: -1, Rows: c.n.Converted})
	return err
}

// read goes through all files.
func (c *converter) read(ctx context.Context) error {
	for _, f := range c.files {
		if isParquet(f.Path) {
			if err := c.readParquet(ctx, f); err != nil {
				return err
			}
			continue
		}
		if err := input.EachLine(ctx, []input.File{f}, c.line); err != nil {
			return err
		}
	}
	return nil
}

func isParquet(path string) bool {
	file, err := os.Open(path)
	if err != nil {
		return false // to be reported when it is read
	}
	defer file.Close()
	var magic [4]byte
	n, _ := io.ReadFull(file, magic[:])
	return string(magic[:n]) == "PAR1"
}

// readParquet reads a file of rows, or any other table, whose rows are lines then.
func (c *converter) readParquet(ctx context.Context, f input.File) error {
	rows, err := sinks.HoldsRows(f.Path)
	if err != nil {
		return err
	}
	if !rows {
		return c.readTable(ctx, f)
	}
	if err := c.alike(f.Name, 1, true); err != nil {
		return err
	}
	line := int64(0)
	for row, err := range sinks.ParquetRows(f.Path) {
		line++
		if err == nil {
			err = context.Cause(ctx)
		}
		if err == nil {
			err = c.row(f.Name, line, row)
		}
		if err != nil {
			return fmt.Errorf("%s: row %d: %w", f.Name, line, err)
		}
	}
	return nil
}

func (c *converter) readTable(ctx context.Context, f input.File) error {
	line := int64(0)
	for text, err := range sinks.ParquetTable(f.Path) {
		line++
		if err == nil {
			err = context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%s: row %d: %w", f.Name, line, err)
		}
		if err := c.line(f.Name, line, text); err != nil {
			return err
		}
	}
	return nil
}

// alike holds every line to what the first one is.
func (c *converter) alike(source string, line int64, rows bool) error {
	if c.known && c.rows != rows {
		return &UsageError{
			fmt.Sprintf("%s:%d: %s, and what came before is not", source, line, map[bool]string{true: "a row", false: "a request"}[rows]),
			"convert requests and rows one after the other",
		}
	}
	if c.known {
		return nil
	}
	c.known, c.rows = true, rows
	to := c.opt.To
	switch {
	case rows && !sinks.Rows(to).Valid():
		return &UsageError{fmt.Sprintf("%s holds rows, and --to %s is for requests", source, to), "give one of " + strings.Join(sinks.Kinds(), ", ")}
	case !rows && (to == string(sinks.Full) || to == string(sinks.Lean) || to == string(sinks.Text)):
		return &UsageError{fmt.Sprintf("%s holds requests, and --to %s is for rows", source, to), "give bedrock, converse, openai, anthropic or chat"}
	case rows || to != Bedrock:
		return nil
	}
	if c.opt.Model == "" && c.opt.Family == "" {
		return &UsageError{"requests of Bedrock batch are in the format of a model", "give -m MODEL or --family, or --to converse"}
	}
	var err error
	c.encoder, err = bedrock.NewEncoder(bedrock.Options{ModelID: c.opt.Model, Family: c.opt.Family, MaxTokens: c.opt.MaxTokens, Warn: c.opt.Notice})
	return err
}

// line converts one line.
func (c *converter) line(source string, line int64, text []byte) error {
	if text == nil { // longer than any line may be
		c.n.Read++
		return c.reject(&pipeline.Record{Source: source, Line: line}, &pipeline.Fault{
			Type: pipeline.TypeRecordTooLarge, Message: fmt.Sprintf("the line is longer than %d bytes: make it smaller", input.MaxLine),
		})
	}
	var rec *pipeline.Record
	if !c.known || !c.rows {
		rec = c.parser.Record(source, line, text)
	}
	if c.opt.Template == nil && (c.rows || rec.Fault != nil || rec.Input != nil && rec.Dialect == pipeline.Invoke) {
		row, _, err := sinks.ParseAnyRow(text)
		switch {
		case err == nil && sinks.ValidJSON(text):
			if err := c.alike(source, line, true); err != nil {
				return err
			}
			return c.row(source, line, row)
		case c.rows && c.known:
			return fmt.Errorf("%s:%d: %w: %s", source, line, sinks.ErrNotRow, "mend it, or take it out")
		}
	}
	if err := c.alike(source, line, false); err != nil {
		return err
	}
	return c.request(rec)
}

// row writes a row as one of another kind.
func (c *converter) row(source string, line int64, row *sinks.Row) error {
	c.n.Read++
	if row.Source == "" { // of a kind without a place: the place in this file
		row.Source, row.Line = source, line
	}
	if row.ModelID == "" {
		row.ModelID = c.opt.Model
	}
	res := row.Result()
	if res.Err != nil {
		c.n.Errors++
		return c.errs.add(res, sinks.Rows(c.opt.To))
	}
	kind := sinks.Rows(c.opt.To)
	c.buf = sinks.AppendRow(c.buf[:0], res, kind)
	return c.put()
}

func (c *converter) put() error {
	c.n.Converted++
	_, err := c.out.Write(c.buf)
	return err
}

// reject writes an error row for a line that cannot be converted.
func (c *converter) reject(rec *pipeline.Record, fault *pipeline.Fault) error {
	c.n.Errors++
	rec.Fault = fault
	return c.errs.add(&pipeline.Result{Record: rec, Err: &pipeline.RowError{Type: fault.Type, Message: fault.Message}}, sinks.Full)
}

// request writes a request in another format.
func (c *converter) request(rec *pipeline.Record) error {
	c.n.Read++
	if rec.Fault != nil {
		return c.reject(rec, rec.Fault)
	}
	b, fault := c.appendRequest(c.buf[:0], rec)
	if fault != nil {
		return c.reject(rec, fault)
	}
	c.buf = append(b, '\n')
	return c.put()
}

func (c *converter) appendRequest(b []byte, rec *pipeline.Record) ([]byte, *pipeline.Fault) {
	open := map[string]string{
		Bedrock: `{"recordId":`, Converse: `{"recordId":`, Chat: `{"recordId":`, OpenAI: `{"custom_id":`, Anthropic: `{"custom_id":`,
	}[c.opt.To]
	b = dialect.AppendString(append(b, open...), rec.ID)
	if c.opt.To == Bedrock {
		req, err := c.encoder.Encode(rec)
		if fault, ok := errors.AsType[*pipeline.Fault](err); ok {
			return nil, fault
		} else if err != nil {
			return nil, &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Message: err.Error()}
		}
		b = appendOneLine(append(b, `,"modelInput":`...), req.Body)
		return c.appendMetadata(b, rec.Metadata)
	}
	d := map[string]pipeline.Dialect{Converse: pipeline.Converse, Chat: pipeline.Chat, OpenAI: pipeline.OpenAI, Anthropic: pipeline.Anthropic}[c.opt.To]
	body, fault := c.body(rec, d)
	if fault != nil {
		return nil, fault
	}
	switch c.opt.To {
	case OpenAI:
		b = append(b, `,"method":"POST","url":"/v1/chat/completions","body":`...)
	case Anthropic:
		b = append(b, `,"params":`...)
	case Converse:
		b = append(b, `,"modelInput":`...)
	case Chat: // the body's members are the line's
		b = append(b, ',')
		body = body[1 : len(body)-1]
	}
	return c.appendMetadata(appendOneLine(b, body), rec.Metadata)
}

// body is the request in a dialect: the one it had, if it is in that already.
func (c *converter) body(rec *pipeline.Record, d pipeline.Dialect) ([]byte, *pipeline.Fault) {
	if rec.Input == nil {
		return dialect.Append(nil, d, rec.Prompt, c.opt.Model, c.opt.MaxTokens)
	}
	from := rec.Dialect
	if from == pipeline.Invoke {
		var ok bool
		if from, ok = dialect.Guess(rec.Input); !ok {
			return nil, &pipeline.Fault{Type: pipeline.TypeInvalidRecord, Message: "modelInput: it is in a model's own format, and not one of messages: it cannot be converted"}
		}
	}
	model := c.opt.Model
	if model == "" {
		model = dialect.Model(rec.Input)
	}
	if from == d && from == rec.Dialect && (c.opt.Model == "" || d == pipeline.Chat) {
		return rec.Input, nil
	}
	prompt, fault := dialect.Read(from, rec.Input)
	if fault != nil {
		return nil, fault
	}
	return dialect.Append(nil, d, prompt, model, c.opt.MaxTokens)
}

// appendOneLine appends JSON that may have line breaks between its tokens.
func appendOneLine(b, value []byte) []byte {
	from := len(b)
	b = append(b, value...)
	for i, ch := range b[from:] {
		if ch == '\n' || ch == '\r' {
			b[from+i] = ' '
		}
	}
	return b
}

// appendMetadata ends a line with every field that the request came with beside what is converted.
func (c *converter) appendMetadata(b []byte, metadata []byte) ([]byte, *pipeline.Fault) {
	for quoted, value := range sinks.Members(metadata) {
		name := strings.Trim(string(quoted), `"`)
		if name == "method" || name == "url" { // of an OpenAI batch: said anew, or of no use elsewhere
			continue
		}
		if c.taken(name) {
			return nil, &pipeline.Fault{
				Type:    pipeline.TypeInvalidRecord,
				Message: fmt.Sprintf("%s: the field would get a meaning that it does not have here: give it another name", quoted),
			}
		}
		b = append(append(append(append(b, ','), quoted...), ':'), value...)
	}
	return append(b, '}'), nil
}

// taken tells the fields that mean something in a line of the new format.
func (c *converter) taken(name string) bool {
	switch c.opt.To {
	case OpenAI:
		return name == "custom_id" || name == "body"
	case Anthropic:
		return name == "custom_id" || name == "params"
	case Chat:
		return name == "recordId" || input.HasMeaning(name)
	}
	return name == "recordId" || name == "modelInput"
}

// An errorFile is made with its first row, and stands only once all is converted.
type errorFile struct {
	path string // "": errors go nowhere but into the count
	file *os.File
	w    *bufio.Writer
	buf  []byte
}

func (e *errorFile) add(res *pipeline.Result, kind sinks.Rows) error {
	if e.path == "" && e.w == nil {
		return fmt.Errorf("%s: %s: %s", res.Record.Place(), res.Err.Type, res.Err.Message)
	}
	if e.w == nil {
		if _, err := os.Lstat(e.path); err == nil {
			return &UsageError{e.path + ": exists already, and there are lines for it", "name another with --errors, or move it away"}
		}
		file, err := os.OpenFile(atomicfile.TempName(e.path), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|atomicfile.NoFollow, 0o666)
		if err != nil {
			return err
		}
		e.file, e.w = file, bufio.NewWriter(file)
	}
	e.buf = sinks.AppendRow(e.buf[:0], res, kind)
	_, err := e.w.Write(e.buf)
	return err
}

// close puts the file in its place, or removes it.
func (e *errorFile) close(keep bool) error {
	if e.file == nil {
		return nil
	}
	err := errors.Join(e.w.Flush(), e.file.Sync(), e.file.Close())
	tmp := atomicfile.TempName(e.path)
	if err == nil && keep {
		return (*atomicfile.FS)(nil).Commit(tmp, e.path)
	}
	return errors.Join(err, os.Remove(tmp))
}
