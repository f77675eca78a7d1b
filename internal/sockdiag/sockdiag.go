// Package sockdiag asks the kernel for TCP sockets, by the sock_diag family of
// netlink. What an answer means is for the caller to read.
package sockdiag

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// MessageSize is that of struct inet_diag_msg, after which attributes follow.
const MessageSize = 72

const (
	byFamily    = 20 // SOCK_DIAG_BY_FAMILY
	requestSize = 56 // struct inet_diag_req_v2
	attempts    = 3  // at an answer that is interrupted
)

// Query is a question for TCP sockets, of both families, of the calling
// thread's namespace.
type Query struct {
	States     uint32 // a bit for each TCP state
	Port       uint16 // local; 0 for any
	Extensions uint8  // a bit for each attribute that is told only if asked for
	Attributes []byte // of the request
}

// Each calls f for each socket, once, until it returns an error.
func (q Query) Each(f func(message []byte) error) error {
	seen := make(map[uint64]struct{})
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		err := q.dump(family, func(message []byte) error {
			// A long answer comes in parts, and the kernel's place in its
			// tables shifts when sockets come and go between two of them.
			cookie, err := Cookie(message)
			if _, again := seen[cookie]; err != nil || again {
				return err
			}
			seen[cookie] = struct{}{}
			return f(message)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dump calls f for each socket of one family. It may call f twice for one.
func (q Query) dump(family uint8, f func(message []byte) error) error {
	var err error
	for range attempts {
		var failed error
		request := nl.NewNetlinkRequest(byFamily, unix.NLM_F_DUMP)
		request.AddRawData(append(q.encode(family), q.Attributes...))
		err = request.ExecuteIter(unix.NETLINK_SOCK_DIAG, byFamily, func(message []byte) bool {
			failed = f(message)
			return failed == nil
		})
		if err == nil {
			return failed
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
func (q Query) encode(family uint8) []byte {
	b := make([]byte, requestSize)
	b[0], b[1], b[2] = family, unix.IPPROTO_TCP, q.Extensions
	binary.NativeEndian.PutUint32(b[4:], q.States)
	binary.BigEndian.PutUint16(b[8:], q.Port)
	// No cookie: all ones. A dump doesn't look at it.
	binary.NativeEndian.PutUint64(b[48:], ^uint64(0))
	return b
}

// Cookie is the number of the socket that a message is about.
func Cookie(message []byte) (uint64, error) {
	if len(message) < MessageSize {
		return 0, fmt.Errorf("sock_diag answered with %d bytes instead of %d", len(message), MessageSize)
	}
	low, high := binary.NativeEndian.Uint32(message[44:]), binary.NativeEndian.Uint32(message[48:])
	return uint64(low) | uint64(high)<<32, nil
}

// EachAttribute calls f for each netlink attribute in b, until one doesn't fit.
func EachAttribute(b []byte, f func(kind uint16, value []byte)) {
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
