package jobs

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Far above what the table of settings can fill. The parser's time grows with the square of the tokens, and deep nesting
// would grow its stack to where the program ends: 64 KiB of "[" took 16 s, a MiB all memory.
const (
	maxJobFile = 64 << 10
	maxTokens  = 10_000
)

// Load reads a job file: one YAML mapping whose keys are the long names of the flags. What it does not say keeps its
// default; said has the keys it did say. Nothing in it is expanded, and relative paths are relative to the working
// directory, as those in flags are, not to the job file.
//
// The error is a *[SpecError] with all faults in the order of their lines: an unknown key (with the one that may have
// been meant), one given twice, a value of the wrong type or out of range. Whether the job is whole, [Spec.Validate]
// says after flags have been merged. Path is only for the words of the faults.
func Load(path string, data []byte) (spec Spec, said map[string]bool, err error) {
	spec, said = Defaults(), map[string]bool{}
	l := loader{path: path, spec: &spec, said: said}
	if file := l.parse(data); file != nil {
		l.file(file)
	}
	if len(l.faults) == 0 {
		return spec, said, nil
	}
	slices.SortStableFunc(l.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return spec, said, &SpecError{l.faults}
}

type loader struct {
	path   string
	spec   *Spec
	said   map[string]bool
	faults []Fault
}

func (l *loader) fault(at *token.Token, key, format string, args ...any) {
	line, column := 1, 1
	if at != nil && at.Position != nil {
		line, column = max(1, at.Position.Line), max(1, at.Position.Column)
	}
	l.faults = append(l.faults, Fault{File: l.path, Line: line, Column: column, Key: key, Message: fmt.Sprintf(format, args...)})
}

// parse gives the syntax tree, or nil and a fault.
func (l *loader) parse(data []byte) (file *ast.File) {
	if len(data) > maxJobFile {
		l.fault(nil, "", "larger than %v: not a job file", Bytes(maxJobFile))
		return nil
	}
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	if !utf8.Valid(data) {
		l.fault(nil, "", "not UTF-8")
		return nil
	}
	// The parser is not ours and the file is not either: a panic in it is this file's fault, not the end of the program.
	defer func() {
		if r := recover(); r != nil {
			l.fault(nil, "", "not YAML that can be read: %s", firstLine(fmt.Sprint(r)))
			file = nil
		}
	}()
	// Keys given twice are found below, so that they do not hide what else is wrong.
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > maxTokens {
		l.fault(tokens[maxTokens], "", "too much for a job file")
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err == nil {
		return file
	}
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		l.fault(syntax.GetToken(), "", "not YAML: %s", firstLine(syntax.GetMessage()))
	} else {
		l.fault(nil, "", "not YAML: %s", firstLine(err.Error()))
	}
	return nil
}

// firstLine is the first line of what the parser says, which may quote the file.
func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return unquoted(s)
}

// unquoted escapes what [quote] escapes, without the quotes around it.
func unquoted(s string) string {
	s = quote(s)
	return strings.ReplaceAll(s[1:len(s)-1], `\"`, `"`)
}

func (l *loader) file(file *ast.File) {
	seen := false
	for _, doc := range file.Docs {
		if doc == nil || doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if seen {
			l.fault(doc.Body.GetToken(), "", "a second document: a job file holds one job")
			return
		}
		seen = true
		switch body := doc.Body.(type) {
		case *ast.MappingNode:
			for _, entry := range body.Values {
				l.entry(entry)
			}
		case *ast.MappingValueNode: // a mapping of one
			l.entry(body)
		case *ast.NullNode:
		default:
			l.fault(body.GetToken(), "", "expected settings, such as model: ID, not %s", kind(body))
		}
	}
}

func (l *loader) entry(entry *ast.MappingValueNode) {
	key, ok := entry.Key.(*ast.StringNode)
	if !ok {
		if entry.Key.IsMergeKey() {
			l.fault(entry.Key.GetToken(), "", "merging (<<) is not for job files: write the settings out")
		} else {
			l.fault(entry.Key.GetToken(), "", "expected the name of a setting, not %s", kind(entry.Key))
		}
		return
	}
	name, at := key.Value, key.GetToken()
	f := find(name)
	switch {
	case f == nil:
		if near := nearest(name); near != "" {
			l.fault(at, "", "unknown key %s: did you mean %s?", quote(name), near)
		} else {
			l.fault(at, "", "unknown key %s: batchrun schema lists them", quote(name))
		}
		return
	case f.flagOnly != "":
		l.fault(at, name, "only a flag: %s", f.flagOnly)
		return
	case l.said[name]:
		l.fault(at, name, "given twice")
		return
	}
	l.said[name] = true
	if _, isList := f.at(l.spec).(*[]string); !isList {
		l.value(f, entry.Value)
		return
	}
	list, ok := entry.Value.(*ast.SequenceNode)
	switch {
	case !ok:
		l.value(f, entry.Value)
	case len(list.Values) == 0:
		l.fault(list.GetToken(), name, "expected %s, not an empty list", f.want())
	default:
		for _, item := range list.Values {
			l.value(f, item)
		}
	}
}

// value sets a field from a scalar.
func (l *loader) value(f *setting, node ast.Node) {
	text, ok := scalar(f, node)
	if !ok {
		l.fault(begin(node), f.name, "expected %s, not %s", f.want(), kind(node))
		return
	}
	if text == "" && f.pattern != nil {
		l.fault(begin(node), f.name, `expected %s, not ""`, f.want())
		return
	}
	if err := f.set(l.spec, text); err != nil {
		l.fault(begin(node), f.name, "%v, not %s", err, quote(text))
	}
}

// begin is where a node begins.
func begin(node ast.Node) *token.Token {
	switch n := node.(type) {
	case nil:
		return nil
	case *ast.LiteralNode:
		return n.Start
	}
	return node.GetToken()
}

// scalar is the text that node stands for, if it is of the type that f takes: a job file that says strict: "yes" or
// profile: 12 is not guessed at.
func scalar(f *setting, node ast.Node) (string, bool) {
	isText := func() (string, bool) {
		switch n := node.(type) {
		case *ast.StringNode:
			return n.Value, true
		case *ast.LiteralNode:
			if n.Value != nil {
				return n.Value.Value, true
			}
		}
		return "", false
	}
	isNumber := func() (string, bool) {
		switch n := node.(type) {
		case *ast.IntegerNode:
			return fmt.Sprint(n.Value), true
		case *ast.FloatNode:
			if math.Abs(n.Value) <= anyInteger { // 32.0 is 32
				return strconv.FormatFloat(n.Value, 'f', -1, 64), true
			}
		}
		return "", false
	}
	switch f.at(new(Spec)).(type) {
	case *bool:
		if b, ok := node.(*ast.BoolNode); ok {
			return strconv.FormatBool(b.Value), true
		}
		return "", false
	case *int, *int64, *float64:
		return isNumber()
	case *Bytes:
		if text, ok := isNumber(); ok {
			return text, !strings.Contains(text, ".")
		}
	case *string:
		if f.words != nil { // http-version: 1.1 is a number to YAML
			if text, ok := isNumber(); ok {
				return text, true
			}
		}
	}
	return isText()
}

// kind is what a node is, in words.
func kind(node ast.Node) string {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.BoolNode:
		return strconv.FormatBool(n.Value)
	case *ast.IntegerNode:
		return fmt.Sprintf("the number %v", n.Value)
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + unquoted(node.GetToken().Value)
	case *ast.StringNode:
		return quote(n.Value)
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias: write the value out"
	case *ast.TagNode:
		return "a value with a tag: leave the tag out"
	}
	return "this kind of YAML"
}

// nearest is the setting that somebody who wrote name may have meant, or "".
func nearest(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	best, least := "", 3 // edits; three or more are another word
	for _, f := range settings {
		if f.flagOnly != "" {
			continue
		}
		if f.short == name {
			return f.name
		}
		if d := edits(name, f.name); d < least && d < min(len(name), len(f.name)) {
			best, least = f.name, d
		}
	}
	return best
}

// edits counts the letters to add, drop or change to make b of a. Names longer than any of ours are not worth it.
func edits(a, b string) int {
	if len(a) > len(b)+2 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
