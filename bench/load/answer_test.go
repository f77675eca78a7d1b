package load

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// However an answer is cut, it is only known when all of it is there.
func TestParseOfParts(t *testing.T) {
	text := ok()
	for i := range text {
		if a, whole, err := parse([]byte(text[:i])); whole || err != nil {
			t.Fatalf("%q: %+v, %t, %v", text[:i], a, whole, err)
		}
	}
	a, whole, err := parse([]byte(text))
	if err != nil || !whole || a.pid != os.Getpid() || !a.closes {
		t.Errorf("%q: %+v, %t, %v", text, a, whole, err)
	}
	if _, _, err := parse([]byte(strings.Repeat("x", maxAnswer+1))); !errors.Is(err, ErrWrong) {
		t.Errorf("a head without an end: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(ok()))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n7\n"))
	f.Add([]byte("HTTP/1.1 502 Bad Gateway\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, whole, err := parse(b)
		if whole != (a.pid > 0) || whole && err != nil || err != nil && !errors.Is(err, ErrWrong) {
			t.Errorf("%q: %+v, %t, %v", b, a, whole, err)
		}
	})
}
