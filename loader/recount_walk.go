package loader

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/sockdist/sockdist/internal/sockdiag"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The numbers of <linux/inet_diag.h> and <linux/sock_diag.h> that this file
// needs and golang.org/x/sys has not.
const (
	requestByteCode    = 1 // a filter
	requestStorages    = 2 // nested, with maps as attribute 1
	requestStorageOf   = 1
	attributeStorages  = 20 // nested: one attribute 1 a map, in which 3 is the value
	attributeStorage   = 1
	attributeStorageIs = 3

	portAtLeast = 2 // operations of a filter: the local port is …
	portAtMost  = portAtLeast + 1
)

// connectionStates are those in which a connection can be counted: all but
// LISTEN and the half-open ones, bit 1 being ESTABLISHED.
const connectionStates = 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// eachOrigin calls f for each connection at a local port, one of a range, of the
// calling thread's network namespace that has an origin in its storage. The kernel tells
// both in one answer. The iterator over TCP sockets could tell more, but (seen on
// 6.18: "refcount_t: addition on 0; use-after-free" in bpf_iter_tcp_established_batch)
// it takes references of connections that are half open for a moment more, and
// accept queues break. sock_diag can be asked as often as one likes.
func eachOrigin(lowest, highest uint16, origins *ebpf.Map, f func(cookie uint64, o abiOrigin) error) error {
	storages := nl.NewRtAttr(requestStorages|unix.NLA_F_NESTED, nil)
	storages.AddRtAttr(requestStorageOf, nl.Uint32Attr(uint32(origins.FD())))
	filter := nl.NewRtAttr(requestByteCode, portsBetween(lowest, highest))
	query := sockdiag.Query{States: connectionStates, Attributes: append(storages.Serialize(), filter.Serialize()...)}
	err := query.Each(func(message []byte) error {
		cookie, origin, err := decodeOrigin(message)
		if err != nil || origin == nil {
			return err
		}
		return f(cookie, *origin)
	})
	if err != nil {
		return fmt.Errorf("sock_diag: %w", err)
	}
	return nil
}

// portsBetween is a filter in the language of struct inet_diag_bc_op: each
// operation is followed by a port, and says how many bytes further it goes on if
// it holds, and if it doesn't. The end is an answer, beyond the end is none.
func portsBetween(lowest, highest uint16) []byte {
	const size = 8
	operation := [...]byte{portAtLeast, portAtMost}
	var code []byte
	for i, port := range []uint16{lowest, highest} {
		left := uint16(2-i) * size
		code = append(code, operation[i], size)
		code = binary.NativeEndian.AppendUint16(code, left+4)
		code = append(code, 0, 0)
		code = binary.NativeEndian.AppendUint16(code, port)
	}
	return code
}

// decodeOrigin reads an answer; the origin is nil if the socket has none.
func decodeOrigin(message []byte) (cookie uint64, origin *abiOrigin, err error) {
	if cookie, err = sockdiag.Cookie(message); err != nil {
		return 0, nil, err
	}
	value := attribute(message[sockdiag.MessageSize:], attributeStorages, attributeStorage, attributeStorageIs)
	if value == nil {
		return cookie, nil, nil
	}
	if len(value) < int(unsafe.Sizeof(abiOrigin{})) {
		return cookie, nil, fmt.Errorf("a storage of %d bytes", len(value))
	}
	origin = new(abiOrigin)
	*origin = *(*abiOrigin)(unsafe.Pointer(&value[0]))
	return cookie, origin, nil
}

// attribute is the value at the end of a path of nested attributes, or nil.
func attribute(b []byte, path ...uint16) (value []byte) {
	for _, wanted := range path {
		value = nil
		sockdiag.EachAttribute(b, func(kind uint16, found []byte) {
			if kind == wanted {
				value = found
			}
		})
		b = value
	}
	return value
}
