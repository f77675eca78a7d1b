package loader

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/cgroup"
	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/netns"
)

func init() {
	children["change"] = changeForever
	children["rival"] = rivalFor
}

// Each child has the same two listeners as descriptors 3 and 4.
const firstListener, secondListener = 3, 4

// changeForever makes and removes the group "a" and the app "a" until it is
// killed. It says a byte when it begins, and one after each change.
func changeForever(args []string) error {
	h, err := Open(Options{Dir: args[0]})
	if err != nil {
		return err
	}
	did()
	for n := 0; ; n++ {
		if err := changeGroup(h, n); err != nil {
			return err
		}
		if err := changeApp(h, args[1]); err != nil {
			return err
		}
	}
}

func did() { fmt.Print(".") }

// changeGroup goes on with the group if a killed process left it.
func changeGroup(h *Host, n int) error {
	g, err := h.CreateGroup(commitSpec)
	if errors.Is(err, fs.ErrExist) {
		g, err = h.Group(commitSpec.Name)
	}
	if err != nil {
		return err
	}
	defer g.Close()
	did()
	for _, fd := range []int{firstListener, secondListener} {
		if _, err := g.Add(-1, Listener{FD: fd, PID: os.Getpid()}); err != nil {
			return err
		}
		did()
	}
	if err := g.Steer(firstListener); err != nil {
		return err
	}
	did()
	for _, policy := range Policies() {
		if err := g.SetPolicy(policy); err != nil {
			return err
		}
		did()
	}
	if n%2 == 0 {
		if err := g.Remove(0); err != nil {
			return err
		}
		did()
	}
	if err := g.Unsteer(secondListener); err != nil {
		return err
	}
	did()
	if err := g.Destroy(); err != nil {
		return err
	}
	did()
	return nil
}

func changeApp(h *Host, cgroup string) error {
	a, err := h.CreateApp(AppSpec{Name: "a", Cgroup: cgroup, Ports: []uint16{80}})
	if errors.Is(err, fs.ErrExist) {
		a, err = h.App("a")
	}
	if err != nil {
		return err
	}
	defer a.Close()
	did()
	for range 6 {
		if err := a.SetSupervisor(os.Getpid()); err != nil {
			return err
		}
		did()
	}
	return a.Destroy()
}

var commitSpec = GroupSpec{Name: "a", App: "a", Address: netip.MustParseAddrPort("127.0.0.1:80"), NetNS: 7, Policy: RR}

// A scene is what several processes change at once, or one after the other.
type scene struct {
	t       *testing.T
	host    *Host
	folder  string
	cgroup  string
	workers []*worker
	maps    map[ebpf.MapID]bool // seen in the folder
	links   map[link.ID]bool
}

func newScene(t *testing.T) *scene {
	t.Helper()
	h := newHost(t)
	s := &scene{t: t, host: h, folder: filepath.Dir(h.Dir()), maps: make(map[ebpf.MapID]bool), links: make(map[link.ID]bool)}
	mount, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	s.cgroup = filepath.Join(mount.Dir, filepath.Base(s.folder))
	if err := os.Mkdir(s.cgroup, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(s.cgroup); err != nil {
			t.Error(err)
		}
	})
	err = netns.New(t).Do(func() (err error) {
		s.workers, err = newWorkers(2, netip.MustParseAddrPort("127.0.0.1:0"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, w := range s.workers {
			w.close()
		}
	})
	return s
}

// listeners are duplicates, for a child.
func (s *scene) listeners() (files []*os.File) {
	for _, w := range s.workers {
		fd, err := unix.FcntlInt(uintptr(w.fd), unix.F_DUPFD_CLOEXEC, 0)
		s.must(err)
		files = append(files, os.NewFile(uintptr(fd), "listener"))
	}
	return files
}

func (s *scene) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestKilledAtAnyMoment(t *testing.T) {
	s := newScene(t)
	outcomes := make(map[string]int)
	for range scaled(60, 15) {
		s.killChild()
		outcomes[s.checkAfterKill()]++
	}
	t.Logf("kills by what was left: %v", outcomes)
	s.clear()
	s.nothingLeft()
}

// killChild lets a child make some changes, and kills it in the next one.
func (s *scene) killChild() {
	s.t.Helper()
	files := s.listeners()
	cmd := child("change", []string{s.folder, s.cgroup}, files...)
	said := new(strings.Builder)
	cmd.Stderr = said
	out, err := cmd.StdoutPipe()
	s.must(err)
	s.must(dependent.Start(cmd))
	for _, f := range files {
		f.Close()
	}
	_, err = io.ReadFull(out, make([]byte, 1+rand.IntN(24)))
	if err == nil {
		within := []time.Duration{100 * time.Microsecond, 2 * time.Millisecond, 100 * time.Millisecond}[rand.IntN(3)]
		time.Sleep(rand.N(within * time.Duration(scaled(1, 20))))
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if err != nil || said.Len() > 0 {
		s.t.Fatalf("the child ended by itself: %s %v", said, err)
	}
}

// checkAfterKill opens all there is, then makes a change. It says what it found.
func (s *scene) checkAfterKill() string {
	s.t.Helper()
	h, err := Open(Options{Dir: s.folder})
	s.must(err)
	groups, err := h.Groups()
	s.must(err)
	apps, err := h.Apps()
	s.must(err)
	s.note(h)
	for _, name := range groups {
		s.checkGroup(h, name)
	}
	for _, name := range apps {
		a, err := h.App(name)
		s.must(err)
		if _, err := a.Supervisor(); err != nil || name != "a" {
			s.t.Errorf("app %s: %v", name, err)
		}
		a.Close()
	}
	left, err := os.ReadDir(filepath.Join(h.dir, "tmp"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Error(err)
	}
	s.nextChange(h, groups)
	return fmt.Sprintf("groups %v apps %v unfinished %v", groups, apps, left)
}

// checkGroup reads a group as it is.
func (s *scene) checkGroup(h *Host, name string) {
	s.t.Helper()
	g, err := h.Group(name)
	s.must(err)
	defer g.Close()
	spec := g.Spec()
	if spec.Policy = commitSpec.Policy; spec != commitSpec || g.Spec().Policy.check() != nil {
		s.t.Errorf("group %s: %+v", name, g.Spec())
	}
	snapshot, err := g.Snapshot()
	s.must(err)
	for _, slot := range snapshot.Slots {
		if slot.State != Live || slot.Cookie != s.workers[0].cookie && slot.Cookie != s.workers[1].cookie {
			s.t.Errorf("slot %+v", slot)
		}
	}
}

// nextChange must work, whatever was left, and leave tmp/ empty.
func (s *scene) nextChange(h *Host, groups []string) {
	s.t.Helper()
	if len(groups) == 0 || rand.IntN(2) == 0 {
		g, err := h.CreateGroup(GroupSpec{Name: "other"})
		s.must(err)
		s.note(h)
		s.tmpEmpty(h)
		s.must(g.Destroy())
		g.Close()
		s.tmpEmpty(h)
		return
	}
	g, err := h.Group(groups[0])
	s.must(err)
	defer g.Close()
	taken := make(map[int]bool)
	for _, w := range s.workers {
		slot, err := g.Add(-1, w.listener())
		s.must(err)
		taken[slot] = true
		if g.memory.value.Slot[slot].Scale == 0 {
			s.t.Errorf("slot %d has a listener and would never be picked", slot)
		}
	}
	if len(taken) != len(s.workers) {
		s.t.Errorf("%d listeners have slots %v", len(s.workers), taken)
	}
	s.tmpEmpty(h)
}

func (s *scene) tmpEmpty(h *Host) {
	s.t.Helper()
	left, err := os.ReadDir(filepath.Join(h.dir, "tmp"))
	if len(left) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("tmp/ has %v, %v", left, err)
	}
}

// note remembers the kernel's numbers of the host's maps and link. A program of
// the folder keeps at least one of these maps alive.
func (s *scene) note(h *Host) {
	s.t.Helper()
	maps, err := h.pinnedMaps()
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	s.must(err)
	defer maps.close()
	for _, m := range []*ebpf.Map{maps.Origins, maps.Moved, maps.Groups, maps.Apps} {
		info, err := m.Info()
		s.must(err)
		id, _ := info.ID()
		s.maps[id] = true
	}
	account, err := link.LoadPinnedLink(filepath.Join(h.dir, "host", "account"), nil)
	s.must(err)
	defer account.Close()
	info, err := account.Info()
	s.must(err)
	s.links[info.ID] = true
}

// clear removes all as an operator would.
func (s *scene) clear() {
	s.t.Helper()
	groups, err := s.host.Groups()
	s.must(err)
	for _, name := range groups {
		g, err := s.host.Group(name)
		s.must(err)
		s.must(g.Destroy())
		g.Close()
	}
	apps, err := s.host.Apps()
	s.must(err)
	for _, name := range apps {
		a, err := s.host.App(name)
		s.must(err)
		s.must(a.Destroy())
		a.Close()
	}
	for _, w := range s.workers { // whoever was killed may have steered
		s.must(new(Group).Unsteer(w.fd))
	}
	s.must(s.host.Remove())
}

// nothingLeft waits for the kernel to free what no one holds any more.
func (s *scene) nothingLeft() {
	s.t.Helper()
	if _, err := os.Stat(s.folder); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("the folder: %v", err)
	}
	if len(s.maps) == 0 || len(s.links) == 0 {
		s.t.Error("nothing was seen in the kernel")
	}
	deadline := time.Now().Add(30 * time.Second)
	for s.inKernel() != "" && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if left := s.inKernel(); left != "" {
		s.t.Errorf("left in the kernel: %s", left)
	}
}

// inKernel names one of our programs, maps and links that is still there.
func (s *scene) inKernel() string {
	for id := range s.links {
		if l, err := link.NewFromID(id); err == nil {
			l.Close()
			return fmt.Sprintf("link %d", id)
		}
	}
	for id := range s.maps {
		if m, err := ebpf.NewMapFromID(id); err == nil {
			defer m.Close()
			return m.String()
		}
	}
	for id := ebpf.ProgramID(0); ; {
		var err error
		if id, err = ebpf.ProgramGetNextID(id); err != nil {
			return ""
		}
		if p, err := ebpf.NewProgramFromID(id); err == nil {
			info, err := p.Info()
			p.Close()
			if err != nil {
				continue
			}
			used, _ := info.MapIDs()
			if slices.ContainsFunc(used, func(m ebpf.MapID) bool { return s.maps[m] }) {
				return fmt.Sprintf("program %d, %s", id, info.Name)
			}
		}
	}
}

// rivalFor does everything to groups "a" and "b" while another process does
// the same, until its input ends. Each group has a listener of its own.
func rivalFor(args []string) error {
	h, err := Open(Options{Dir: args[0]})
	if err != nil {
		return err
	}
	ended := make(chan bool)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	for n := 0; ; n++ {
		select {
		case <-ended:
			fmt.Println(n)
			return nil
		default:
		}
		i := rand.IntN(2)
		if err := rivalOnce(h, []string{"a", "b"}[i], firstListener+i); err != nil {
			return err
		}
	}
}

func rivalOnce(h *Host, name string, fd int) error {
	g, err := h.CreateGroup(GroupSpec{Name: name})
	if errors.Is(err, fs.ErrExist) {
		g, err = h.Group(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("to have it: %w", err)
	}
	defer g.Close()
	if _, err := g.Add(0, Listener{FD: fd, PID: os.Getpid()}); err != nil && !expected(err) {
		return err
	}
	if err := g.SetPolicy(Random); err != nil && !expected(err) {
		return err
	}
	if err := g.SetWeight(0, 50); err != nil && !expected(err) {
		return err
	}
	if _, err := g.Snapshot(); err != nil {
		return err
	}
	if _, err := h.Groups(); err != nil {
		return err
	}
	if err := g.Destroy(); err != nil && !expected(err) {
		return err
	}
	return nil
}

// expected tells what comes of another process that was faster.
func expected(err error) bool {
	return errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrSlotTaken) || errors.Is(err, ErrNoSlot)
}

func TestTwoProcessesOnOneFolder(t *testing.T) {
	s := newScene(t)
	ends := make(chan error, 2)
	var inputs []io.Closer
	for range 2 {
		files := s.listeners()
		cmd := child("rival", []string{s.folder}, files...)
		said := new(strings.Builder)
		cmd.Stdout, cmd.Stderr = said, said
		input, err := cmd.StdinPipe()
		s.must(err)
		s.must(dependent.Start(cmd))
		inputs = append(inputs, input)
		for _, f := range files {
			f.Close()
		}
		go func() {
			if err := cmd.Wait(); err != nil {
				ends <- fmt.Errorf("%s: %w", said, err)
			} else {
				t.Logf("rounds: %s", said)
				ends <- nil
			}
		}()
	}
	time.Sleep(time.Duration(scaled(3, 10)) * time.Second)
	for _, input := range inputs {
		input.Close()
	}
	for range inputs {
		if err := <-ends; err != nil {
			t.Error(err)
		}
	}
	s.note(s.host)
	s.clear()
	if _, err := os.Stat(s.folder); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}

// The folder comes and goes under several who want it: none of them notices.
func TestFolderComesAndGoes(t *testing.T) {
	h := newHost(t)
	together(4, func(i int) {
		for range scaled(300, 30) {
			if err := h.Remove(); err != nil {
				t.Error(err)
				return
			}
			if i > 0 {
				continue
			}
			release, err := h.Claim(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			release()
		}
	})
}

// Somebody removes the folder between two calls: what was there is gone, and
// the next group makes it anew.
func TestFolderRemovedBetweenCalls(t *testing.T) {
	s := newScene(t)
	g, err := s.host.CreateGroup(commitSpec)
	s.must(err)
	defer g.Close()
	if _, err := g.Add(-1, s.workers[0].listener()); err != nil {
		t.Fatal(err)
	}
	s.note(s.host)
	s.must(os.RemoveAll(s.folder))

	if names, err := s.host.Groups(); err != nil || len(names) > 0 {
		t.Errorf("groups: %v, %v", names, err)
	}
	if _, err := s.host.Group("a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open: %v", err)
	}
	if _, err := g.Snapshot(); err != nil {
		t.Errorf("a handle is good for reading: %v", err)
	}
	if _, err := g.Add(-1, s.workers[1].listener()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("add: %v", err)
	}
	if err := g.Destroy(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("destroy: %v", err)
	}
	again, err := s.host.CreateGroup(commitSpec)
	s.must(err)
	s.note(s.host)
	s.must(again.Destroy())
	again.Close()
	g.Close()
	s.must(s.host.Remove())
}

// A listener that got its slot from a killed process, before the scores were
// computed, is picked once it is added again.
func TestAddAgainRepairs(t *testing.T) {
	s := newScene(t)
	g, err := s.host.CreateGroup(commitSpec)
	s.must(err)
	defer g.Close()
	slot, err := g.Add(-1, s.workers[0].listener())
	s.must(err)
	m := g.memory.value
	m.Slot[slot].Scale, m.Turns = 0, 0
	again, err := g.Add(-1, s.workers[0].listener())
	s.must(err)
	if again != slot || m.Slot[slot].Scale == 0 || m.Turns == 0 {
		t.Errorf("slot %d then %d: scale %d, %d turns", slot, again, m.Slot[slot].Scale, m.Turns)
	}
	s.must(g.Destroy())
}

// Once a group is removed, its listeners can go into another, though somebody holds the old one open.
func TestListenerOfARemovedGroup(t *testing.T) {
	s := newScene(t)
	old, err := s.host.CreateGroup(commitSpec)
	s.must(err)
	defer old.Close()
	if _, err := old.Add(-1, s.workers[0].listener()); err != nil {
		t.Fatal(err)
	}
	s.must(old.Destroy())
	g, err := s.host.CreateGroup(commitSpec)
	s.must(err)
	defer g.Close()
	if _, err := g.Add(-1, s.workers[0].listener()); err != nil {
		t.Error(err)
	}
	if _, err := old.Add(-1, s.workers[1].listener()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("add to the removed group: %v", err)
	}
	s.must(g.Destroy())
}
