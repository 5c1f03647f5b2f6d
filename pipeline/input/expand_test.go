package input

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestExpand(t *testing.T) {
	dir := write(t, map[string]string{
		"a.jsonl": "", "b.jsonl": "", "c.jsonl.gz": "", "[x].jsonl": "", "sub/d.jsonl": "", "sub/e.txt": "",
	})
	if err := os.Symlink("a.jsonl", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	tests := map[string]struct{ patterns, want []string }{
		"none is the standard input":         {nil, []string{"-"}},
		"the standard input":                 {[]string{"-"}, []string{"-"}},
		"the standard input twice":           {[]string{"-", "-"}, []string{"-"}},
		"files in the order given":           {[]string{"b.jsonl", "a.jsonl"}, []string{"b.jsonl", "a.jsonl"}},
		"a glob is sorted":                   {[]string{"*.jsonl"}, []string{"[x].jsonl", "a.jsonl", "b.jsonl"}},
		"a glob over folders":                {[]string{"*/*"}, []string{"sub/d.jsonl", "sub/e.txt"}},
		"a glob passes over folders":         {[]string{"[bs]*"}, []string{"b.jsonl"}},
		"a file named like a glob":           {[]string{"[x].jsonl"}, []string{"[x].jsonl"}},
		"a file named twice is taken once":   {[]string{"b.jsonl", "*.jsonl", "./b.jsonl", dir + "/a.jsonl"}, []string{"b.jsonl", "[x].jsonl", "a.jsonl"}},
		"a link to a file is the file again": {[]string{"a.jsonl", "link"}, []string{"a.jsonl"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Expand(tt.patterns)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("Expand(%q) = %v (-want +got):\n%s", tt.patterns, err, diff)
			}
		})
	}
	faults := map[string]struct {
		patterns  []string
		want      string
		wantsHint string
	}{
		"a missing file":                  {[]string{"c.jsonl"}, "c.jsonl: file does not exist", "there is c.jsonl.gz"},
		"a missing folder":                {[]string{"none/a.jsonl"}, "none/a.jsonl: file does not exist", "there is no directory none"},
		"a glob without match":            {[]string{"*.json"}, "*.json: no file matches", "ls ."},
		"two stars without match":         {[]string{"**/x"}, "**/x: no file matches", "no more than *"},
		"a folder":                        {[]string{"sub"}, "sub: is a directory", "'sub/*.jsonl'"},
		"a folder with a slash":           {[]string{"sub/"}, "sub/: is a directory", "'sub/*.jsonl'"},
		"a bad glob":                      {[]string{"a[b"}, "a[b: syntax error in pattern", "needs its ]"},
		"a device":                        {[]string{"/dev/null"}, "/dev/null: is not a regular file", "standard input"},
		"an object":                       {[]string{"s3://b/k.jsonl"}, "s3://b/k.jsonl: not a local file", "aws s3 cp"},
		"an empty name":                   {[]string{""}, `"": an input needs a name`, "-"},
		"a file beside standard input":    {[]string{"-", "a.jsonl"}, "-: the standard input cannot be read beside files", "cat"},
		"all faults are reported at once": {[]string{"x", "a.jsonl", "sub", "y*"}, "x: file does not exist\nsub: is a directory\ny*: no file matches", ""},
	}
	for name, tt := range faults {
		t.Run(name, func(t *testing.T) {
			got, err := Expand(tt.patterns)
			if err == nil {
				t.Fatalf("Expand(%q) = %q", tt.patterns, got)
			}
			if !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("Expand(%q): %v, want %s", tt.patterns, err, tt.want)
			}
			if h := hint(err); !strings.Contains(h, tt.wantsHint) {
				t.Errorf("hint %q, want one with %q", h, tt.wantsHint)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	want := []File{{"stdin", "-"}, {"a", "a"}}
	if diff := cmp.Diff(want, Files([]string{"-", "a"})); diff != "" {
		t.Error(diff)
	}
}
