package packets

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
)

const (
	// largestPacket is the link's MTU.
	largestPacket = 1500
	// queueLength is how many packets the device holds for its reader. The
	// default of 500 loses SYN-ACKs when a thousand SYNs come at once.
	queueLength = 16384
	// routePatience is far more than a device takes to come up.
	routePatience = 10 * time.Second
)

// openTun makes a tun device in ns, with the given addresses and the networks
// around them, and returns the other end of its link. A read or write of that
// file is one IP packet, no header before it. Closing it removes the device.
func openTun(ns *netns.Namespace, addresses ...netip.Prefix) (*os.File, error) {
	var file *os.File
	err := ns.Do(func() error {
		fd, name, err := newDevice()
		if err != nil {
			return err
		}
		// A file that is non-blocking can be closed under its reader.
		file = os.NewFile(uintptr(fd), name)
		return configure(name, addresses)
	})
	if err != nil && file != nil {
		file.Close()
	}
	return file, err
}

func newDevice() (fd int, name string, err error) {
	fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENODEV) {
		return -1, "", fmt.Errorf("open /dev/net/tun: %w: load the kernel's tun module", err)
	}
	if err != nil {
		return -1, "", fmt.Errorf("open /dev/net/tun: %w", err)
	}

	request, err := unix.NewIfreq("packets%d") // the kernel fills in the number
	if err == nil {
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}
	if err != nil {
		unix.Close(fd)
		return -1, "", fmt.Errorf("make a tun device: %w", err)
	}
	return fd, request.Name(), nil
}

func configure(name string, addresses []netip.Prefix) error {
	device, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find %s: %w", name, err)
	}
	if err := netlink.LinkSetTxQLen(device, queueLength); err != nil {
		return fmt.Errorf("lengthen the queue of %s: %w", name, err)
	}
	if err := netlink.LinkSetMTU(device, largestPacket); err != nil {
		return fmt.Errorf("set the MTU of %s: %w", name, err)
	}
	for _, prefix := range addresses {
		if err := netlink.AddrAdd(device, address(prefix)); err != nil {
			return fmt.Errorf("add %s to %s: %w", prefix, name, err)
		}
	}
	if err := netlink.LinkSetUp(device); err != nil {
		return fmt.Errorf("bring %s up: %w", name, err)
	}
	for _, prefix := range addresses {
		if err := awaitRoutes(device, prefix); err != nil {
			return err
		}
	}
	return nil
}

// awaitRoutes waits until what is for the device's own address stays here, and
// what is for the peer leaves by the device. The kernel adds the routes of IPv6
// some time after an address and loses packets that come before.
func awaitRoutes(device netlink.Link, prefix netip.Prefix) error {
	own, peer := prefix.Addr().AsSlice(), prefix.Addr().Next().AsSlice()
	for deadline := time.Now().Add(routePatience); ; time.Sleep(time.Millisecond) {
		in, inErr := netlink.RouteGet(own)
		out, outErr := netlink.RouteGet(peer)
		if len(in) == 1 && in[0].Type == unix.RTN_LOCAL &&
			len(out) == 1 && out[0].LinkIndex == device.Attrs().Index {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no routes for %s on %s after %v: %w",
				prefix, device.Attrs().Name, routePatience, errors.Join(inErr, outErr, unix.ENETUNREACH))
		}
	}
}

func address(prefix netip.Prefix) *netlink.Addr {
	bits := prefix.Addr().BitLen()
	a := &netlink.Addr{IPNet: &net.IPNet{
		IP:   prefix.Addr().AsSlice(),
		Mask: net.CIDRMask(prefix.Bits(), bits),
	}}
	if prefix.Addr().Is6() {
		// Without it the address can't be listened on for a second.
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}
