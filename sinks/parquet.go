package sinks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	parquetzstd "github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/batchrun/batchrun/internal/atomicfile"
)

// The keys of a Parquet file's metadata.
const (
	sealKey = "batchrun.seal"
	rowsKey = "batchrun.rows"
)

// rowGroupBytes bounds what a row group holds, before compression. The writer buffers one row group.
const rowGroupBytes = 32 << 20

// SealOptions says what [SealParquet] makes a file of.
type SealOptions struct {
	Path string // of the Parquet file, replaced whole
	Seal string // names this sealing; [ReadSeal] gives it back

	Spool     string // result rows as JSON Lines
	SpoolSize int64  // how much of it is counted
	// Old says that a Parquet file stands at Path whose rows come first.
	Old bool
	// Rows is how many the file must have in the end; otherwise it does not replace anything.
	Rows int64
	FS   *atomicfile.FS
}

// Sealed is what [SealParquet] made.
type Sealed struct {
	Rows int64
	Size int64 // of the file
}

// SealParquet writes the rows of an old file and of a spool into one new Parquet file, which then replaces what
// is at Path, durably. The old file and the spool are not changed before that. Memory is bounded by a row group
// and the largest row.
func SealParquet(ctx context.Context, opt SealOptions) (Sealed, error) {
	var sealed Sealed
	tmp, err := opt.FS.WriteTemp(opt.Path, 0o666, func(w io.Writer) error {
		n, err := writeParquet(ctx, w, opt)
		sealed.Rows = n
		if err == nil && n != opt.Rows {
			err = fmt.Errorf("%d rows are there, %d are counted", n, opt.Rows)
		}
		return err
	})
	if err != nil {
		return Sealed{}, err
	}
	info, err := os.Stat(tmp)
	if err != nil {
		return Sealed{}, err
	}
	sealed.Size = info.Size()
	if old, err := os.Stat(opt.Path); err == nil && opt.Old {
		if err := os.Chmod(tmp, old.Mode().Perm()); err != nil {
			return Sealed{}, errors.Join(err, opt.FS.RemoveTemp(opt.Path))
		}
	}
	if err := opt.FS.Commit(tmp, opt.Path); err != nil {
		return Sealed{}, err
	}
	return sealed, nil
}

func writeParquet(ctx context.Context, w io.Writer, opt SealOptions) (rows int64, err error) {
	codec, err := newCodec()
	if err != nil {
		return 0, err
	}
	pw := parquet.NewGenericWriter[parquetRow](w,
		parquet.Compression(codec),
		// By default each page header has its smallest and largest value twice, in full: four more copies of a
		// large modelInput, uncompressed. The bounds in the footer suffice to search by.
		parquet.DataPageStatistics(false),
		// Of these columns they too would be whole answers, and nobody searches by them.
		parquet.SkipPageBounds("model_input"), parquet.SkipPageBounds("model_output"),
		parquet.SkipPageBounds("text"), parquet.SkipPageBounds("metadata"),
		parquet.KeyValueMetadata(sealKey, opt.Seal),
		parquet.CreatedBy("batchrun", "", ""),
	)
	var group int64
	add := func(p *parquetRow) error {
		if _, err := pw.Write([]parquetRow{*p}); err != nil {
			return err
		}
		rows++
		if group += p.size(); group >= rowGroupBytes {
			group = 0
			return pw.Flush()
		}
		return nil
	}
	if opt.Old {
		for p, err := range parquetRows(opt.Path) {
			if err == nil {
				err = context.Cause(ctx)
			}
			if err == nil {
				err = add(p)
			}
			if err != nil {
				return rows, fmt.Errorf("take over %s: %w", opt.Path, err)
			}
		}
	}
	number := 0
	for line, err := range Lines(opt.Spool, opt.SpoolSize) {
		number++
		if err == nil {
			err = context.Cause(ctx)
		}
		var row *Row
		if err == nil {
			row, err = ParseRow(line)
		}
		if err == nil && row.Error != nil {
			err = errors.New("an error row among the results")
		}
		if err == nil {
			p := toParquet(row)
			err = add(&p)
		}
		if err != nil {
			return rows, fmt.Errorf("%s:%d: %w", opt.Spool, number, err)
		}
	}
	pw.SetKeyValueMetadata(rowsKey, strconv.FormatInt(rows, 10))
	return rows, pw.Close()
}

// A codec compresses all pages of a file with one encoder. The library's takes one for each page from a pool, which
// forgets them now and then (and with the race detector every fourth time): each is over a megabyte to make.
type codec struct {
	parquetzstd.Codec
	encoder *zstd.Encoder
}

func newCodec() (*codec, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithZeroFrames(true), zstd.WithEncoderCRC(false))
	return &codec{encoder: e}, err
}

// Encode compresses a page into dst, which it may replace.
func (c *codec) Encode(dst, src []byte) ([]byte, error) {
	return c.encoder.EncodeAll(src, dst[:0]), nil
}

// ReadSeal reads which sealing made a Parquet file, and its rows and size. The seal is "" where batchrun did not
// make it.
func ReadSeal(path string) (seal string, sealed Sealed, err error) {
	file, f, err := openParquet(path)
	if err != nil {
		return "", Sealed{}, err
	}
	defer file.Close()
	seal, _ = f.Lookup(sealKey)
	return seal, Sealed{Rows: f.NumRows(), Size: f.Size()}, nil
}

func openParquet(path string) (*os.File, *parquet.File, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	f, err := parquet.OpenFile(file, info.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), file.Close())
	}
	return file, f, nil
}

// ParquetRows yields the rows of a Parquet file.
func ParquetRows(path string) func(yield func(*Row, error) bool) {
	return func(yield func(*Row, error) bool) {
		for p, err := range parquetRows(path) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(fromParquet(p), nil) {
				return
			}
		}
	}
}

func parquetRows(path string) func(yield func(*parquetRow, error) bool) {
	return func(yield func(*parquetRow, error) bool) {
		file, f, err := openParquet(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer file.Close()
		for i, group := range f.RowGroups() {
			if !groupRows(group, f.Metadata().RowGroups[i].TotalByteSize, yield) {
				return
			}
		}
	}
}

// groupRows yields the rows of one row group of so many bytes uncompressed, holding few rows at once where they
// are large.
func groupRows(group parquet.RowGroup, bytes int64, yield func(*parquetRow, error) bool) bool {
	r := parquet.NewGenericRowGroupReader[parquetRow](group)
	defer r.Close()
	n := int64(64)
	if rows := group.NumRows(); rows > 0 {
		n = min(n, max(1, (4<<20)/(1+bytes/rows)))
	}
	buf := make([]parquetRow, n)
	for {
		n, err := r.Read(buf)
		for i := range buf[:n] {
			if !yield(&buf[i], nil) {
				return false
			}
		}
		if errors.Is(err, io.EOF) {
			return true
		}
		if err != nil {
			yield(nil, err)
			return false
		}
	}
}
