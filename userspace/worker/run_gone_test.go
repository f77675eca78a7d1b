package worker

import (
	"net"
	"testing"
	"time"
)

// Clients have so many looks to send one more request, however long the machine stands
// still between two of them.
func TestAwaitGoneCountsLooks(t *testing.T) {
	l, err := Listen(t.Context(), "tcp", "127.0.0.1:0", WithSocket(""))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	const most = 3
	looks, gone := make(chan time.Time), make(chan bool, 1)
	await := func() { gone <- l.awaitGoneBy(t.Context(), looks, most) }
	go await()
	for range most {
		time.Sleep(10 * most * look)
		select {
		case got := <-gone:
			t.Fatalf("it waited for less than %d looks: %v", most, got)
		case looks <- time.Now():
		}
	}
	if <-gone {
		t.Error("a connection is open, and it says that none is")
	}
	go await()
	looks <- time.Now()
	conn.Close()
	var got bool
	select {
	case looks <- time.Now():
		got = <-gone
	case got = <-gone: // it has looked since
	}
	if !got {
		t.Error("no connection is open, and it says that one is")
	}
}
