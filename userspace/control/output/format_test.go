package output

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestFormats(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC)
	whole := piece{at, 7, Stderr, []byte(`say "hi"`), true, true}
	first := piece{at, 7, Stdout, []byte("begin"), true, false}
	last := piece{at, 7, Stdout, []byte("end"), false, true}
	remnant := piece{at, 7, Stdout, nil, false, true}
	empty := piece{at, 7, Stdout, nil, true, true}

	cases := []struct {
		name   string
		format Format
		piece  piece
		want   string
		to     Stream
		app    string
	}{
		{"plain", Plain, whole, "say \"hi\"\n", Stderr, ""},
		{"plain, first", Plain, first, "begin", Stdout, ""},
		{"plain, last", Plain, last, "end\n", Stdout, ""},
		{"plain, remnant", Plain, remnant, "\n", Stdout, ""},
		{"plain, empty", Plain, empty, "\n", Stdout, ""},
		{"prefix", Prefix, whole, "[7] say \"hi\"\n", Stderr, ""},
		{"prefix, first", Prefix, first, "[7] begin\n", Stdout, ""},
		{"prefix, remnant", Prefix, remnant, "", Stdout, ""},
		{"prefix, empty", Prefix, empty, "[7] \n", Stdout, ""},
		{"prefix, app", Prefix, whole, "[web/7] say \"hi\"\n", Stderr, "web"},
		{"json, app", JSON, whole, `{"time":"2026-01-02T03:04:05.000000678Z","app":"web","slot":7,"stream":"stderr","line":"say \"hi\""}` + "\n", Stdout, "web"},
		{"json", JSON, whole, `{"time":"2026-01-02T03:04:05.000000678Z","slot":7,"stream":"stderr","line":"say \"hi\""}` + "\n", Stdout, ""},
		{"json, first", JSON, first, `{"time":"2026-01-02T03:04:05.000000678Z","slot":7,"stream":"stdout","line":"begin","partial":true}` + "\n", Stdout, ""},
		{"json, remnant", JSON, remnant, "", Stdout, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := string(c.format.append(nil, c.app, c.piece)); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := c.format.destination(c.piece); got != c.to {
				t.Errorf("goes to %v, want %v", got, c.to)
			}
		})
	}
}

func TestJSONOfAnyBytes(t *testing.T) {
	text := JSON.append(nil, "", piece{time.Now(), 0, Stdout, []byte("a\xff\x00\u2028\x1b[1m<&>"), true, true})
	var object struct{ Line string }
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if want := "a\ufffd\x00\u2028\x1b[1m<&>"; object.Line != want {
		t.Errorf("line is %q, want %q", object.Line, want)
	}
	if strings.Count(string(text), "\n") != 1 {
		t.Errorf("%q isn't one line", text)
	}
}

func TestParseFormat(t *testing.T) {
	for _, f := range []Format{Auto, Plain, Prefix, JSON} {
		if got, err := ParseFormat(f.String()); err != nil || got != f {
			t.Errorf("%v: got %v, %v", f, got, err)
		}
	}
	for _, text := range []string{"", "PLAIN", "xml"} {
		if _, err := ParseFormat(text); err == nil {
			t.Errorf("%q passes", text)
		}
	}
}

func TestTail(t *testing.T) {
	var last tail
	if got := last.list(); len(got) != 0 {
		t.Errorf("tail of nothing is %q", got)
	}
	for i := range 3*TailLines + 7 {
		last.add([]byte(strings.Repeat("x", i)))
	}
	got := last.list()
	if len(got) != TailLines {
		t.Fatalf("%d lines", len(got))
	}
	for i, line := range got {
		if want := 2*TailLines + 7 + i; len(line) != want {
			t.Errorf("line %d has %d bytes, want %d", i, len(line), want)
		}
	}
	last.add([]byte(strings.Repeat("x", 2*TailWidth)))
	if got := last.list(); len(got[TailLines-1]) != TailWidth {
		t.Errorf("a long line keeps %d bytes", len(got[TailLines-1]))
	}
}
