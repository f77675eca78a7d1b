package config

import (
	"fmt"
	"strings"
)

// A Mark is a place in the file; both count from 1. The zero Mark is no place.
type Mark struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// A Problem is one thing that is wrong in a file.
type Problem struct {
	File string `json:"-"`
	Mark
	// Key is what it is about, such as apps.web.workers; "" for the file as a whole.
	Key string `json:"key,omitempty"`
	// Text says what is wrong, and what to do.
	Text string `json:"error"`
}

// Error is FILE:LINE:COLUMN: KEY: TEXT, in one line.
func (p *Problem) Error() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Key != "" {
		where += ": " + p.Key
	}
	return where + ": " + strings.Join(strings.FieldsFunc(p.Text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// Problems are all that is wrong in a file, in its order. As an error they are
// a line each.
type Problems []*Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, one := range p {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// A Fault is what is wrong with one setting of a [Run].
type Fault struct {
	Key string // of the file; --KEY on the command line, but for command, ports and workers
	// Err has the value in it.
	Err error
}
