package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
	"golang.org/x/sys/unix"
)

// mostDepth is how far brackets may be nested; two levels have a meaning.
const mostDepth = 32

// A reader goes through a file, and notes what is wrong.
type reader struct {
	file     string
	problems Problems
	accounts *accounts
}

// A place is a value in the file, and the key it belongs to.
type place struct {
	node ast.Node
	mark Mark
	key  string // such as apps.web.workers
}

func (r *reader) problem(at Mark, key, format string, args ...any) {
	text := strings.TrimSuffix(fmt.Sprintf(format, args...), ": "+unix.EINVAL.Error())
	r.problems = append(r.problems, &Problem{File: r.file, Mark: at, Key: key, Text: text})
}

// wrong is a problem with a value.
func (r *reader) wrong(p place, format string, args ...any) {
	r.problem(p.mark, p.key, format, args...)
}

// sorted returns the problems in the order of the file.
func (r *reader) sorted() Problems {
	slices.SortStableFunc(r.problems, func(a, b *Problem) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Column - b.Column
	})
	return r.problems
}

// parse returns the root of the only document, or nil when something is wrong.
func (r *reader) parse(text []byte) ast.Node {
	if !utf8.Valid(text) {
		r.problem(Mark{}, "", "the file is not UTF-8")
		return nil
	}
	if line := tooDeep(string(text)); line > 0 {
		r.problem(Mark{line, 1}, "", "brackets are nested deeper than %d: nothing here needs that", mostDepth)
		return nil
	}
	file, err := parseYAML(text)
	if err != nil {
		r.syntaxProblem(err)
		return nil
	}
	var root ast.Node
	for _, document := range file.Docs {
		if document.Body == nil || document.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			r.problem(markOf(document.Body), "", "a second document begins here: a file has one")
			return nil
		}
		root = document.Body
	}
	if root == nil {
		r.problem(Mark{}, "", "the file is empty: name something under apps, groups or attach")
	}
	return root
}

// parseYAML makes a panic of the parser an error: a file must not end the daemon.
func parseYAML(text []byte) (file *ast.File, err error) {
	defer func() {
		if what := recover(); what != nil {
			err = fmt.Errorf("the file can't be read as YAML (%v)", what)
		}
	}()
	return parser.ParseBytes(text, 0, parser.AllowDuplicateMapKey())
}

func (r *reader) syntaxProblem(err error) {
	var where yaml.Error
	if !errors.As(err, &where) || where.GetToken() == nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		r.problem(Mark{}, "", "%s", first)
		return
	}
	r.problem(markOfToken(where.GetToken()), "", "%s", where.GetMessage())
}

// tooDeep returns the line on which brackets, or markers of a list in a list,
// are nested too deep, or 0. It is rough, and there to spare the parser.
func tooDeep(text string) (line int) {
	line, depth := 1, 0
	for row := range strings.Lines(text) {
		markers := 0
		rest := strings.TrimLeft(row, " ")
		for len(rest) > 1 && (rest[0] == '-' || rest[0] == '?') && rest[1] == ' ' {
			rest = strings.TrimLeft(rest[1:], " ")
			markers++
		}
		for _, c := range rest {
			switch c {
			case '[', '{':
				depth++
			case ']', '}':
				depth = max(0, depth-1)
			}
			if depth > mostDepth {
				return line
			}
		}
		if markers > mostDepth {
			return line
		}
		line++
	}
	return 0
}

func markOf(n ast.Node) Mark {
	if n == nil {
		return Mark{}
	}
	return markOfToken(n.GetToken())
}

func markOfToken(t *token.Token) Mark {
	if t == nil || t.Position == nil {
		return Mark{}
	}
	return Mark{t.Position.Line, t.Position.Column}
}

// pairs returns the keys and values of a mapping, or false if it is none.
func pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// kind names what a value is, for who expected something else.
func kind(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "nothing"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.StringNode, *ast.LiteralNode:
		return "text"
	case *ast.AnchorNode, *ast.AliasNode, *ast.MergeKeyNode:
		return "an anchor or alias, which aren't taken here: write it out"
	case *ast.TagNode:
		return "a tag, which isn't taken here"
	}
	return "something else"
}

// fields are the keys that a mapping can have, and who reads them.
type fields map[string]func(place)

func (f fields) names() []string {
	var names []string
	for name := range f {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// object reads a mapping with known keys. It tells whether it is one.
func (r *reader) object(p place, known fields) bool {
	return r.entries(p, func(name string, value place) {
		read := known[name]
		if read == nil {
			r.problem(value.mark, "", "%s", unknownKey(value.key, name, known.names()))
			return
		}
		if value.node != nil && !isScalar(value.node) {
			read(value)
			return
		}
		if _, nothing := value.node.(*ast.NullNode); nothing || value.node == nil {
			r.wrong(value, "has no value: give it one, or leave it out")
			return
		}
		value.mark = markOf(value.node) // more exact than the key
		read(value)
	})
}

func isScalar(n ast.Node) bool {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode, *ast.SequenceNode:
		return false
	}
	return n != nil
}

// entries reads a mapping whose keys can be anything that is text. Values have
// the mark of their key. It tells whether p is a mapping.
func (r *reader) entries(p place, each func(name string, value place)) bool {
	all, ok := pairs(p.node)
	if !ok {
		r.wrong(p, "must be a mapping (NAME: VALUE), and is %s", kind(p.node))
		return false
	}
	seen := make(map[string]Mark)
	for _, pair := range all {
		mark := markOf(pair.Key)
		name, ok := keyText(pair.Key)
		if !ok {
			r.problem(mark, p.key, "a key must be plain text, and this one is %s", kind(pair.Key))
			continue
		}
		value := place{node: pair.Value, mark: mark, key: join(p.key, name)}
		if first, twice := seen[name]; twice {
			r.wrong(value, "is here for the second time, the first is on line %d: leave one of them out", first.Line)
			continue
		}
		seen[name] = mark
		each(name, value)
	}
	return true
}

func keyText(n ast.MapKeyNode) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.NullNode:
		return n.GetToken().Value, true // a name like 443
	}
	return "", false
}

func join(key, name string) string {
	if !isPlain(name) {
		name = fmt.Sprintf("%q", name)
	}
	if key == "" {
		return name
	}
	return key + "." + name
}

func isPlain(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '.' || r == '"' || r > 0x7e })
}

// text reads a string; numbers are none.
func (r *reader) text(p place) (string, bool) {
	switch n := p.node.(type) {
	case *ast.StringNode:
		return r.printable(p, n.Value)
	case *ast.LiteralNode:
		return r.printable(p, n.Value.Value)
	}
	advice := ""
	switch p.node.(type) {
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode, *ast.NullNode:
		advice = ": put it in quotes"
	}
	r.wrong(p, "must be text, and is %s%s", kind(p.node), advice)
	return "", false
}

func (r *reader) printable(p place, text string) (string, bool) {
	if strings.ContainsRune(text, 0) {
		r.wrong(p, "has a zero byte in it, which no program can get")
		return "", false
	}
	return text, true
}

// word reads a string or a number, as it is written.
func (r *reader) word(p place) (string, bool) {
	switch p.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode:
		return p.node.GetToken().Value, true
	case *ast.StringNode, *ast.LiteralNode:
		return r.text(p)
	}
	r.wrong(p, "must be text or a number, and is %s", kind(p.node))
	return "", false
}

func (r *reader) flag(p place) (bool, bool) {
	n, ok := p.node.(*ast.BoolNode)
	if !ok {
		r.wrong(p, "must be true or false, and is %s", kind(p.node))
		return false, false
	}
	return n.Value, true
}

// number reads a whole one.
func (r *reader) number(p place, least, most int) (int, bool) {
	n, ok := p.node.(*ast.IntegerNode)
	if !ok {
		r.wrong(p, "must be a whole number, and is %s", kind(p.node))
		return 0, false
	}
	value, within := 0, false
	switch v := n.Value.(type) {
	case int64:
		value, within = int(v), v >= int64(least) && v <= int64(most)
	case uint64:
		value, within = int(v), v <= uint64(most) && int(v) >= least
	}
	if !within {
		r.wrong(p, "%s: must be %d to %d", n.GetToken().Value, least, most)
		return 0, false
	}
	return value, true
}

// list returns the elements of one.
func (r *reader) list(p place, example string) (elements []place, ok bool) {
	n, ok := p.node.(*ast.SequenceNode)
	if !ok {
		r.wrong(p, "must be a list, such as %s, and is %s", example, kind(p.node))
		return nil, false
	}
	for i, node := range n.Values {
		element := place{node: node, mark: p.mark, key: fmt.Sprintf("%s[%d]", p.key, i)}
		if isScalar(node) {
			element.mark = markOf(node)
		}
		elements = append(elements, element)
	}
	return elements, true
}
