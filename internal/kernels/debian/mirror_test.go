package debian

import (
	"errors"
	"testing"
)

func TestMirrorOf(t *testing.T) {
	const main, security = "http://mirror.test/debian", "http://mirror.test/debian-security"
	for name, c := range map[string]struct {
		addresses []string
		want      Mirror
	}{
		"both":          {[]string{main + "/", "http://other.test/tools", security}, Mirror{main, security}},
		"main alone":    {[]string{main}, Mirror{main, security}},
		"security only": {[]string{security + "/"}, Mirror{main, security}},
		"first of each": {[]string{main, "http://second.test/debian"}, Mirror{main, security}},
		"apart":         {[]string{main, "http://s.test/debian-security"}, Mirror{main, "http://s.test/debian-security"}},
	} {
		got, err := mirrorOf(c.addresses)
		if err != nil || got != c.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, c.want)
		}
	}
	if _, err := mirrorOf([]string{"http://mirror.test/ubuntu/"}); !errors.Is(err, ErrNoMirror) {
		t.Errorf("another distribution: error %v, want ErrNoMirror", err)
	}
}

func TestMirrorUnder(t *testing.T) {
	want := Mirror{"http://mirror.test/debian", "http://mirror.test/debian-security"}
	for _, address := range []string{"http://mirror.test", "http://mirror.test/"} {
		if got := MirrorUnder(address); got != want {
			t.Errorf("%s: %v", address, got)
		}
	}
}
