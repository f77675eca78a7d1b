package sockets

import (
	"errors"
	"os"
	"testing"
)

func TestAlive(t *testing.T) {
	c := start(t, "hold", nil)
	began, err := StartTime(c.pid())
	if err != nil || began == 0 {
		t.Fatalf("started at %d, %v", began, err)
	}
	if !Alive(c.pid(), began) {
		t.Error("a living process is dead")
	}
	if Alive(c.pid(), began+1) {
		t.Error("another process with its PID is it")
	}

	c.stdin.Close()
	// Nobody has waited for it: what is left is no process.
	eventually(t, "the end", func() bool { return !Alive(c.pid(), began) })
	if _, err := StartTime(c.pid()); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("of a zombie: %v", err)
	}
	c.end()
	if _, err := StartTime(c.pid()); !errors.Is(err, os.ErrProcessDone) || Alive(c.pid(), began) {
		t.Errorf("of nothing: %v", err)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21\n"
	for _, comm := range []string{"nginx", "a b", "x) S (y", "new\nline", ""} {
		s, err := parseStat([]byte("812 (" + comm + ")" + rest))
		if err != nil || s.comm != comm || s.start != 4711 || s.dead {
			t.Errorf("%q: %+v, %v", comm, s, err)
		}
	}
	for _, text := range []string{"", "812", "812 (x", "812 )x(", "812 (x) S 1", "812 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 x"} {
		if s, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("1 (init) S 0 1 1 0 -1 4194560 1 1 1 1 1 1 1 1 20 0 1 0 13 1 1"))
	f.Add([]byte("1 (a) b) Z"))
	f.Fuzz(func(_ *testing.T, text []byte) { _, _ = parseStat(text) })
}
