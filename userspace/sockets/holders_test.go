package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/privilege"
)

// holdersOf returns who holds one socket.
func holdersOf(t testing.TB, inode uint32) []Holder {
	t.Helper()
	found, err := Holders([]uint32{inode})
	if err != nil {
		t.Fatal(err)
	}
	return found[inode]
}

func TestHoldersOfASharedListener(t *testing.T) {
	l := listen(t, "tcp4", "127.0.0.1:0")
	inode, file := describeOf(t, l).Inode, fileOf(t, l)
	holding, polling, accepting := start(t, "hold", nil, file), start(t, "poll", nil, file), start(t, "accept", nil, file)

	byPID := make(map[int]Holder)
	eventually(t, "all holders", func() bool {
		for _, h := range holdersOf(t, inode) {
			byPID[h.PID] = h
		}
		return byPID[accepting.pid()].AcceptsIt
	})
	if len(byPID) != 4 {
		t.Errorf("holders %+v, want this process and three children", byPID)
	}
	for _, c := range []struct {
		name         string
		pid          int
		polls, waits bool
	}{
		{"this process", os.Getpid(), true, false}, // the Go runtime does
		{"the one that holds", holding.pid(), false, false},
		{"the one that polls", polling.pid(), true, false},
		{"the one that accepts", accepting.pid(), false, true},
	} {
		h, began := byPID[c.pid], uint64(0)
		if began, _ = StartTime(c.pid); h.Start != began || h.PollsIt != c.polls || h.AcceptsIt != c.waits {
			t.Errorf("%s: %+v", c.name, h)
		}
		set, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", h.PID, h.Set))
		if h.PollsIt && set != "anon_inode:[eventpoll]" {
			t.Errorf("%s: its epoll set %d is %s, %v", c.name, h.Set, set, err)
		}
		var at, held unix.Stat_t
		if err := unix.Stat(fmt.Sprintf("/proc/%d/fd/%d", h.PID, h.FD), &at); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := unix.Fstat(int(file.Fd()), &held); err != nil || at.Ino != held.Ino {
			t.Errorf("%s: its descriptor %d is of %d, want %d", c.name, h.FD, at.Ino, held.Ino)
		}
	}
	if comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", holding.pid())); err != nil || byPID[holding.pid()].Comm+"\n" != string(comm) {
		t.Errorf("named %q, want %q", byPID[holding.pid()].Comm, comm)
	}
}

func TestHoldersOfNothing(t *testing.T) {
	for _, inodes := range [][]uint32{nil, {0}, {^uint32(0)}} {
		found, err := Holders(inodes)
		if err != nil && !errors.Is(err, fs.ErrPermission) || len(found) != 0 {
			t.Errorf("%d: %+v, %v", inodes, found, err)
		}
	}
}

func TestHoldersWhileProcessesComeAndGo(t *testing.T) {
	privilege.Require(t)
	l := listen(t, "tcp4", "127.0.0.1:0")
	inode := describeOf(t, l).Inode

	stop := make(chan struct{})
	var churn sync.WaitGroup
	defer churn.Wait()
	defer close(stop)
	for range 4 {
		churn.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = exec.Command("true").Run()
				}
			}
		})
	}
	for range 100 {
		found, err := Holders([]uint32{inode})
		if err != nil {
			t.Fatal(err)
		}
		// A child has it between fork and exec.
		if len(found[inode]) == 0 {
			t.Fatal("nobody holds the listener")
		}
	}
}

func TestHiddenProcesses(t *testing.T) {
	privilege.Require(t)
	inode := describeOf(t, listen(t, "tcp4", "127.0.0.1:0")).Inode
	said := asNobody(t, "seek", fmt.Sprint(inode))
	if !strings.HasPrefix(said, "0 ") || !strings.Contains(said, "holders of 1 sockets") || !strings.Contains(said, "CAP_SYS_PTRACE") {
		t.Errorf("as nobody: %s", said)
	}
}

func TestServer(t *testing.T) {
	for _, c := range []struct {
		name    string
		holders []Holder
		want    int
	}{
		{"nobody", nil, 0},
		{"the only one", []Holder{{PID: 1}}, 1},
		{"the one that polls", []Holder{{PID: 1, Start: 1}, {PID: 2, Start: 2, PollsIt: true}, {PID: 3, Start: 3}, {PID: 4, Start: 4, AcceptsIt: true}}, 2},
		{"the one that accepts", []Holder{{PID: 1, Start: 1}, {PID: 2, Start: 2, AcceptsIt: true}, {PID: 3, Start: 3}}, 2},
		{"the youngest", []Holder{{PID: 7, Start: 1}, {PID: 2, Start: 3}, {PID: 3, Start: 2}}, 2},
		{"the youngest that polls", []Holder{{PID: 1, Start: 3, PollsIt: true}, {PID: 2, Start: 4, PollsIt: true}, {PID: 3, Start: 5}}, 2},
		{"not this one", []Holder{{PID: 1, Start: 1}, {PID: os.Getpid(), Start: 2}}, 1},
		{"this one if it polls", []Holder{{PID: 1, Start: 1}, {PID: os.Getpid(), Start: 2, PollsIt: true}}, os.Getpid()},
		{"the higher PID of one tick", []Holder{{PID: 9, Start: 3}, {PID: 8, Start: 3}}, 9},
	} {
		if got := Server(c.holders); got.PID != c.want {
			t.Errorf("%s: %d, want %d", c.name, got.PID, c.want)
		}
	}
}

func TestParsePolled(t *testing.T) {
	inode, device, ok := parsePolled([]byte("tfd:        6 events:       19 data: 7f2c18c5d010  pos:0 ino:1b2f sdev:8\n"))
	if !ok || inode != 0x1b2f || device != 8 {
		t.Errorf("inode %x device %x %v", inode, device, ok)
	}
	for _, line := range []string{"", "pos:\t0\n", "ino:\t1054\n", "tfd: 6 events: 19 data: 1", "tfd: 6 ino:x sdev:8", "inotify wd:1 ino:9e7e sdev:800013"} {
		if _, _, ok := parsePolled([]byte(line)); ok {
			t.Errorf("%q is an entry", line)
		}
	}
}

func TestParseAccept(t *testing.T) {
	accept := fmt.Sprintf("%d 0x7 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f31\n", unix.SYS_ACCEPT)
	if fd, ok := parseAccept([]byte(accept)); !ok || fd != 7 {
		t.Errorf("blocked on %d, %v", fd, ok)
	}
	read := fmt.Sprintf("%d 0x7 0x0 0x0 0x0 0x0 0x0 0x7ffe 0x7f31\n", unix.SYS_READ)
	for _, text := range []string{"", "running\n", "-1 0x7ffe 0x7f31\n", read, fmt.Sprint(unix.SYS_ACCEPT), fmt.Sprint(unix.SYS_ACCEPT, " 7")} {
		if fd, ok := parseAccept([]byte(text)); ok {
			t.Errorf("%q is blocked on %d", text, fd)
		}
	}
}
