package main

import (
	"errors"
	"io/fs"
	"net/netip"
	"slices"
	"time"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// status is what `status --json` prints: a contract. Fields may be added.
type status struct {
	Groups []groupStatus `json:"groups"`
	Apps   []appStatus   `json:"apps"`
	// Earlier are groups of other versions of sockdist. No more is known of them.
	Earlier []earlierStatus `json:"earlier,omitempty"`
}

type earlierStatus struct {
	Name   string `json:"name"`
	Layout string `json:"layout"` // of its pins, such as v1
	App    string `json:"app"`    // "" if none
}

type groupStatus struct {
	Name     string `json:"name"`
	Address  string `json:"address"`
	Protocol string `json:"protocol"` // tcp4 or tcp6
	Policy   string `json:"policy"`
	V6Only   bool   `json:"v6only"`
	App      string `json:"app"`      // "" if none
	NetNS    uint64 `json:"netns"`    // inode of the network namespace, 0 if unknown
	Steering *bool  `json:"steering"` // null: can't be told

	Refused       uint64 `json:"refused"`
	Fallback      uint64 `json:"fallback"`
	Migrated      uint64 `json:"migrated"`
	MigrateFailed uint64 `json:"migrate_failed"`

	Slots     []slotStatus     `json:"slots"`
	Strangers []strangerStatus `json:"strangers"`

	namespace namespaceView
	program   uint32 // that steers in place of ours, if that is the case
}

type slotStatus struct {
	Slot        int     `json:"slot"`
	PID         int     `json:"pid"`
	Process     string  `json:"process"` // "" if it ended
	State       string  `json:"state"`
	Generation  uint32  `json:"generation"`
	Weight      int     `json:"weight"`
	Max         uint32  `json:"max"` // 0: any number
	Connections uint64  `json:"connections"`
	Pending     uint64  `json:"pending"`
	Load        uint64  `json:"load"`
	Backlog     *uint32 `json:"backlog"` // null: can't be told
	Picks       uint64  `json:"picks"`
	Migrated    uint64  `json:"migrated"`
	MovedOut    uint64  `json:"moved_out"`
	Cookie      uint64  `json:"cookie"`
}

// A strangerStatus is a socket that shares the group's address without a slot.
type strangerStatus struct {
	Cookie  uint64 `json:"cookie"`
	Backlog uint32 `json:"backlog"`
	PID     int    `json:"pid"` // 0 if no process was found
	Process string `json:"process"`
}

type appStatus struct {
	Name    string         `json:"name"`
	PID     int            `json:"pid"` // of the supervisor; 0 if it ended
	Workers []workerStatus `json:"workers"`

	Wanted    int  `json:"wanted"` // workers; 0 if unknown
	Reloading bool `json:"reloading"`
}

type workerStatus struct {
	Slot        int    `json:"slot"`
	PID         int    `json:"pid"`
	Process     string `json:"process"`
	State       string `json:"state"`
	Connections uint64 `json:"connections"`

	// These are the supervisor's, "" and 0 if unknown.
	Stage      string     `json:"stage"`      // starting, serving, leaving, down
	Generation int        `json:"generation"` // 0 until the first reload
	Starts     int        `json:"starts"`
	LastExit   string     `json:"last_exit"` // how it ended before, such as "was killed by SIGKILL"
	LastEnd    *time.Time `json:"last_end"`
}

func emptyStatus() *status { return &status{Groups: []groupStatus{}, Apps: []appStatus{}} }

// readStatus reads what name means, or all there is. The error wraps
// fs.ErrNotExist if there is no such name.
func (e *environment) readStatus(name string) (*status, error) {
	if nothing, err := e.nothingPinned(); err != nil || nothing && name == "" {
		return emptyStatus(), err
	}
	host, err := e.host()
	if err != nil {
		return nil, err
	}
	defer host.Close()
	apps, err := host.Apps()
	if err != nil {
		return nil, err
	}
	groups, err := statusGroups(host, name, apps)
	if err != nil {
		return nil, err
	}
	defer closeGroups(groups)
	s := emptyStatus()
	views := newNamespaceViews()
	for _, g := range groups {
		group, err := readGroup(g, views)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return nil, err
		}
		s.Groups = append(s.Groups, group)
	}
	if name == "" {
		if err := s.addEarlier(host); err != nil {
			return nil, err
		}
	}
	return s, s.addApps(host, name, apps, e.getenv(runtimeVariable))
}

// nothingPinned tells that there is no bpffs, and so no group. Asking host would mount it.
func (e *environment) nothingPinned() (bool, error) {
	if e.dir != "" {
		return false, nil
	}
	mount, err := loader.BPFFS()
	return mount == "", err
}

// statusGroups are the groups that name means; an app may have none yet.
func statusGroups(host *loader.Host, name string, apps []string) ([]*loader.Group, error) {
	if name == "" {
		return allGroups(host)
	}
	groups, err := groupsOf(host, name)
	if errors.Is(err, fs.ErrNotExist) && slices.Contains(apps, name) {
		return nil, nil
	}
	return groups, err
}

func readGroup(g *loader.Group, views *namespaceViews) (groupStatus, error) {
	snapshot, err := g.Snapshot()
	if err != nil {
		return groupStatus{}, err
	}
	spec := snapshot.Spec
	view := views.of(spec.NetNS)
	s := groupStatus{
		Name: spec.Name, Policy: spec.Policy.String(), V6Only: spec.V6Only, App: spec.App, NetNS: spec.NetNS,
		Refused: snapshot.Refused, Fallback: snapshot.Fallback, Migrated: snapshot.Migrated, MigrateFailed: snapshot.MigrateFailed,
		Slots: []slotStatus{}, Strangers: []strangerStatus{}, namespace: view,
	}
	s.Protocol, s.Address = protocolOf(spec.Address)
	for _, slot := range snapshot.Slots {
		s.Slots = append(s.Slots, slotOf(slot, view))
	}
	view.nameSuccessors(s.Slots)
	program, err := g.ProgramID()
	if err != nil {
		return groupStatus{}, err
	}
	s.Steering, s.program = view.steering(snapshot.Slots, program)
	s.Strangers = append(s.Strangers, view.strangers(snapshot)...)
	return s, nil
}

// protocolOf makes an address of an IPv4 client's view: a socket on
// ::ffff:127.0.0.1 takes IPv4 connections only.
func protocolOf(address netip.AddrPort) (protocol, text string) {
	address = netip.AddrPortFrom(address.Addr().Unmap(), address.Port())
	if address.Addr().Is4() {
		return "tcp4", address.String()
	}
	return "tcp6", address.String()
}

func slotOf(s loader.Slot, view namespaceView) slotStatus {
	return slotStatus{
		Slot: s.Slot, PID: s.PID, Process: processName(s.PID, s.Start), State: s.State.String(), Generation: s.Generation,
		Weight: s.Weight, Max: s.Max, Connections: s.Connections, Pending: s.Pending, Load: s.Load, Backlog: view.backlog(s),
		Picks: s.Picks, Migrated: s.Migrated, MovedOut: s.MovedOut, Cookie: s.Cookie,
	}
}

// addApps adds the apps that name means: all, the one of that name, or those of the groups.
func (s *status) addApps(host *loader.Host, name string, apps []string, runtimeDir string) error {
	for _, app := range apps {
		if name != "" && name != app && !slices.ContainsFunc(s.Groups, func(g groupStatus) bool { return g.App == app }) {
			continue
		}
		a, err := host.App(app)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it went meanwhile
		}
		if err != nil {
			return err
		}
		supervisor, err := a.Supervisor()
		a.Close()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := sockets.StartTime(supervisor); err != nil {
			supervisor = 0
		}
		status := appStatus{Name: app, PID: supervisor, Workers: workersOf(app, supervisor, s.Groups)}
		status.supervised(runtimeDir)
		s.Apps = append(s.Apps, status)
	}
	return nil
}

// workersOf joins the slots that a worker has in the groups of its app. The
// supervisor's own slot, the last, is that of the service manager's socket.
func workersOf(app string, supervisor int, groups []groupStatus) []workerStatus {
	bySlot := make(map[int]workerStatus)
	for _, g := range groups {
		if g.App != app {
			continue
		}
		for _, slot := range g.Slots {
			if slot.Slot == loader.MaxSlots-1 && slot.PID == supervisor {
				continue
			}
			w, seen := bySlot[slot.Slot]
			if !seen || rank(slot.State) > rank(w.State) {
				w.Slot, w.PID, w.Process, w.State = slot.Slot, slot.PID, slot.Process, slot.State
			}
			w.Connections += slot.Connections
			bySlot[slot.Slot] = w
		}
	}
	workers := []workerStatus{}
	for _, w := range bySlot {
		workers = append(workers, w)
	}
	slices.SortFunc(workers, func(a, b workerStatus) int { return a.Slot - b.Slot })
	return workers
}

// rank orders states by how much of its work a worker does.
func rank(state string) int {
	return slices.Index([]string{
		loader.Gone.String(), loader.Ejected.String(), loader.Draining.String(), loader.Starting.String(), loader.Live.String(),
	}, state)
}
