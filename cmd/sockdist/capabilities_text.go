package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// addRights has the help of a verb end with what it needs.
func addRights(verb *cobra.Command) {
	if text := rightsText(verb.Name()); text != "" {
		verb.Long = strings.TrimRight(verb.Long, "\n") + "\n\n" + text
	}
}

// A rightLine is a line of the help: capabilities that belong together.
type rightLine struct {
	when    condition
	without string
	names   []string
}

func linesOfRights(verb string) (lines []rightLine) {
	for _, r := range rightsOf[verb] {
		i := slices.IndexFunc(lines, func(l rightLine) bool { return l.when == r.when && l.without == r.without })
		if i < 0 {
			i = len(lines)
			lines = append(lines, rightLine{when: r.when, without: r.without})
		}
		for _, n := range r.work.Needs() {
			lines[i].names = addOnce(lines[i].names, n.String())
		}
	}
	return lines
}

// rightsText lists the capabilities of a verb, "" if it takes none.
func rightsText(verb string) string {
	lines := linesOfRights(verb)
	if len(lines) == 0 {
		return ""
	}
	text := "Root has what it takes; others need these capabilities:\n"
	for _, l := range lines {
		item := strings.Join(l.names, ", ")
		if l.when != always {
			item += " " + string(l.when)
		}
		if l.without != "" {
			item += "; without, it " + l.without
		}
		text += "\n  " + wrapped(item, 76, "\n    ")
	}
	return text
}

// wrapped breaks text into lines of at most that many letters.
func wrapped(text string, width int, newline string) string {
	var b strings.Builder
	length := 0
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case length+1+len(word) > width:
			b.WriteString(newline)
			length = 0
		default:
			b.WriteByte(' ')
			length++
		}
		b.WriteString(word)
		length += len(word)
	}
	return b.String()
}
