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
