package sockets

import (
	"maps"
	"net"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
)

func TestBacklogsOfAPort(t *testing.T) {
	err := netns.New(t).Do(func() error {
		one, other := pairOf(t, "tcp4", "127.0.0.1:80")
		six := listen(t, "tcp6", "[::1]:80")
		listen(t, "tcp4", "127.0.0.1:81")
		fill(t, one, "tcp4", "127.0.0.1:80", 3)
		fill(t, six, "tcp6", "[::1]:80", 2)

		want := make(map[uint64]uint32)
		for _, l := range []*net.TCPListener{one, other, six} {
			d := describeOf(t, l)
			want[d.Cookie] = d.Backlog
		}
		got, err := Backlogs(80)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("backlogs %v, %v, want %v", got, err, want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
