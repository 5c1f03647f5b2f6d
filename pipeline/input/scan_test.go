package input

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
)

func TestScan(t *testing.T) {
	text := bom + "{}\r\n\n \t\nlast"
	list := files(t, text, "", gz(text))
	var hashes bytes.Buffer
	prints, err := Scan(t.Context(), list, &hashes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(text))
	empty := sha256.Sum256(nil)
	var want []Print
	for i, p := range []Print{{Name: "a", Lines: 4, Records: 2, SHA256: hex.EncodeToString(sum[:])}, {Name: "b", SHA256: hex.EncodeToString(empty[:])}, {Name: "c", Lines: 4, Records: 2, SHA256: hex.EncodeToString(sum[:])}} {
		info, err := os.Stat(list[i].Path)
		if err != nil {
			t.Fatal(err)
		}
		p.Size, p.ModTime = info.Size(), info.ModTime().UTC()
		want = append(want, p)
	}
	if diff := cmp.Diff(want, prints); diff != "" {
		t.Errorf("Scan (-want +got):\n%s", diff)
	}
	var sums []byte
	for range 2 {
		for _, line := range []string{"{}", "", " \t", "last"} {
			sums = binary.LittleEndian.AppendUint64(sums, xxhash.Sum64String(line))
		}
	}
	if !bytes.Equal(sums, hashes.Bytes()) {
		t.Errorf("hashes %x, want %x", hashes.Bytes(), sums)
	}
	var back []Print
	if b, err := json.Marshal(prints); err != nil || json.Unmarshal(b, &back) != nil || !cmp.Equal(prints, back) {
		t.Errorf("JSON changes a print (%v):\n%s", err, cmp.Diff(prints, back))
	}
}

// The hash of a line does not depend on where its blocks end.
func TestHashOfParts(t *testing.T) {
	for range 2000 {
		raw := make([]byte, rand.IntN(12))
		for i := range raw {
			raw[i] = "ab \t\r"[rand.IntN(5)]
		}
		raw = append(raw, []string{"", "\n", "\r\n"}[rand.IntN(3)]...)
		want := whole(raw)
		var d digest
		for rest := raw; ; {
			n := rand.IntN(len(rest) + 1)
			d.write(rest[:n])
			if rest = rest[n:]; len(rest) == 0 {
				break
			}
		}
		if got := d.line(); got.sum != want.hash() || got.size != want.size || got.raw != want.raw || got.blank != want.blank {
			t.Fatalf("%q: %+v, want %+v", raw, got, want)
		}
	}
}

func TestCompare(t *testing.T) {
	a, b := numbered(3), numbered(2)
	tests := map[string]struct {
		contents []string
		want     *Difference
	}{
		"the same":                 {[]string{a, b}, nil},
		"packed, CRLF, a mark":     {[]string{gz(a), bom + strings.ReplaceAll(b, "\n", "\r\n")}, nil},
		"no newline at the end":    {[]string{strings.TrimSuffix(a, "\n"), b}, nil},
		"a changed line":           {[]string{a, strings.Replace(b, `"n":2`, `"n":3`, 1)}, &Difference{"b", 2, WhatChanged}},
		"an early changed line":    {[]string{strings.Replace(a, `"n":2`, `"n":3`, 1), "other"}, &Difference{"a", 2, WhatChanged}},
		"lines missing":            {[]string{numbered(1), b}, &Difference{"a", 2, WhatMissing}},
		"an empty file":            {[]string{a, ""}, &Difference{"b", 1, WhatMissing}},
		"a line more":              {[]string{numbered(4), b}, &Difference{"a", 4, WhatAdded}},
		"a blank line more":        {[]string{a, b + "\n"}, &Difference{"b", 3, WhatAdded}},
		"a source more":            {[]string{a, b, a}, &Difference{"c", 0, WhatOneMore}},
		"an empty source more":     {[]string{a, b, ""}, &Difference{"c", 0, WhatOneMore}},
		"a source less":            {[]string{a}, &Difference{"b", 0, WhatOneFewer}},
		"the bounds moved":         {[]string{numbered(2), b}, &Difference{"a", 3, WhatMissing}},
		"the order of the sources": {[]string{b, a}, &Difference{"a", 3, WhatMissing}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var hashes bytes.Buffer
			old, err := Scan(t.Context(), files(t, a, b), &hashes)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Compare(t.Context(), files(t, tt.contents...), old, bytes.NewReader(hashes.Bytes()))
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("Compare: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestCompareNamesTheNewSource(t *testing.T) {
	list := files(t, numbered(1), numbered(2), numbered(3))
	var hashes bytes.Buffer
	old, err := Scan(t.Context(), []File{list[0], list[2]}, &hashes)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Compare(t.Context(), list, old, bytes.NewReader(hashes.Bytes()))
	if diff := cmp.Diff(&Difference{"b", 0, WhatOneMore}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	if want := "b: not the input this run began with: one more source"; got.Error() != want {
		t.Errorf("%v, want %s", got, want)
	}
	old, err = Scan(t.Context(), list, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err = Compare(t.Context(), list[1:], old, bytes.NewReader(nil))
	if diff := cmp.Diff(&Difference{"a", 0, WhatOneFewer}, got); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}

// Names do not matter, and a file that looks the same is not read.
func TestCompareShortcut(t *testing.T) {
	list := files(t, numbered(3))
	var hashes bytes.Buffer
	old, err := Scan(t.Context(), list, &hashes)
	if err != nil {
		t.Fatal(err)
	}
	moved := []File{{Name: "moved", Path: list[0].Path}}
	if diff, err := Compare(t.Context(), moved, old, bytes.NewReader(hashes.Bytes())); diff != nil || err != nil {
		t.Error(diff, err)
	}
	if diff, err := Compare(t.Context(), list, old, nil); diff != nil || err != nil {
		t.Error(diff, err)
	}
	if err := os.Chtimes(list[0].Path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if diff, err := Compare(t.Context(), list, old, bytes.NewReader(hashes.Bytes())); diff != nil || err != nil {
		t.Error("touched:", diff, err)
	}
	if _, err := Compare(t.Context(), list, old, bytes.NewReader(hashes.Bytes()[:12])); err == nil {
		t.Error("hashes that are cut are no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Compare(ctx, list, old, bytes.NewReader(hashes.Bytes())); err != context.Canceled {
		t.Error(err)
	}
	os.Remove(list[0].Path)
	if _, err := Compare(t.Context(), list, old, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func TestScanErrors(t *testing.T) {
	if _, err := Scan(t.Context(), Files([]string{"-"}), nil); err == nil || hint(err) == "" {
		t.Errorf("the standard input: %v", err)
	}
	if _, err := Scan(t.Context(), files(t, numbered(20000)), failing{}); err == nil || err.Error() != "write the hashes of the lines: no room" {
		t.Errorf("a sink that is full: %v", err)
	}
	if _, err := Scan(t.Context(), files(t, gz(numbered(100))[:200]), nil); !errors.Is(err, errCut) {
		t.Errorf("cut: %v", err)
	}
	grows := files(t, strings.Repeat(numbered(1000), 100))
	ctx := onDone{t.Context(), func() { os.Chtimes(grows[0].Path, time.Time{}, time.Now().Add(time.Hour)) }}
	if _, err := Scan(ctx, grows, nil); !errors.Is(err, errGrows) || err.Error() != "a: changed while it was being read" {
		t.Errorf("a file that grows: %v", err)
	}
}

// onDone does something whenever the context is asked.
type onDone struct {
	context.Context
	do func()
}

func (c onDone) Err() error { c.do(); return c.Context.Err() }

func (c onDone) Done() <-chan struct{} { c.do(); return c.Context.Done() }

func (c onDone) Value(key any) any { c.do(); return c.Context.Value(key) }
