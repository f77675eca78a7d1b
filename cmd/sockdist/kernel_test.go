package main

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// Connections that are older than their slot are found however many others come
// and go while it is looked for them.
func TestAdoptEarlyAmidOthers(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	l := listenShared(t, "tcp4", "127.0.0.1:0", 1)[0]
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			})
		}
	})
	defer serving.Wait()
	defer l.Close()
	for round := range 5 {
		t.Run(fmt.Sprint(round), func(t *testing.T) { adoptAmidOthers(t, dir, l) })
	}
}

func adoptAmidOthers(t *testing.T, dir string, l *net.TCPListener) {
	t.Helper()
	const early = 4
	for range early {
		defer echoed(l).Close()
	}
	g := newGroup(t, dir, loader.GroupSpec{Name: "early"}, l)
	steer(t, g, l)
	stop := make(chan struct{})
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for {
				var open []net.Conn
				for range 2 * early {
					open = append(open, echoed(l))
				}
				for _, c := range open {
					_ = c.(*net.TCPConn).SetLinger(0)
					c.Close()
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	err := adoptEarly(g, sockets.Group{Address: g.Spec().Address})
	close(stop)
	others.Wait()
	if err != nil {
		t.Fatal(err)
	}
	var n uint64
	for deadline := time.Now().Add(10 * time.Second); n != early && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		s, err := g.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		n = s.Slots[0].Connections // the others' ends may be late
	}
	if n != early {
		t.Errorf("%d connections are counted, want the %d that are older than the group", n, early)
	}
}

// echoed is a connection that was accepted.
func echoed(l *net.TCPListener) net.Conn {
	c, err := net.Dial("tcp", l.Addr().String())
	if err == nil {
		_, err = c.Write([]byte("x"))
	}
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1))
	}
	if err != nil {
		panic(err) // in whatever goroutine
	}
	return c
}
