//go:build cgo

package sim

/*
#cgo noescape steer
#cgo nocallback steer
#cgo noescape opens
#cgo nocallback opens
#cgo noescape closes
#cgo nocallback closes
#cgo noescape migrate
#cgo nocallback migrate
#include "programs.h"
*/
import "C"

// began is the moment at which a group's first epoch begins, so that no clock starts at 0.
const began = 1 << 40 // ns

// A group is what the kernel side has of one, with its loads.
type group struct {
	state   C.struct_group
	loads   C.struct_loads
	scale   []uint32 // of slots that are not held back
	current uint32   // generation
}

// newGroup makes a group as the control plane does: a live worker in each slot, at these weights.
func newGroup(policy uint32, weights []int, reports bool) (chooser, error) {
	g := &group{scale: scales(weights)}
	s := &g.state
	s.policy = C.__u32(policy)
	s.blocks = C.__u32((len(weights)-1)/C.BLOCK + 1)
	s.epoch_ns = began
	s.epoch_at = began / (C.__u64(C.jiffy_us) * 1000)
	for i, slot := range order(weights) {
		s.order[i] = C.__u8(slot)
		s.turns++
	}
	for i, slot := range rows(weights) {
		s.rows[i] = C.__u8(slot)
	}
	for slot := range weights {
		s.slot[slot].max = ^C.__u32(0)
		if reports {
			s.info[slot].reports = 1
			s.reporting |= 1 << (slot / C.BLOCK)
		}
		g.joins(slot)
	}
	return g, nil
}

func (g *group) pick(now int64, random uint32) place {
	return g.place(C.steer(&g.state, &g.loads, moment(now), C.__u32(random), clientOf(random), 0))
}

// clientOf is the client's address as a hash: that of many clients, each with a connection or two.
func clientOf(random uint32) C.__u32 { return C.__u32(random * 0x9e3779b1) }

func moment(now int64) C.__u64 { return C.__u64(now + began) }

func (g *group) place(slot C.int) place {
	if slot < 0 {
		return place{slot: nowhere}
	}
	return place{int(slot), uint32(g.state.info[slot].generation)}
}

func (g *group) opens(now int64, at place, took int64, random uint32) place {
	info := &g.state.info[at.slot]
	if info.state == C.SLOT_GONE || uint32(info.generation) != at.generation {
		// The final ACK comes to a closed listener: the handshake is given to another one.
		at = g.place(C.steer(&g.state, &g.loads, moment(now), C.__u32(random), clientOf(random), 1))
		if at.slot == nowhere {
			return at
		}
	}
	C.opens(&g.state, moment(now), C.int(at.slot), C.__u32(at.generation), C.__u32(took/1000))
	return at
}

func (g *group) closes(at place) {
	C.closes(&g.state, C.int(at.slot), C.__u32(at.generation))
}

func (g *group) dies(slot int) { C.listener_closes(&g.state, C.int(slot)) }

func (g *group) moves(now int64, from place, random uint32) place {
	return g.place(C.migrate(&g.state, &g.loads, moment(now), C.__u32(random), clientOf(random),
		C.int(from.slot), C.__u32(from.generation)))
}

// holds is Hold with HoldLeave of the loader.
func (g *group) holds(slot int) {
	g.state.info[slot].hold |= C.HOLD_LEAVE
	g.state.slot[slot].scale = 0
	C.forget_hints(&g.state)
}

// joins is occupy of the loader.
func (g *group) joins(slot int) {
	g.current++
	C.renew(&g.state, C.int(slot), C.__u32(g.current))
	g.loads.slot[slot].load = 0
	g.state.info[slot].hold = 0
	g.state.info[slot].state = C.SLOT_LIVE
	g.state.slot[slot].scale = C.__u32(g.scale[slot])
	C.forget_hints(&g.state)
}

func (g *group) publish(slot int, load int) { g.loads.slot[slot].load = C.__u64(load) }

// stallTicks lets jiffies be behind the clock by so many ns, for the calling thread.
func stallTicks(by int64) { C.stall_ticks(C.__u64(by)) }

// passTime begins a new epoch if it is time, as a pick does before it chooses.
func (g *group) passTime(now int64) { C.pass_time(&g.state, moment(now)) }
