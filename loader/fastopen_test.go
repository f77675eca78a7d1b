package loader

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// withFastOpen makes the listeners take data in a SYN, from anybody.
func (w *world) withFastOpen() {
	w.t.Helper()
	const withoutCookies = "519" // client and server
	w.sysctl("net.ipv4.tcp_fastopen", withoutCookies)
	for _, worker := range w.workers {
		w.must(unix.SetsockoptInt(worker.fd, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 1024))
	}
}

// fastOpen connects with data in the SYN.
func fastOpen(to netip.AddrPort) (*end, error) {
	fd, err := clientSocket(to.Addr())
	if err != nil {
		return nil, err
	}
	err = unix.Sendto(fd, []byte("fast"), unix.MSG_FASTOPEN, sockaddr(to))
	if err == unix.EINTR { // by a signal of the Go runtime; the SYN has gone
		err = connected(fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newEnd(fd)
}

func TestCountsWithFastOpen(t *testing.T) {
	for kind, where := range loopbacks {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, Least, where)
			w.incomplete = true
			w.withFastOpen()
			w.must(w.ns.Do(func() error {
				for range 40 {
					e, err := fastOpen(w.server)
					if err != nil {
						return err
					}
					w.clients = append(w.clients, e)
				}
				return nil
			}))
			if n := w.extension("TCPFastOpenPassive"); n < 40 {
				t.Fatalf("%d of 40 connections had data in their SYN", n)
			}
			w.agree("in the queues")
			servers := w.acceptAll()
			w.each("closed by servers", servers[:20], closeEnd)
			w.each("reset by clients", w.clients, resetEnd)
		})
	}
}

// early is a world with connections that are in the accept queues before their
// handshake is over: their data came with the SYN.
func early(t *testing.T, n int) (*world, []*packets.Handshake) {
	t.Helper()
	ns := netns.New(t)
	peer := packets.NewPeer(t, ns)
	w := newWorld(t, 4, Least, in(ns), at("0.0.0.0", "127.0.0.1"))
	w.incomplete = true
	w.withFastOpen()
	var all []*packets.Handshake
	for i := range n {
		h := peer.Handshake(netip.AddrPortFrom(peer.Client(peer.Server4(), i), 2000),
			netip.AddrPortFrom(peer.Server4(), w.server.Port()))
		w.must(h.SYNData("early"))
		w.must(h.SYNACK(patience))
		all = append(all, h)
	}
	lengths, err := w.queueLengths()
	if w.must(err); lengths[0] != n/4 || sum(w.shares()) != 0 {
		t.Fatalf("queues have %v connections and %v are counted, before the ACK", lengths, w.shares())
	}
	return w, all
}

// acknowledge ends handshakes, and resets them when the test ends.
func (w *world) acknowledge(all []*packets.Handshake) {
	w.t.Helper()
	for _, h := range all {
		w.must(h.ACK())
	}
}

func (w *world) abort(all []*packets.Handshake) {
	w.t.Helper()
	for _, h := range all {
		w.must(h.RST())
	}
}

// The count begins with the end of the handshake, whether the worker has the
// connection by then or not.
func TestCountsOfEarlyConnections(t *testing.T) {
	t.Parallel()
	w, all := early(t, 40)
	for _, worker := range w.workers[:2] {
		worker.acceptAll(t)
	}
	w.acknowledge(all[:20])
	w.acceptAll()
	w.agree("half are acknowledged")
	if n := sum(w.shares()); n != 20 {
		t.Errorf("%d of 20 connections are counted", n)
	}
	w.abort(all[20:])
	w.agree("half were reset before the ACK")
	w.abort(all[:20])
	w.agree("all were reset")
}

// A server may answer and close before the handshake is over. The kernel has a
// connection then, which never was in the state ESTABLISHED.
func TestCountsOfEarlyCloses(t *testing.T) {
	t.Parallel()
	w, all := early(t, 40)
	for _, e := range w.acceptAll() {
		if got, err := e.receive(); got != "early" {
			t.Fatalf("received %q, %v", got, err)
		}
		e.close()
	}
	w.agree("closed by servers")
	w.acknowledge(all[:20])
	w.agree("half are acknowledged")
	w.abort(all)
	w.agree("reset")
}

// A listener may close while its queue holds such connections.
func TestCountsOfEarlyMigration(t *testing.T) {
	t.Parallel()
	w, all := early(t, 40)
	w.workers[0].close()
	w.workers[1].close()
	w.acknowledge(all[:20])
	w.acceptAll()
	w.agree("half are acknowledged after the move")
	if n := w.slot(2).Connections + w.slot(3).Connections; n != 20 {
		t.Errorf("%d of 20 connections are counted", n)
	}
	w.workers[2].shut()
	w.agree("another listener has gone")
	w.abort(all)
	w.agree("reset")
}
