package loader

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/packets"
)

// Ways in which a listener goes. Each leaves the worker closed for the test.
var departures = map[string]func(w *world, slot int){
	"close": func(w *world, slot int) { w.workers[slot].close() },
	"shutdown": func(w *world, slot int) {
		w.must(w.workers[slot].shut())
		w.workers[slot].open = false
		w.t.Cleanup(func() { unix.Close(w.workers[slot].fd) })
	},
	"death": func(w *world, slot int) { w.kill(slot) },
}

// holdListener is a child that has a listener as descriptor 3, and does nothing.
const holdListener = "hold a listener"

func init() {
	children[holdListener] = func([]string) error {
		fmt.Println("ready")
		time.Sleep(time.Hour) // select {} is a deadlock to the runtime
		return nil
	}
}

// kill gives a slot's listener to a process, as its only holder, and kills it.
func (w *world) kill(slot int) {
	w.t.Helper()
	file := os.NewFile(uintptr(w.workers[slot].fd), "listener")
	holder := child(holdListener, nil, file)
	out, err := holder.StdoutPipe()
	w.must(err)
	w.must(dependent.Start(holder))
	if _, err := out.Read(make([]byte, 16)); err != nil {
		w.t.Error(err)
	}
	w.workers[slot].open = false
	file.Close()
	w.must(holder.Process.Kill())
	var killed *exec.ExitError
	if err := holder.Wait(); !errors.As(err, &killed) || killed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		w.t.Errorf("the listener's process ended by itself: %v", err)
	}
	w.workers[slot].gone()
}

// speak sends on each connection what served will look for.
func speak(t *testing.T, clients []*end) {
	t.Helper()
	for _, c := range clients {
		if err := c.send(c.local.String()); err != nil {
			t.Fatal(err)
		}
	}
}

// served accepts everything and checks that each of the clients is answered,
// having said what it said before its worker went.
func (w *world) served(clients []*end) {
	w.t.Helper()
	servers := w.acceptAll()
	for _, s := range servers {
		if text, err := s.receive(); text != s.remote.String() {
			w.t.Errorf("a worker read %q of the connection from %s, %v", text, s.remote, err)
		}
		w.must(s.send("welcome " + s.remote.String()))
	}
	for _, c := range clients {
		if text, err := c.receive(); text != "welcome "+c.local.String() {
			w.t.Errorf("the client %s read %q, %v", c.local, text, err)
		}
	}
	if len(servers) != len(clients) {
		w.t.Errorf("%d connections were accepted, of %d", len(servers), len(clients))
	}
}

// moved checks the counters of moves out of one slot, and that nothing failed.
func (w *world) moved(from int, connections, handshakes uint64) {
	w.t.Helper()
	s := w.snapshot()
	into := uint64(0)
	for _, slot := range s.Slots {
		into += slot.Migrated
		if out := slot.MovedOut; out != 0 && slot.Slot != from {
			w.t.Errorf("%d connections moved out of slot %d, whose listener is there", out, slot.Slot)
		}
	}
	if total := connections + handshakes; s.Migrated != total || into != total || w.slot(from).MovedOut != connections {
		w.t.Errorf("%d moved, into slots %d, %d out of slot %d; want %d and %d handshakes",
			s.Migrated, into, w.slot(from).MovedOut, from, connections, handshakes)
	}
	if s.MigrateFailed != 0 || s.Unmarked != 0 || s.Stale != 0 || s.Refused != 0 {
		w.t.Errorf("%d moves failed, %d unmarked, %d stale, %d refused", s.MigrateFailed, s.Unmarked, s.Stale, s.Refused)
	}
	if state := w.slot(from).State; state != Gone {
		w.t.Errorf("slot %d is %v", from, state)
	}
}

// However a listener goes, others serve its queue, with all that was sent.
func TestQueueMigrates(t *testing.T) {
	for kind, where := range loopbacks {
		for how, depart := range departures {
			t.Run(kind+"/"+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, 4, Least, where)
				clients := w.connect(80)
				speak(t, clients)
				for _, c := range clients[:40] {
					w.must(c.finish()) // CLOSE_WAIT in the queue
				}
				depart(w, 1)
				w.agree("moved")
				w.moved(1, 20, 0)
				if rest := slices.Delete(w.shares(), 1, 2); slices.Max(rest)-slices.Min(rest) > 1 {
					t.Errorf("80 connections moved among three slots: %v", rest)
				}
				w.served(clients)
				w.agree("served")
			})
		}
	}
}

// Connections that ended in the queue move too, and bring no count.
func TestDeadMigrate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 4, Least)
	clients := w.connect(40)
	speak(t, clients)
	dead := 0
	for i, c := range clients {
		if i%2 == 0 {
			c.reset()
		}
	}
	w.eventually("resets are counted", func() error {
		dead = 10 - int(w.slot(0).Connections)
		if n := sum(w.shares()); n != 20 {
			return fmt.Errorf("%d of 20 connections are counted", n)
		}
		return nil
	})
	w.workers[0].close()
	w.eventually("the queue moves", func() error {
		if s := w.snapshot(); s.Migrated != 10 || w.slot(0).MovedOut != uint64(10-dead) || w.slot(0).Connections != 0 {
			return fmt.Errorf("a queue of 10, %d of them dead: %d moved; %+v", dead, s.Migrated, w.slot(0))
		}
		return nil
	})
	servers := w.acceptAll()
	w.agree("accepted, dead or alive")
	if len(servers) != 40 {
		t.Errorf("%d of 40 were accepted, dead or alive", len(servers))
	}
	w.connect(10)
	w.agree("young ones came")
	if rest := w.shares()[1:]; slices.Max(rest)-slices.Min(rest) > 1 {
		t.Errorf("30 connections over three slots: %v", rest)
	}
}

// A handshake whose listener goes before the ACK comes ends at another one,
// whether the kernel sent its SYN-ACK again in the meantime or not.
func TestHandshakeMigrates(t *testing.T) {
	for how, depart := range departures {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late %v", how, late), func(t *testing.T) {
				t.Parallel()
				ns := netns.New(t)
				peer := packets.NewPeer(t, ns)
				w := newWorld(t, 4, Least, in(ns), at("::", "::1", dualStack))
				w.connect(4)
				var half []*packets.Handshake
				for _, address := range []netip.Addr{peer.Server4(), peer.Server6()} {
					more, err := peer.SYNs(netip.AddrPortFrom(address, w.server.Port()), 20)
					w.must(err)
					half = append(half, more...)
				}
				for _, h := range half {
					w.must(h.SYNACK(patience))
				}
				w.workers[2].acceptAll(t)
				depart(w, 2)
				if late {
					w.repeated(10)
				}
				for _, h := range half {
					w.must(h.ACK())
				}
				w.agree("acknowledged")
				w.moved(2, 0, 10)
				if n := len(w.acceptAll()); n != 43 { // all but the one that was accepted before
					t.Errorf("%d were accepted, of 43", n)
				}
				w.agree("accepted")
				w.abort(half)
				w.expired()
				w.agree("reset")
			})
		}
	}
}

// repeated waits until the kernel has sent a SYN-ACK again for n handshakes, and
// moved them if their listener is gone.
func (w *world) repeated(n uint64) {
	w.t.Helper()
	w.eventually("the kernel moves handshakes by itself", func() error {
		if got := w.snapshot().Migrated; got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
}

// Every policy decides where a queue goes.
func TestEveryPolicyMigrates(t *testing.T) {
	for _, policy := range Policies() {
		t.Run(policy.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 4, policy)
			w.must(w.group.Drain(3))
			var clients []*end
			for _, client := range crowd4(120) {
				clients = append(clients, w.connect(1, from(client))...)
			}
			speak(t, clients)
			queued := w.slot(1).Connections
			w.workers[1].close()
			w.agree("moved")
			w.moved(1, queued, 0)
			if got := w.shares(); got[3] != 0 || got[0] == 0 || got[2] == 0 {
				t.Errorf("slots 0 and 2 were there to take it, 3 is drained: %v", got)
			}
			w.served(clients)
			if policy == Hash {
				at := make(map[netip.Addr]int)
				for _, worker := range w.workers {
					for _, e := range worker.accepted {
						at[e.remote.Addr()] = worker.slot
					}
				}
				same(t, "next visit", at, w.homes(crowd4(120)))
			}
		})
	}
}

// A queue was let in already: it goes to full slots if need be.
func TestMigratesToFull(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 3, Least)
	clients := w.connect(30)
	speak(t, clients)
	w.maxima(10, 10, 10)
	w.workers[0].close()
	w.agree("moved")
	w.moved(0, 10, 0)
	if got := w.shares(); !slices.Equal(got, []int{0, 15, 15}) {
		t.Errorf("full slots took %v", got)
	}
	if n := w.refused(3); n != 3 {
		t.Errorf("%d of 3 were refused while all are above their maximum", n)
	}
	w.served(clients)
}

// A queue outlives every listener but one.
func TestMigratesAgainAndAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 9, Least)
	clients := w.connect(90)
	speak(t, clients)
	for slot := range 8 {
		w.workers[slot].close()
		w.agree(fmt.Sprintf("slot %d is gone", slot))
	}
	if n := w.slot(8).Connections; n != 90 {
		t.Errorf("the last slot has %d of 90 connections", n)
	}
	w.served(clients)
}
