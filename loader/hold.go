package loader

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// A Hold is why a slot is held back: it gets no new connections, and keeps those
// it has. A slot can be held for several reasons at once.
type Hold uint32

const (
	HoldDrain Hold = 1 << iota // an operator's drain; stays when another worker takes the slot
	HoldStart                  // its worker is not ready yet
	HoldHang                   // its worker does not get on
	HoldLeave                  // its worker retires
	HoldSelf                   // its worker asked for it

	holdAll = HoldDrain | HoldStart | HoldHang | HoldLeave | HoldSelf
)

var holdNames = []string{"drain", "start", "hang", "leave", "self"}

// String lists the reasons; "" if there is none.
func (h Hold) String() string {
	var names []string
	for i, name := range holdNames {
		if h&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if h&^holdAll != 0 {
		names = append(names, fmt.Sprintf("hold(%#x)", uint32(h&^holdAll)))
	}
	return strings.Join(names, "+")
}

func (h Hold) check() error {
	if h == 0 || h&^holdAll != 0 {
		return fmt.Errorf("hold %#x: use HoldDrain, HoldStart, HoldHang, HoldLeave or HoldSelf: %w", uint32(h), unix.EINVAL)
	}
	return nil
}

// Hold keeps new connections away from a slot until Unhold with the same reason.
// Where every slot is held back, connections are served all the same rather than
// refused, by the slot that has least: of those that drain or leave, for whatever reason; else of
// those that start; else of those that hang.
func (g *Group) Hold(slot int, why Hold) error {
	if err := why.check(); err != nil {
		return err
	}
	return g.change(why.doing("hold", "drain"), slot, func(m *abiGroup) error {
		m.Info[slot].Hold |= uint32(why)
		return nil
	})
}

// Unhold takes reasons of a Hold away. It is no error if the slot wasn't held for them.
func (g *Group) Unhold(slot int, why Hold) error {
	if err := why.check(); err != nil {
		return err
	}
	return g.change(why.doing("unhold", "undrain"), slot, func(m *abiGroup) error {
		m.Info[slot].Hold &^= uint32(why)
		return nil
	})
}

// Drain is Hold with HoldDrain.
func (g *Group) Drain(slot int) error { return g.Hold(slot, HoldDrain) }

// Undrain is Unhold with HoldDrain.
func (g *Group) Undrain(slot int) error { return g.Unhold(slot, HoldDrain) }

// state is what people are told: the worst that is to be said of the slot.
func (i *abiSlotInfo) state() State {
	hold := Hold(i.Hold)
	switch {
	case State(i.State) != Live:
		return State(i.State)
	case hold&HoldHang != 0:
		return Ejected
	case hold&(HoldDrain|HoldLeave|HoldSelf) != 0 || i.Weight == 0:
		return Draining
	case hold&HoldStart != 0:
		return Starting
	}
	return Live
}

// doing is the operator's own word for what an operator does.
func (h Hold) doing(general, drain string) string {
	if h == HoldDrain {
		return drain
	}
	return general
}
