package main

import (
	"fmt"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/attachment"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// attachedBlock says what attach made of a group: a header, what changed if the
// group was there before, what to know, and its slots.
func attachedBlock(g attachment.Group, p paint) string {
	var b strings.Builder
	protocol, address := protocolOf(g.Spec.Address)
	fmt.Fprintf(&b, "%s  %s://%s  policy %s  %s\n", p.bold(g.Spec.Name), protocol, address, g.Spec.Policy, attachedNews(g))
	if !g.New {
		for _, c := range g.Changes {
			fmt.Fprintf(&b, "  %s\n", changeLine(c, g))
		}
	}
	for _, warning := range attachedWarnings(g) {
		fmt.Fprintf(&b, "  %s\n", p.uneasy("! "+warning))
	}
	t := newColumns(left("slot").right(), left("pid").right(), left("process"), left("connections").right(), left("held by"))
	for _, s := range g.Slots {
		t.add(attachedCells(s)...)
	}
	b.WriteString(t.text(p))
	return b.String()
}

func attachedNews(g attachment.Group) string {
	switch {
	case g.New && g.Earlier != "":
		return "taken over"
	case g.New:
		return "steered now"
	case len(g.Changes) == 0:
		return "up to date already"
	}
	return "brought up to date"
}

func changeLine(c attachment.Change, g attachment.Group) string {
	who := fmt.Sprintf("pid %d", c.PID)
	if c.Process != "" {
		who = fmt.Sprintf("%s, pid %d", printable(c.Process), c.PID)
	}
	switch c.Kind {
	case attachment.Steered:
		return "steering again: the program was not attached"
	case attachment.Upgraded:
		return "steered by the program of this sockdist, no longer by its earlier one"
	case attachment.BroughtOver:
		return "brought over from another version of sockdist"
	case attachment.Repolicied:
		return fmt.Sprintf("policy is %s now", g.Spec.Policy)
	case attachment.Joined:
		return fmt.Sprintf("slot %d: new socket (%s)", c.Slot, who)
	case attachment.Moved:
		return fmt.Sprintf("slot %d: served by another process (%s)", c.Slot, who)
	}
	return fmt.Sprintf("slot %d: freed, its socket is gone (%s)", c.Slot, who)
}

// attachedWarnings are what an operator would not expect.
func attachedWarnings(g attachment.Group) (lines []string) {
	if g.Earlier != "" {
		lines = append(lines, fmt.Sprintf("another version of sockdist had steered it (%s): weights, drains, limits and the policy are to be set again", g.Earlier))
	}
	if len(g.Slots) == 1 {
		lines = append(lines, "one socket only: there is nothing to choose from until the server has one for each worker")
	}
	shared := 0
	for _, s := range g.Slots {
		if s.Servers > 1 {
			shared++
		}
	}
	if shared > 0 {
		lines = append(lines, fmt.Sprintf("%s that several processes accept from: among these, whoever comes first has the connection", count(shared, "slot")))
	}
	if g.LeftOut > 0 {
		lines = append(lines, fmt.Sprintf("%s of this address without a slot, which gets no connections: no process that --pid names, or that can be seen, holds it",
			count(g.LeftOut, "socket")))
	}
	if g.Unowned > 0 {
		lines = append(lines, fmt.Sprintf("%s of processes that serve no slot, such as workers on their way out: not counted", count(g.Unowned, "connection")))
	}
	return lines
}

func attachedCells(s attachment.Slot) []tableCell {
	process, holders := printable(s.Process), heldBy(s)
	if s.State == loader.Gone {
		process, holders = "(gone)", "-"
	}
	return []tableCell{cell(fmt.Sprint(s.Slot.Slot)), cell(fmt.Sprint(s.PID)), cell(process), number(s.Connections), cell(holders)}
}

// heldBy names the first of the others, which is the master if there is one.
func heldBy(s attachment.Slot) string {
	var others []sockets.Holder
	for _, h := range s.Holders {
		if h.PID != s.PID {
			others = append(others, h)
		}
	}
	switch len(others) {
	case 0:
		return "itself only"
	case 1:
		return fmt.Sprintf("%d %s", others[0].PID, printable(others[0].Comm))
	}
	return fmt.Sprintf("%d %s, %d more", others[0].PID, printable(others[0].Comm), len(others)-1)
}

// attached is what `attach --json` prints. Its fields are those of status where
// they say the same.
type attached struct {
	Groups []attachedGroup `json:"groups"`
}

type attachedGroup struct {
	Name     string           `json:"name"`
	Address  string           `json:"address"`
	Protocol string           `json:"protocol"` // tcp4 or tcp6
	Policy   string           `json:"policy"`
	V6Only   bool             `json:"v6only"`
	NetNS    uint64           `json:"netns"`
	New      bool             `json:"new"`
	Earlier  string           `json:"earlier"` // layout of another version that had steered it, "" if none
	Changes  []attachedChange `json:"changes"`
	LeftOut  int              `json:"left_out"` // sockets without a slot
	Unowned  int              `json:"unowned"`  // connections that no slot counts
	Slots    []attachedSlot   `json:"slots"`
}

type attachedChange struct {
	Change string `json:"change"`
	Slot   *int   `json:"slot"` // null if it is of the whole group
	PID    int    `json:"pid"`
}

type attachedSlot struct {
	Slot        int              `json:"slot"`
	PID         int              `json:"pid"` // who serves it
	Process     string           `json:"process"`
	State       string           `json:"state"`
	Generation  uint32           `json:"generation"`
	Weight      int              `json:"weight"`
	Connections uint64           `json:"connections"`
	Servers     int              `json:"servers"` // how many accept from it
	Holders     []attachedHolder `json:"holders"`
}

type attachedHolder struct {
	PID     int    `json:"pid"`
	Process string `json:"process"`
}

func attachedJSON(groups []attachment.Group) attached {
	all := attached{Groups: []attachedGroup{}}
	for _, g := range groups {
		one := attachedGroup{Name: g.Spec.Name, Policy: g.Spec.Policy.String(), V6Only: g.Spec.V6Only, NetNS: g.Spec.NetNS, New: g.New, Earlier: g.Earlier,
			LeftOut: g.LeftOut, Unowned: g.Unowned, Changes: []attachedChange{}, Slots: []attachedSlot{}}
		one.Protocol, one.Address = protocolOf(g.Spec.Address)
		for _, c := range g.Changes {
			change := attachedChange{Change: c.Kind.String(), PID: c.PID}
			if c.Slot >= 0 {
				change.Slot = &c.Slot
			}
			one.Changes = append(one.Changes, change)
		}
		for _, s := range g.Slots {
			one.Slots = append(one.Slots, attachedSlotOf(s))
		}
		all.Groups = append(all.Groups, one)
	}
	return all
}

func attachedSlotOf(s attachment.Slot) attachedSlot {
	slot := attachedSlot{Slot: s.Slot.Slot, PID: s.PID, Process: s.Process, State: s.State.String(), Generation: s.Generation,
		Weight: s.Weight, Connections: s.Connections, Servers: s.Servers, Holders: []attachedHolder{}}
	for _, h := range s.Holders {
		slot.Holders = append(slot.Holders, attachedHolder{h.PID, h.Comm})
	}
	return slot
}
