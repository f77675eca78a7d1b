package control

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are the processes that this one started. It is a single list
// because the kernel, too, keeps a single one for all that is in a process.
var children = &nursery{own: make(map[int]*process), adopted: make(map[int]*process)}

type nursery struct {
	mu  sync.Mutex // held from fork to entry in own
	own map[int]*process
	// adopted are strangers, of whom nothing is reaped.
	adopted map[int]*process
}

// adopt waits for the end of a stranger.
func (n *nursery) adopt(p *process) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.adopted[p.pid] = p
	go func() {
		p.wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.adopted[p.pid] == p {
			delete(n.adopted, p.pid)
		}
	}()
}

// known returns the process that was started or adopted here before, or nil. A
// supervisor that takes over from another one of this process finds it.
func (n *nursery) known(pid int, began uint64) *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range []*process{n.own[pid], n.adopted[pid]} {
		if p != nil && p.began == began {
			return p
		}
	}
	return nil
}

func (n *nursery) start(p program) (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	started, err := fork(p)
	if err != nil {
		return nil, err
	}
	n.own[started.pid] = started
	go func() {
		started.wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		// The number may belong to a younger child by now.
		if n.own[started.pid] == started {
			delete(n.own, started.pid)
		}
	}()
	return started, nil
}

// reapInBackground starts to reap orphans, and returns what ends it.
func reapInBackground() func() error {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		children.reapOrphans(ctx)
	}()
	return func() error {
		cancel()
		<-ended
		return nil
	}
}

// reapOrphans takes the exit status of every child that others left to this
// process, which is what process 1 of a container is there for. It returns
// with the context. Children that were started in another way than by this
// package count as orphans.
func (n *nursery) reapOrphans(ctx context.Context) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	defer signal.Stop(ended)
	for {
		n.reapNow()
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// reapNow looks at the ended children without taking their status, so that
// those which somebody waits for are left to them.
func (n *nursery) reapNow() {
	for {
		pid := endedChild()
		if pid == 0 {
			return
		}
		n.mu.Lock()
		child := n.own[pid]
		if child == nil {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		n.mu.Unlock()
		if child != nil {
			<-child.done
		}
	}
}

// endedChild returns a child that has ended and not been waited for, or 0.
func endedChild() int {
	// The fields that waitid(2) sets, in a siginfo of 128 bytes. The kernel
	// aligns the union for its pointers, so the gap is on 64 bits only.
	var info struct {
		signo, errno, code int32
		_                  [unsafe.Sizeof(uintptr(0)) - 4]byte
		pid                int32
		_                  [108]byte
	}
	for {
		err := unix.Waitid(unix.P_ALL, 0, (*unix.Siginfo)(unsafe.Pointer(&info)),
			unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	return int(info.pid)
}
