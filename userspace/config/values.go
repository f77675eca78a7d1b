package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

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
