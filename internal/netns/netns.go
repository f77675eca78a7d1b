// Package netns gives tests network namespaces of their own, so that any
// number of tests can use the same port at once.
//
// A namespace ends with its test: when the test's own processes and sockets are
// gone, the kernel has nothing left to keep it for.
package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns/thread"
	"github.com/sockdist/sockdist/internal/privilege"
)

// Namespace is a network namespace with its loopback device up.
type Namespace struct {
	// V4 and V6 are the namespace's addresses on the link of a Pair; the zero
	// Addr in a namespace made by New.
	V4, V6 netip.Addr
	// Device is the name of the link of a Pair, "" in a namespace made by New.
	Device string

	file  *os.File
	inode uint64
}

// New makes a namespace for t. It skips t where that takes a privilege which
// this process has not.
func New(t testing.TB) *Namespace {
	t.Helper()
	privilege.Require(t)

	file, err := thread.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })

	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		t.Fatalf("stat the network namespace: %v", err)
	}
	ns := &Namespace{file: file, inode: stat.Ino}
	if err := ns.Do(func() error { return bringUp("lo") }); err != nil {
		t.Fatal(err)
	}
	return ns
}

// Pair makes two namespaces joined by a pair of veth devices, with an IPv4 and
// an IPv6 address at each end that can be used at once.
func Pair(t testing.TB) (a, b *Namespace) {
	t.Helper()

	a, b = New(t), New(t)
	a.Device, b.Device = "veth0", "veth0"
	a.V4, b.V4 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	a.V6, b.V6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")

	err := errors.Join(a.Do(func() error { return join(a, b) }), a.Do(a.address), b.Do(b.address))
	if err != nil {
		t.Fatal(err)
	}
	return a, b
}

// Do runs f in the namespace, on a thread of its own, and returns what f
// returned. Sockets that f opens and processes that f starts belong to the
// namespace; goroutines that f starts do not run in it. f may call t.Fatal.
func (ns *Namespace) Do(f func() error) error {
	return thread.In(ns.file, f)
}

// Inode returns the number by which the kernel and /proc know the namespace.
func (ns *Namespace) Inode() uint64 { return ns.inode }

// Path returns a file that opens the namespace, in this process and in others,
// until the test ends.
func (ns *Namespace) Path() string {
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.file.Fd())
}

// join puts one end of a new pair into each namespace. It runs in a.
func join(a, b *Namespace) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = a.Device
	link := &netlink.Veth{
		LinkAttrs:     attributes,
		PeerName:      b.Device,
		PeerNamespace: netlink.NsFd(b.file.Fd()),
	}
	if err := netlink.LinkAdd(link); err != nil {
		return fmt.Errorf("add a veth pair: %w", err)
	}
	return nil
}

// address gives the device its addresses and brings it up. It runs in ns.
func (ns *Namespace) address() error {
	link, err := netlink.LinkByName(ns.Device)
	if err != nil {
		return fmt.Errorf("find %s: %w", ns.Device, err)
	}
	for _, prefix := range []netip.Prefix{netip.PrefixFrom(ns.V4, 24), netip.PrefixFrom(ns.V6, 64)} {
		address := &netlink.Addr{IPNet: ipNet(prefix)}
		if prefix.Addr().Is6() {
			// Nobody else can have it, and waiting for the check takes a second.
			address.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, address); err != nil {
			return fmt.Errorf("give %s the address %s: %w", ns.Device, prefix, err)
		}
	}
	return bringUp(ns.Device)
}

func bringUp(device string) error {
	link, err := netlink.LinkByName(device)
	if err != nil {
		return fmt.Errorf("find %s: %w", device, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("bring %s up: %w", device, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
