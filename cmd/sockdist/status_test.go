package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

func statusJSON(t testing.TB, dir string, args ...string) status {
	t.Helper()
	a := sockdist(t, dir, append([]string{"status", "--json"}, args...)...)
	if a.code != exitDone {
		t.Fatalf("exit code %d: %s", a.code, a.err)
	}
	var s status
	if err := json.Unmarshal([]byte(a.out), &s); err != nil {
		t.Fatalf("%v in %s", err, a.out)
	}
	return s
}

// until waits for what the kernel does in its own time.
func until(t testing.TB, what string, reached func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !reached(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestStatusNumbers(t *testing.T) {
	dir := newDir(t)
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	g := newGroup(t, dir, loader.GroupSpec{Name: "web", Policy: loader.Least}, listeners...)
	steer(t, g, listeners[0])
	for range 6 {
		dial(t, listeners[0])
	}
	accepted, err := listeners[1].Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	if err := g.SetWeight(0, 200); err != nil {
		t.Fatal(err)
	}
	if err := g.SetMax(1, 50); err != nil {
		t.Fatal(err)
	}
	if err := g.Drain(1); err != nil {
		t.Fatal(err)
	}

	var s status
	until(t, "all connections in the counts", func() bool {
		s = statusJSON(t, dir)
		return len(s.Groups) == 1 && len(s.Groups[0].Slots) == 2 && s.Groups[0].Slots[0].Connections+s.Groups[0].Slots[1].Connections == 6
	})
	group := s.Groups[0]
	if group.Name != "web" || group.Protocol != "tcp4" || group.Address != listeners[0].Addr().String() || group.Policy != "least" ||
		group.App != "" || group.Steering == nil || !*group.Steering || len(group.Strangers) != 0 {
		t.Errorf("group: %+v", group)
	}
	comm, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	first, second := group.Slots[0], group.Slots[1]
	for i, slot := range group.Slots {
		if slot.Slot != i || slot.PID != os.Getpid() || slot.Process != strings.TrimSpace(string(comm)) || slot.Generation == 0 ||
			slot.Connections != 3 || slot.Picks != 3 || slot.Pending != 0 {
			t.Errorf("slot %d: %+v", i, slot)
		}
	}
	if first.State != "live" || first.Weight != 200 || first.Max != 0 || *first.Backlog != 3 {
		t.Errorf("slot 0: %+v", first)
	}
	if second.State != "draining" || second.Weight != 100 || second.Max != 50 || *second.Backlog != 2 {
		t.Errorf("slot 1: %+v", second)
	}
}

// The contract's fields must be there, under these names, and empty lists as lists.
func TestStatusContract(t *testing.T) {
	dir := newDir(t)
	if a := sockdist(t, dir, "status", "--json"); a.code != exitDone || a.out != `{"groups":[],"apps":[]}`+"\n" {
		t.Errorf("with nothing: %+v", a)
	}
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 1)
	newGroup(t, dir, loader.GroupSpec{Name: "empty", Address: netip.MustParseAddrPort("[::1]:1")})
	newGroup(t, dir, loader.GroupSpec{Name: "web"}, listeners...)

	var s struct {
		Groups []map[string]json.RawMessage
		Apps   json.RawMessage
	}
	a := sockdist(t, dir, "status", "--json")
	if err := json.Unmarshal([]byte(a.out), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Groups) != 2 || string(s.Apps) != "[]" {
		t.Fatal(a.out)
	}
	for _, field := range []string{"name", "address", "protocol", "policy", "slots"} {
		if s.Groups[1][field] == nil {
			t.Errorf("no %s in %s", field, a.out)
		}
	}
	if empty := s.Groups[0]; string(empty["slots"]) != "[]" || string(empty["strangers"]) != "[]" {
		t.Errorf("of an empty group: %s", empty)
	}
	var slots []map[string]json.RawMessage
	if err := json.Unmarshal(s.Groups[1]["slots"], &slots); err != nil || len(slots) != 1 {
		t.Fatal(a.out)
	}
	for _, field := range []string{"slot", "pid", "state", "generation", "weight", "connections", "pending", "load", "backlog", "picks", "migrated"} {
		if slots[0][field] == nil {
			t.Errorf("no %s in %s", field, s.Groups[1]["slots"])
		}
	}
}

// What status calls a group's address must mean the same group to attach and to status itself.
func TestStatusAddressIsAnAddress(t *testing.T) {
	dir := newDir(t)
	for i, address := range []string{"0.0.0.0:8080", "127.0.0.1:8080", "[::]:8080", "[::1]:8080", "[::ffff:127.0.0.2]:8080"} {
		newGroup(t, dir, loader.GroupSpec{Name: fmt.Sprintf("g%d", i), Address: netip.MustParseAddrPort(address)})
	}
	for _, g := range statusJSON(t, dir).Groups {
		address := g.Protocol + "://" + g.Address
		parsed, err := sockets.ParseAddress(address)
		if err != nil || parsed.String() != g.Address {
			t.Errorf("%s is %s, %v", address, parsed, err)
		}
		if again := statusJSON(t, dir, address).Groups; len(again) != 1 || again[0].Name != g.Name {
			t.Errorf("%s means %+v", address, again)
		}
	}
}

func TestStatusOfNames(t *testing.T) {
	dir := newDir(t)
	newGroup(t, dir, loader.GroupSpec{Name: "web-80", App: "web", Address: netip.MustParseAddrPort("127.0.0.1:80")})
	newGroup(t, dir, loader.GroupSpec{Name: "web-443", App: "web", Address: netip.MustParseAddrPort("127.0.0.1:443")})
	newGroup(t, dir, loader.GroupSpec{Name: "db", Address: netip.MustParseAddrPort("127.0.0.1:5432")})
	for name, want := range map[string]string{"web-80": "web-80", "web": "web-443 web-80", "127.0.0.1:5432": "db", "tcp4://127.0.0.1:80": "web-80"} {
		var names []string
		for _, g := range statusJSON(t, dir, name).Groups {
			names = append(names, g.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
	for _, name := range []string{"nope", "127.0.0.1:81", "web/1", "../web", "web\n"} {
		a := sockdist(t, dir, "status", name)
		if a.code != exitFailed || strings.Count(a.err, "\n") != 1 || a.out != "" {
			t.Errorf("status %q: %+v", name, a)
		}
	}
}

func TestStatusNotSteering(t *testing.T) {
	dir := newDir(t)
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	g := newGroup(t, dir, loader.GroupSpec{Name: "web"}, listeners...)
	steering := func() bool { return *statusJSON(t, dir).Groups[0].Steering }
	hint := "! not steering: the kernel's hash chooses; sockdist attach tcp4://" + listeners[0].Addr().String()

	if steering() || !strings.Contains(sockdist(t, dir, "status").out, hint) {
		t.Error("before Steer:", sockdist(t, dir, "status").out)
	}
	steer(t, g, listeners[0])
	if !steering() || strings.Contains(sockdist(t, dir, "status").out, "!") {
		t.Error("after Steer:", sockdist(t, dir, "status").out)
	}
	other := newGroup(t, dir, loader.GroupSpec{Name: "other", Address: netip.MustParseAddrPort("127.0.0.1:1")})
	steer(t, other, listeners[0])
	id, err := other.ProgramID()
	if err != nil {
		t.Fatal(err)
	}
	if out := sockdist(t, dir, "status", "web").out; !strings.Contains(out, fmt.Sprintf("another program (id %d)", id)) {
		t.Error("by another program:", out)
	}
	if err := g.Unsteer(fdOf(t, listeners[0])); err != nil {
		t.Fatal(err)
	}
	for _, l := range listeners {
		l.Close()
	}
	until(t, "the slots to be gone", func() bool { return statusJSON(t, dir, "web").Groups[0].Slots[1].State == "gone" })
	s := statusJSON(t, dir, "web").Groups[0]
	if *s.Steering || *s.Slots[0].Backlog != 0 {
		t.Errorf("with nobody listening: %+v", s)
	}
	if out := sockdist(t, dir, "status", "web").out; !strings.Contains(out, "nobody listens") {
		t.Error("with nobody listening:", out)
	}
}

func TestStatusStrangers(t *testing.T) {
	dir := newDir(t)
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 2)
	g := newGroup(t, dir, loader.GroupSpec{Name: "web"}, listeners...)
	steer(t, g, listeners[0])
	stranger := listenShared(t, "tcp4", listeners[0].Addr().String(), 1)[0]
	cookie, err := sockets.Cookie(fdOf(t, stranger))
	if err != nil {
		t.Fatal(err)
	}

	found := statusJSON(t, dir).Groups[0].Strangers
	if len(found) != 1 || found[0].Cookie != cookie || found[0].PID != os.Getpid() || found[0].Process == "" {
		t.Errorf("strangers: %+v, want the socket %d", found, cookie)
	}
	want := fmt.Sprintf("! 1 socket of this address without a slot, reached by the kernel's hash only: %s (pid %d)", found[0].Process, os.Getpid())
	if out := sockdist(t, dir, "status").out; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
	stranger.Close()
	if found := statusJSON(t, dir).Groups[0].Strangers; len(found) != 0 {
		t.Errorf("after it closed: %+v", found)
	}
}

func TestStatusOfAnotherNamespace(t *testing.T) {
	dir := newDir(t)
	ns := netns.New(t)
	// A listener of the same address in ours is none of the group's business.
	address := listenShared(t, "tcp4", "127.0.0.1:0", 1)[0].Addr().String()
	var listeners []*net.TCPListener
	if err := ns.Do(func() error {
		listeners = listenShared(t, "tcp4", address, 2)
		dial(t, listeners[0])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	g := newGroup(t, dir, loader.GroupSpec{Name: "inside", NetNS: ns.Inode()}, listeners...)
	steer(t, g, listeners[0])
	// A process keeps the namespace findable, as servers do.
	holder := sleepIn(t, ns)

	until(t, "the connection in a queue", func() bool {
		slots := statusJSON(t, dir).Groups[0].Slots
		return slots[0].Backlog != nil && *slots[0].Backlog+*slots[1].Backlog == 1
	})
	s := statusJSON(t, dir).Groups[0]
	if s.NetNS != ns.Inode() || s.Steering == nil || !*s.Steering || len(s.Strangers) != 0 {
		t.Errorf("%+v", s)
	}
	if out := sockdist(t, dir, "status").out; !strings.Contains(out, "netns /proc/"+strconv.Itoa(holder)+"/ns/net") {
		t.Errorf("no namespace in\n%s", out)
	}

	newGroup(t, dir, loader.GroupSpec{Name: "lost", NetNS: 1, Address: netip.MustParseAddrPort("127.0.0.1:1")}, listenShared(t, "tcp4", "127.0.0.1:0", 1)...)
	s = statusJSON(t, dir, "lost").Groups[0]
	if s.Steering != nil || s.Slots[0].Backlog != nil {
		t.Errorf("of a namespace that can't be found: %+v", s)
	}
	out := sockdist(t, dir, "status", "lost").out
	if !strings.Contains(out, "out of reach") || !strings.Contains(out, "netns 1") || !strings.Contains(out, "?") {
		t.Errorf("of a namespace that can't be found:\n%s", out)
	}
}

// A PID can be given to another process; the start time tells. If somebody
// else holds the socket now, as after a reload of nginx, that is who accepts.
func TestStatusOfEndedProcess(t *testing.T) {
	dir := newDir(t)
	ended, stop := startSleeper(t)
	start, err := sockets.StartTime(ended)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	listeners := listenShared(t, "tcp4", "127.0.0.1:0", 3)
	g := newGroup(t, dir, loader.GroupSpec{Name: "web"}, listeners[0])
	for slot, l := range []loader.Listener{{PID: ended, Start: start}, {PID: os.Getpid(), Start: 1}} {
		l.FD = fdOf(t, listeners[slot+1])
		if _, err := g.Add(slot+1, l); err != nil {
			t.Fatal(err)
		}
	}
	for _, slot := range statusJSON(t, dir).Groups[0].Slots {
		if slot.PID != os.Getpid() || slot.Process == "" {
			t.Errorf("%+v", slot)
		}
	}
	listeners[1].Close()
	listeners[2].Close()
	until(t, "the slots to be gone", func() bool {
		slots := statusJSON(t, dir).Groups[0].Slots
		return slots[1].State == "gone" && slots[2].State == "gone"
	})
	slots := statusJSON(t, dir).Groups[0].Slots
	if slots[1].PID != ended || slots[1].Process != "" || slots[2].Process != "" {
		t.Errorf("with nobody at it: %+v", slots)
	}
	if out := sockdist(t, dir, "status").out; strings.Count(out, "(ended)") != 2 {
		t.Error(out)
	}
}

func TestStatusAsNobody(t *testing.T) {
	dir := newDir(t)
	newGroup(t, dir, loader.GroupSpec{Name: "web", Address: netip.MustParseAddrPort("127.0.0.1:1")})
	a := asNobody(t, dir, "status")
	if a.code != exitUnsupported || a.out != "" || strings.Count(a.err, "\n") != 1 || !strings.Contains(a.err, "run as root") {
		t.Errorf("%+v", a)
	}
}

func TestStatusWhileGroupsComeAndGo(t *testing.T) {
	dir := newDir(t)
	host, err := loader.Open(loader.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				done <- nil
				return
			default:
			}
			g, err := host.CreateGroup(loader.GroupSpec{Name: "brief", Address: netip.MustParseAddrPort("127.0.0.1:1")})
			if err == nil {
				err = g.Destroy()
				g.Close()
			}
			if err != nil {
				done <- err
				return
			}
		}
	}()
	for range 30 {
		if a := sockdist(t, dir, "status"); a.code != exitDone {
			t.Errorf("%+v", a)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWorkersOf(t *testing.T) {
	slot := func(n int, state string, connections uint64) slotStatus {
		return slotStatus{Slot: n, PID: 10 + n, State: state, Connections: connections}
	}
	workers := workersOf("web", 265, []groupStatus{
		{App: "web", Slots: []slotStatus{slot(0, "live", 3), slot(1, "gone", 0), slot(3, "draining", 1)}},
		{App: "other", Slots: []slotStatus{slot(2, "live", 7)}},
		{App: "web", Slots: []slotStatus{slot(255, "live", 0), slot(0, "draining", 4), slot(1, "live", 5)}},
	})
	want := []workerStatus{
		{Slot: 0, PID: 10, State: "live", Connections: 7},
		{Slot: 1, PID: 11, State: "live", Connections: 5},
		{Slot: 3, PID: 13, State: "draining", Connections: 1},
	}
	if !slices.Equal(workers, want) {
		t.Errorf("%+v, want %+v", workers, want)
	}
}
