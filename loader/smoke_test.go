package loader

import (
	"net"
	"testing"
)

func TestSmoke(t *testing.T) {
	h := newHost(t)
	ls := listen(t, "127.0.0.1:0", 8)
	g := steered(t, h, Least, ls)
	var conns []net.Conn
	for range 400 {
		c, err := net.Dial("tcp", ls[0].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, c)
	}
	s, err := g.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range s.Slots {
		t.Logf("%+v", x)
		if x.Connections != 50 {
			t.Errorf("slot %d has %d", x.Slot, x.Connections)
		}
	}
	t.Logf("%+v", s)
	for _, c := range conns {
		c.Close()
	}
	for _, l := range ls {
		for range 50 {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		}
	}
	s, _ = g.Snapshot()
	for _, x := range s.Slots {
		t.Logf("%+v", x)
	}
}
