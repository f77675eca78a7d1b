package sockets

import (
	"net/netip"
	"testing"
)

func TestOverlap(t *testing.T) {
	t.Parallel()
	group := func(address string) Group { return Group{Address: netip.MustParseAddrPort(address)} }
	only6, device1, device2 := group("[::]:80"), group("0.0.0.0:80"), group("0.0.0.0:80")
	only6.V6Only, device1.Interface, device2.Interface = true, 1, 2
	for _, c := range []struct {
		a, b Group
		want bool
	}{
		{group("127.0.0.1:80"), group("127.0.0.1:80"), true},
		{group("127.0.0.1:80"), group("127.0.0.1:81"), false},
		{group("127.0.0.1:80"), group("127.0.0.2:80"), false},
		{group("127.0.0.1:80"), group("[::ffff:127.0.0.1]:80"), true},
		{group("0.0.0.0:80"), group("127.0.0.1:80"), true},
		{group("0.0.0.0:80"), group("[::1]:80"), false},
		{group("0.0.0.0:80"), group("[::]:80"), true},
		{group("0.0.0.0:80"), only6, false},
		{group("[::]:80"), group("127.0.0.1:80"), true},
		{group("[::]:80"), group("[::1]:80"), true},
		{only6, group("[::1]:80"), true},
		{only6, group("127.0.0.1:80"), false},
		{only6, group("[::ffff:127.0.0.1]:80"), false},
		{device1, group("127.0.0.1:80"), true},
		{device1, device2, false},
	} {
		if c.a.Overlaps(c.b) != c.want || c.b.Overlaps(c.a) != c.want {
			t.Errorf("%+v and %+v: want %v", c.a, c.b, c.want)
		}
	}
}
