package packets_test

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

func TestDelayedBurst(t *testing.T) {
	for _, version := range []struct {
		name   string
		server func(*packets.Delay) netip.Addr
	}{
		{"IPv4", (*packets.Delay).B4},
		{"IPv6", (*packets.Delay).B6},
	} {
		t.Run(version.name, func(t *testing.T) {
			const n = 256
			near, far := netns.New(t), netns.New(t)
			link := packets.NewDelay(t, near, far, 0)
			listener, server := listen(t, far, version.server(link))
			echo(t, listener)

			var burst sync.WaitGroup
			failures := make(chan error, n)
			for range n {
				burst.Go(func() {
					if err := visit(near, server); err != nil {
						failures <- err
					}
				})
			}
			burst.Wait()
			close(failures)
			for err := range failures {
				t.Error(err)
			}
		})
	}
}

// visit connects from ns, and says one line to the server and back. Each must
// take a round trip or more.
func visit(ns *netns.Namespace, server netip.AddrPort) error {
	var conn net.Conn
	start := time.Now()
	err := ns.Do(func() (err error) {
		conn, err = net.DialTimeout("tcp", server.String(), patience)
		return err
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	if took := time.Since(start); took < packets.DefaultRoundTrip {
		return fmt.Errorf("connected after %v, before the round trip of %v", took, packets.DefaultRoundTrip)
	}

	conn.SetDeadline(time.Now().Add(patience))
	start = time.Now()
	if _, err := conn.Write([]byte("ping")); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err := conn.Read(answer); err != nil {
		return err
	}
	if took := time.Since(start); took < packets.DefaultRoundTrip {
		return fmt.Errorf("answered after %v, before the round trip of %v", took, packets.DefaultRoundTrip)
	}
	if string(answer) != "ping" {
		return fmt.Errorf("answer %q, want ping", answer)
	}
	return nil
}

// A namespace can have several links, which don't know each other.
func TestDelaysSideBySide(t *testing.T) {
	left, middle, right := netns.New(t), netns.New(t), netns.New(t)
	first := packets.NewDelay(t, left, middle, time.Millisecond)
	second := packets.NewDelay(t, middle, right, time.Millisecond)
	if first.B4() == second.A4() || first.B6() == second.A6() {
		t.Fatalf("two links with one address: %+v, %+v", first, second)
	}

	for _, way := range []struct {
		from, to *netns.Namespace
		addr     netip.Addr
	}{
		{left, middle, first.B4()},
		{middle, left, first.A6()},
		{right, middle, second.A4()},
	} {
		_, server := listen(t, way.to, way.addr)
		err := way.from.Do(func() error {
			conn, err := net.DialTimeout("tcp", server.String(), patience)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err != nil {
			t.Errorf("connect to %s: %v", server, err)
		}
	}
}
