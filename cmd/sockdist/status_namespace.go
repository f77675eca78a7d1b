package main

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// A namespaceView is what can be seen of the listeners of a network namespace.
type namespaceView struct {
	ours      bool
	path      string                      // opens it; "" for ours
	err       error                       // why nothing can be seen
	listeners map[uint64]sockets.Listener // by cookie
	programs  map[uint64]uint32           // by cookie: who steers
	blind     error                       // why it can't be told who steers
}

// namespaceViews looks at each namespace once.
type namespaceViews struct {
	own  uint64
	seen map[uint64]namespaceView
}

func newNamespaceViews() *namespaceViews {
	own, _, err := sockets.NetNSOf(0)
	if err != nil {
		own = 0
	}
	return &namespaceViews{own: own, seen: make(map[uint64]namespaceView)}
}

// of looks at the namespace with this number; 0 stands for one that wasn't noted, and so for ours.
func (v *namespaceViews) of(inode uint64) namespaceView {
	if inode == v.own {
		inode = 0
	}
	view, found := v.seen[inode]
	if !found {
		view = lookInto(inode)
		v.seen[inode] = view
	}
	return view
}

func lookInto(inode uint64) (view namespaceView) {
	view.ours = inode == 0
	if !view.ours {
		if view.path, view.err = sockets.FindNetNS(inode); view.err != nil {
			return view
		}
	}
	view.err = sockets.In(view.path, func() error {
		listeners, err := sockets.Listeners(sockets.Address{})
		if err != nil {
			return err
		}
		view.listeners = make(map[uint64]sockets.Listener, len(listeners))
		for _, l := range listeners {
			view.listeners[l.Cookie] = l
		}
		view.programs, view.blind = loader.Steerers()
		return nil
	})
	return view
}

// name is what people call the namespace: a name of ip-netns(8), or a path that opens it.
func (v namespaceView) name() string {
	if dir, name := filepath.Split(v.path); strings.HasSuffix(dir, "/netns/") {
		return name
	}
	return v.path
}

// backlog is how many connections wait at a slot; nil if that can't be told.
func (v namespaceView) backlog(s loader.Slot) *uint32 {
	if v.err != nil {
		return nil
	}
	backlog := v.listeners[s.Cookie].Backlog // a listener that is gone has none
	return &backlog
}

// steering tells whether our program chooses among the slots' sockets, nil if
// that can't be told, and which other program does, if any.
func (v namespaceView) steering(slots []loader.Slot, ours uint32) (steers *bool, other uint32) {
	if v.err != nil || v.blind != nil {
		return nil, 0
	}
	listening, steered := 0, 0
	for _, s := range slots {
		if _, found := v.listeners[s.Cookie]; !found {
			continue
		}
		listening++
		switch program, attached := v.programs[s.Cookie]; {
		case attached && program == ours:
			steered++
		case attached:
			other = program
		}
	}
	all := listening > 0 && steered == listening
	return &all, other
}

// strangers are the sockets that are in the reuseport group of the slots without having one.
func (v namespaceView) strangers(s loader.Snapshot) (strangers []strangerStatus) {
	slots, groups := make(map[uint64]bool), make(map[sockets.Group]bool)
	for _, slot := range s.Slots {
		slots[slot.Cookie] = true
		if l, found := v.listeners[slot.Cookie]; found {
			groups[l.Group()] = true
		}
	}
	var found []sockets.Listener
	for cookie, l := range v.listeners {
		if groups[l.Group()] && !slots[cookie] {
			found = append(found, l)
		}
	}
	slices.SortFunc(found, func(a, b sockets.Listener) int { return cmp.Compare(a.Cookie, b.Cookie) })
	servers := serversOf(found)
	for _, l := range found {
		server := servers[l.Cookie]
		strangers = append(strangers, strangerStatus{Cookie: l.Cookie, Backlog: l.Backlog, PID: server.PID, Process: printable(server.Comm)})
	}
	return strangers
}

// nameSuccessors finds who serves the slots whose processes ended while their
// sockets live on: a master keeps them over a reload.
func (v namespaceView) nameSuccessors(slots []slotStatus) {
	var orphans []sockets.Listener
	for _, s := range slots {
		if l, found := v.listeners[s.Cookie]; found && s.PID != 0 && s.Process == "" {
			orphans = append(orphans, l)
		}
	}
	servers := serversOf(orphans)
	for i := range slots {
		if server := servers[slots[i].Cookie]; server.PID != 0 {
			slots[i].PID, slots[i].Process = server.PID, printable(server.Comm)
		}
	}
}

// serversOf finds who serves listeners, by cookie. What can't be found is left out.
func serversOf(listeners []sockets.Listener) map[uint64]sockets.Holder {
	if len(listeners) == 0 {
		return nil
	}
	var inodes []uint32
	for _, l := range listeners {
		inodes = append(inodes, l.Inode)
	}
	holders, err := sockets.Holders(inodes)
	var hidden *sockets.HiddenError
	if err != nil && !errors.As(err, &hidden) {
		return nil // a detail, and no reason to show nothing
	}
	servers := make(map[uint64]sockets.Holder)
	for _, l := range listeners {
		if of := holders[l.Inode]; len(of) > 0 {
			servers[l.Cookie] = sockets.Server(of)
		}
	}
	return servers
}
