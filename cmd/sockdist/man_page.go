package main

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

// A manPage is roff text in the making, with the macros of man(7).
type manPage struct{ strings.Builder }

func newManPage(name, short string) *manPage {
	m := new(manPage)
	// No date: the same source makes the same page.
	fmt.Fprintf(m, ".TH %s 1 \"\" \"sockdist\" \"sockdist manual\"\n", roff(strings.ToUpper(name)))
	m.section("NAME")
	m.line(name + " - " + short)
	return m
}

func (m *manPage) section(title string) { fmt.Fprintf(m, ".SH \"%s\"\n", title) }

func (m *manPage) line(text string) { m.WriteString(roffLine(text) + "\n") }

func (m *manPage) bold(text string) { m.WriteString(".B " + roff(text) + "\n") }

// item is a term and what it means, indented below.
func (m *manPage) item(term, meaning string) {
	m.WriteString(".TP\n")
	m.bold(term)
	m.line(meaning)
}

// text sets paragraphs; what is indented stays as it is, line by line.
func (m *manPage) text(text string) {
	verbatim := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if indented := strings.HasPrefix(line, "  "); indented != verbatim && line != "" {
			if verbatim = indented; verbatim {
				m.WriteString(".RS 2\n.nf\n")
			} else {
				m.WriteString(".fi\n.RE\n")
			}
		}
		switch {
		case line == "" && verbatim:
			m.WriteString("\n")
		case line == "":
			m.WriteString(".PP\n")
		default:
			m.line(strings.TrimPrefix(line, "  "))
		}
	}
	if verbatim {
		m.WriteString(".fi\n.RE\n")
	}
}

func (m *manPage) flags(flags *pflag.FlagSet) {
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, meaning := pflag.UnquoteUsage(f)
		if strings.HasPrefix(value, "string") {
			value = "value" // a type is no help
		}
		term := "--" + f.Name
		if f.Shorthand != "" {
			term = "-" + f.Shorthand + ", " + term
		}
		if value != "" {
			term += " " + strings.ToUpper(value)
		}
		switch f.DefValue {
		case "", "false", "[]":
		default:
			meaning += fmt.Sprintf(" (default %s)", f.DefValue)
		}
		m.item(term, meaning)
	})
}

func (m *manPage) exitCodes() {
	m.item("0", "Done.")
	m.item("1", "Failed.")
	m.item("2", "Wrong usage.")
	m.item("3", "This kernel or this user can't do it; sockdist-doctor(1) says why.")
}

// roff escapes text that doesn't begin a line.
func roff(text string) string {
	return strings.NewReplacer(`\`, `\e`, "-", `\-`, "`", "\\(ga", "'", `\(aq`, "^", `\(ha`, "~", `\(ti`).Replace(text)
}

// roffLine escapes a line, which may begin like a macro.
func roffLine(text string) string {
	text = roff(text)
	if strings.HasPrefix(text, ".") {
		return `\&` + text
	}
	return text
}
