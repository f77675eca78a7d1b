package attachment

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/loader"
)

// watch attaches and watches until it is stopped, or the test ends.
func (w *world) watch() (said *transcript.Text, stop func()) {
	w.t.Helper()
	groups, err := Attach(w.t.Context(), w.host, w.options())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, g := range groups {
		w.detachInTheEnd(g)
	}
	said = new(transcript.Text)
	ctx, cancel := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() {
		if err := Watch(ctx, w.host, w.options(), groups, slog.New(slog.NewTextHandler(said, nil))); err != nil {
			w.t.Error(err)
		}
	})
	stop = func() {
		cancel()
		watching.Wait()
	}
	w.t.Cleanup(func() {
		stop()
		if w.t.Failed() {
			w.t.Logf("the watch said\n%s", said)
		}
	})
	return said, stop
}

func (w *world) untilSaid(j *transcript.Text, what string) {
	w.t.Helper()
	w.until(fmt.Sprintf("the watch to say %q", what), func() (bool, string) {
		return strings.Contains(j.String(), what), j.String()
	})
}

// untilServed waits until the slots are those of certain processes.
func (w *world) untilServed(name string, pids []int) {
	w.t.Helper()
	want := slices.Sorted(slices.Values(pids))
	w.until(fmt.Sprintf("slots of %v", want), func() (bool, string) {
		var got []int
		for _, s := range w.snapshot(name).Slots {
			if s.State != loader.Gone {
				got = append(got, s.PID)
			}
		}
		slices.Sort(got)
		return slices.Equal(got, want), fmt.Sprint(got)
	})
}

func TestWatchNginx(t *testing.T) {
	const workers = 3
	w := newWorld(t)
	w.listen = ":80"
	nginx := w.startNginx(workers)
	said, stop := w.watch()
	before := nginx.Workers()
	w.untilServed("80", before)

	// A worker dies; its master starts another at the same socket.
	victim := before[0]
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.until("another worker", func() (bool, string) {
		now := nginx.Workers()
		return len(now) == workers && !slices.Contains(now, victim), fmt.Sprint(now)
	})
	w.untilServed("80", nginx.Workers())
	w.untilSaid(said, "another process serves the slot")

	// A reload replaces all of them, under load.
	ctx, cancel := context.WithCancel(t.Context())
	ledgers := make(chan clients.Ledger)
	go func() {
		ledgers <- w.client.Load(ctx, w.server, clients.Limits{Count: 1 << 20, Duration: time.Minute, Concurrency: 4})
	}()
	old := nginx.Workers()
	if err := syscall.Kill(nginx.PID, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	w.until("new workers", func() (bool, string) {
		now := nginx.Workers()
		return len(now) == workers && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(old, pid) }), fmt.Sprint(now)
	})
	w.untilServed("80", nginx.Workers())
	cancel()
	ledger := <-ledgers
	// Nginx itself may reset what an old worker had.
	if lost := ledger.Lost(); len(lost) != len(ledger.With(clients.Reset)) {
		t.Errorf("over the reload: %v", ledger)
	}
	w.wantCounts("80", evenly(nginx.Workers(), 0)) // nginx closes its ends in its own time
	held := w.hold(30)
	if got, want := held.PIDs(), evenly(nginx.Workers(), 10); !maps.Equal(got, want) {
		t.Errorf("connections after the reload %v, want %v", got, want)
	}

	stop()
	if got, want := append(held, w.hold(30)...).PIDs(), evenly(nginx.Workers(), 20); !maps.Equal(got, want) {
		t.Errorf("connections after the watch %v, want %v", got, want)
	}
}

// All servers end, and others start: new sockets, a new group of the kernel.
func TestWatchRestart(t *testing.T) {
	w := newWorld(t)
	children := w.serve(3)
	said, _ := w.watch()
	name := "127-0-0-1-80"
	group, err := w.host.Group(name)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	if err := group.SetWeight(1, 200); err != nil {
		t.Fatal(err)
	}
	for _, c := range children {
		c.kill()
	}
	w.untilSaid(said, "nothing listens any more")
	children = w.serve(3)
	w.untilServed(name, pidsOf(children))
	w.untilSaid(said, "msg=steering group="+name)
	w.until("steering", func() (bool, string) { return len(w.steerers()) == 3, "" })
	got := w.hold(40).PIDs()
	if counts := slices.Sorted(maps.Values(got)); !slices.Equal(counts, []int{10, 10, 20}) {
		t.Errorf("connections %v, want one server with twice as many, as before", got)
	}

	// One goes, and its slot waits; one more comes.
	children[2].end()
	w.untilSaid(said, "listener gone")
	children[2] = serve(t, w.ns, w.listen)
	w.untilServed(name, pidsOf(children))
	children = append(children, serve(t, w.ns, w.listen))
	w.untilServed(name, pidsOf(children))
	if n := len(w.snapshot(name).Slots); n != 4 {
		t.Errorf("%d slots, want 4", n)
	}
	for line := range strings.Lines(said.String()) {
		if !strings.HasPrefix(line, "time=") {
			t.Errorf("a change in more than one line: %s", line)
		}
	}
}

// A group of the other family that comes later is steered, too.
func TestWatchSecondFamily(t *testing.T) {
	w := newWorld(t)
	w.listen = ":80"
	serveMany(t, w.ns, "tcp4://0.0.0.0:80", 2)
	said, _ := w.watch()
	serveMany(t, w.ns, "tcp6://[::]:80", 2)
	w.untilSaid(said, `msg="steered now" group=80-v6`)
	w.t.Cleanup(func() { w.detach("80-v6") })
}

// Detached by somebody else, it is not steered again, and the watch ends.
func TestWatchEndsWithDetach(t *testing.T) {
	w := newWorld(t)
	children := w.serve(2)
	said, _ := w.watch()
	children[0].kill() // while the watch is about to look
	w.detach("127-0-0-1-80")
	w.untilSaid(said, "no longer watched")
	if n := len(w.steerers()); n != 0 {
		t.Errorf("%d sockets steered", n)
	}
}

// What can't be done is said once, and tried again.
func TestWatchTrouble(t *testing.T) {
	w := newWorld(t)
	w.serve(2)
	said, _ := w.watch()
	stranger := serve(t, w.ns, w.listen, "-listeners", "2", "-give-away", "65534")
	w.untilSaid(said, ErrUsers.Error())
	more := serve(t, w.ns, w.listen)
	time.Sleep(2 * glanceEvery)
	if n := strings.Count(said.String(), ErrUsers.Error()); n != 1 {
		t.Errorf("said %d times:\n%s", n, said)
	}
	stranger.end()
	w.until("the slot of the newcomer", func() (bool, string) {
		got := w.counts("127-0-0-1-80")
		_, there := got[more.pid()]
		return there, fmt.Sprint(got)
	})
}
