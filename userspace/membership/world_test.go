package membership

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/privilege"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
)

const (
	stranger = 4242 // a user who may join nothing
	user     = 4243 // one who may join
	patience = 60 * time.Second
)

var ports atomic.Uint32

// newAddress is one that no other test uses.
func newAddress() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(20000+ports.Add(1)))
}

// A world is a group, with a daemon's socket, in a pin folder of its own.
type world struct {
	t       testing.TB
	host    *loader.Temporary
	folder  string // anybody may use it
	records string
	config  Config
	group   *Group
	server  *wire.Server
}

func newWorld(t testing.TB, change ...func(*Config)) *world {
	t.Helper()
	w := newHost(t)
	w.config = Config{
		Name: "api", Listen: newAddress(),
		Slots: MaxSlots, UIDs: []uint32{user}, Logger: slog.New(slog.NewTextHandler(logs{t}, nil)),
	}
	for _, f := range change {
		f(&w.config)
	}
	w.open()
	t.Cleanup(func() {
		w.remove()
	})
	return w
}

// newHost makes all but a group.
func newHost(t testing.TB) *world {
	t.Helper()
	privilege.Require(t)
	w := &world{t: t}
	var err error
	w.host, err = loader.OpenTemporary("member")
	w.must(err)
	w.folder, err = os.MkdirTemp("", "member")
	w.must(err)
	w.records = filepath.Join(w.folder, "records")
	w.must(os.Mkdir(w.records, 0o777))
	w.must(errors.Join(os.Chmod(w.folder, 0o777), os.Chmod(w.records, 0o777)))
	t.Cleanup(func() {
		names, err := w.host.Groups()
		if err != nil || len(names) > 0 {
			t.Errorf("groups are left: %v %v", names, err)
		}
		if err := errors.Join(w.host.Remove(), os.RemoveAll(w.folder)); err != nil {
			t.Error(err)
		}
	})
	return w
}

// logs are what the group says, in the test's log.
type logs struct{ t testing.TB }

func (l logs) Write(b []byte) (int, error) {
	_, message, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	l.t.Log(message)
	return len(b), nil
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) socket() string { return filepath.Join(w.folder, "control") }

func (w *world) open() {
	w.t.Helper()
	var err error
	w.group, err = Open(w.host.Host, w.config)
	w.must(err)
	w.server, err = wire.Serve(w.socket(), wire.Options{Mode: 0o666}, handler{w.group})
	w.must(err)
}

// close is the end of a daemon.
func (w *world) close() {
	w.t.Helper()
	w.must(errors.Join(w.server.Close(), w.group.Close()))
}

func (w *world) remove() {
	if err := errors.Join(w.server.Close(), w.group.Remove()); err != nil {
		w.t.Error(err)
	}
}

type handler struct{ group *Group }

func (h handler) Answer(*wire.Peer, wire.Request, func(string)) wire.Reply { return wire.Reply{} }

func (h handler) Join(s *wire.Session, r wire.Request, files []*os.File) {
	if r.Join == nil || !h.group.Matches(*r.Join) {
		_ = s.Reply(wire.Reply{Done: true, Error: "no such group"})
		return
	}
	h.group.Join(s, r, files)
}

// A child is this binary in a role.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string
	end   func() error // waits for it
}

func start(t testing.TB, role string, uid int, environment []string, args ...string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command("/proc/self/exe", args...), lines: make(chan string, 4096)}
	c.cmd.Env = append(append(os.Environ(), roleVariable+"="+role), environment...)
	c.cmd.Stderr = os.Stderr
	if uid != 0 {
		c.cmd.SysProcAttr = &unix.SysProcAttr{Credential: credential(uid)}
	}
	return c.start()
}

// credential is a user without any capability or further group.
func credential(uid int) *syscall.Credential {
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid), Groups: []uint32{}}
}

func (c *child) start() *child {
	c.t.Helper()
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = dependent.Start(c.cmd)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(c.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			c.lines <- lines.Text()
		}
		_, _ = io.Copy(io.Discard, out)
	})
	c.end = sync.OnceValue(func() error { reading.Wait(); return c.cmd.Wait() })
	c.t.Cleanup(func() {
		_ = c.cmd.Process.Kill()
		_ = c.end()
	})
	return c
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// says waits for a line that begins so, and returns it.
func (c *child) says(prefix string) string {
	c.t.Helper()
	for deadline := time.After(patience); ; {
		select {
		case line, open := <-c.lines:
			if strings.HasPrefix(line, prefix) {
				return line
			}
			if !open {
				c.t.Fatalf("process %d has ended, and never said %q", c.pid(), prefix)
			}
		case <-deadline:
			c.t.Fatalf("process %d doesn't say %q", c.pid(), prefix)
		}
	}
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// kill waits for the end.
func (c *child) kill() {
	c.signal(unix.SIGKILL)
	_ = c.end()
}

// terminate wants a good end.
func (c *child) terminate() {
	c.t.Helper()
	c.signal(unix.SIGTERM)
	if err := c.end(); err != nil {
		c.t.Errorf("process %d: %v", c.pid(), err)
	}
}

// worker starts one that has joined when this returns.
func (w *world) worker(args ...string) *child {
	w.t.Helper()
	c := w.start(user, args...)
	c.says("joined")
	return c
}

func (w *world) workers(n int, args ...string) []*child {
	w.t.Helper()
	all := make([]*child, n)
	for i := range all {
		all[i] = w.start(user, args...)
	}
	for _, c := range all {
		c.says("joined")
	}
	return all
}

func (w *world) start(uid int, args ...string) *child {
	w.t.Helper()
	return start(w.t, "worker", uid, []string{ledger.FolderVariable + "=" + w.records},
		append([]string{"-socket", w.socket(), "-address", w.config.Listen.String()}, args...)...)
}

// join is a session of this process, which is root.
func (w *world) join(files ...*os.File) (*wire.Conn, wire.Reply, []*os.File, error) {
	w.t.Helper()
	conn, err := wire.Dial(w.t.Context(), w.socket())
	w.must(err)
	w.t.Cleanup(func() { conn.Close() })
	reply, got, err := ask(conn, wire.Request{Verb: wire.JoinGroup, Join: &wire.Join{Group: w.config.Name}}, files...)
	if err != nil {
		conn.Close()
	}
	return conn, reply, got, err
}

// slots are those in use.
func (w *world) slots() (slots []int) {
	for _, p := range w.progress() {
		slots = append(slots, p.Slot)
	}
	return slots
}

func (w *world) progress() []loader.Progress {
	g, err := w.host.Group(w.config.Name)
	w.must(err)
	defer g.Close()
	return g.Progress(nil)
}

func (w *world) slot(n int) loader.Progress {
	w.t.Helper()
	all := w.progress()
	i := slices.IndexFunc(all, func(p loader.Progress) bool { return p.Slot == n })
	if i < 0 {
		w.t.Fatalf("nobody is in slot %d", n)
	}
	return all[i]
}

func (w *world) snapshot() loader.Snapshot {
	w.t.Helper()
	g, err := w.host.Group(w.config.Name)
	w.must(err)
	defer g.Close()
	s, err := g.Snapshot()
	w.must(err)
	return s
}

func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			logDescriptors(w.t)
			w.t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// load begins to open connections; its books are balanced by settle.
func (w *world) load(l ledger.Load) *ledger.Run {
	w.t.Helper()
	l.Server = w.config.Listen
	if l.Timeout == 0 {
		l.Timeout = patience // the machine may be slow
	}
	r, err := ledger.Start(l)
	w.must(err)
	w.t.Cleanup(func() { r.Finish() })
	return r
}

// settle wants no connection lost, but for those that were in the hands of who
// was killed.
func (w *world) settle(run *ledger.Run, kills ...ledger.Kill) *ledger.Book {
	w.t.Helper()
	return w.settleBook(run.Finish(), kills...)
}

func (w *world) settleBook(book *ledger.Book, kills ...ledger.Kill) *ledger.Book {
	w.t.Helper()
	records, err := ledger.ReadRecords(w.records)
	w.must(err)
	balance := book.Balance(records, kills...)
	w.t.Log(book.Report(balance).Verdict())
	if !balance.Balances() {
		w.t.Errorf("the books don't balance: %v", balance.Faults)
	}
	killed := make(map[int]bool)
	for _, k := range kills {
		killed[k.PID] = true
	}
	for _, e := range book.Losses() {
		if e.Column != ledger.ResetAfterAccept || !killed[e.AcceptedBy] {
			w.t.Errorf("lost: %v", e)
		}
	}
	return book
}

// agree wants each slot to have as many connections as sock_diag lists of the
// process in it.
func (w *world) agree(want map[int]int) {
	w.t.Helper()
	w.until(fmt.Sprintf("the slots have %v", want), func() bool {
		got := make(map[int]int)
		for _, p := range w.progress() {
			got[p.Slot] = int(p.Connections)
		}
		listed, err := sockets.ConnectionsIn(sockets.Address{Host: w.config.Listen.Addr(), Port: w.config.Listen.Port()}, sockets.Established)
		w.must(err)
		sum := 0
		for slot, n := range got {
			if n != want[slot] {
				return false
			}
			sum += n
		}
		return len(listed) == sum
	})
}

// descriptors are how many this process has, but for those that it is about to close.
func descriptors(t testing.TB) int {
	t.Helper()
	least := math.MaxInt
	for range 10 {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		least = min(least, len(entries))
		time.Sleep(10 * time.Millisecond)
	}
	return least
}

// logDescriptors says what they are.
func logDescriptors(t testing.TB) {
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		target, _ := os.Readlink(link)
		t.Log(filepath.Base(link), target)
	}
}
