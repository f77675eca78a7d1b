package membership

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
)

// goneAfter is how long a slot waits for its worker: with a listener that is
// closed, or that somebody else has after the death of the worker's process.
const goneAfter = 5 * time.Second

// A member is a worker in its slot.
type member struct {
	slot    int
	cookie  uint64 // of its listener
	process process
	session *wire.Session // nil: it has none now
	lost    time.Duration // since when it has no listener or no process, by CLOCK_MONOTONIC; 0: it has both
}

// process is a worker's.
type process struct {
	pid   int      // 0: it can't be seen from here
	start uint64   // its start time, in clock ticks since boot
	file  *os.File // a pidfd, nil if there is none
	dead  bool     // it was already when it was looked for
}

// processOf is the peer's.
func processOf(peer *wire.Peer) (process, error) {
	p := process{pid: peer.PID}
	var err error
	if p.file, err = peer.Pidfd(); err != nil {
		if errors.Is(err, os.ErrProcessDone) || p.pid != 0 {
			return p, err
		}
		return p, nil // an old kernel, and another pid namespace
	}
	if p.pid != 0 {
		p.start, err = sockets.StartTime(p.pid)
	}
	// As long as it lives, nobody else has its number.
	if err == nil && p.hasEnded() {
		err = os.ErrProcessDone
	}
	if err != nil {
		p.file.Close()
		return p, fmt.Errorf("process %d: %w", p.pid, err)
	}
	return p, nil
}

// findProcess looks for one that is known by its number and start time.
func findProcess(pid int, start uint64) (process, error) {
	p := process{pid: pid, start: start}
	if pid == 0 {
		return p, nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) { // EINVAL: it is a thread of another one by now
		return p, os.ErrProcessDone
	}
	if err != nil {
		return p, fmt.Errorf("open process %d: %w", pid, err)
	}
	p.file = os.NewFile(uintptr(fd), fmt.Sprintf("pidfd of %d", pid))
	if !sockets.Alive(pid, start) {
		p.file.Close()
		return p, os.ErrProcessDone
	}
	return p, nil
}

func (p process) hasEnded() bool {
	ended := p.dead
	_ = p.control(func(fd int) { ended = readable(fd) })
	return ended
}

// control calls f with the pidfd.
func (p process) control(f func(fd int)) error {
	if p.file == nil {
		return os.ErrProcessDone
	}
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) { f(int(fd)) })
}

// await returns true when the process has ended, false when the file was closed.
func (p process) await() bool {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return false
	}
	return raw.Read(func(fd uintptr) bool { return readable(int(fd)) }) == nil
}

func readable(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(poll, 0)
		if !errors.Is(err, unix.EINTR) {
			return n > 0
		}
	}
}

func (p process) close() {
	if p.file != nil {
		p.file.Close()
	}
}

func (p process) same(other process) bool {
	return p.pid != 0 && p.pid == other.pid && p.start == other.start
}

func (p process) String() string {
	if p.pid == 0 {
		return "in another pid namespace"
	}
	return fmt.Sprintf("pid %d", p.pid)
}

func (m *member) String() string { return fmt.Sprintf("worker %d (%s)", m.slot, m.process) }

// listener is what the kernel side is told of it.
func (m *member) listener(fd int) loader.Listener {
	return loader.Listener{FD: fd, PID: m.process.pid, Start: m.process.start, Reports: true}
}

// enter takes a member in, in place of one that had the slot. The lock must be held.
func (g *Group) enter(m *member) {
	if before := g.members[m.slot]; before != nil {
		before.process.close()
		if before.session != m.session {
			before.endSession() // its worker has another one now
		}
	}
	g.members[m.slot] = m
	g.changed = time.Now()
	if m.process.file != nil {
		g.work.Go(func() {
			if m.process.await() {
				g.died(m)
			}
		})
	}
}

// died is told of the end of a member's process. Its listener has closed with
// it, unless somebody else has a copy, as a process that it forked.
func (g *Group) died(m *member) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isMember(m) {
		return
	}
	if g.listens(m) {
		g.log.Warn(fmt.Sprintf("%s has ended, and somebody else has its listener", m))
		m.lost = health.Now()
		g.hold(m, loader.HoldLeave)
		return
	}
	g.log.Info(fmt.Sprintf("%s has ended", m))
	g.free(m)
}

// free gives up a member's slot. The lock must be held.
func (g *Group) free(m *member) {
	delete(g.members, m.slot)
	m.process.close()
	if err := g.kernel.Remove(m.slot); err != nil && !errors.Is(err, loader.ErrNoSlot) {
		g.log.Error(fmt.Sprintf("free the slot of %s: %v", m, err))
	}
}

// isMember tells whether the slot is still this one's. The lock must be held.
func (g *Group) isMember(m *member) bool { return g.members[m.slot] == m && !g.ended }

// endSession has a worker that is there after all join again.
func (m *member) endSession() {
	if m.session != nil {
		m.session.Close()
	}
}

// listens tells whether the member's listener is still there, whoever has it.
func (g *Group) listens(m *member) bool {
	backlogs, err := sockets.Backlogs(g.place.Address.Port())
	_, there := backlogs[m.cookie]
	return there || err != nil
}

// hold says so if it fails.
func (g *Group) hold(m *member, why loader.Hold) {
	if err := g.kernel.Hold(m.slot, why); err != nil {
		g.log.Error(fmt.Sprintf("keep new connections from %s: %v", m, err))
	}
}

// tidy frees slots that have waited for their worker for long enough, and tells
// whether some still wait. A list of listeners of after the moment is good enough,
// if it has all that are ours.
func (g *Group) tidy(moment time.Time) (wait bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended || len(g.members) == 0 {
		return false
	}
	if moment.Before(g.changed) {
		moment = g.changed
	}
	listening, err := g.listening(moment)
	if err != nil {
		g.log.Error(fmt.Sprintf("look which workers listen: %v", err))
		return true
	}
	now := health.Now()
	slots := make(map[int]loader.Progress)
	for _, p := range g.kernel.Progress(nil) {
		slots[p.Slot] = p
	}
	for _, m := range g.members {
		p, there := slots[m.slot]
		dead := m.process.hasEnded()
		listens := listening[m.cookie] // now and then the kernel tells no program of a close
		switch {
		case !there || p.Cookie != m.cookie:
			g.log.Warn(fmt.Sprintf("%s has lost its slot: somebody else has freed it", m))
			delete(g.members, m.slot)
			m.process.close()
			m.endSession()
		case p.State != loader.Gone && listens && !dead:
			m.lost = 0
		case m.lost == 0:
			m.lost = now
		case now-m.lost < goneAfter:
		default:
			if dead {
				g.shut(m)
			}
			g.log.Info(fmt.Sprintf("%s listens no longer: its slot is free", m))
			g.free(m)
			m.endSession()
		}
	}
	for _, m := range g.members {
		wait = wait || m.lost != 0
	}
	return wait
}

// listening tells which members' listeners are there.
func (g *Group) listening(moment time.Time) (map[uint64]bool, error) {
	all, err := sockets.ListenersSince(moment)
	if err != nil {
		return nil, err
	}
	there := make(map[uint64]bool, len(g.members))
	for _, l := range all { // of all groups
		if l.Address.Port() == g.place.Address.Port() {
			there[l.Cookie] = true
		}
	}
	return there, nil
}
