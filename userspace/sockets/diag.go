package sockets

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/sockdiag"
)

// The numbers of <linux/inet_diag.h> that this file needs and golang.org/x/sys
// has not.
const (
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
func (q query) run() (found []socketInfo, err error) {
	ask := sockdiag.Query{States: q.states, Port: q.port}
	if q.ulp {
		ask.Extensions = 1 << (extensionInfo - 1) // the kernel tells it only beside tcp_info
	}
	err = ask.Each(func(message []byte) error {
		s, err := decode(message)
		if err == nil {
			found = append(found, s)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the TCP sockets by sock_diag: %w", err)
	}
	return found, nil
}

// decode reads a struct inet_diag_msg and the attributes that follow it.
func decode(b []byte) (socketInfo, error) {
	cookie, err := sockdiag.Cookie(b)
	if err != nil {
		return socketInfo{}, err
	}
	order := binary.NativeEndian
	s := socketInfo{
		state:        State(b[1]),
		local:        decodeAddress(b[0], b[8:24], b[4:6]),
		remote:       decodeAddress(b[0], b[24:40], b[6:8]),
		device:       order.Uint32(b[40:]),
		cookie:       cookie,
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
	sockdiag.EachAttribute(b[sockdiag.MessageSize:], s.attribute)
	return s, nil
}

func (s *socketInfo) attribute(kind uint16, value []byte) {
	switch {
	case kind == attributeV6Only && len(value) >= 1:
		s.v6Only = value[0] != 0
	case kind == attributeCgroup && len(value) >= 8:
		s.cgroup = binary.NativeEndian.Uint64(value)
	case kind == attributeULP:
		sockdiag.EachAttribute(value, func(kind uint16, value []byte) {
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
