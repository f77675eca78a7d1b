package loader

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// A history is whatever can happen to a group, in any order. After each event
// the counts must be what sock_diag says.
type history struct {
	*world
	*rand.Rand
	peer   *packets.Peer
	remote netip.Addr           // where the peer connects
	hands  []*packets.Handshake // that the peer has begun
	log    []string
}

// pick is one of the ends that are open, and where it is; nil if none is.
func (h *history) pick(ends []*end) *end {
	if len(ends) == 0 {
		return nil
	}
	return ends[h.IntN(len(ends))]
}

// servers are the ends of one worker.
func (h *history) servers() []*end { return h.worker().accepted }

func (h *history) worker() *worker { return h.workers[h.IntN(len(h.workers))] }

// ended does something to an end, closed or not.
func (h *history) ended(e *end, do func(*end) error) {
	if e == nil {
		return
	}
	_ = do(e) // it may be closed already
	// Who ended in a queue is not to be told from the others there.
	h.acceptAll()
}

func (h *history) gone() *worker {
	if i := slices.IndexFunc(h.workers, func(w *worker) bool { return !w.open }); i >= 0 {
		return h.workers[i]
	}
	return nil
}

var events = []struct {
	name   string
	weight int
	happen func(h *history)
}{
	{"connect", 30, func(h *history) {
		if h.gone() == nil || slices.ContainsFunc(h.workers, func(w *worker) bool { return w.open }) {
			h.connect(1 + h.IntN(4))
		}
	}},
	{"accept", 10, func(h *history) {
		if w := h.worker(); w.open {
			_, err := w.accept()
			h.must(err)
		}
	}},
	{"client closes", 8, func(h *history) { h.ended(h.pick(h.clients), closeEnd) }},
	{"client resets", 4, func(h *history) { h.ended(h.pick(h.clients), resetEnd) }},
	{"client finishes", 4, func(h *history) { h.ended(h.pick(h.clients), (*end).finish) }},
	{"server closes", 8, func(h *history) { h.ended(h.pick(h.servers()), closeEnd) }},
	{"server resets", 4, func(h *history) { h.ended(h.pick(h.servers()), resetEnd) }},
	{"server finishes", 4, func(h *history) { h.ended(h.pick(h.servers()), (*end).finish) }},
	{"listener closes", 3, func(h *history) { h.worker().close() }},
	{"listener is shut", 2, func(h *history) {
		if w := h.worker(); w.open {
			h.must(w.shut())
			w.close()
		}
	}},
	{"slot gets a listener", 8, func(h *history) {
		if w := h.gone(); w != nil {
			h.replace(w.slot)
		}
	}},
	{"listener gets its slot anew", 3, func(h *history) {
		if w := h.worker(); w.open {
			h.incomplete = true
			h.must(h.group.Remove(w.slot))
			h.add(w)
			h.adopt(h.owners())
		}
	}},
	{"SYN", 5, func(h *history) {
		half, err := h.peer.SYNs(netip.AddrPortFrom(h.remote, h.server.Port()), 1)
		h.must(err)
		if half[0].SYNACK(patience) == nil { // else there is no listener
			h.hands = append(h.hands, half...)
		}
	}},
	{"ACK", 5, func(h *history) { h.shake((*packets.Handshake).ACK) }},
	{"RST", 2, func(h *history) { h.shake((*packets.Handshake).RST) }},
	{"data in a SYN", 2, func(h *history) {
		hand := h.peer.Handshake(netip.AddrPortFrom(h.peer.Client(h.remote, len(h.log)), 999), netip.AddrPortFrom(h.remote, h.server.Port()))
		h.incomplete = true
		h.must(hand.SYNData("early"))
		if hand.SYNACK(patience) == nil {
			h.hands = append(h.hands, hand)
		}
		h.acceptAll() // a queue's length doesn't tell who is early
	}},
	{"drain", 3, func(h *history) { h.setDrained(h.group.Drain) }},
	{"undrain", 6, func(h *history) { h.setDrained(h.group.Undrain) }},
	{"policy", 3, func(h *history) { h.must(h.group.SetPolicy(Policies()[h.IntN(len(Policies()))])) }},
	{"weight", 3, func(h *history) { h.must(h.group.SetWeight(h.worker().slot, h.IntN(300))) }},
}

// shake goes on with one of the peer's handshakes, whatever became of it.
func (h *history) shake(do func(*packets.Handshake) error) {
	if len(h.hands) > 0 {
		h.must(do(h.hands[h.IntN(len(h.hands))]))
		h.acceptAll()
	}
}

func (h *history) setDrained(set func(int) error) { h.must(set(h.worker().slot)) }

func (h *history) step() {
	total := 0
	for _, e := range events {
		total += e.weight
	}
	n := h.IntN(total)
	for _, e := range events {
		if n -= e.weight; n < 0 {
			h.log = append(h.log, e.name)
			e.happen(h)
			return
		}
	}
}

func TestCountsOfAnyHistory(t *testing.T) {
	kinds := map[string]struct {
		where  setting
		remote func(*packets.Peer) netip.Addr
	}{
		"v4":   {at("0.0.0.0", "127.0.0.1"), (*packets.Peer).Server4},
		"v6":   {at("::", "::1", v6Only), (*packets.Peer).Server6},
		"dual": {at("::", "::1", dualStack), (*packets.Peer).Server4},
	}
	for kind, k := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			ns := netns.New(t)
			peer := packets.NewPeer(t, ns)
			w := newWorld(t, 5, Least, in(ns), k.where)
			h := &history{world: w, Rand: rand.New(rand.NewPCG(seed, 0)), peer: peer, remote: k.remote(peer)}
			w.withFastOpen()
			defer func() {
				w.abort(h.hands)
				if t.Failed() {
					t.Logf("seed %d, events %q", seed, h.log[max(0, len(h.log)-40):])
				}
			}()
			for i := range scaled(300, 80) {
				h.step()
				h.agree(fmt.Sprintf("event %d, %s", i, h.log[len(h.log)-1]))
			}
		})
	}
}
