package main_test

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/servers"
	"github.com/sockdist/sockdist/userspace/sockets"
)

var loopback6 = netip.IPv6Loopback()

// Whatever a worker listens on is one group, for each family's clients.
func TestRunAddresses(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, c := range []struct {
		name, listen string // with the port for %d
		group        string // the address as it is shown, likewise
		v4, v6       bool   // who gets through
	}{
		{"dual stack", ":%d", "[::]:%d", true, true},
		{"v4", "tcp4/0.0.0.0:%d", "0.0.0.0:%d", true, false},
		{"v6", "tcp6/[::]:%d", "[::]:%d", false, true},
		{"loopback", "127.0.0.1:%d", "127.0.0.1:%d", true, false},
		{"v6 loopback", "[::1]:%d", "[::1]:%d", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			port := servers.FreePort(t, nil)
			a := flags("-n 4").start(t, "worker", "-listen", fmt.Sprintf(c.listen, port)).serves(port, 4)
			if got, want := a.group(port).Spec.Address.String(), fmt.Sprintf(c.group, port); got != want {
				t.Errorf("the group's address is %s, want %s", got, want)
			}
			var held clients.Held
			for _, family := range []struct {
				server netip.AddrPort
				served bool
			}{{local(port), c.v4}, {netip.AddrPortFrom(loopback6, uint16(port)), c.v6}} {
				if family.served {
					held = append(held, clients.Hold(t, family.server, 40)...)
				} else if l := clients.Load(t.Context(), family.server, clients.Limits{Count: 1}); len(l.With(clients.Refused)) != 1 {
					t.Errorf("to %v: %v, want it refused", family.server, l)
				}
			}
			a.expectEven(port, held)
		})
	}
}

// Both families on one port, each with a listener of its own.
func TestRunTwoFamilies(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port := servers.FreePort(t, nil)
	a := flags("-n 3").start(t, "worker", "-listen", fmt.Sprint("tcp4/:", port), "-listen", fmt.Sprint("tcp6/:", port))
	v4, v6 := fmt.Sprintf("listening on 0.0.0.0:%d with 3 workers", port), fmt.Sprintf("listening on [::]:%d with 3 workers", port)
	a.says(v4)
	a.says(v6)
	one, two := clients.Hold(t, local(port), 30), clients.Hold(t, netip.AddrPortFrom(loopback6, uint16(port)), 60)
	for address, want := range map[string]clients.Held{"0.0.0.0": one, "::": two} {
		for name, s := range a.groups() {
			if s.Spec.Address.Addr().String() != address {
				continue
			}
			for _, slot := range s.Slots {
				if int(slot.Connections) != len(want)/3 || want.PIDs()[slot.PID] != len(want)/3 {
					t.Errorf("group %s: slot %d has %d connections, %v answered; want %d", name, slot.Slot, slot.Connections, want.PIDs(), len(want)/3)
				}
			}
		}
	}
}

// A server on two ports has two groups, which drain and uneven use of one don't
// mix; and the verbs that take an app's name mean both.
func TestRunTwoPorts(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	one, two := servers.FreePort(t, nil), servers.FreePort(t, nil)
	a := flags("-n 2").start(t, "worker", "-listen", fmt.Sprint(":", one), "-listen", fmt.Sprint(":", two)).
		serves(one, 2).serves(two, 2)
	first, second := clients.Hold(t, local(one), 20), clients.Hold(t, local(two), 60)
	a.expectEven(one, first)
	a.expectEven(two, second)

	a.verb("drain", a.name+"/0")
	for _, port := range []int{one, two} {
		if n := clients.Hold(t, local(port), 10).PIDs()[a.slot(port, 0).PID]; n != 0 {
			t.Errorf("port %d: %d connections for a drained worker", port, n)
		}
	}
	a.verb("undrain", fmt.Sprintf("%s-%d/0", a.name, one))
	if a.slot(one, 0).State.String() != "live" || a.slot(two, 0).State.String() != "draining" {
		t.Errorf("after undrain of one group: slots are %+v and %+v", a.slot(one, 0), a.slot(two, 0))
	}
}

// With --port, other listeners of the workers are none of sockdist's business.
func TestRunNamedPort(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	port, own := servers.FreePort(t, nil), freePair(t)
	a := flags(fmt.Sprint("-n 2 --port ", port)).
		start(t, "worker", "-listen", fmt.Sprint(":", port), "-own", fmt.Sprint(own)).serves(port, 2)
	held := clients.Hold(t, local(port), 20)
	a.expectEven(port, held)
	for slot := range 2 {
		pid := a.slot(port, slot).PID
		if answers := clients.Hold(t, local(own+slot), 3).PIDs(); !maps.Equal(answers, map[int]int{pid: 3}) {
			t.Errorf("worker %d's own port is answered by %v, want %d", slot, answers, pid)
		}
		want := map[string]bool{
			fmt.Sprintf("tcp [::]:%d", port):          true,
			fmt.Sprintf("tcp 127.0.0.1:%d", own+slot): false,
		}
		if got := sharedSockets(t, pid); !maps.Equal(got, want) {
			t.Errorf("SO_REUSEPORT of worker %d's sockets: %v, want %v", slot, got, want)
		}
	}
	if groups := a.groups(); len(groups) != 1 {
		t.Errorf("groups: %v, want one", groups)
	}
}

// freePair returns a port whose successor is free too.
func freePair(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := servers.FreePort(t, nil)
		all, err := sockets.Listeners(sockets.Address{})
		if err != nil {
			t.Fatal(err)
		}
		free := port < 1<<16-1
		for _, l := range all {
			free = free && int(l.Address.Port()) != port+1
		}
		if free {
			return port
		}
	}
	t.Fatal("no two free ports in a row")
	return 0
}

// Sockets that aren't listeners of TCP stay as the worker made them: a client
// that binds its own port, a UDP socket.
func TestRunOtherSockets(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	for _, udp := range []bool{false, true} {
		t.Run(fmt.Sprint("udp=", udp), func(t *testing.T) {
			t.Parallel()
			port, upstream, from, datagrams := servers.FreePort(t, nil), servers.FreePort(t, nil), servers.FreePort(t, nil), servers.FreePort(t, nil)
			startStranger(t, false, fmt.Sprint("127.0.0.1:", upstream))
			s := flags("-n 2")
			bound := 1
			if udp {
				s, bound = flags("-n 2 --udp"), 2
			}
			a := s.start(t, "worker", "-listen", fmt.Sprint(":", port), "-udp", fmt.Sprint("127.0.0.1:", datagrams),
				"-dial", fmt.Sprint("127.0.0.1:", upstream), "-from", fmt.Sprint("127.0.0.1:", from)).serves(port, 2)

			clientSockets, udpSockets := 0, 0
			for slot := range 2 {
				for socket, shares := range sharedSockets(t, a.slot(port, slot).PID) {
					switch socket {
					case fmt.Sprint("tcp 127.0.0.1:", from):
						clientSockets++
						if shares {
							t.Errorf("worker %d: the client socket got SO_REUSEPORT", slot)
						}
					case fmt.Sprint("udp 127.0.0.1:", datagrams):
						udpSockets++
						if shares != udp {
							t.Errorf("worker %d: SO_REUSEPORT of the UDP socket is %v, want %v", slot, shares, udp)
						}
					}
				}
			}
			if clientSockets != 1 {
				t.Errorf("%d workers connected from the one port, want 1\n%s", clientSockets, read(a.output))
			}
			if udpSockets != bound {
				t.Errorf("%d workers bound the UDP port, want %d\n%s", udpSockets, bound, read(a.output))
			}
			if groups := a.groups(); len(groups) != 1 {
				t.Errorf("groups: %v, want one", groups)
			}
			a.expectEven(port, clients.Hold(t, local(port), 20))
		})
	}
}

// sharedSockets tells which of a process's bound sockets have SO_REUSEPORT.
// Accepted connections are left out.
func sharedSockets(t testing.TB, pid int) map[string]bool {
	t.Helper()
	shares := make(map[string]bool)
	for fd, link := range descriptors(t, pid) {
		if !strings.HasPrefix(link, "socket:") {
			continue
		}
		number, err := strconv.Atoi(fd)
		if err != nil {
			t.Fatal(err)
		}
		socket, err := sockets.Fetch(pid, number)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrProcessDone) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		name, shared := describe(t, socket.FD())
		socket.Close()
		if name != "" {
			shares[name] = shared
		}
	}
	return shares
}

func describe(t testing.TB, fd int) (name string, shares bool) {
	t.Helper()
	where, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	option := func(o int) int {
		v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, o)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	kind := "tcp "
	if option(unix.SO_TYPE) == unix.SOCK_DGRAM {
		kind = "udp "
	} else if _, err := unix.Getpeername(fd); err == nil && option(unix.SO_ACCEPTCONN) == 0 {
		if _, is4 := where.(*unix.SockaddrInet4); !is4 {
			return "", false // accepted by the dual-stack listener
		}
	}
	switch at := where.(type) {
	case *unix.SockaddrInet4:
		name = netip.AddrPortFrom(netip.AddrFrom4(at.Addr), uint16(at.Port)).String()
	case *unix.SockaddrInet6:
		name = netip.AddrPortFrom(netip.AddrFrom16(at.Addr), uint16(at.Port)).String()
	}
	return kind + name, option(unix.SO_REUSEPORT) == 1
}

// Two apps on one port, each in a network namespace of its own.
func TestRunInNamespaces(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	here, there := netns.New(t), netns.New(t)
	port := servers.FreePort(t, here)
	for _, ns := range []*netns.Namespace{here, there} {
		s := flags("-n 2")
		s.in = ns
		a := s.start(t, "worker", "-listen", fmt.Sprint(":", port)).serves(port, 2)
		a.expectEven(port, clients.Client{In: ns}.Hold(t, local(port), 40, 1))
		if inode := a.group(port).Spec.NetNS; inode != ns.Inode() {
			t.Errorf("the group is in namespace %d, want %d", inode, ns.Inode())
		}
	}
}

// Two apps with different names and ports know nothing of each other, also when
// they share the pin folder.
func TestRunTwoApps(t *testing.T) {
	t.Parallel()
	needPrograms(t)
	ports := []int{servers.FreePort(t, nil), servers.FreePort(t, nil)}
	one := flags("-n 2").start(t, "worker", "-listen", fmt.Sprint(":", ports[0])).serves(ports[0], 2)
	s := flags("-n 2")
	s.beside = one
	two := s.start(t, "worker", "-listen", fmt.Sprint(":", ports[1])).serves(ports[1], 2)

	load := startTraffic(t, clients.Client{}, local(ports[0]))
	two.expectEven(ports[1], clients.Hold(t, local(ports[1]), 20))
	two.verb("drain", two.name+"/0")
	two.signal(unix.SIGTERM)
	two.signal(unix.SIGINT)
	if code := two.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	load.expectAnswered()
	one.idle(ports[0])
	one.expectEven(ports[0], clients.Hold(t, local(ports[0]), 20))

	third := flags("-n 2").start(t, "worker", "-listen", fmt.Sprint(":", ports[0]))
	if code := third.exit(); code != 1 {
		t.Errorf("another app on the same port: exit code %d, want 1", code)
	}
	if text := lastError(t, third); !strings.Contains(text, "is taken by") {
		t.Errorf("another app on the same port: %s", text)
	}
}
