package loader

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

const (
	// probeLimit is when a probe ends whose process was killed, or has no deadline of its own.
	probeLimit = 10 * time.Second
	// probeBirth is how long a connection whose handshake the client has finished
	// may take to be born at the listener: one that defers accept waits for data.
	probeBirth = 500 * time.Millisecond
)

// Dial opens a connection that reaches the slot, held back or full as it may be.
// It says beforehand, where only privileged processes can write, from which
// address and port it comes: a client on the network can't choose its slot.
//
// to is where the group listens; the zero value means the group's own address,
// and a wildcard address the loopback of its family. Dial works in the calling
// thread's network namespace; with a zero to, that must be the group's.
//
// The connection is one that the kernel did give to the slot; else there is an
// error. It wraps ErrNoSlot if nobody is in the slot, or nobody any more, and
// ErrFull if 4096 are under way. Without a deadline Dial gives up after ten seconds.
func (g *Group) Dial(ctx context.Context, slot int, to netip.AddrPort) (conn net.Conn, err error) {
	defer wrap(&err, "group %s: dial slot %d", g.name, slot)
	maps, err := g.host.pinnedMaps()
	if err != nil {
		return nil, err
	}
	defer maps.close()
	if to, err = g.reachable(to); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, probeLimit)
	defer cancel()
	p := probing{group: g, slot: slot, probes: maps.Probes}
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if controlled := raw.Control(func(fd uintptr) { err = p.begin(int(fd), to) }); controlled != nil {
			return controlled
		}
		return err
	}}
	dialer.SetMultipathTCP(false)
	conn, err = dialer.DialContext(ctx, "tcp", to.String())
	if err == nil {
		err = p.verify(ctx)
	}
	err = errors.Join(err, p.end())
	if err != nil && conn != nil {
		conn.Close()
		conn = nil
	}
	return conn, err
}

// reachable is an address that a client can connect to.
func (g *Group) reachable(to netip.AddrPort) (netip.AddrPort, error) {
	if !to.IsValid() {
		to = g.Spec().Address
	}
	address := to.Addr().Unmap()
	if address.IsUnspecified() && address.Is4() {
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	} else if address.IsUnspecified() {
		address = netip.IPv6Loopback()
	}
	if !address.IsValid() || to.Port() == 0 {
		return to, fmt.Errorf("address %s: %w", to, unix.EINVAL)
	}
	return netip.AddrPortFrom(address, to.Port()), nil
}

// A probing is one connection under way to a chosen slot.
type probing struct {
	group  *Group
	slot   int
	probes *ebpf.Map
	key    abiProbeKey
	noted  bool
}

// begin binds the socket and notes where it will come from.
func (p *probing) begin(fd int, to netip.AddrPort) error {
	from, err := bindTowards(fd, to)
	if err != nil {
		return err
	}
	p.key = abiProbeKey{Address: addressWords(from.Addr()), Group: p.group.memory.value.Id, Port: networkOrder(from.Port())}
	unlock, err := p.group.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if state := p.group.slotState(p.slot); state == Free || state == Gone {
		return ErrNoSlot
	}
	probe := abiProbe{Expires: monotonic() + uint64(probeLimit), Slot: uint8(p.slot),
		Generation: atomic.LoadUint32(&p.group.memory.value.Info[p.slot].Generation)}
	if err := p.clear(); err != nil {
		return err
	}
	err = p.probes.Put(&p.key, &probe)
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("%d probes are under way: %w", maxProbes, ErrFull)
	}
	if err != nil {
		return fmt.Errorf("note where the connection comes from: %w", err)
	}
	p.noted = true
	atomic.AddUint32(&p.group.memory.value.Probing, 1)
	return nil
}

// clear removes what killed processes left, and counts the group's probes anew.
// The lock must be held.
func (p *probing) clear() error {
	var old []abiProbeKey
	var key abiProbeKey
	var probe abiProbe
	mine, now := uint32(0), monotonic()
	all := p.probes.Iterate()
	for all.Next(&key, &probe) {
		switch {
		case probe.Expires < now:
			old = append(old, key)
		case key.Group == p.key.Group:
			mine++
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("look for old probes: %w", err)
	}
	for _, key := range old {
		if err := p.probes.Delete(&key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("clear an old probe: %w", err)
		}
	}
	atomic.StoreUint32(&p.group.memory.value.Probing, mine)
	return nil
}

// verify waits until the connection is born, and tells whether the slot has it.
// With SYN cookies only then the choice is final.
func (p *probing) verify(ctx context.Context) error {
	var probe abiProbe
	for deadline := time.Now().Add(probeBirth); ; time.Sleep(time.Millisecond) {
		if err := p.probes.Lookup(&p.key, &probe); err != nil {
			return fmt.Errorf("ask where the connection went: %w", err)
		}
		if probe.Opened != 0 || time.Now().After(deadline) {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	switch {
	case probe.Opened != 0 && int(probe.Opened-1) != p.slot:
		return fmt.Errorf("the connection went to slot %d: %w", probe.Opened-1, ErrNoSlot)
	case probe.Picked == 0:
		return fmt.Errorf("the connection did not go there: it isn't steered by the group, or not to %s: %w", p.group.Spec().Address, ErrNoSlot)
	}
	return nil
}

// end removes the note.
func (p *probing) end() error {
	if !p.noted {
		return nil
	}
	unlock, err := p.group.exclusive()
	if err != nil {
		return err
	}
	defer unlock()
	if err := p.probes.Delete(&p.key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("remove the note of the connection: %w", err)
	}
	return p.clear()
}

func (g *Group) slotState(slot int) State {
	if slot < 0 || slot >= MaxSlots {
		return Free
	}
	return g.state(slot)
}

// bindTowards gives the socket the address from which the kernel would connect, and a free port.
func bindTowards(fd int, to netip.AddrPort) (netip.AddrPort, error) {
	way, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)) // sends nothing
	if err != nil {
		return netip.AddrPort{}, err
	}
	from := way.LocalAddr().(*net.UDPAddr).AddrPort()
	way.Close()
	address := from.Addr().Unmap()
	if err := unix.Bind(fd, sockaddrOf(address, to.Addr())); err != nil {
		return netip.AddrPort{}, fmt.Errorf("bind %s: %w", address, err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port := 0
	switch bound := bound.(type) {
	case *unix.SockaddrInet4:
		port = bound.Port
	case *unix.SockaddrInet6:
		port = bound.Port
	}
	return netip.AddrPortFrom(address, uint16(port)), nil
}

// sockaddrOf is the address with any port, on the interface that the peer's address names.
func sockaddrOf(address, peer netip.Addr) unix.Sockaddr {
	if address.Is4() {
		return &unix.SockaddrInet4{Addr: address.As4()}
	}
	zone := uint32(0)
	if link, err := net.InterfaceByName(peer.Zone()); err == nil {
		zone = uint32(link.Index)
	}
	return &unix.SockaddrInet6{Addr: address.As16(), ZoneId: zone}
}

// addressWords is an address as it stands in a packet, IPv4 as ::ffff:a.b.c.d.
func addressWords(a netip.Addr) [4]uint32 {
	var words [4]uint32
	bytes := a.As16()
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(bytes[4*i:])
	}
	return words
}

func networkOrder(port uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, port))
}

// monotonic is CLOCK_MONOTONIC in ns, as bpf_ktime_get_ns has it.
func monotonic() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return uint64(now.Nano())
}
