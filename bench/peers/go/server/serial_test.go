package main

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

func TestAsked(t *testing.T) {
	for head, want := range map[string]time.Duration{
		"GET / HTTP/1.1\r\n\r\n":                       0,
		"GET /work?us=1500.5 HTTP/1.1\r\nA: b\r\n\r\n": 1500500 * time.Nanosecond,
	} {
		if d, ok := asked([]byte(head)); !ok || d != want {
			t.Errorf("%q: %v, %v; want %v", head, d, ok, want)
		}
	}
	for _, head := range []string{"", "GET /", "POST / HTTP/1.1", "GET /stream HTTP/1.1", "GET /work?us=-1 HTTP/1.1"} {
		if _, ok := asked([]byte(head)); ok {
			t.Errorf("%q is taken", head)
		}
	}
}

// A request may come in pieces, and is answered only when it is whole.
func TestAnswer(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	done := make(chan struct{})
	go func() {
		defer close(done)
		answer(app.NewWork(), pair[1], make([]byte, 4096))
		unix.Close(pair[1])
	}()
	for _, piece := range []string{"GET / HTT", "P/1.1\r\nHost: x\r\n", "\r\n"} {
		if _, err := unix.Write(pair[0], []byte(piece)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	<-done
	buffer := make([]byte, 4096)
	n, err := unix.Read(pair[0], buffer)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(buffer[:n]); !strings.HasSuffix(got, "\r\n\r\n"+string(app.Answer)) || !strings.Contains(got, "Connection: close\r\n") {
		t.Errorf("%q", got)
	}
}
