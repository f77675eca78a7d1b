package main

import "strings"

// A paint colours words. The zero paint leaves them as they are.
type paint struct{ on bool }

// newPaint colours on a terminal, unless NO_COLOR is set (no-color.org) or the terminal is dumb.
func newPaint(e *environment) paint {
	return paint{e.terminal && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb"}
}

func (p paint) with(code, text string) string {
	if !p.on || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (p paint) bold(text string) string   { return p.with("1", text) }
func (p paint) good(text string) string   { return p.with("32", text) }
func (p paint) uneasy(text string) string { return p.with("33", text) }
func (p paint) bad(text string) string    { return p.with("31", text) }

// level is a check's level, four columns wide.
func (p paint) level(l level) string {
	text := string(l)
	padding := strings.Repeat(" ", len(levelWarn)-len(text))
	switch l {
	case levelOK:
		return p.good(text) + padding
	case levelWarn:
		return p.uneasy(text) + padding
	}
	return p.bad(text) + padding
}
