package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// addRights has the help of a verb end with what it needs.
func addRights(verb *cobra.Command) {
	if text := rightsText(verb.Name()); text != "" {
		verb.Long = strings.TrimRight(verb.Long, "\n") + "\n\n" + text
	}
}

// rightsText lists the capabilities of a verb, "" if it takes none.
func rightsText(verb string) string {
	type line struct {
		when    condition
		without string
	}
	var lines []line
	names := make(map[line][]string)
	for _, r := range rightsOf[verb] {
		l := line{r.when, r.without}
		if names[l] == nil {
			lines = append(lines, l)
		}
		for _, n := range r.work.Needs() {
			names[l] = append(names[l], n.String())
		}
	}
	if len(lines) == 0 {
		return ""
	}
	text := "Root has what it takes; others need these capabilities:\n"
	for _, l := range lines {
		item := strings.Join(names[l], ", ")
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
