package sockets

import (
	"net"
	"slices"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/netns"
)

// Who asks for the same moment gets the same answer, and who asks for a later
// one sees what has come since.
func TestListenersSince(t *testing.T) {
	err := netns.New(t).Do(func() error {
		began := time.Now()
		first, err := ListenersSince(began)
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close()
		isThere := func(all []Listener) bool {
			return slices.ContainsFunc(all, func(found Listener) bool { return found.Address.String() == l.Addr().String() })
		}
		again, err := ListenersSince(began)
		if err != nil || len(again) != len(first) || isThere(again) {
			t.Errorf("of the same moment: %d listeners, not the %d of before: %v", len(again), len(first), err)
		}
		later, err := ListenersSince(time.Now())
		if err != nil || !isThere(later) {
			t.Errorf("of a later moment: not all listeners: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
