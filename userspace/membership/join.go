package membership

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
)

var (
	// ErrNotAllowed is wrapped when a user may not join.
	ErrNotAllowed = errors.New("not allowed to join")
	// ErrFull is wrapped when all slots are taken.
	ErrFull = errors.New("all slots are taken")
)

const (
	// drainPatience is more than a handshake takes, if the client goes on with it.
	drainPatience = time.Second
	drainAgain    = 2 * time.Millisecond
)

// Join serves a worker's session until it ends, or the group does: it gives the
// worker its seat, or says why not, and then does what the worker asks for. r is
// the first request, which Matches this group, and files are what came with it:
// none, or the worker's listener. Join closes them.
func (g *Group) Join(s *wire.Session, r wire.Request, files []*os.File) {
	e := entry{group: g, session: s}
	seat, err := e.admit(files)
	closeAll(files) // a copy would keep the queue of a dead worker
	if err != nil {
		_ = s.Reply(wire.Reply{Done: true, Error: fmt.Sprintf("join %s: %v", g.name, err)}) // it may have gone
		return
	}
	err = e.reply(seat)
	if err == nil {
		g.attend(s, e.member)
	}
	g.sessionEnds(s, e.member, err != nil && e.made)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// An entry is one worker's way into the group.
type entry struct {
	group    *Group
	session  *wire.Session
	process  process
	member   *member
	made     bool     // we made the listener
	listener *os.File // what the worker gets
	loads    *os.File
}

// admit gives the worker its slot.
func (e *entry) admit(files []*os.File) (seat *wire.Seat, err error) {
	if len(files) > 1 {
		return nil, fmt.Errorf("%w: %d descriptors came, one at most is needed", ErrListener, len(files))
	}
	if e.process, err = processOf(e.session.Peer()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			e.process.close()
		}
	}()
	g := e.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return nil, ErrEnded
	}
	if e.loads, err = g.kernel.LoadsFile(); err != nil {
		return nil, err
	}
	if len(files) == 1 {
		err = withFile(files[0], e.bring)
	} else {
		err = e.make()
	}
	if err != nil {
		e.loads.Close()
		return nil, err
	}
	g.enter(e.member)
	return e.seat(), nil
}

// withFile calls do with the descriptor. [os.File.Fd] could make it block, for
// all who share it.
func withFile(file *os.File, do func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// bring gives the worker's own listener a slot, the same one if it had one.
func (e *entry) bring(fd int) error {
	g := e.group
	cookie, err := sockets.Cookie(fd)
	if err != nil {
		return fmt.Errorf("%w: it is no socket", ErrListener)
	}
	before := g.memberWith(cookie)
	if before == nil || !before.process.same(e.process) {
		if err := e.mayJoin(); err != nil {
			return err
		}
	}
	if _, err := g.check(fd, before != nil); err != nil {
		return err
	}
	if before == nil {
		if err := g.makeRoom(); err != nil {
			return err
		}
	}
	if err := e.add(fd, cookie); err != nil {
		return err
	}
	if before == nil {
		if err := g.steerBy(fd); err != nil {
			return errors.Join(err, g.kernel.Remove(e.member.slot))
		}
		return nil
	}
	if before.process.hasEnded() { // another process goes on with it
		if err := g.kernel.Unhold(e.member.slot, loader.HoldLeave); err != nil {
			return err
		}
	}
	return g.steerBy(fd)
}

func (e *entry) mayJoin() error {
	peer := e.session.Peer()
	if !e.group.config.lets(peer) {
		return notAllowed(peer)
	}
	return nil
}

func notAllowed(peer *wire.Peer) error {
	return fmt.Errorf("user %d with group %d is %w: neither is in the configuration of the group", peer.UID, peer.GID, ErrNotAllowed)
}

// make makes a listener for the worker.
func (e *entry) make() error {
	g := e.group
	if err := e.mayJoin(); err != nil {
		return err
	}
	if err := g.makeRoom(); err != nil {
		return err
	}
	if err := g.strangers(); err != nil {
		return err
	}
	deaf := !g.isServed() // nothing steers yet
	fd, err := listen(g.place, deaf)
	if err != nil {
		return err
	}
	e.listener, e.made = os.NewFile(uintptr(fd), wire.FileListener), true
	if err := e.open(fd, deaf); err != nil {
		e.listener.Close()
		return err
	}
	return nil
}

// open makes the new listener a member's.
func (e *entry) open(fd int, deaf bool) error {
	// Only now: an os.File that doesn't block is polled by us.
	if err := unix.SetNonblock(fd, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	cookie, err := sockets.Cookie(fd)
	if err != nil {
		return err
	}
	if err := e.add(fd, cookie); err != nil {
		return err
	}
	if err = e.group.kernel.Steer(fd); err == nil {
		err = release(fd, deaf)
	}
	if err != nil {
		return errors.Join(err, e.group.kernel.Remove(e.member.slot))
	}
	return nil
}

func (e *entry) add(fd int, cookie uint64) (err error) {
	e.member = &member{cookie: cookie, process: e.process, session: e.session}
	e.member.slot, err = e.group.kernel.Add(-1, e.member.listener(fd))
	switch {
	case errors.Is(err, loader.ErrSteered):
		return fmt.Errorf("%w: it is in a slot of another group", ErrListener)
	case err != nil:
		return err
	}
	return nil
}

// steerBy attaches the program through the descriptor, or by itself where that
// is locked.
func (g *Group) steerBy(fd int) error {
	err := g.kernel.Steer(fd)
	if errors.Is(err, unix.EPERM) {
		err = g.steer()
	}
	return err
}

// makeRoom makes sure that there is a slot, if need be one that only waits for a
// worker which is gone.
func (g *Group) makeRoom() error {
	if len(g.members) < g.config.Slots {
		return nil
	}
	for _, p := range g.kernel.Progress(nil) {
		if m := g.members[p.Slot]; m != nil && p.State == loader.Gone {
			g.free(m)
			m.endSession()
			return nil
		}
	}
	return fmt.Errorf("%w, %d of them: the group's configuration can allow more, up to %d", ErrFull, len(g.members), MaxSlots)
}

// isServed tells whether a worker's listener, or the standby, gets connections.
func (g *Group) isServed() bool {
	for _, p := range g.kernel.Progress(nil) {
		if p.State != loader.Gone {
			return true
		}
	}
	return false
}

func (g *Group) memberWith(cookie uint64) *member {
	for _, m := range g.members {
		if m.cookie == cookie {
			return m
		}
	}
	return nil
}

// seat says what the worker has got.
func (e *entry) seat() *wire.Seat {
	seat := &wire.Seat{Group: e.group.name, Slot: e.member.slot, Address: e.group.place.Address.String()}
	if e.made {
		seat.Descriptors = append(seat.Descriptors, wire.FileListener)
	}
	seat.Descriptors = append(seat.Descriptors, wire.FileLoads)
	return seat
}

// reply hands the seat over, and keeps nothing of it.
func (e *entry) reply(seat *wire.Seat) error {
	files := []*os.File{e.loads}
	if e.made {
		files = []*os.File{e.listener, e.loads}
	}
	defer closeAll(files)
	return e.session.Reply(wire.Reply{Done: true, Seat: seat}, files...)
}

// attend does what a member asks for.
func (g *Group) attend(s *wire.Session, m *member) {
	g.log.Info(fmt.Sprintf("%s has joined", m))
	for {
		r, files, err := s.Receive()
		if err != nil {
			return
		}
		closeAll(files)
		reply := wire.Reply{Done: true}
		if err := g.answer(s, m, r); err != nil {
			reply.Error = err.Error()
		} else if r.Verb == wire.Drain {
			g.awaitPending(m)
		}
		if s.Reply(reply) != nil {
			return
		}
	}
}

func (g *Group) answer(s *wire.Session, m *member, r wire.Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case r.Verb == wire.Ping:
		return nil
	case g.ended:
		return ErrEnded
	case g.members[m.slot] != m || m.session != s:
		return fmt.Errorf("slot %d is another worker's by now", m.slot)
	}
	switch r.Verb {
	case wire.Drain:
		return g.kernel.Hold(m.slot, loader.HoldLeave)
	case wire.Undrain:
		return g.kernel.Unhold(m.slot, loader.HoldLeave)
	case wire.Quit:
		g.log.Info(fmt.Sprintf("%s leaves", m))
		g.left[m.cookie] = true
		g.free(m)
		return nil
	}
	return fmt.Errorf("a worker in its slot can't ask for %q", r.Verb)
}

// awaitPending waits until no handshake is under way to a slot that is not picked
// any more. In a handshake that ends at the very moment at which its listener
// closes, the kernel resets the connection; a worker that drains first, and then
// closes, loses none.
func (g *Group) awaitPending(m *member) {
	for deadline := time.Now().Add(drainPatience); time.Now().Before(deadline); time.Sleep(drainAgain) {
		s, err := g.kernel.Snapshot()
		if err != nil || !slices.ContainsFunc(s.Slots, func(slot loader.Slot) bool { return slot.Slot == m.slot && slot.Pending > 0 }) {
			return
		}
	}
}

// sessionEnds keeps the slot, for the worker may serve on; one that has never
// got its listener has none.
func (g *Group) sessionEnds(s *wire.Session, m *member, unheard bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isMember(m) || m.session != s {
		return
	}
	m.session = nil
	if unheard {
		g.free(m)
	}
}
