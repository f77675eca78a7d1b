package membership

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/wire"
)

// daemonRole keeps a group until it is killed, or ends in order by SIGTERM.
func daemonRole(args []string) error {
	var c Config
	if err := json.Unmarshal([]byte(args[2]), &c); err != nil {
		return err
	}
	host, err := loader.Open(loader.Options{Dir: args[0]})
	if err != nil {
		return err
	}
	g, err := Open(host, c)
	if err != nil {
		return err
	}
	s, err := wire.Serve(args[1], wire.Options{Mode: 0o666}, handler{g})
	if err != nil {
		return err
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGTERM)
	fmt.Println("ready")
	<-ends
	return errors.Join(s.Close(), g.Close())
}

func (w *world) daemon() *child {
	w.t.Helper()
	return w.daemonIn(0)
}

// daemonIn has it in namespaces of its own.
func (w *world) daemonIn(namespaces uintptr) *child {
	w.t.Helper()
	c := w.config
	c.Logger = nil
	text, err := json.Marshal(c)
	w.must(err)
	d := &child{t: w.t, lines: make(chan string, 64)}
	d.cmd = childCommand("daemon", filepath.Dir(w.host.Dir()), w.socket(), string(text))
	d.cmd.SysProcAttr.Cloneflags = namespaces
	d.start().says("ready")
	return d
}

// A daemon is killed, or ends in order, and started again, while workers come,
// go and die and connections are opened: none is lost, and the slots are right.
func TestDaemonIsKilled(t *testing.T) {
	w := newHost(t)
	w.config = Config{Name: "api", Listen: newAddress(),
		Slots: 10, UIDs: []uint32{user}, HangAfter: 5 * time.Second}
	d := w.daemon()
	workers := w.workers(4, "-beat", "100ms")
	run := w.load(ledger.Load{Rate: 150, Held: ledger.Held{Count: 20}})
	answered := func(n int64) {
		t.Helper()
		w.until(fmt.Sprintf("%d more are answered", n), func() func() bool {
			before := run.Progress().Answered
			return func() bool { return run.Progress().Answered >= before+n }
		}())
	}
	var kills []ledger.Kill
	for round := range 4 {
		answered(100)
		if round%2 == 0 {
			d.kill()
		} else {
			d.terminate()
		}
		answered(100)
		// One dies while nobody looks.
		victim := workers[0]
		k, err := ledger.KillWorker(victim.pid())
		w.must(err)
		kills = append(kills, k)
		_ = victim.end()
		answered(50)
		d = w.daemon()
		for _, c := range workers[1:] {
			c.says("again")
		}
		if n := len(w.slots()); n != 3 {
			t.Errorf("%d slots after a restart with 3 workers: %v", n, w.slots())
		}
		workers = append(workers[1:], w.worker("-beat", "100ms"))
	}
	if slots := w.slots(); len(slots) != 4 {
		t.Errorf("slots %v", slots)
	}
	w.settle(run, kills...)
	if s := w.snapshot(); s.MigrateFailed != 0 || s.Unmarked != 0 {
		t.Errorf("%+v", s)
	}
	for _, c := range workers {
		c.terminate()
	}
	d.terminate()
	g, err := Open(w.host.Host, w.config)
	w.must(err)
	if n := len(w.slots()); n != 0 {
		t.Errorf("slots %v after all have left", w.slots())
	}
	w.must(g.Remove())
}

// What a daemon finds: a slot whose listener is closed, one of a dead process,
// one of a living process that never joins again, and one that does.
func TestTakesOver(t *testing.T) {
	w := newWorld(t)
	_, _, closed, err := w.join() // slot 0
	w.must(err)
	dies := start(t, "reach", user, nil, "leave session", w.socket(), w.config.Name)
	dies.says("closed") // slot 1
	stays := start(t, "reach", user, nil, "leave session", w.socket(), w.config.Name)
	stays.says("closed") // slot 2
	joins := w.worker()  // slot 3
	w.until("sessions have ended", func() bool { return len(w.slots()) == 4 })
	w.close()
	closeAll(closed)
	dies.kill()
	w.config.Policy = loader.P2C
	w.open()
	joins.says("again")
	if got := w.slots(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("slots %v, want 2 and 3", got)
	}
	if p := w.snapshot().Spec.Policy; p != loader.P2C {
		t.Errorf("policy %v", p)
	}
	stays.kill()
	w.until("the one that never joined again is noticed to have died", func() bool { return slices.Equal(w.slots(), []int{3}) })
	if got := clients.Hold(t, w.config.Listen, 5).Slots(); got[3] != 5 {
		t.Errorf("%v", got)
	}
}

// A group that isn't configured any more leaves its workers to the kernel.
func TestRemove(t *testing.T) {
	w := newWorld(t)
	workers := w.workers(3)
	run := w.load(ledger.Load{Rate: 300, Held: ledger.Held{Count: 20}})
	w.until("some are answered", func() bool { return run.Progress().Answered > 100 })
	w.must(w.group.Remove())
	before := run.Progress().Answered
	w.until("more are answered", func() bool { return run.Progress().Answered > before+200 })
	book := run.Finish()
	if _, err := w.host.Group(w.config.Name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the group: %v", err)
	}
	// When it is configured again, they come back with what they have.
	w.must(w.server.Close())
	run = w.load(ledger.Load{Rate: 300, First: 1_000_000})
	w.open()
	for _, c := range workers {
		c.says("again")
	}
	w.until("all are in", func() bool { return len(w.slots()) == 3 })
	before = run.Progress().Answered
	w.until("more are answered", func() bool { return run.Progress().Answered > before+200 })
	w.settleBook(ledger.Merge(book, run.Finish()))
	for _, c := range workers {
		c.kill()
	}
}
