package packets

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"
)

// ErrReset says that the server answered with a RST.
var ErrReset = errors.New("the server answered with a reset")

// Handshake is one TCP connection of a [Peer], made by hand: nothing is sent
// but what the test calls for, nothing is acknowledged or repeated by itself.
// Methods that send return when the listener's kernel has handled the packet.
type Handshake struct {
	ends
	peer  *Peer
	first uint32 // sequence number of the SYN
	early uint32 // bytes of data that came with it

	mu       sync.Mutex
	theirs   uint32        // sequence number of the server's SYN, the newest
	next     uint32        // that the server expects from us, once it said so
	answered chan struct{} // closed at the first SYN-ACK
	reset    chan struct{} // closed at the first RST
}

func newHandshake(p *Peer, e ends) *Handshake {
	return &Handshake{
		ends:     e,
		peer:     p,
		first:    rand.Uint32(),
		answered: make(chan struct{}),
		reset:    make(chan struct{}),
	}
}

// Client is the end that the server sees as its peer.
func (h *Handshake) Client() netip.AddrPort { return h.client }

// Server is the end that the SYN goes to.
func (h *Handshake) Server() netip.AddrPort { return h.server }

// String names both ends, the client's first.
func (h *Handshake) String() string { return fmt.Sprintf("%s to %s", h.client, h.server) }

// SYN sends the first packet; called again, it repeats it.
func (h *Handshake) SYN() error {
	return h.peer.send(segment{from: h.client, to: h.server, seq: h.first, flags: flagSYN})
}

// SYNData sends a first packet that already has data, as with TCP Fast Open. A
// listener that takes it from anybody, without a cookie, has the connection in
// its accept queue from then on.
func (h *Handshake) SYNData(data string) error {
	h.early = uint32(len(data))
	return h.peer.send(segment{from: h.client, to: h.server, seq: h.first, flags: flagSYN, data: data})
}

// SYNACK waits for the server's answer to the SYN. It returns an error that
// wraps [ErrReset] when the server refuses, and one that wraps
// [os.ErrDeadlineExceeded] when it is silent for that long.
func (h *Handshake) SYNACK(timeout time.Duration) error {
	select {
	case <-h.answered:
		return nil
	case <-h.reset:
		return fmt.Errorf("SYN from %s: %w", h, ErrReset)
	case <-time.After(timeout):
		return fmt.Errorf("SYN from %s: no SYN-ACK in %v: %w", h, timeout, os.ErrDeadlineExceeded)
	}
}

// ACK completes the handshake. The SYN-ACK must have come: see SYNACK.
func (h *Handshake) ACK() error {
	next, theirs := h.position()
	return h.peer.send(segment{from: h.client, to: h.server, seq: next, ack: theirs + 1, flags: flagACK})
}

// RST aborts the connection, in the middle of the handshake or after it.
func (h *Handshake) RST() error {
	next, _ := h.position()
	return h.peer.send(segment{from: h.client, to: h.server, seq: next, flags: flagRST})
}

// position is the sequence number of what is sent next, and that of the
// server's SYN. A server that didn't take the data of the SYN expects it again,
// and a RST beyond what it expects would be challenged, not obeyed (RFC 5961).
func (h *Handshake) position() (next, theirs uint32) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.next == 0 {
		return h.first + 1 + h.early, h.theirs
	}
	return h.next, h.theirs
}

// AwaitRST waits until the server has reset the connection, at any point of
// its life. It returns an error that wraps [os.ErrDeadlineExceeded] when the
// server didn't for that long.
func (h *Handshake) AwaitRST(timeout time.Duration) error {
	select {
	case <-h.reset:
		return nil
	case <-time.After(timeout):
		return fmt.Errorf("%s: no RST in %v: %w", h, timeout, os.ErrDeadlineExceeded)
	}
}

// receive notes what the server sent.
func (h *Handshake) receive(s segment) {
	h.mu.Lock()
	defer h.mu.Unlock()

	if s.has(flagACK) {
		h.next = s.ack
	}
	switch {
	case s.has(flagRST):
		closeOnce(h.reset)
	case s.has(flagSYN | flagACK):
		// With SYN cookies a repeated SYN gets another number.
		h.theirs = s.seq
		closeOnce(h.answered)
	}
}

// closeOnce closes c unless it is closed; its caller holds the lock.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}
