package kernels

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
)

func TestLines(t *testing.T) {
	for _, step := range []int{1, 3, 1000} {
		var out bytes.Buffer
		var seen []string
		l := &lines{mu: new(sync.Mutex), out: &out, prefix: "6.1 | ", see: func(s string) { seen = append(seen, s) }}
		in := "one\r\n\r\ntwo\nrest"
		for len(in) > 0 {
			n := min(step, len(in))
			_, err := io.WriteString(l, in[:n])
			check(t, err)
			in = in[n:]
		}
		l.flush()
		l.flush()
		if want := "6.1 | one\n6.1 | \n6.1 | two\n6.1 | rest\n"; out.String() != want {
			t.Errorf("by %d: %q, want %q", step, out.String(), want)
		}
		if len(seen) != 4 || seen[2] != "two" {
			t.Errorf("by %d: saw %q", step, seen)
		}
	}
}

func TestLineWithoutEnd(t *testing.T) {
	var out bytes.Buffer
	l := &lines{mu: new(sync.Mutex), out: &out}
	endless := strings.Repeat("x", maxLine+10)
	_, err := io.WriteString(l, endless)
	check(t, err)
	l.flush()
	if got := strings.ReplaceAll(out.String(), "\n", ""); got != endless {
		t.Errorf("%d of %d bytes came out", len(got), len(endless))
	}
}
