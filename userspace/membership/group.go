package membership

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/health"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// claimWithin bounds how long Open and Remove wait for another process that puts
// groups together.
const claimWithin = 30 * time.Second

var (
	// ErrTaken is wrapped when the name is that of a group of another kind, or at
	// another address.
	ErrTaken = errors.New("the name is taken")
	// ErrEnded is wrapped after Close or Remove.
	ErrEnded = errors.New("the group is not open any more")
)

// A Group is a library group. It is safe for concurrent use, and nobody else may
// have the group open: one daemon keeps it.
type Group struct {
	host   *loader.Host
	name   string
	place  sockets.Group
	netns  uint64 // the cookie of the network namespace
	log    *slog.Logger
	change chan struct{} // the configuration has changed
	stop   chan struct{}
	work   sync.WaitGroup

	// mu is held for each change of the kernel side too, so that what is known
	// here and there is the same.
	mu      sync.Mutex
	config  Config
	kernel  *loader.Group
	holder  int // a bound socket that doesn't listen: nobody else gets the address
	standby *standby
	members map[int]*member
	changed time.Time       // when one last came, or its listener was shut for a moment
	left    map[uint64]bool // listeners of members that said that they leave
	ended   bool
}

// Open makes the group, or goes on with the one that a killed daemon left: its
// workers keep their slots, but for those which have ended, and may join again.
// It works in the network namespace of this process, in which workers get their
// listeners.
//
// Errors wrap ErrConfig, ErrTaken, ErrStranger, and what package loader says.
// After an error all is as before.
func Open(host *loader.Host, c Config) (g *Group, err error) {
	if err := c.complete(); err != nil {
		return nil, fmt.Errorf("group %s: %w", c.Name, err)
	}
	g = &Group{
		host: host, name: c.Name, place: c.place(), config: c, log: c.Logger.With("group", c.Name), holder: -1,
		change: make(chan struct{}, 1), stop: make(chan struct{}),
		members: make(map[int]*member), left: make(map[uint64]bool),
	}
	if err := g.open(); err != nil {
		g.end()
		g.giveUp()
		return nil, fmt.Errorf("group %s: %w", c.Name, err)
	}
	g.work.Go(g.guard)
	if g.standby != nil {
		g.work.Go(g.relieve)
	}
	return g, nil
}

func (g *Group) open() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), claimWithin)
	defer cancel()
	release, err := g.host.Claim(ctx)
	if err != nil {
		return err
	}
	defer release()
	g.mu.Lock()
	defer g.mu.Unlock()
	isNew := false
	defer func() {
		if err == nil {
			return
		}
		if isNew && g.kernel != nil {
			err = errors.Join(err, g.kernel.Destroy())
		}
		err = errors.Join(err, g.host.Remove()) // the claim made a folder
	}()

	if err := g.find(); err != nil {
		return err
	}
	if err := g.holdPlace(); err != nil {
		return err
	}
	if g.config.Standby != nil {
		if g.standby, err = g.prepareStandby(g.config.Standby); err != nil {
			return fmt.Errorf("socket %s of the service manager: %w", g.config.Standby.Name(), err)
		}
	}
	if err := g.noStrangers(); err != nil {
		return err
	}
	if isNew = g.kernel == nil; isNew {
		err = g.create()
	} else {
		err = g.takeOver()
	}
	if err == nil && g.standby != nil {
		err = g.park()
	}
	return err
}

// find opens the kernel side if it is there, and is one of a library group.
func (g *Group) find() error {
	if err := g.readNamespace(); err != nil {
		return err
	}
	kernel, err := g.host.Group(g.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := g.refuse(kernel); err != nil {
		kernel.Close()
		return err
	}
	g.kernel = kernel
	_, err = g.host.Refresh() // the programs of this sockdist, after an upgrade
	return err
}

func (g *Group) readNamespace() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	g.netns, err = netnsCookie(fd)
	return err
}

// refuse tells why a group of the name isn't this one.
func (g *Group) refuse(kernel *loader.Group) error {
	spec := kernel.Spec()
	inode, _, err := sockets.NetNSOf(0)
	switch {
	case err != nil:
		return err
	case spec.App != "":
		return fmt.Errorf("it is a group of the app %s: %w", spec.App, ErrTaken)
	case spec.Address != g.place.Address || spec.V6Only != g.place.V6Only:
		return fmt.Errorf("there is one at %s, not at %s: sockdist detach %s removes it: %w", spec.Address, g.place.Address, g.name, ErrTaken)
	case spec.NetNS != inode:
		return fmt.Errorf("there is one in another network namespace: %w", ErrTaken)
	}
	for _, p := range kernel.Progress(nil) {
		if p.Slot != standbySlot && !p.Reports {
			return fmt.Errorf("it is one that sockdist attach has made: sockdist detach %s removes it: %w", g.name, ErrTaken)
		}
	}
	return nil
}

func (g *Group) holdPlace() (err error) {
	g.holder, err = bound(g.place)
	if errors.Is(err, unix.EADDRINUSE) {
		if strangers := g.noStrangers(); strangers != nil {
			return strangers
		}
	}
	return err
}

func (g *Group) create() (err error) {
	inode, _, err := sockets.NetNSOf(0)
	if err != nil {
		return err
	}
	g.kernel, err = g.host.CreateGroup(loader.GroupSpec{
		Name: g.name, Address: g.place.Address, V6Only: g.place.V6Only, NetNS: inode, Policy: g.config.Policy,
	})
	return err
}

// takeOver goes on with what a daemon that was killed has left.
func (g *Group) takeOver() error {
	s, err := g.kernel.Snapshot()
	if err != nil {
		return err
	}
	if s.Spec.Policy != g.config.Policy {
		if err := g.kernel.SetPolicy(g.config.Policy); err != nil {
			return err
		}
	}
	for _, slot := range s.Slots {
		if slot.Slot == standbySlot {
			if g.standby == nil || g.standby.Cookie != slot.Cookie {
				err = g.kernel.Remove(slot.Slot)
			}
		} else {
			err = g.takeOverSlot(slot)
		}
		if err != nil {
			return err
		}
	}
	if len(g.members) == 0 {
		return nil
	}
	g.log.Info(fmt.Sprintf("goes on with %d workers", len(g.members)))
	return g.steer() // the program may be another one since
}

// takeOverSlot keeps a worker's slot, unless its listener or its process is gone.
func (g *Group) takeOverSlot(slot loader.Slot) error {
	m := &member{slot: slot.Slot, cookie: slot.Cookie}
	if slot.State == loader.Gone || !g.listens(m) {
		return g.kernel.Remove(slot.Slot)
	}
	var err error
	m.process, err = findProcess(slot.PID, slot.Start)
	if errors.Is(err, os.ErrProcessDone) {
		g.log.Warn(fmt.Sprintf("worker %d (pid %d) has ended, and somebody else has its listener", slot.Slot, slot.PID))
		m.process.dead = true
		m.lost = health.Now()
		g.hold(m, loader.HoldLeave)
	} else if err != nil {
		return err
	}
	g.enter(m)
	return nil
}

// steer attaches the program, whoever has taken it off. No member's listener is
// needed for it: one of our own, which hears nothing, joins them for a moment.
func (g *Group) steer() error {
	return g.with(g.kernel.Steer)
}

// with calls do with a listener in the kernel's group.
func (g *Group) with(do func(fd int) error) error {
	if g.standby != nil {
		return do(g.standby.fd)
	}
	fd, err := listen(g.place, true)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return do(fd)
}

// Config is the present one.
func (g *Group) Config() Config {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.config
}

// Change takes another configuration, with the same name and address; its
// Standby and Logger aren't looked at. Members stay, also where there are more
// than the slots now allow, or who couldn't join any more. Errors wrap
// ErrConfig; then nothing has changed.
func (g *Group) Change(c Config) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("change group %s: %w", g.name, err)
		}
	}()
	if err := c.complete(); err != nil {
		return err
	}
	if c.Name != g.name || c.place() != g.place {
		return fmt.Errorf("its name and address stay: make another group: %w", ErrConfig)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return ErrEnded
	}
	if c.Policy != g.config.Policy {
		if err := g.kernel.SetPolicy(c.Policy); err != nil {
			return err
		}
	}
	c.Standby, c.Logger = g.config.Standby, g.config.Logger
	g.config = c
	select {
	case g.change <- struct{}{}:
	default:
	}
	return nil
}

// Close gives the group up as it is, for the next daemon: workers and picks go
// on. Sessions end.
func (g *Group) Close() error {
	g.end()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.giveUp()
	return nil
}

// Remove takes the group out of the kernel. Workers that still listen share
// their connections by the kernel's hash from then on. Sessions end.
func (g *Group) Remove() error {
	if !g.end() {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	defer g.giveUp()
	ctx, cancel := context.WithTimeout(context.Background(), claimWithin)
	defer cancel()
	release, err := g.host.Claim(ctx)
	if err == nil {
		defer release()
		err = g.dissolve()
	}
	if err != nil {
		return fmt.Errorf("remove group %s: %w", g.name, err)
	}
	return nil
}

func (g *Group) dissolve() error {
	if err := g.with(g.kernel.Unsteer); err != nil {
		return err
	}
	for _, m := range g.members {
		// A mark that stays does no harm: its number is never given again.
		_ = g.withListener(m, g.kernel.Forget)
	}
	if g.standby != nil {
		_ = g.kernel.Forget(g.standby.fd)
	}
	return g.kernel.Destroy()
}

// end stops whatever goes on here. Only the first call returns true.
func (g *Group) end() bool {
	g.mu.Lock()
	again := g.ended
	g.ended = true
	for _, m := range g.members {
		m.process.close()
		m.endSession()
	}
	g.mu.Unlock()
	if !again {
		close(g.stop)
	}
	g.work.Wait()
	return !again
}

// giveUp closes the handles.
func (g *Group) giveUp() {
	if g.kernel != nil {
		_ = g.kernel.Close()
	}
	if g.holder >= 0 {
		unix.Close(g.holder)
		g.holder = -1
	}
	if g.standby != nil {
		unix.Close(g.standby.fd)
		g.standby = nil
	}
}
