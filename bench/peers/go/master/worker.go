package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// queue is how many bytes of unread messages a worker's socket may have, so
// that the master never waits for one worker that is stuck.
const queue = 16 << 20

// A worker is a process with a socket to it.
type worker struct {
	cmd     *exec.Cmd
	control *os.File     // closed when nobody knows the worker any more
	fd      int          // of control
	has     atomic.Int64 // connections passed and not ended, if it tells of ends
	leaving atomic.Bool
	served  chan struct{} // closed when it is ready
	ended   chan struct{}
}

// begin starts a process; tell has it tell of ends.
func begin(command []string, tell bool) (*worker, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "worker's end")
	defer theirs.Close()
	w := &worker{control: os.NewFile(uintptr(pair[0]), "master's end"), fd: pair[0], served: make(chan struct{}), ended: make(chan struct{})}
	if err := unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, queue); err != nil { // not root
		_ = unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_SNDBUF, queue)
	}
	args := append([]string{}, command[1:]...)
	args = append(args, "-control", "3", "-tell="+strconv.FormatBool(tell))
	w.cmd = exec.Command(command[0], args...)
	w.cmd.Env = append(os.Environ(), "GOMAXPROCS=1") // of a worker; the master may use what there is
	w.cmd.Stdout, w.cmd.Stderr, w.cmd.ExtraFiles = os.Stdout, os.Stderr, []*os.File{theirs}
	if err := w.cmd.Start(); err != nil {
		w.control.Close()
		return nil, err
	}
	go w.listen()
	return w, nil
}

// pass gives the worker a connection; the descriptor here stays open.
func (w *worker) pass(fd int) error {
	for {
		err := unix.Sendmsg(w.fd, []byte{'c'}, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err
		}
	}
}

// listen hears what the worker says, until it has ended.
func (w *worker) listen() {
	defer close(w.ended)
	said := make([]byte, 4096)
	for {
		n, err := unix.Read(w.fd, said)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			break
		}
		ends := bytes.Count(said[:n], []byte{'e'})
		w.has.Add(-int64(ends))
		if ends < n {
			close(w.served)
		}
	}
	_ = w.cmd.Wait()
}

// await waits until the worker serves.
func (w *worker) await() error {
	select {
	case <-w.served:
		fmt.Printf("worker %d serves\n", w.cmd.Process.Pid)
		return nil
	case <-w.ended:
		return errors.New("a worker ended before it served")
	}
}

// leave has the worker finish what it has, and end.
func (w *worker) leave() {
	w.leaving.Store(true)
	_ = unix.Shutdown(w.fd, unix.SHUT_WR)
}
