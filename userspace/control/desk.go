package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	ownfolder "github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/wire"
)

// desk is where the supervisor takes requests. A nil desk takes none.
type desk struct {
	folder string // "": there is none that is ours alone
	server *wire.Server
	over   chan struct{} // closed: result is the app's
	result error
}

// openDesk makes the app's folder and the socket in it. An app without them
// serves all the same.
func openDesk(s *Supervisor) *desk {
	d := &desk{folder: appFolder(s.config.RuntimeDir, s.config.Name), over: make(chan struct{})}
	err := makeFolder(d.folder)
	if errors.Is(err, ownfolder.ErrOthers) {
		d.folder = "" // nothing is written there, and nothing believed
	}
	if err == nil {
		d.server, err = wire.Serve(filepath.Join(d.folder, controlName), wire.Options{UID: -1, GID: -1}, operators{s, d})
	}
	if err != nil {
		s.log.Warn(fmt.Sprintf("sockdist reload, scale and stop won't reach this app, which serves all the same: %v", err))
	}
	return d
}

// close answers those who wait for the end, and removes the folder.
func (d *desk) close(result error, remove bool) {
	if d == nil {
		return
	}
	d.result = result
	close(d.over)
	if d.server != nil {
		_ = d.server.Close()
	}
	if remove && d.folder != "" {
		_ = os.RemoveAll(d.folder)
		_ = os.Remove(filepath.Dir(d.folder)) // if it was the last app
	}
}

// operators are answered at the desk: the user who runs the supervisor, and
// root.
type operators struct {
	supervisor *Supervisor
	desk       *desk
}

func (o operators) Answer(p *wire.Peer, r wire.Request, say func(string)) wire.Reply {
	if !p.IsUser(uint32(os.Geteuid())) {
		return wire.Reply{Error: fmt.Sprintf("user %d may not operate this app: be the user who runs the supervisor, or root", p.UID)}
	}
	return o.supervisor.answer(o.desk, r, say)
}

// Join has no worker here: they have a socket of their own.
func (o operators) Join(s *wire.Session, _ wire.Request, _ []*os.File) {
	_ = s.Reply(wire.Reply{Done: true, Error: "no worker joins at this socket, but at the one that " + socketVariable + " names"})
}

// answer does what a request wants.
func (s *Supervisor) answer(d *desk, r wire.Request, say func(string)) wire.Reply {
	tell := func(text string) {
		s.log.Info(r.Verb + ": " + text)
		say(text)
	}
	switch r.Verb {
	case wire.Ping:
		return wire.Reply{}
	case wire.Reload:
		return s.replyTo(r, s.Reload(context.Background(), r.AtOnce, tell))
	case wire.Scale:
		return s.replyTo(r, s.Scale(context.Background(), r.Workers, tell))
	case wire.Stop:
		s.log.Info("ending, as sockdist stop wants")
		s.urgency.raise(stopping)
		<-d.over
		return s.replyTo(r, d.result)
	}
	if r.Verb == wire.Leave && s.config.Managed {
		return wire.Reply{Error: "a service manager, or sockdist serve, started the supervisor, and would start it again: have that replace it, as systemctl restart does, or take the app out of its configuration"}
	}
	if r.Verb == wire.Leave {
		s.log.Info("leaving the workers to another supervisor")
		s.fail(ErrHandedOver)
		<-d.over
		return wire.Reply{}
	}
	return wire.Reply{Error: fmt.Sprintf("no request is called %q", r.Verb)}
}

func (s *Supervisor) replyTo(r wire.Request, err error) wire.Reply {
	if err == nil {
		return wire.Reply{}
	}
	if r.Verb != wire.Stop {
		s.log.Error(fmt.Sprintf("%s: %v", r.Verb, err))
	}
	reply := wire.Reply{Error: err.Error()}
	var unready *NotReadyError
	if errors.As(err, &unready) {
		reply.Output = unready.Output
	}
	return reply
}
