package sockets

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The numbers of <linux/inet_diag.h> and <linux/sock_diag.h> that this file
// needs and golang.org/x/sys has not.
const (
	sockDiagByFamily = 20

	requestSize = 56 // struct inet_diag_req_v2
	messageSize = 72 // struct inet_diag_msg

	extensionInfo = 2

	attributeV6Only = 11
	attributeULP    = 19 // nested, with the name as attribute 1
	attributeULPIs  = 1
	attributeCgroup = 21

	timerTimeWait = 3
)

// query is a question for TCP sockets of the calling thread's namespace.
type query struct {
	states uint32 // a bit for each State
	port   uint16 // local; 0 for any
	ulp    bool   // tell the upper layer protocol, which costs 250 bytes a socket
}

// socketInfo is one answer, and the same for listeners and connections.
type socketInfo struct {
	state         State
	local, remote netip.AddrPort
	device        uint32
	cookie        uint64
	receiveQueue  uint32
	sendQueue     uint32
	uid           uint32
	inode         uint32
	v6Only        bool
	ulp           string // upper layer protocol, "mptcp" for a part of an MPTCP socket
	cgroup        uint64
}

// run asks the kernel and returns its answers, each socket once.
func (q query) run() ([]socketInfo, error) {
	var found []socketInfo
	seen := make(map[uint64]struct{})

	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := q.dump(family, func(s socketInfo) {
			// A long answer comes in parts, and the kernel's place in its
			// tables shifts when sockets come and go between two of them.
			if _, again := seen[s.cookie]; !again {
				seen[s.cookie] = struct{}{}
				found = append(found, s)
			}
		})
		if err != nil {
			return nil, fmt.Errorf("list the TCP sockets by sock_diag: %w", err)
		}
	}
	return found, nil
}

// dump calls f for each socket of one family. It may call f twice for one.
func (q query) dump(family uint8, f func(socketInfo)) error {
	const attempts = 3

	var err error
	for range attempts {
		var malformed error
		request := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		request.AddRawData(q.encode(family))
		err = request.ExecuteIter(unix.NETLINK_SOCK_DIAG, sockDiagByFamily, func(message []byte) bool {
			var s socketInfo
			if s, malformed = decode(message); malformed == nil {
				f(s)
			}
			return malformed == nil
		})
		if err == nil {
			return malformed
		}
		if !errors.Is(err, nl.ErrDumpInterrupted) {
			break
		}
	}
	if errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("%w: load the kernel module tcp_diag", err)
	}
	return err
}

// encode writes a struct inet_diag_req_v2.
func (q query) encode(family uint8) []byte {
	b := make([]byte, requestSize)
	b[0], b[1] = family, unix.IPPROTO_TCP
	if q.ulp {
		b[2] = 1 << (extensionInfo - 1) // the kernel tells it only beside tcp_info
	}
	binary.NativeEndian.PutUint32(b[4:], q.states)
	binary.BigEndian.PutUint16(b[8:], q.port)
	// No cookie: all ones. A dump doesn't look at it.
	binary.NativeEndian.PutUint64(b[48:], ^uint64(0))
	return b
}

// decode reads a struct inet_diag_msg and the attributes that follow it.
func decode(b []byte) (socketInfo, error) {
	if len(b) < messageSize {
		return socketInfo{}, fmt.Errorf("sock_diag answered with %d bytes instead of %d", len(b), messageSize)
	}
	order := binary.NativeEndian
	s := socketInfo{
		state:        State(b[1]),
		local:        decodeAddress(b[0], b[8:24], b[4:6]),
		remote:       decodeAddress(b[0], b[24:40], b[6:8]),
		device:       order.Uint32(b[40:]),
		cookie:       uint64(order.Uint32(b[44:])) | uint64(order.Uint32(b[48:]))<<32,
		receiveQueue: order.Uint32(b[56:]),
		sendQueue:    order.Uint32(b[60:]),
		uid:          order.Uint32(b[64:]),
		inode:        order.Uint32(b[68:]),
	}
	if b[2] == timerTimeWait {
		// What the kernel keeps of a socket that is closed. It can say
		// FIN-WAIT-2, as a living one does.
		s.state = TimeWait
	}
	eachAttribute(b[messageSize:], s.attribute)
	return s, nil
}

func (s *socketInfo) attribute(kind uint16, value []byte) {
	switch {
	case kind == attributeV6Only && len(value) >= 1:
		s.v6Only = value[0] != 0
	case kind == attributeCgroup && len(value) >= 8:
		s.cgroup = binary.NativeEndian.Uint64(value)
	case kind == attributeULP:
		eachAttribute(value, func(kind uint16, value []byte) {
			if kind == attributeULPIs {
				s.ulp = unix.ByteSliceToString(value)
			}
		})
	}
}

func decodeAddress(family uint8, address, port []byte) netip.AddrPort {
	host := netip.AddrFrom16([16]byte(address))
	if family == unix.AF_INET {
		host = netip.AddrFrom4([4]byte(address))
	}
	return netip.AddrPortFrom(host, binary.BigEndian.Uint16(port))
}

// eachAttribute calls f for each netlink attribute in b, until one doesn't fit.
func eachAttribute(b []byte, f func(kind uint16, value []byte)) {
	const (
		header   = unix.SizeofNlAttr
		kindMask = 0x3fff // without the flags for nested and byte order
	)
	for len(b) >= header {
		size := int(binary.NativeEndian.Uint16(b))
		if size < header || size > len(b) {
			return
		}
		f(binary.NativeEndian.Uint16(b[2:])&kindMask, b[header:size])

		next := (size + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
		b = b[min(next, len(b)):]
	}
}

// The netlink package finds out the byte order at its first use, without a
// lock; two first uses at once would race.
func init() { nl.NativeEndian() }
