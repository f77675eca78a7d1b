package packets

import (
	"encoding/binary"
	"net/netip"
)

// TCP header flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

const (
	header4    = 20
	header6    = 40
	headerTCP  = 20
	protoTCP   = 6
	dontFrag   = 0x4000
	hops       = 64
	fullWindow = 65535
)

// mss is the only option that a SYN carries: kind, length, 1,400 bytes.
var mss = [4]byte{2, 4, 1400 >> 8, 1400 & 0xff}

// segment is a TCP segment and the addresses around it.
type segment struct {
	from, to netip.AddrPort
	seq, ack uint32
	flags    uint8
	data     string // of what is sent; that of others isn't read
}

// has tells whether all of flags are set.
func (s segment) has(flags uint8) bool { return s.flags&flags == flags }

// packet returns s as an IP packet, version 4 or 6 after its addresses.
func (s segment) packet() []byte {
	tcp := s.tcp()
	if s.to.Addr().Is4() {
		return append(s.ip4(len(tcp)), tcp...)
	}
	return append(s.ip6(len(tcp)), tcp...)
}

func (s segment) tcp() []byte {
	b := make([]byte, headerTCP, headerTCP+len(mss)+len(s.data))
	if s.has(flagSYN) {
		b = append(b, mss[:]...)
	}
	header := len(b)
	b = append(b, s.data...)
	binary.BigEndian.PutUint16(b[0:], s.from.Port())
	binary.BigEndian.PutUint16(b[2:], s.to.Port())
	binary.BigEndian.PutUint32(b[4:], s.seq)
	binary.BigEndian.PutUint32(b[8:], s.ack)
	b[12] = byte(header / 4 << 4)
	b[13] = s.flags
	binary.BigEndian.PutUint16(b[14:], fullWindow)
	binary.BigEndian.PutUint16(b[16:], checksum(b, s.pseudoHeader(len(b))))
	return b
}

func (s segment) ip4(payload int) []byte {
	b := make([]byte, header4, header4+payload)
	b[0] = 4<<4 | header4/4
	binary.BigEndian.PutUint16(b[2:], uint16(header4+payload))
	binary.BigEndian.PutUint16(b[6:], dontFrag)
	b[8], b[9] = hops, protoTCP
	copy(b[12:], s.from.Addr().AsSlice())
	copy(b[16:], s.to.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b, 0))
	return b
}

func (s segment) ip6(payload int) []byte {
	b := make([]byte, header6, header6+payload)
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	b[6], b[7] = protoTCP, hops
	copy(b[8:], s.from.Addr().AsSlice())
	copy(b[24:], s.to.Addr().AsSlice())
	return b
}

// pseudoHeader sums what TCP's checksum covers beside the segment. It comes to
// the same for both versions of IP.
func (s segment) pseudoHeader(length int) uint32 {
	return sum(s.from.Addr().AsSlice()) + sum(s.to.Addr().AsSlice()) + protoTCP + uint32(length)
}

func checksum(b []byte, start uint32) uint16 {
	total := start + sum(b)
	for total > 0xffff {
		total = total>>16 + total&0xffff
	}
	return ^uint16(total)
}

func sum(b []byte) uint32 {
	var total uint32
	for len(b) > 1 {
		total += uint32(b[0])<<8 | uint32(b[1])
		b = b[2:]
	}
	if len(b) == 1 {
		total += uint32(b[0]) << 8
	}
	return total
}

// parse reads the headers of an IP packet. It is false for whatever isn't TCP
// right behind the IP header: a namespace also sends neighbour and router
// discovery, for instance.
func parse(packet []byte) (segment, bool) {
	if len(packet) == 0 {
		return segment{}, false
	}
	switch packet[0] >> 4 {
	case 4:
		return parse4(packet)
	case 6:
		return parse6(packet)
	}
	return segment{}, false
}

func parse4(packet []byte) (segment, bool) {
	if len(packet) < header4 || packet[9] != protoTCP {
		return segment{}, false
	}
	header := int(packet[0]&0xf) * 4
	if header < header4 || len(packet) < header+headerTCP {
		return segment{}, false
	}
	from := netip.AddrFrom4([4]byte(packet[12:16]))
	to := netip.AddrFrom4([4]byte(packet[16:20]))
	return parseTCP(packet[header:], from, to), true
}

func parse6(packet []byte) (segment, bool) {
	if len(packet) < header6+headerTCP || packet[6] != protoTCP {
		return segment{}, false
	}
	from := netip.AddrFrom16([16]byte(packet[8:24]))
	to := netip.AddrFrom16([16]byte(packet[24:40]))
	return parseTCP(packet[header6:], from, to), true
}

func parseTCP(b []byte, from, to netip.Addr) segment {
	return segment{
		from:  netip.AddrPortFrom(from, binary.BigEndian.Uint16(b[0:])),
		to:    netip.AddrPortFrom(to, binary.BigEndian.Uint16(b[2:])),
		seq:   binary.BigEndian.Uint32(b[4:]),
		ack:   binary.BigEndian.Uint32(b[8:]),
		flags: b[13],
	}
}
