package kernels

import (
	"errors"
	"reflect"
	"testing"

	"github.com/sockdist/sockdist/internal/kernels/debian"
)

func TestSelect(t *testing.T) {
	for list, want := range map[string][]string{
		"":               {"6.1", "6.12", "newest"},
		"6.1":            {"6.1"},
		"newest,6.1,6.1": {"newest", "6.1"},
	} {
		got, err := Select(list)
		if err != nil || !reflect.DeepEqual(Names(got), want) {
			t.Errorf("%q: %v, %v; want %v", list, Names(got), err, want)
		}
	}
	for _, list := range []string{"5.4", "6.1,", " 6.1", ","} {
		if _, err := Select(list); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: error %v, want ErrUnknown", list, err)
		}
	}
}

func TestKernelSource(t *testing.T) {
	m := debian.Mirror{Main: "main", Security: "security"}
	for suite, want := range map[string]string{"bookworm-security": "security", "trixie-backports": "main"} {
		if got := (Kernel{Suite: suite}).source(m); got != (debian.Source{Address: want, Suite: suite}) {
			t.Errorf("%s: %+v", suite, got)
		}
	}
}
