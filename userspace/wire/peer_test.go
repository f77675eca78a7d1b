package wire

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// serveOpen is a server that every user can reach.
func serveOpen(t *testing.T, l Limits, h Handler) (path string) {
	t.Helper()
	path = filepath.Join(openFolder(t), "control")
	s, err := Serve(path, Options{Mode: 0o666, UID: -1, GID: -1, Limits: l}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return path
}

func TestPeer(t *testing.T) {
	noLeaks(t)
	peers := make(chan Peer, 1)
	path := serveOpen(t, Limits{}, handler{answer: func(p *Peer, _ Request, _ func(string)) Reply {
		peers <- *p
		return Reply{}
	}})
	many := make([]uint32, 1000)
	for i := range many {
		many[i] = uint32(70000 + i)
	}
	for _, groups := range [][]uint32{nil, {5, 70001}, many} {
		as(t, 70002, 70003, groups, func() {
			conn, err := Dial(t.Context(), path)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			reply, err := ask(conn, Request{Verb: Ping})
			wantDone(t, reply, err)
		})
		if t.Failed() {
			return
		}
		p := <-peers
		if p.PID != os.Getpid() || p.UID != 70002 || p.GID != 70003 || !slices.Equal(p.Groups, groups) {
			t.Errorf("peer %+v, with groups %v", p, groups)
		}
		if p.IsUser(70003) || !p.IsUser(1, 70002) || !p.InGroup(70003) || p.InGroup(4) {
			t.Errorf("peer %+v is somebody else", p)
		}
		if len(groups) > 0 && !p.InGroup(1, groups[len(groups)-1]) {
			t.Errorf("peer %+v isn't in its last group", p)
		}
	}
}

func TestRootMayAll(t *testing.T) {
	root := &Peer{UID: 0}
	if !root.IsUser() || root.InGroup() || (&Peer{UID: 3}).IsUser() {
		t.Error("root alone is every user")
	}
}

// The descriptor is of the process that connected, and says when it ends.
func TestPidfd(t *testing.T) {
	noLeaks(t)
	for name, open := range map[string]func(*Peer) (*os.File, error){
		"newest": (*Peer).Pidfd,
		"before Linux 6.5": func(p *Peer) (*os.File, error) {
			var fd int
			err := control(p.conn, func(socket int) (err error) {
				fd, err = p.openPidfd(socket)
				return err
			})
			return os.NewFile(uintptr(fd), "pidfd"), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			type found struct {
				peer  *Peer
				pidfd *os.File
				err   error
			}
			joined, checked := make(chan found), make(chan struct{})
			path := serveWith(t, plain, handler{join: func(s *Session, _ Request, _ []*os.File) {
				pidfd, err := open(s.Peer())
				joined <- found{s.Peer(), pidfd, err}
				_, _, _ = s.Receive()
				<-checked
			}})
			defer close(checked)
			began := make(chan found, 1)
			go func() { began <- <-joined }()
			cmd := startChild(t, path)
			is := <-began
			if is.err != nil || is.peer.PID != cmd.Process.Pid {
				t.Fatalf("peer %+v, %v; want pid %d", is.peer, is.err, cmd.Process.Pid)
			}
			defer is.pidfd.Close()
			if over(t, is.pidfd) {
				t.Fatal("the process runs, and its pidfd says that it has ended")
			}
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
			if err := waitFor(is.pidfd); err != nil {
				t.Fatal(err)
			}
			if again, err := open(is.peer); err == nil {
				// The newest kernels open a process that is gone.
				if !over(t, again) {
					t.Error("a process that is gone is opened, and runs")
				}
				again.Close()
			} else if !errors.Is(ended(err), os.ErrProcessDone) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// waitFor is how a pidfd is meant to be waited for.
func waitFor(pidfd *os.File) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, _ := unix.Poll(ready, 0)
		return n > 0
	})
}

func over(t *testing.T, pidfd *os.File) bool {
	t.Helper()
	var n int
	raw, err := pidfd.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}
