package packets

import (
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/netns"
)

// DefaultRoundTrip is what NewDelay takes for a round trip of 0.
const DefaultRoundTrip = 50 * time.Millisecond

// inFlight is how many packets one direction of a Delay can hold: more than a
// thousand full windows of TCP at its start. What comes on top is lost, as on
// any other full link.
const inFlight = 16384

// Delay is a link between two namespaces on which packets take time. Its
// methods give the addresses of its ends; the ends can talk to each other and
// to nobody beyond.
type Delay struct {
	a4, b4, a6, b6 netip.Addr
}

// NewDelay joins a and b by a link whose packets take half of roundTrip each
// way. It ends with t. Namespaces can have several such links, each with
// networks of its own.
func NewDelay(t testing.TB, a, b *netns.Namespace, roundTrip time.Duration) *Delay {
	t.Helper()
	if roundTrip == 0 {
		roundTrip = DefaultRoundTrip
	}

	d := nextDelay()
	atA := openEnd(t, a, d.a4, d.a6)
	atB := openEnd(t, b, d.b4, d.b6)

	var running sync.WaitGroup
	forward(&running, atA, atB, roundTrip/2)
	forward(&running, atB, atA, roundTrip/2)
	t.Cleanup(func() {
		atA.Close()
		atB.Close()
		running.Wait()
	})
	return d
}

// A4 is the IPv4 address of the end in the first namespace.
func (d *Delay) A4() netip.Addr { return d.a4 }

// A6 is the IPv6 address of the end in the first namespace.
func (d *Delay) A6() netip.Addr { return d.a6 }

// B4 is the IPv4 address of the end in the second namespace.
func (d *Delay) B4() netip.Addr { return d.b4 }

// B6 is the IPv6 address of the end in the second namespace.
func (d *Delay) B6() netip.Addr { return d.b6 }

var delays atomic.Uint32

// nextDelay gives two addresses of each version that no link of this process
// has, until 16,384 later.
func nextDelay() *Delay {
	n := delays.Add(1) % (1 << 14)
	host := func(i uint32) [2]byte { low := n<<2 | i; return [2]byte{byte(low >> 8), byte(low)} }
	v4 := func(i uint32) netip.Addr { h := host(i); return netip.AddrFrom4([4]byte{198, 19, h[0], h[1]}) }
	v6 := func(i uint32) netip.Addr {
		h := host(i)
		return netip.AddrFrom16([16]byte{0xfd, 0x73, 0x6f, 0x63, 0x6b, 0x65, 14: h[0], 15: h[1]})
	}
	return &Delay{a4: v4(1), b4: v4(2), a6: v6(1), b6: v6(2)}
}

func openEnd(t testing.TB, ns *netns.Namespace, v4, v6 netip.Addr) *os.File {
	t.Helper()

	end, err := openTun(ns, netip.PrefixFrom(v4, 30), netip.PrefixFrom(v6, 126))
	if err != nil {
		t.Fatalf("make a link with a delay: %v", err)
	}
	t.Cleanup(func() { end.Close() })
	return end
}

// transit is a packet on its way.
type transit struct {
	due    time.Time
	packet []byte
}

// forward carries packets from one device to another, in order, each at least
// d later. It ends when from is closed.
func forward(running *sync.WaitGroup, from, to *os.File, d time.Duration) {
	way := make(chan transit, inFlight)
	running.Go(func() {
		defer close(way)
		enter(from, way, d)
	})
	running.Go(func() { leave(way, to) })
}

func enter(from *os.File, way chan<- transit, d time.Duration) {
	buffer := make([]byte, largestPacket)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case way <- transit{due: time.Now().Add(d), packet: append([]byte(nil), buffer[:n]...)}:
		default: // the way is full: lost
		}
	}
}

func leave(way <-chan transit, to *os.File) {
	for p := range way {
		time.Sleep(time.Until(p.due))
		// A device that is gone loses packets, as a cut cable does.
		_, _ = to.Write(p.packet)
	}
}
