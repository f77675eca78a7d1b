package sockets

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func TestParseAddress(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{":80", ":80"},
		{"*:80", ":80"},
		{"tcp://:80", ":80"},
		{"tcp://*:65535", ":65535"},
		{"127.0.0.1:1", "127.0.0.1:1"},
		{"tcp://127.0.0.1:80", "127.0.0.1:80"},
		{"tcp4://127.0.0.1:80", "127.0.0.1:80"},
		{"0.0.0.0:80", "0.0.0.0:80"},
		{"tcp4://:80", "0.0.0.0:80"},
		{"tcp4://*:80", "0.0.0.0:80"},
		{"[::]:80", "[::]:80"},
		{"tcp6://:80", "[::]:80"},
		{"tcp6://[::1]:80", "[::1]:80"},
		{"[2001:DB8:0:0::1]:080", "[2001:db8::1]:80"},
		{"[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
		{"tcp4://[::ffff:10.0.0.1]:80", "10.0.0.1:80"},
	} {
		got, err := ParseAddress(c.text)
		if err != nil || got.String() != c.want {
			t.Errorf("ParseAddress(%q) = %s, %v, want %s", c.text, got, err, c.want)
		}
	}
}

func TestParseAddressRefuses(t *testing.T) {
	for _, c := range []struct{ text, reason string }{
		{"", "port is missing"},
		{"80", "write :80"},
		{"nginx", "port is missing"},
		{"127.0.0.1", "port is missing"},
		{"[::1]", "port is missing"},
		{"::1:80", "takes brackets"},
		{":0", "from 1 to 65535"},
		{":65536", "from 1 to 65535"},
		{":-1", "from 1 to 65535"},
		{":+80", "from 1 to 65535"},
		{":http", "from 1 to 65535"},
		{":", "from 1 to 65535"},
		{":80/", "from 1 to 65535"},
		{"localhost:80", "names are not looked up, write such as 127.0.0.1:80"},
		{"1.2.3:80", "is no IP address"},
		{"[127.0.0.1]:80", "write 127.0.0.1:80"},
		{"[*]:80", "write *:80"},
		{"[fe80::1%eth0]:80", "leave out %eth0"},
		{"tcp4://[::1]:80", "other family"},
		{"tcp6://127.0.0.1:80", "other family"},
		{"udp://:80", "udp:// is unknown"},
		{"TCP://:80", "TCP:// is unknown"},
		{"://:80", "unknown"},
	} {
		got, err := ParseAddress(c.text)
		if err == nil || !errors.Is(err, ErrAddress) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("ParseAddress(%q) = %s, %v, want an error with %q", c.text, got, err, c.reason)
		}
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseAddress(%q): the error has several lines: %v", c.text, err)
		}
	}
}

func FuzzParseAddress(f *testing.F) {
	for _, text := range []string{":80", "*:80", "tcp4://:1", "[::1]:65535", "tcp6://[fe80::1%lo]:2", "localhost:80", "[::ffff:1.2.3.4]:5", "a\nb:1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := ParseAddress(text)
		if err != nil {
			if !errors.Is(err, ErrAddress) || a != (Address{}) {
				t.Fatalf("ParseAddress(%q) = %v, %v", text, a, err)
			}
			return
		}
		if a.Port == 0 || a.Host.Zone() != "" || a.Host.Is4In6() {
			t.Fatalf("ParseAddress(%q) = %#v", text, a)
		}
		if again, err := ParseAddress(a.String()); err != nil || again != a {
			t.Fatalf("%q became %s, and that %s, %v", text, a, again, err)
		}
	})
}

func TestMatches(t *testing.T) {
	listeners := []string{
		"0.0.0.0:80", "[::]:80", "127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.1]:80", "[::ffff:0.0.0.0]:80", "0.0.0.0:81",
	}
	for _, c := range []struct {
		address string
		want    string
	}{
		{":80", "0.0.0.0:80 [::]:80 [::ffff:0.0.0.0]:80"},
		{"0.0.0.0:80", "0.0.0.0:80 [::ffff:0.0.0.0]:80"},
		{"[::]:80", "[::]:80"},
		{"127.0.0.1:80", "127.0.0.1:80 [::ffff:127.0.0.1]:80"},
		{"[::1]:80", "[::1]:80"},
		{":81", "0.0.0.0:81"},
		{":82", ""},
		{"", strings.Join(listeners, " ")}, // the zero Address
	} {
		var a Address
		if c.address != "" {
			var err error
			if a, err = ParseAddress(c.address); err != nil {
				t.Fatal(err)
			}
		}
		var matched []string
		for _, text := range listeners {
			if a.Matches(Listener{Address: netip.MustParseAddrPort(text)}) {
				matched = append(matched, text)
			}
		}
		if got := strings.Join(matched, " "); got != c.want {
			t.Errorf("%q matches %s, want %s", c.address, got, c.want)
		}
	}
}
