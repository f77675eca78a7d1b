package output

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func pieces(r io.Reader) (all []string) {
	cut(r, func(text []byte, starts, ends bool) {
		s := string(text)
		if !starts {
			s = "…" + s
		}
		if !ends {
			s += "…"
		}
		all = append(all, s)
	})
	return all
}

func TestCut(t *testing.T) {
	full := strings.Repeat("x", PieceSize)
	cases := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"one line", "a\n", []string{"a"}},
		{"lines", "a\n\nbc\n", []string{"a", "", "bc"}},
		{"no end", "a\nb", []string{"a", "b"}},
		{"just short", full[1:] + "\nb\n", []string{full[1:], "b"}},
		{"a whole piece", full + "\nb\n", []string{full + "…", "…", "b"}},
		{"a piece and a bit", full + "yz\nb\n", []string{full + "…", "…yz", "b"}},
		{"two pieces without end", full + full, []string{full + "…", "…" + full + "…", "…"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once":   strings.NewReader(c.text),
				"bytewise":  iotest.OneByteReader(strings.NewReader(c.text)),
				"with EOF":  iotest.DataErrReader(strings.NewReader(c.text)),
				"in halves": iotest.HalfReader(strings.NewReader(c.text)),
			} {
				if got := pieces(r); !slices.Equal(got, c.want) {
					t.Errorf("%s: got %d pieces, want %d", how, len(got), len(c.want))
				}
			}
		})
	}
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("a\nb"), 1)
	f.Add(bytes.Repeat([]byte("x"), PieceSize), 2)
	f.Add([]byte("\n\n"), PieceSize)
	f.Fuzz(func(t *testing.T, text []byte, repeat int) {
		text = bytes.Repeat(text, max(1, min(repeat, 3*PieceSize/(len(text)+1))))
		var got []byte
		begin := true
		cut(bytes.NewReader(text), func(piece []byte, starts, ends bool) {
			if starts != begin {
				t.Fatalf("a piece has starts=%v in the wrong place", starts)
			}
			if len(piece) > PieceSize {
				t.Fatalf("a piece has %d bytes", len(piece))
			}
			got = append(got, piece...)
			if ends {
				got = append(got, '\n')
			}
			begin = ends
		})
		if !begin {
			t.Error("the last piece doesn't end its line")
		}
		want := text
		if len(text) > 0 && text[len(text)-1] != '\n' {
			want = append(slices.Clone(text), '\n')
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%d bytes became %d", len(want), len(got))
		}
	})
}
