package control

import (
	"context"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// ejection is a worker that hangs.
type ejection struct {
	worker *worker
	life   *life
	since  time.Duration
	still  bool     // for its heartbeat, which shows when it goes on
	canary net.Conn // nil: there is none
	killed bool
}

// eject keeps new connections from a worker, and has others serve its queue.
func (g *guard) eject(now time.Duration, found hang) {
	w := g.app.crew.in(found.Slot)
	if w == nil {
		return
	}
	e := &ejection{worker: w, life: w.current(), since: now, still: found.still}
	g.ejected[w.slot] = e
	why := fmt.Sprintf("%d connections wait and it has accepted none for %v", found.Backlog, found.For.Round(time.Millisecond))
	if found.still {
		why = fmt.Sprintf("its heartbeat stands still for %v", found.For.Round(time.Millisecond))
	}
	what := fmt.Sprintf("worker %d (pid %d) hangs: %s", w.slot, e.life.process.pid, why)
	if g.app.config.OnHang == IgnoreHung {
		g.app.log.Warn(what)
		return
	}
	switch {
	case found.still && found.Backlog == 0:
		what += "; it gets no new connections"
	case found.still:
		what += fmt.Sprintf("; it gets no new connections, and the others get the %d that wait", found.Backlog)
	default:
		what += "; it gets no new ones, and the others get these"
	}
	g.app.log.Warn(what)
	if err := g.app.steering.Hold(w.slot, Hung); err != nil {
		g.app.log.Error(fmt.Sprintf("eject worker %d: %v", w.slot, err))
	}
	if found.Backlog > 0 {
		g.rescue(e)
	}
}

// inherit looks after a worker that an earlier supervisor has ejected, for
// whatever reason.
func (g *guard) inherit(now time.Duration, slot int, beats bool) {
	if w := g.app.crew.in(slot); w != nil {
		g.ejected[slot] = &ejection{worker: w, life: w.current(), since: now, still: beats}
	}
}

// rescue gives the queue to others. Where that shut the listener for good, only
// another process helps.
func (g *guard) rescue(e *ejection) {
	if !g.app.listeners.hasOthers(e.worker.slot) {
		return // with nobody to take it, the queue would be reset
	}
	e.dropCanary()
	if err := g.app.listeners.rescue(e.worker); err != nil {
		g.app.log.Error(fmt.Sprintf("give the queue of worker %d to others: %v", e.worker.slot, err))
		if g.app.config.OnHang == RestartHung {
			g.restart(e, "its queue could not be given to others")
		}
	}
}

// tend looks after a worker that hangs.
func (g *guard) tend(now time.Duration, e *ejection, backlog uint64) {
	if g.app.config.OnHang == IgnoreHung || e.killed || now == e.since {
		return
	}
	if g.app.config.OnHang == RestartHung && now-e.since > g.app.config.HangGrace {
		g.restart(e, fmt.Sprintf("it hangs for %v", (now-e.since).Round(time.Second)))
		return
	}
	canaries := uint64(0)
	if e.canary != nil {
		canaries = 1
	}
	// Handshakes that were under way end in the queue later.
	if backlog > canaries {
		g.rescue(e)
	}
	if e.canary == nil && !e.still {
		e.canary = g.sendCanary(e.worker)
	}
}

func (g *guard) sendCanary(w *worker) net.Conn {
	ctx, cancel := context.WithTimeout(context.Background(), canaryPatience)
	defer cancel()
	for _, group := range g.app.listeners.servedBy(w.slot) {
		conn, err := g.app.steering.Dial(ctx, w.slot, group)
		if err == nil {
			return conn
		}
		g.app.log.Debug("no canary for a worker that hangs", "slot", w.slot, "why", err)
	}
	return nil
}

// restart kills a worker; as any that dies, it is started again.
func (g *guard) restart(e *ejection, why string) {
	e.killed = true
	e.dropCanary() // or another worker would get it with the rest of the queue
	g.app.log.Warn(fmt.Sprintf("worker %d (pid %d) is killed: %s", e.worker.slot, e.life.process.pid, why))
	if err := e.life.process.signal(unix.SIGKILL); err != nil {
		g.app.log.Error(err.Error())
	}
}

// readmit lets connections come to a worker again that goes on.
func (g *guard) readmit(slot int) {
	if err := g.app.steering.Unhold(slot, Hung); err != nil {
		g.app.log.Error(fmt.Sprintf("worker %d accepts again and gets no connections: %v", slot, err))
		return
	}
	if w := g.app.crew.in(slot); w != nil {
		g.app.log.Info(fmt.Sprintf("worker %d (pid %d) accepts again", slot, w.pid()))
	}
	g.forget(slot)
}

func (g *guard) forget(slot int) {
	if e := g.ejected[slot]; e != nil {
		e.dropCanary()
		delete(g.ejected, slot)
	}
}

func (e *ejection) dropCanary() {
	if e.canary != nil {
		_ = e.canary.Close()
		e.canary = nil
	}
}
