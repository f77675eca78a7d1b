package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/config"
	"github.com/sockdist/sockdist/userspace/control"
	"github.com/sockdist/sockdist/userspace/membership"
	"github.com/sockdist/sockdist/userspace/wire"
)

// DefaultGroup owns the daemon's socket if the machine has a group of that name,
// and the configuration says nothing else.
const DefaultGroup = "sockdist"

// desk is where the daemon takes requests, of operators and of library workers.
type desk struct {
	daemon *Daemon
	given  *os.File // by the service manager; nil: a path of our own

	mu     sync.Mutex
	server *wire.Server
	socket config.Socket // as it is
	path   string        // where it is
	old    sync.WaitGroup
}

func openDesk(d *Daemon) (*desk, error) {
	k := &desk{daemon: d}
	for _, s := range d.options.Sockets {
		if s.Name == ControlName {
			k.given = s.File
		}
	}
	return k, k.open(d.file)
}

// open takes requests at the file's socket, also, when it was another one, in
// its place.
func (k *desk) open(file *config.File) error {
	socket := file.Socket
	socket.Path = file.SocketPath(k.daemon.options.Runtime)
	o := wire.Options{Mode: socket.Mode, UID: socket.UID, GID: socket.GID, Listener: k.given}
	if o.GID == -1 {
		o.GID = defaultGroup()
	}
	if k.given == nil {
		err := os.MkdirAll(filepath.Dir(socket.Path), 0o755)
		if err == nil {
			err = folder.Check(filepath.Dir(socket.Path))
		}
		if err != nil {
			return fmt.Errorf("the control socket: %w", err)
		}
	}
	if k.given == nil && k.isForeign(socket.Path) {
		return fmt.Errorf("the control socket: somebody answers at %s already: take another path: %w", socket.Path, ErrRunning)
	}
	server, err := wire.Serve(socket.Path, o, handler{k.daemon})
	if err != nil {
		return fmt.Errorf("the control socket: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.path = socket.Path
	if before := k.server; before != nil {
		k.old.Go(func() { _ = before.Close() }) // it waits for the apply that we are in
	}
	k.server, k.socket = server, file.Socket
	return nil
}

// isForeign tells whether somebody else takes requests there.
func (k *desk) isForeign(path string) bool {
	k.mu.Lock()
	own := k.path == path
	k.mu.Unlock()
	if own {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := wire.Call(ctx, path, wire.Request{Verb: wire.Ping}, nil)
	var refused *wire.Refusal
	return err == nil || errors.As(err, &refused) || errors.Is(err, context.DeadlineExceeded)
}

func defaultGroup() int {
	found, err := user.LookupGroup(DefaultGroup)
	if err != nil {
		return -1
	}
	gid, err := strconv.Atoi(found.Gid)
	if err != nil {
		return -1
	}
	return gid
}

// differs tells whether the socket is another one than the file wants.
func (k *desk) differs(file *config.File) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.given == nil && k.socket != file.Socket
}

func (k *desk) close() {
	k.mu.Lock()
	server := k.server
	k.mu.Unlock()
	_ = server.Close()
	k.old.Wait()
}

// handler answers requests.
type handler struct{ *Daemon }

// Answer does what an operator wants.
func (h handler) Answer(p *wire.Peer, r wire.Request, say func(string)) wire.Reply {
	h.mu.Lock()
	a := h.apps[r.App]
	h.mu.Unlock()
	nobody := wire.Reply{Error: fmt.Sprintf("%q is no app of this daemon", r.App)}
	if r.Verb == wire.Ping {
		if a == nil && r.App != "" {
			return nobody
		}
		return wire.Reply{}
	}
	if !slices.Contains([]string{wire.Apply, wire.Reload, wire.Scale, wire.Stop}, r.Verb) {
		return wire.Reply{Error: fmt.Sprintf("no request is called %q", r.Verb)}
	}
	if !h.mayOperate(p) {
		return wire.Reply{Error: fmt.Sprintf("user %d may not operate this daemon: be root, or have yourself named under operators in %s", p.UID, h.options.File.Path)}
	}
	h.log.Info(fmt.Sprintf("%s: asked by user %d (pid %d)", strings.TrimSpace(r.Verb+" "+r.App), p.UID, p.PID))
	if r.Verb == wire.Apply {
		return replyTo(h.Apply(r.Check, say))
	}
	if a == nil {
		return nobody
	}
	return replyTo(a.do(r, say))
}

func (a *app) do(r wire.Request, say func(string)) error {
	if r.Verb == wire.Stop {
		return a.stop()
	}
	s, err := a.present()
	if err != nil {
		return err
	}
	tell := func(text string) {
		a.log.Info(r.Verb + ": " + text)
		say(text)
	}
	if r.Verb == wire.Scale {
		return s.Scale(context.Background(), r.Workers, tell)
	}
	return s.Reload(context.Background(), r.AtOnce, tell)
}

// mayOperate is for root, the daemon's own user, and those who are configured.
func (d *Daemon) mayOperate(p *wire.Peer) bool {
	d.mu.Lock()
	operators := d.file.Operators
	d.mu.Unlock()
	return p.IsUser(append(slices.Clone(operators.UIDs), uint32(os.Geteuid()))...) || p.InGroup(operators.GIDs...)
}

// mostOutput is how much of an error goes into a reply, which must fit into a packet.
const mostOutput = 16 << 10

func replyTo(err error) wire.Reply {
	if err == nil {
		return wire.Reply{}
	}
	reply := wire.Reply{Error: firstLine(err).Error()}
	var unready *control.NotReadyError
	var failed *applyError
	switch {
	case errors.As(err, &failed):
		reply.Error = failed.text
		size := 0
		for _, line := range failed.lines {
			if size += len(line); size > mostOutput {
				reply.Output = append(reply.Output, "…")
				break
			}
			reply.Output = append(reply.Output, line)
		}
	case errors.As(err, &unready):
		reply.Output = unready.Output
	}
	return reply
}

// Join finds the group that a worker means.
func (h handler) Join(s *wire.Session, r wire.Request, files []*os.File) {
	var open *membership.Group
	g, err := h.groupOf(r.Join)
	if err == nil {
		open, err = g.openFor(s.Peer(), files)
	}
	if err != nil {
		_ = s.Reply(wire.Reply{Done: true, Error: err.Error(), Busy: errors.Is(err, errNotYet)})
		return
	}
	open.Join(s, r, files)
}
