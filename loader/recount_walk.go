package loader

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The numbers of <linux/inet_diag.h> and <linux/sock_diag.h> that this file
// needs and golang.org/x/sys has not.
const (
	sockDiagByFamily = 20

	diagRequestSize = 56 // struct inet_diag_req_v2
	diagMessageSize = 72 // struct inet_diag_msg
	diagCookie      = 44 // offset in that

	requestStorages    = 2 // nested, with maps as attribute 1
	requestStorageOf   = 1
	attributeStorages  = 20 // nested: one attribute 1 a map, in which 3 is the value
	attributeStorage   = 1
	attributeStorageIs = 3
)

// connectionStates are those in which a connection can be counted: all but
// LISTEN and the half-open ones, bit 1 being ESTABLISHED.
const connectionStates = 1<<1 | 1<<3 | 1<<4 | 1<<5 | 1<<8 | 1<<9 | 1<<11

// eachOrigin calls f for each connection at a local port of the calling
// thread's network namespace that has an origin in its storage. The kernel tells
// both in one answer. The iterator over TCP sockets could tell more, but (seen on
// 6.18: "refcount_t: addition on 0; use-after-free" in bpf_iter_tcp_established_batch)
// it takes references of connections that are half open for a moment more, and
// accept queues break. sock_diag can be asked as often as one likes.
func eachOrigin(port uint16, origins *ebpf.Map, f func(cookie uint64, o abiOrigin) error) error {
	seen := make(map[uint64]bool) // what comes and goes meanwhile can show a socket twice
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		request := nl.NewNetlinkRequest(sockDiagByFamily, unix.NLM_F_DUMP)
		storages := nl.NewRtAttr(requestStorages|unix.NLA_F_NESTED, nil)
		storages.AddRtAttr(requestStorageOf, nl.Uint32Attr(uint32(origins.FD())))
		request.AddRawData(append(diagRequest(family, port), storages.Serialize()...))

		var failed error
		err := request.ExecuteIter(unix.NETLINK_SOCK_DIAG, sockDiagByFamily, func(message []byte) bool {
			cookie, origin, err := decodeOrigin(message)
			if err == nil && origin != nil && !seen[cookie] {
				seen[cookie] = true
				err = f(cookie, *origin)
			}
			failed = err
			return err == nil
		})
		if err == nil {
			err = failed
		}
		if err != nil {
			return fmt.Errorf("sock_diag: %w", err)
		}
	}
	return nil
}

// diagRequest is a struct inet_diag_req_v2.
func diagRequest(family uint8, port uint16) []byte {
	b := make([]byte, diagRequestSize)
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], connectionStates)
	binary.BigEndian.PutUint16(b[8:], port)
	binary.NativeEndian.PutUint64(b[48:], ^uint64(0)) // no cookie
	return b
}

// decodeOrigin reads an answer; the origin is nil if the socket has none.
func decodeOrigin(message []byte) (cookie uint64, origin *abiOrigin, err error) {
	if len(message) < diagMessageSize {
		return 0, nil, fmt.Errorf("an answer of %d bytes instead of %d", len(message), diagMessageSize)
	}
	words := message[diagCookie:]
	cookie = uint64(binary.NativeEndian.Uint32(words)) | uint64(binary.NativeEndian.Uint32(words[4:]))<<32
	value, err := attribute(message[diagMessageSize:], attributeStorages, attributeStorage, attributeStorageIs)
	if err != nil || value == nil {
		return cookie, nil, err
	}
	if len(value) < int(unsafe.Sizeof(abiOrigin{})) {
		return cookie, nil, fmt.Errorf("a storage of %d bytes", len(value))
	}
	origin = new(abiOrigin)
	*origin = *(*abiOrigin)(unsafe.Pointer(&value[0]))
	return cookie, origin, nil
}

// attribute is the value at the end of a path of nested attributes, or nil.
func attribute(b []byte, path ...uint16) ([]byte, error) {
	for _, kind := range path {
		attributes, err := nl.ParseRouteAttr(b)
		if err != nil {
			return nil, fmt.Errorf("attributes: %w", err)
		}
		b = nil
		for _, a := range attributes {
			if a.Attr.Type&^unix.NLA_F_NESTED == kind {
				b = a.Value
			}
		}
		if b == nil {
			return nil, nil
		}
	}
	return b, nil
}
