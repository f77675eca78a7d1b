package main

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/loader"
)

// watching runs status --watch until stop, which returns the exit code.
func watching(t *testing.T, env environment, args ...string) (out *transcript.Text, stop func() int) {
	t.Helper()
	out = new(transcript.Text)
	env.out, env.err, env.getenv = out, out, func(string) string { return "" }
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- execute(ctx, env, append([]string{"status", "--watch", "--dir", env.dir}, args...)) }()
	t.Cleanup(cancel)
	return out, func() int { cancel(); return <-code }
}

func TestWatch(t *testing.T) {
	dir := newDir(t)
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	g, err := host.CreateGroup(loader.GroupSpec{Name: "web", Address: netip.MustParseAddrPort("127.0.0.1:1")})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	plain, stopPlain := watching(t, environment{dir: dir}, "web")
	terminal, stopTerminal := watching(t, environment{dir: dir, terminal: true}, "web")
	lines, stopLines := watching(t, environment{dir: dir}, "web", "--json")
	shown := func(what string) func() bool {
		return func() bool {
			return strings.Contains(plain.String(), what) && strings.Contains(terminal.String(), what)
		}
	}
	until(t, "the first sight", shown("127.0.0.1:1"))
	until(t, "the first line", func() bool { return strings.Contains(lines.String(), `"name":"web"`) })
	if err := g.Destroy(); err != nil {
		t.Fatal(err)
	}
	until(t, "its end", shown("web is gone"))
	until(t, "the line of its end", func() bool { return strings.Contains(lines.String(), `{"groups":[],"apps":[]}`) })
	for _, stop := range []func() int{stopPlain, stopTerminal, stopLines} {
		if code := stop(); code != exitDone {
			t.Errorf("exit code %d", code)
		}
	}
	if text := terminal.String(); !strings.HasPrefix(text, enterAlternate) || !strings.Contains(text, leaveAlternate) {
		t.Errorf("on a terminal: %q", text)
	}
	if strings.Contains(plain.String(), "\x1b") {
		t.Errorf("without a terminal: %q", plain.String())
	}
	for line := range strings.Lines(lines.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %q", line)
		}
	}
}

func TestWatchOfNothing(t *testing.T) {
	dir := newDir(t)
	if a := sockdist(t, dir, "status", "--watch", "nope"); a.code != exitFailed || !strings.Contains(a.err, "nope") {
		t.Errorf("%+v", a)
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		text   string
		height int
		want   string
	}{
		{"a\nb\nc\n", 0, "a|b|c"},
		{"a\nb\nc\n", 4, "a|b|c"},
		{"a\nb\nc\n", 3, "a|… 2 more lines: name a group, or make the window larger"},
		{"a\nb\nc\nd\ne\n", 5, "a|b|c|… 2 more lines: name a group, or make the window larger"},
	} {
		if got := strings.Join(clip(c.text, c.height), "|"); got != c.want {
			t.Errorf("%q in %d lines: %q, want %q", c.text, c.height, got, c.want)
		}
	}
}
