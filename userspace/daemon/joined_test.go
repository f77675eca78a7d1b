package daemon

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/wire"
)

// A worker that comes while the daemon begins, or while its group can't be
// opened, is to ask again; one that means no group of this daemon is refused.
func TestJoinsThatComeTooEarly(t *testing.T) {
	here, elsewhere := &wire.Join{Network: "tcp", Address: "127.0.0.1:8080"}, &wire.Join{Network: "tcp", Address: "127.0.0.1:9090"}
	d := New(Options{})
	asks := func(what string, j *wire.Join, again bool) {
		t.Helper()
		g, err := d.groupOf(j)
		if err == nil {
			_, err = g.openFor(nil, nil)
		}
		if err == nil || errors.Is(err, errNotYet) != again {
			t.Errorf("%s: %v; is it to ask again? %v", what, err, again)
		}
	}
	asks("nothing has begun", here, true)
	g := &group{daemon: d, settings: config.Group{Name: "api", Listen: netip.MustParseAddrPort(here.Address)}}
	d.groups["api"] = g
	d.begun.Store(true)
	asks("nobody has tried yet", here, true)
	asks("by name", &wire.Join{Group: "api"}, true)
	asks("no such group", elsewhere, false)
	asks("no such name", &wire.Join{Group: "web"}, false)
	g.err = errors.New("somebody else listens there")
	asks("it failed", here, true)
	asks("no join", nil, false)
}
