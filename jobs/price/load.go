package price

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The parser's time grows with the square of the tokens, and deep nesting would grow its stack.
const (
	maxFile   = 256 << 10
	maxTokens = 40_000
	maxDepth  = 8
)

// A Fault is one thing that is wrong with a table.
type Fault struct {
	File         string
	Line, Column int    // from 1
	Field        string // such as prices[2].input; "" where the file as a whole is meant
	Message      string
}

// String is the fault in one line: where, which field, what was expected.
func (f Fault) String() string {
	place := fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
	if f.Field != "" {
		place += f.Field + ": "
	}
	return place + f.Message
}

// A TableError is everything that is wrong with a table, so that it can be mended in one go.
type TableError struct{ Faults []Fault }

// Error is a line for each fault.
func (e *TableError) Error() string {
	lines := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads a table. Its error is a *[TableError] with all faults in the order of their lines. Name is only for their words.
func Load(name string, data []byte) (*Table, error) {
	l := &loader{name: name, table: &Table{}}
	if file := l.parse(data); file != nil {
		l.file(file)
	}
	if len(l.faults) == 0 {
		return l.table, nil
	}
	slices.SortStableFunc(l.faults, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return nil, &TableError{l.faults}
}

type loader struct {
	name   string
	table  *Table
	faults []Fault
}

func (l *loader) fault(at ast.Node, field, format string, args ...any) {
	var tok *token.Token
	if at != nil {
		tok = at.GetToken()
	}
	l.faultAt(tok, field, format, args...)
}

func (l *loader) faultAt(at *token.Token, field, format string, args ...any) {
	line, column := 1, 1
	if at != nil && at.Position != nil {
		line, column = max(1, at.Position.Line), max(1, at.Position.Column)
	}
	l.faults = append(l.faults, Fault{l.name, line, column, field, fmt.Sprintf(format, args...)})
}

// parse gives the syntax tree, or nil and a fault.
func (l *loader) parse(data []byte) (file *ast.File) {
	text := strings.TrimPrefix(string(data), "\ufeff")
	switch {
	case len(data) > maxFile:
		l.fault(nil, "", "larger than %d bytes: not a price table", maxFile)
		return nil
	case !utf8.ValidString(text):
		l.fault(nil, "", "not UTF-8")
		return nil
	}
	// The parser is not ours: a panic in it is this file's fault, not the end of the program.
	defer func() {
		if r := recover(); r != nil {
			l.fault(nil, "", "not YAML that can be read: %s", firstLine(fmt.Sprint(r)))
			file = nil
		}
	}()
	tokens := lexer.Tokenize(text)
	if at, deep := tooDeep(tokens); deep || len(tokens) > maxTokens {
		l.faultAt(at, "", "too much for a price table")
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey()) // keys given twice are found below
	if err == nil {
		return file
	}
	if syntax, ok := errors.AsType[yaml.Error](err); ok {
		l.faultAt(syntax.GetToken(), "", "not YAML: %s", firstLine(syntax.GetMessage()))
	} else {
		l.fault(nil, "", "not YAML: %s", firstLine(err.Error()))
	}
	return nil
}

// tooDeep finds brackets nested deeper than any table has them.
func tooDeep(tokens token.Tokens) (*token.Token, bool) {
	depth := 0
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			if depth++; depth > maxDepth {
				return t, true
			}
		case token.MappingEndType, token.SequenceEndType:
			depth--
		default:
		}
	}
	return nil, false
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}

func (l *loader) file(file *ast.File) {
	var body ast.Node
	for _, doc := range file.Docs {
		if doc == nil || doc.Body == nil || doc.Body.Type() == ast.CommentType {
			continue
		}
		if body != nil {
			l.fault(doc.Body, "", "a second document: a file holds one table")
			return
		}
		body = doc.Body
	}
	table := l.fields(body, "", "currency", "per", "prices")
	if table == nil {
		return
	}
	if node := table.need("currency"); node != nil {
		l.table.Currency = l.text(node, "currency", currency, "three capital letters, such as USD")
	}
	if node := table.need("per"); node != nil {
		if l.table.Per = l.number(node, "per"); l.table.Per != 1000 && l.table.Per != 1_000_000 && l.table.Per != Absent {
			l.fault(node, "per", "expected 1000 or 1000000, the tokens that every price is for")
		}
	}
	node := table.need("prices")
	if node == nil {
		return
	}
	list, ok := node.(*ast.SequenceNode)
	if !ok || len(list.Values) == 0 {
		l.fault(node, "prices", "expected a list of entries, not %s", kind(node))
		return
	}
	for i, item := range list.Values {
		l.entry(item, fmt.Sprintf("prices[%d]", i))
	}
	l.doubles(list.Values)
}

var (
	currency  = regexp.MustCompile(`^[A-Z]{3}$`)
	modelName = regexp.MustCompile(`^[A-Za-z0-9*][A-Za-z0-9:./_*-]*$`)
	scopeName = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	dateText  = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
	anyText   = regexp.MustCompile(`^[a-z0-9-]+$`)

	tiers       = []string{"default", "priority", "flex", "reserved"}
	multiplied  = []string{"priority", "flex", "batch"}
	latencies   = []string{"standard", "optimized"}
	commitments = []string{"none", "1-month", "6-months"}
)

// entry reads one price. It is kept even when it has faults, so that indexes stay those of the list.
func (l *loader) entry(node ast.Node, at string) {
	e := Entry{
		Rates: Rates{Absent, Absent}, CacheRead: Absent, CacheWrite5m: Absent, CacheWrite1h: Absent, per: l.table.Per,
	}
	defer func() { l.table.Entries = append(l.table.Entries, e) }()
	f := l.fields(node, at, "model", "scope", "tier", "latency", "effective_from", "input", "output", "cache_read",
		"cache_write_5m", "cache_write_1h", "long_context", "tier_multiplier", "provisioned", "reserved")
	if f == nil {
		return
	}
	e.Line = node.GetToken().Position.Line
	if n := f.need("model"); n != nil {
		e.Model = l.text(n, at+".model", modelName, "a model id, in which * is any text")
		if _, geography := Base(e.Model); geography != "" {
			l.fault(n, at+".model", "expected a model without %s. in front; scope: %s says where the price holds", geography, geography)
		}
	}
	if n := f.has("scope"); n != nil {
		e.Scope = l.list(n, at+".scope", scopeName, "Regions or geographies, such as us-east-1 or us")
	}
	e.Tier = f.word("tier", tiers)
	e.Latency = f.word("latency", latencies)
	if n := f.has("effective_from"); n != nil {
		e.From = l.date(n, at+".effective_from")
	}
	e.Provisioned, e.Reserved = l.provisioned(f), l.reserved(f)
	tokens := f.has("input") != nil || f.has("output") != nil || e.Provisioned == nil && e.Reserved == nil
	if tokens {
		e.Input, e.Output = f.price("input"), f.price("output")
	}
	for name, to := range map[string]*float64{"cache_read": &e.CacheRead, "cache_write_5m": &e.CacheWrite5m, "cache_write_1h": &e.CacheWrite1h} {
		if n := f.has(name); n != nil {
			*to = f.price(name)
			if !tokens {
				l.fault(n, at+"."+name, "needs input and output beside it")
			}
		}
	}
	e.Long = l.long(f)
	e.Multiplier = l.multipliers(f)
}

func (l *loader) long(f *fields) *LongContext {
	at := f.at + ".long_context"
	in := f.inner("long_context", "threshold_input_tokens", "input", "output")
	if in == nil {
		return nil
	}
	long := &LongContext{Rates: Rates{in.price("input"), in.price("output")}}
	if n := in.need("threshold_input_tokens"); n != nil {
		v := l.number(n, at+".threshold_input_tokens")
		if v != Absent && (v < 1 || v != math.Trunc(v) || v > 1<<53) {
			l.fault(n, at+".threshold_input_tokens", "expected a whole number of tokens above 0")
			return nil
		}
		long.Threshold = int64(v)
	}
	return long
}

func (l *loader) multipliers(f *fields) map[string]float64 {
	in := f.inner("tier_multiplier", multiplied...)
	if in == nil {
		return nil
	}
	m := map[string]float64{}
	for name := range in.nodes {
		m[name] = in.price(name)
	}
	return m
}

func (l *loader) provisioned(f *fields) *Provisioned {
	in := f.inner("provisioned", "hourly_per_mu", "commitment")
	if in == nil {
		return nil
	}
	return &Provisioned{HourlyPerUnit: in.price("hourly_per_mu"), Commitment: in.word("commitment", commitments)}
}

func (l *loader) reserved(f *fields) *Reserved {
	in := f.inner("reserved", "per_1k_tpm_month")
	if in == nil {
		return nil
	}
	return &Reserved{Per1kTPMMonth: in.price("per_1k_tpm_month")}
}

// doubles finds entries of which nobody could say which one holds.
func (l *loader) doubles(nodes []ast.Node) {
	seen := map[string]int{}
	for i := range l.table.Entries {
		e := &l.table.Entries[i]
		if e.Model == "" {
			continue
		}
		scope := e.Scope
		if len(scope) == 0 {
			scope = []string{""}
		}
		for _, s := range scope {
			key := strings.Join([]string{e.Model, s, orElse(e.Tier, "default"), orElse(e.Latency, "standard"), e.From.String()}, "\x00")
			if line, ok := seen[key]; ok {
				l.fault(nodes[i], fmt.Sprintf("prices[%d]", i), "is for the same model, scope, tier, latency and date as the entry in line %d", line)
				break
			}
			seen[key] = e.Line
		}
	}
}

// fields are the values of a mapping.
type fields struct {
	l     *loader
	node  ast.Node
	at    string
	nodes map[string]ast.Node
}

// fields reads a mapping that has no other keys than those; nil where it is none.
func (l *loader) fields(node ast.Node, at string, known ...string) *fields {
	f := &fields{l, node, at, map[string]ast.Node{}}
	var values []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		values = n.Values
	case *ast.MappingValueNode: // a mapping of one
		values = []*ast.MappingValueNode{n}
	default:
		l.fault(node, at, "expected a mapping with %s, not %s", strings.Join(known[:min(3, len(known))], ", "), kind(node))
		return nil
	}
	for _, v := range values {
		key, ok := v.Key.(*ast.StringNode)
		if !ok {
			l.faultAt(v.Key.GetToken(), at, "expected the name of a field, one of %s", strings.Join(known, ", "))
			continue
		}
		name := key.Value
		switch {
		case !slices.Contains(known, name):
			l.fault(key, f.name(name), "unknown field; the fields here are %s", strings.Join(known, ", "))
		case f.nodes[name] != nil:
			l.fault(key, f.name(name), "given twice")
		default:
			f.nodes[name] = v.Value
		}
	}
	return f
}

func (f *fields) name(name string) string {
	if f.at == "" {
		return name
	}
	return f.at + "." + name
}

// has is the value of a field, nil where there is none.
func (f *fields) has(name string) ast.Node { return f.nodes[name] }

// need is has, and a fault where there is none.
func (f *fields) need(name string) ast.Node {
	if n := f.nodes[name]; n != nil {
		return n
	}
	f.l.fault(f.node, f.name(name), "required")
	return nil
}

// inner is a mapping inside, nil where there is none.
func (f *fields) inner(name string, known ...string) *fields {
	n := f.has(name)
	if n == nil {
		return nil
	}
	return f.l.fields(n, f.name(name), known...)
}

// price is a figure that must be there.
func (f *fields) price(name string) float64 {
	n := f.need(name)
	if n == nil {
		return Absent
	}
	return f.l.number(n, f.name(name))
}

// word is one of a few words; "" where there is none.
func (f *fields) word(name string, words []string) string {
	n := f.has(name)
	if n == nil {
		return ""
	}
	text := f.l.text(n, f.name(name), anyText, "one of "+strings.Join(words, ", "))
	if text != "" && !slices.Contains(words, text) {
		f.l.fault(n, f.name(name), "expected one of %s, not %q", strings.Join(words, ", "), text)
	}
	return text
}

// number is a figure of at least 0; Absent and a fault where it is none.
func (l *loader) number(node ast.Node, field string) float64 {
	v := math.NaN()
	switch n := node.(type) {
	case *ast.IntegerNode:
		v, _ = strconv.ParseFloat(fmt.Sprint(n.Value), 64)
	case *ast.FloatNode:
		v = n.Value
	default:
	}
	if !(v >= 0) || math.IsInf(v, 0) {
		l.fault(node, field, "expected a number of at least 0, not %s", kind(node))
		return Absent
	}
	return v
}

// text is a string; "" and a fault where it is none.
func (l *loader) text(node ast.Node, field string, pattern *regexp.Regexp, what string) string {
	if n, ok := node.(*ast.StringNode); ok && pattern.MatchString(n.Value) {
		return n.Value
	}
	l.fault(node, field, "expected %s, not %s", what, kind(node))
	return ""
}

// list is one string or several.
func (l *loader) list(node ast.Node, field string, pattern *regexp.Regexp, what string) []string {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		return []string{l.text(node, field, pattern, what)}
	}
	if len(seq.Values) == 0 {
		l.fault(node, field, "expected %s, not an empty list", what)
	}
	seen := map[string]bool{}
	for i, item := range seq.Values {
		seen[l.text(item, fmt.Sprintf("%s[%d]", field, i), pattern, what)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}

func (l *loader) date(node ast.Node, field string) time.Time {
	const what = "a date such as 2026-01-31"
	text := l.text(node, field, dateText, what)
	day, err := time.Parse(time.DateOnly, text)
	if text != "" && err != nil {
		l.fault(node, field, "expected %s, not %q", what, text)
	}
	return day
}

// kind is what a node is, in words.
func kind(node ast.Node) string {
	switch n := node.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		if len(n.Values) == 0 {
			return "an empty list"
		}
		return "a list"
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.AnchorNode, *ast.AliasNode:
		return "an anchor or alias: write the value out"
	case *ast.TagNode:
		return "a value with a tag: leave the tag out"
	}
	text := node.GetToken().Value
	if len(text) > 80 {
		text = strings.ToValidUTF8(text[:80], "") + "…"
	}
	return strconv.Quote(text)
}
