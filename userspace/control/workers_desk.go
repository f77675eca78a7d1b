package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	ownfolder "github.com/sockdist/sockdist/internal/folder"
	"github.com/sockdist/sockdist/userspace/wire"
)

// workersDesk is where workers that use the library join: each for itself, by a
// process in its own leaf, whoever its user is.
type workersDesk struct {
	app    *Supervisor
	path   string
	server *wire.Server  // nil: it couldn't be opened
	queue  chan struct{} // has an element for each join: looking for listeners is work

	mu       sync.Mutex
	sessions map[*wire.Session]bool

	unreachable sync.Once // that it is was said
}

func newWorkersDesk(s *Supervisor) *workersDesk {
	path := WorkersSocket(s.config.RuntimeDir, s.config.Name)
	if whole, err := filepath.Abs(path); err == nil { // workers may be elsewhere
		path = whole
	}
	return &workersDesk{app: s, path: path, queue: make(chan struct{}, 4), sessions: make(map[*wire.Session]bool)}
}

// open makes the socket that every user may connect to. Without it, library
// workers are workers like any other.
func (d *workersDesk) open() {
	err := ownfolder.Check(filepath.Dir(d.path))
	if err == nil {
		d.server, err = wire.Serve(d.path, wire.Options{Mode: 0o666, UID: -1, GID: -1}, d)
	}
	if err != nil {
		d.app.log.Warn(fmt.Sprintf("workers can't report their load, and are served all the same: %v", err))
	}
}

// makeFolder makes the app's folder, which others can pass on the way to the
// workers' socket. What is private in it has a mode of its own.
func makeFolder(folder string) error {
	const passable = 0o711
	if err := os.MkdirAll(folder, passable); err != nil {
		return err
	}
	if err := ownfolder.Check(folder); err != nil {
		return err
	}
	made := []string{folder} // by an earlier sockdist, perhaps
	if parent := filepath.Dir(folder); parent == DefaultRuntimeDir {
		made = append(made, parent)
	}
	for _, folder := range made {
		info, err := os.Stat(folder)
		if err != nil {
			return err
		}
		if mode := info.Mode().Perm(); mode&passable != passable {
			if err := os.Chmod(folder, mode|passable); err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
		}
	}
	return nil
}

// variable returns what workers have in their environment. Where their user can't
// get at the socket, they are told of none: not of another one, which we may
// have inherited, either.
func (d *workersDesk) variable() string {
	if d.app.account.canPass(filepath.Dir(d.path)) {
		return socketVariable + "=" + d.path
	}
	d.unreachable.Do(func() {
		d.app.log.Warn(fmt.Sprintf("workers can't report their load, as their user may not pass to %s", d.path))
	})
	return socketVariable + "="
}

// close ends the sessions. Their workers serve on.
func (d *workersDesk) close() {
	if d.server != nil {
		_ = d.server.Close()
	}
}

// callAgain ends the sessions, so that every worker joins anew.
func (d *workersDesk) callAgain() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for s := range d.sessions {
		_ = s.Close()
	}
}

// Answer has no operator here.
func (d *workersDesk) Answer(_ *wire.Peer, r wire.Request, _ func(string)) wire.Reply {
	if r.Verb == wire.Ping {
		return wire.Reply{}
	}
	return wire.Reply{Error: fmt.Sprintf("%q isn't for workers to ask: use the socket beside this one, %s", r.Verb, controlName)}
}

// Join serves one worker's session.
func (d *workersDesk) Join(s *wire.Session, r wire.Request, files []*os.File) {
	d.note(s, true)
	defer d.note(s, false)
	a := &attendance{app: d.app}
	var err error
	if a.worker, err = d.app.workerOf(s.Peer()); err != nil {
		_ = s.Reply(wire.Reply{Done: true, Error: err.Error()})
		return
	}
	for err == nil {
		reply, loads := a.answer(r, files)
		err = s.Reply(reply, loads...)
		closeFiles(loads)
		if err == nil {
			r, files, err = s.Receive()
		}
	}
}

func (d *workersDesk) note(s *wire.Session, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if is {
		d.sessions[s] = true
	} else {
		delete(d.sessions, s)
	}
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
