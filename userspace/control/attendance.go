package control

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
	"github.com/sockdist/sockdist/userspace/wire"
)

// attendance is one session of a library worker: of one of its listeners.
type attendance struct {
	app    *Supervisor
	worker *worker
	cookie uint64 // of the listener; 0: it hasn't joined yet
}

var (
	errNoWorker = errors.New("only workers of this app join here")
	errNoSlot   = errors.New("the listener has no slot: sockdist's log tells why, or its port isn't one that the workers share")
)

// workerOf returns the worker in whose leaf the peer lives.
func (s *Supervisor) workerOf(p *wire.Peer) (*worker, error) {
	pidfd, err := p.Pidfd()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoWorker, err)
	}
	defer pidfd.Close()
	w, err := s.livesWith(p.PID)
	if err == nil && w == nil {
		err = fmt.Errorf("%w, and process %d is none", errNoWorker, p.PID)
	}
	if err != nil {
		return nil, err
	}
	// As long as it lives, the number is nobody else's.
	if over, err := isOver(pidfd); over || err != nil {
		return nil, fmt.Errorf("%w, and process %d has ended", errNoWorker, p.PID)
	}
	return w, nil
}

// livesWith returns the worker to which a process belongs, or nil. The names of
// its cgroups say where to look.
func (s *Supervisor) livesWith(pid int) (*worker, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, fmt.Errorf("%w: find out about process %d: %w", errNoWorker, pid, err)
	}
	for line := range strings.Lines(string(text)) {
		for name := range strings.SplitSeq(strings.TrimSpace(line), "/") {
			slot, err := strconv.Atoi(name)
			if err != nil {
				continue
			}
			w := s.crew.in(slot)
			if w == nil || w.home() == nil {
				continue
			}
			if pids, err := w.home().Procs(); err == nil && slices.Contains(pids, pid) {
				return w, nil
			}
		}
	}
	return nil, nil
}

func isOver(pidfd *os.File) (over bool, err error) {
	raw, err := pidfd.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { over = hasEnded(int(fd)) })
	}
	return over, err
}

// answer does what the worker asks for. It closes the files that came, for a copy
// of the listener would keep its queue when the worker dies; those that it returns
// are for the caller to close.
func (a *attendance) answer(r wire.Request, files []*os.File) (wire.Reply, []*os.File) {
	cookie, err := cookieOf(files)
	closeFiles(files)
	var reply wire.Reply
	var loads []*os.File
	switch {
	case err != nil:
	case r.Verb == wire.Ping:
	case r.Verb == wire.JoinGroup && cookie == 0:
		return wire.Reply{Bring: true}, nil
	case r.Verb == wire.JoinGroup:
		a.app.workers.queue <- struct{}{}
		reply.Seat, loads, err = a.join(cookie)
		<-a.app.workers.queue
	case a.cookie == 0:
		err = fmt.Errorf("%q comes after a join", r.Verb)
	case r.Verb == wire.Drain, r.Verb == wire.Quit:
		// One that quits keeps its slot, as every worker does: what it has still
		// counts, and its next listener, or that of its successor, comes there.
		err = a.app.listeners.excuse(a.cookie, true)
	case r.Verb == wire.Undrain:
		err = a.app.listeners.excuse(a.cookie, false)
	default:
		err = fmt.Errorf("no worker's request is called %q", r.Verb)
	}
	reply.Done = true
	if err != nil {
		reply.Error = err.Error()
		a.app.log.Debug("a library worker's request failed", "slot", a.worker.slot, "verb", r.Verb, "why", err)
	}
	return reply, loads
}

// cookieOf is 0 without a file.
func cookieOf(files []*os.File) (cookie uint64, err error) {
	switch len(files) {
	case 0:
		return 0, nil
	case 1:
	default:
		return 0, fmt.Errorf("%d descriptors came, and one is needed, of the listener", len(files))
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var d sockets.Description
		if d, failed = sockets.Describe(int(fd)); failed == nil && !d.Listening {
			failed = errors.New("the socket doesn't listen")
		}
		cookie = d.Cookie
	})
	return cookie, errors.Join(err, failed)
}

// join gives the worker its seat. That of a listener that is new comes a moment
// later: somebody else sees it first, in the kernel's events.
func (a *attendance) join(cookie uint64) (*wire.Seat, []*os.File, error) {
	for _, pause := range append([]time.Duration{0}, lookAgain...) {
		select {
		case <-time.After(pause):
		case <-a.worker.done:
			return nil, nil, errNoWorker
		}
		settled := a.app.listeners.knows(cookie) || a.app.listeners.scan()[cookie]
		seat, loads, err := a.app.listeners.join(a.worker.slot, cookie)
		if err == nil {
			a.cookie = cookie
			return seat, []*os.File{loads}, nil
		}
		if settled || !errors.Is(err, errNoSlot) {
			return nil, nil, err
		}
	}
	return nil, nil, errNoSlot
}

// join has the worker in a slot report the load of a listener.
func (l *listeners) join(slot int, cookie uint64) (*wire.Seat, *os.File, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.byCookie[cookie]
	if p == nil {
		return nil, nil, errNoSlot
	}
	if p.slot != slot {
		return nil, nil, fmt.Errorf("the listener is worker %d's, and this is worker %d", p.slot, slot)
	}
	group, loads, err := l.steering.Report(p.slot, p.group, cookie)
	if err != nil {
		return nil, nil, err
	}
	l.log.Debug("a library worker has joined", "slot", p.slot, "address", p.group.Address)
	return &wire.Seat{Group: group, Slot: p.slot, Address: p.group.Address.String(), Descriptors: []string{wire.FileLoads}}, loads, nil
}

// excuse holds a listener's place because its worker wishes so, or no longer.
func (l *listeners) excuse(cookie uint64, from bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.byCookie[cookie]
	if p == nil {
		return nil // closed: nothing comes to it anyway
	}
	return l.steering.Excuse(p.slot, p.group, from)
}
