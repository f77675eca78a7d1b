package output

// tail keeps the last lines that were added.
type tail struct {
	lines [][]byte
	next  int
}

func (t *tail) add(text []byte) {
	if len(text) > TailWidth {
		text = text[:TailWidth]
	}
	if len(t.lines) < TailLines {
		t.lines = append(t.lines, append([]byte(nil), text...))
		return
	}
	t.lines[t.next] = append(t.lines[t.next][:0], text...)
	t.next = (t.next + 1) % TailLines
}

// list returns the lines, the oldest first.
func (t *tail) list() []string {
	lines := make([]string, 0, len(t.lines))
	for i := range t.lines {
		lines = append(lines, string(t.lines[(t.next+i)%len(t.lines)]))
	}
	return lines
}
