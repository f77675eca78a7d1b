package control

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/sockdist/sockdist/userspace/sockets"
)

// adopt gives a socket its slot, and tells whether it is dealt with: one that
// can't have a slot is.
func (l *listeners) adopt(w *worker, found sockets.Listener) bool {
	at := seat{w.slot, found.Group()}
	taken := l.byPlace[at]
	if taken != nil && !taken.closed {
		l.waiting[at] = true
		l.once(fmt.Sprintf("second %v", at), fmt.Sprintf(
			"worker %d listens on %s with several sockets: one of them gets its connections", w.slot, found.Address))
		return true
	}

	err := l.fetchAndAdopt(w, found, at)
	switch {
	case err == nil:
		taken = &place{seat: at, cookie: found.Cookie}
		l.byPlace[at], l.byCookie[found.Cookie] = taken, taken
		l.changed = time.Now()
		l.log.Debug("adopted a listener", "slot", w.slot, "address", found.Address, "cookie", found.Cookie)
		l.announce(at.group, false)
	case gone(err):
		l.log.Debug("a worker's listener is gone again", "slot", w.slot, "address", found.Address, "why", err)
		return false
	case errors.Is(err, ErrUnable) && len(l.byPlace) == 0:
		l.fail(err)
	case errors.Is(err, errAlone):
		l.once("alone", fmt.Sprintf("worker %d's listener on %s gets no slot: %v", w.slot, found.Address, err))
	default:
		l.once(fmt.Sprintf("%v %v", at.group, withoutNumbers(err.Error())),
			fmt.Sprintf("worker %d's listener on %s gets no slot: %v", w.slot, found.Address, err))
	}
	return true
}

// fetchAndAdopt has a copy of the descriptor only while it runs.
func (l *listeners) fetchAndAdopt(w *worker, found sockets.Listener, at seat) error {
	if found.MPTCP {
		return errMPTCP
	}
	socket, listener, err := fetch(w, found)
	if err != nil {
		return err
	}
	defer socket.Close()

	described, err := sockets.Describe(socket.FD())
	if err != nil {
		return err
	}
	if !described.ReusePort {
		return errAlone
	}
	listener.Hold = w.holdAtStart()
	if err := l.steering.Adopt(w.slot, at.group, listener); err != nil {
		return err
	}
	return l.correct(w, listener.Hold)
}

// fetch returns a copy of a worker's listener, for the caller to close, and what
// the kernel side is to know of it.
func fetch(w *worker, found sockets.Listener) (*sockets.Socket, Listener, error) {
	holder, err := holderIn(w.home(), found.Inode)
	if err != nil {
		return nil, Listener{}, err
	}
	began, err := sockets.StartTime(holder.PID)
	if err != nil {
		return nil, Listener{}, err
	}
	socket, err := found.Fetch(holder)
	if err != nil {
		return nil, Listener{}, err
	}
	return socket, Listener{FD: socket.FD(), PID: holder.PID, Start: began, Cookie: found.Cookie}, nil
}

// correct is for a worker that got ready, or was dismissed, while a listener of
// it was adopted.
func (l *listeners) correct(w *worker, held Hold) error {
	now := w.holdAtStart()
	if held&^now != 0 {
		if err := l.steering.Unhold(w.slot, held&^now); err != nil {
			return err
		}
	}
	if now&^held != 0 {
		return l.steering.Hold(w.slot, now&^held)
	}
	return nil
}

var (
	errMPTCP = errors.New("it speaks MPTCP, and the kernel can't put such sockets into a slot: " +
		"set GODEBUG=multipathtcp=0 for a Go server, or what makes another one listen with plain TCP")

	errAlone = errors.New("it doesn't share its port (no SO_REUSEPORT), as when the kernel chose the port: " +
		"have the server listen on a fixed port")
)

// gone tells the errors of a socket or process that ended while we looked.
func gone(err error) bool {
	return errors.Is(err, os.ErrProcessDone) || errors.Is(err, fs.ErrNotExist) ||
		errors.Is(err, sockets.ErrChanged) || errors.Is(err, ErrNotListening)
}
