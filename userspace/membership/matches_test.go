package membership

import (
	"net/netip"
	"testing"
)

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		network, address, at string
		want                 bool
	}{
		{"tcp", ":80", "0.0.0.0:80", true},
		{"tcp", ":80", "[::]:80", true},
		{"", ":80", "[::]:80", true},
		{"tcp4", ":80", "[::]:80", false},
		{"tcp4", ":80", "0.0.0.0:80", true},
		{"tcp6", ":80", "0.0.0.0:80", false},
		{"tcp6", ":80", "[::]:80", true},
		{"tcp", ":80", "127.0.0.1:80", false},
		{"tcp", ":81", "0.0.0.0:80", false},
		{"tcp", "127.0.0.1:80", "127.0.0.1:80", true},
		{"tcp4", "127.0.0.1:80", "127.0.0.1:80", true},
		{"tcp6", "127.0.0.1:80", "127.0.0.1:80", false},
		{"tcp", "127.0.0.1:80", "0.0.0.0:80", false},
		{"tcp", "[::ffff:127.0.0.1]:80", "127.0.0.1:80", true},
		{"tcp", "localhost:80", "127.0.0.1:80", true},
		{"tcp", "localhost:80", "[::1]:80", true},
		{"tcp4", "localhost:80", "[::1]:80", false},
		{"tcp", "localhost:80", "127.0.0.2:80", false},
		{"tcp", "[::1]:80", "[::1]:80", true},
		{"tcp", "[::]:80", "[::]:80", true},
		{"tcp", "example.org:80", "127.0.0.1:80", false},
		{"tcp", ":http", "0.0.0.0:80", false},
		{"tcp", "", "0.0.0.0:80", false},
		{"tcp", ":65616", "0.0.0.0:80", false},
		{"udp", ":80", "0.0.0.0:80", false},
	} {
		if got := means(c.network, c.address, netip.MustParseAddrPort(c.at)); got != c.want {
			t.Errorf("%s %q means %s: %v", c.network, c.address, c.at, got)
		}
	}
}
