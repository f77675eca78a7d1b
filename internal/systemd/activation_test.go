package systemd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/loader"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// The manager's socket is one of the reuseport group, and that with the
// longest life. What follows shows what it does there, and in what order a
// supervisor has to handle it so that no connection is lost, from before the
// first worker to after the last one and round again:
//
//	at the start
//	  1. fchown it to the user of the workers, root too, and have the app Own
//	     it, or they can't bind the port
//	  2. make the group, give the socket a slot that is held back, and steer,
//	     before the first worker listens: so no pick is ever the kernel's
//	  3. start the workers
//	  4. when one is live: Rescue the socket, Add it again, and again while it
//	     has a backlog, as handshakes that were under way end in its queue
//	at the end
//	  5. when the grace is over, before the workers get SIGTERM: Unhold its slot,
//	     so that it takes what the last worker's listener leaves
//	  6. when the workers are gone: Unsteer, Destroy, leave the socket listening
const parking = loader.MaxSlots - 1

// kinds are the addresses that ListenStream= makes.
var kinds = map[string]struct {
	listen, connect string
	v6only          bool
}{
	"v4":   {"127.0.0.1", "127.0.0.1", false},
	"v6":   {"::1", "::1", true},
	"dual": {"::", "127.0.0.1", false}, // ListenStream=PORT
}

// stage is a network namespace with the manager's socket in it.
type stage struct {
	*testing.T
	ns      *netns.Namespace
	host    *loader.Host
	group   *loader.Group
	socket  int // the manager's, or our duplicate of it, which is the same
	listen  netip.AddrPort
	connect netip.AddrPort
	v6only  bool
}

func newStage(t *testing.T, kind string) *stage {
	t.Helper()
	k := kinds[kind]
	s := &stage{T: t, ns: netns.New(t), v6only: k.v6only}
	const port = 3000
	s.listen = netip.AddrPortFrom(netip.MustParseAddr(k.listen), port)
	s.connect = netip.AddrPortFrom(netip.MustParseAddr(k.connect), port)
	s.socket = s.open(0)
	t.Cleanup(func() { unix.Close(s.socket) })

	mount, err := loader.BPFFS()
	s.must(err)
	if mount == "" {
		t.Skip("bpffs is not mounted")
	}
	s.host, err = loader.Open(loader.Options{
		Dir: filepath.Join(mount, fmt.Sprintf("systemd-test-%d-%s", os.Getpid(), strings.ReplaceAll(t.Name(), "/", "-"))),
	})
	s.must(err)
	t.Cleanup(func() { s.must(errors.Join(s.host.Remove(), s.host.Close())) })
	return s
}

func (s *stage) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// open listens as a process of the user would.
func (s *stage) open(uid int) int {
	s.Helper()
	fd, err := s.tryOpen(uid)
	s.must(err)
	return fd
}

func (s *stage) tryOpen(uid int) (fd int, err error) {
	err = s.ns.Do(func() error {
		if uid != 0 {
			// What sets the owner of a socket is the file system's view of the
			// thread's user, and the thread is the namespace's own.
			if err := unix.Setfsuid(uid); err != nil {
				return err
			}
			defer func() { _ = unix.Setfsuid(0) }()
		}
		fd, err = s.listener()
		return err
	})
	return fd, err
}

func (s *stage) listener() (fd int, err error) {
	family := unix.AF_INET6
	var where unix.Sockaddr = &unix.SockaddrInet6{Port: int(s.listen.Port()), Addr: s.listen.Addr().As16()}
	if s.listen.Addr().Is4() {
		family = unix.AF_INET
		where = &unix.SockaddrInet4{Port: int(s.listen.Port()), Addr: s.listen.Addr().As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil && family == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, map[bool]int{true: 1}[s.v6only])
	}
	if err == nil {
		err = unix.Bind(fd, where)
	}
	if err == nil {
		err = unix.Listen(fd, 4096)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// A server answers its number on whatever it accepts, until it is closed.
type server struct {
	fd      int
	number  int
	served  atomic.Int64
	closing chan struct{}
	ended   sync.WaitGroup
}

func (s *stage) serve(number int) *server {
	s.Helper()
	w := &server{fd: s.open(0), number: number, closing: make(chan struct{})}
	w.ended.Go(w.accept)
	return w
}

func (w *server) accept() {
	for {
		fd, _, err := unix.Accept4(w.fd, unix.SOCK_CLOEXEC)
		if err == nil {
			w.ended.Go(func() { w.answer(fd) })
			continue
		}
		select {
		case <-w.closing:
			return
		default:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}, 20)
		}
	}
}

func (w *server) answer(fd int) {
	conn := os.NewFile(uintptr(fd), "connection")
	defer conn.Close()
	question := make([]byte, 4)
	if _, err := io.ReadFull(conn, question); err != nil {
		return
	}
	time.Sleep(10 * time.Millisecond) // so that the rate is bounded
	w.served.Add(1)
	_, _ = fmt.Fprintf(conn, "%d\n", w.number)
}

// close ends the server as a good one ends: what it accepted is answered, what
// waits in its queue is the kernel's to move.
func (w *server) close() {
	close(w.closing)
	w.ended.Wait()
	unix.Close(w.fd)
}

func ask(w io.Writer, r *bufio.Reader) (clients.Answer, error) {
	if _, err := io.WriteString(w, "ask\n"); err != nil {
		return clients.Answer{}, err
	}
	line, err := r.ReadString('\n')
	if err != nil {
		return clients.Answer{}, err
	}
	var number int
	_, err = fmt.Sscan(line, &number)
	return clients.Answer{PID: number, Slot: clients.Unknown}, err
}

func (s *stage) backlog(fd int) (waiting int) {
	s.Helper()
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	s.must(err)
	found := false
	s.must(s.ns.Do(func() error {
		listeners, err := sockets.Listeners(sockets.Address{})
		for _, l := range listeners {
			if l.Cookie == cookie {
				waiting, found = int(l.Backlog), true
			}
		}
		return err
	}))
	if !found {
		s.Fatal("the socket doesn't listen")
	}
	return waiting
}

// eventually waits for what needs no more than a moment.
func (s *stage) eventually(what string, is func() bool) {
	s.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("not within 20 s: %s", what)
		}
	}
}

// park is step 2.
func (s *stage) park() {
	s.Helper()
	var err error
	s.group, err = s.host.CreateGroup(loader.GroupSpec{
		Name: "web-3000", Address: s.listen, V6Only: s.v6only, NetNS: s.ns.Inode(), Policy: loader.Least,
	})
	s.must(err)
	s.add()
	s.must(s.group.Steer(s.socket))
	s.must(s.ns.Do(func() error {
		_, err := s.group.Adopt(nil)
		return err
	}))
}

func (s *stage) add() {
	s.Helper()
	_, err := s.group.Add(parking, loader.Listener{FD: s.socket, PID: os.Getpid(), Hold: loader.HoldStart})
	s.must(err)
}

// unpark is step 4.
func (s *stage) unpark() (rounds int) {
	s.Helper()
	s.eventually("the queue of the manager's socket is empty", func() bool {
		if s.backlog(s.socket) == 0 {
			return true
		}
		rounds++
		s.must(sockets.Rescue(s.socket, 4096))
		s.add()
		return false
	})
	return rounds
}

// leave is step 6.
func (s *stage) leave() {
	s.Helper()
	snapshot, err := s.group.Snapshot()
	s.must(err)
	if snapshot.MigrateFailed+snapshot.Unmarked+snapshot.Refused+snapshot.Stale != 0 {
		s.Errorf("the group had trouble: %+v", snapshot)
	}
	s.must(s.group.Unsteer(s.socket))
	s.must(s.group.Destroy())
}

// The order above, twice round, under load.
func TestActivationLosesNothing(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, kind)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			client := clients.Client{Ask: ask, In: s.ns, Timeout: 30 * time.Second}
			ledgers := make(chan clients.Ledger, 1)
			const parallel = 40
			go func() {
				ledgers <- client.Load(ctx, s.connect, clients.Limits{
					Concurrency: parallel, Rate: 1500, Count: 1_000_000, Duration: 2 * time.Minute,
				})
			}()

			var served int64
			for round := range 2 {
				s.eventually("connections wait for the first worker", func() bool { return s.backlog(s.socket) == parallel })
				s.park()
				var workers []*server
				for i := range 3 {
					w := s.serve(10*round + i + 1)
					workers = append(workers, w)
					_, err := s.group.Add(i, loader.Listener{FD: w.fd, PID: os.Getpid()})
					s.must(err)
					rounds := s.unpark()
					t.Logf("worker %d: the queue was moved in %d rounds", w.number, rounds)
				}
				s.eventually("all workers serve", func() bool {
					for _, w := range workers {
						if w.served.Load() < 50 {
							return false
						}
					}
					return true
				})
				if waiting := s.backlog(s.socket); waiting != 0 {
					t.Errorf("%d connections came to the manager's socket while workers were live", waiting)
				}

				s.must(s.group.Unhold(parking, loader.HoldStart))
				for i, w := range workers {
					s.must(s.group.Hold(i, loader.HoldLeave))
					w.close()
					served += w.served.Load()
				}
				s.leave()
			}
			s.eventually("connections wait again", func() bool { return s.backlog(s.socket) == parallel })

			// The last ones are served too, without anything of ours.
			last := s.serve(99)
			defer last.close()
			s.must(s.ns.Do(func() error {
				return os.WriteFile("/proc/sys/net/ipv4/tcp_migrate_req", []byte("1"), 0)
			}))
			s.must(sockets.Rescue(s.socket, 4096))
			unix.Shutdown(s.socket, unix.SHUT_RDWR)
			s.eventually("the last worker serves", func() bool { return last.served.Load() >= parallel })
			cancel()
			ledger := <-ledgers
			t.Log(ledger)
			if lost := ledger.Lost(); len(lost) > 0 {
				t.Errorf("lost: %v", lost)
			}
			if served+last.served.Load() != int64(len(ledger)) {
				t.Errorf("%d connections were answered by workers, %d clients had an answer", served+last.served.Load(), len(ledger))
			}
		})
	}
}

// The kernel lets nobody into a group who isn't of the same user, and goes by
// the owner of the socket at that moment: fchown changes it, also for the
// manager, to whom the same socket belongs.
func TestWorkersOfAnotherUser(t *testing.T) {
	const www = 33
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, kind)
			if fd, err := s.tryOpen(www); !errors.Is(err, unix.EADDRINUSE) {
				unix.Close(fd)
				t.Fatalf("another user binds the port of the manager's socket: %v", err)
			}
			s.must(unix.Fchown(s.socket, www, -1))
			worker := s.open(www)
			defer unix.Close(worker)
			if fd, err := s.tryOpen(0); !errors.Is(err, unix.EADDRINUSE) {
				unix.Close(fd)
				t.Errorf("root binds the port of a socket that was given away: %v", err)
			}

			// It is one group: it can be steered, and a queue moves within it.
			client := s.dial(1)
			defer unix.Close(client[0])
			s.park()
			_, err := s.group.Add(0, loader.Listener{FD: worker, PID: os.Getpid()})
			s.must(err)
			s.unpark()
			// It may have gone to the worker at once, by the kernel's hash.
			if n := s.backlog(worker); n != 1 {
				t.Errorf("the worker has %d connections in its queue, want 1", n)
			}
			s.leave()

			s.must(unix.Fchown(s.socket, 0, -1)) // the operator took --user away
			unix.Close(worker)
			back := s.open(0)
			unix.Close(back)
		})
	}
}

// dial opens connections that nobody has accepted yet.
func (s *stage) dial(n int) (fds []int) {
	s.Helper()
	s.must(s.ns.Do(func() error {
		for range n {
			family := unix.AF_INET6
			var to unix.Sockaddr = &unix.SockaddrInet6{Port: int(s.connect.Port()), Addr: s.connect.Addr().As16()}
			if s.connect.Addr().Is4() {
				family = unix.AF_INET
				to = &unix.SockaddrInet4{Port: int(s.connect.Port()), Addr: s.connect.Addr().As4()}
			}
			fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				return err
			}
			fds = append(fds, fd)
			if err := unix.Connect(fd, to); err != nil {
				return err
			}
		}
		return nil
	}))
	return fds
}

// Why to steer before the first worker listens: until then the kernel's hash
// gives the manager's socket its share.
func TestHashPicksTheManagersSocket(t *testing.T) {
	t.Parallel()
	s := newStage(t, "dual")
	worker := s.open(0)
	defer unix.Close(worker)
	for _, fd := range s.dial(200) {
		defer unix.Close(fd)
	}
	ours, theirs := s.backlog(s.socket), s.backlog(worker)
	if ours == 0 || theirs == 0 || ours+theirs != 200 {
		t.Errorf("of 200 connections, %d wait at the manager's socket and %d at the worker's", ours, theirs)
	}
	t.Logf("of 200 connections, %d wait at the manager's socket", ours)
}

// A worker on 0.0.0.0 isn't in the group of a socket on [::], which is what
// ListenStream=PORT makes: nothing can move to it.
func TestAnotherAddressIsAnotherGroup(t *testing.T) {
	t.Parallel()
	s := newStage(t, "dual")
	waiting := s.dial(1)
	defer unix.Close(waiting[0])

	s.listen = netip.AddrPortFrom(netip.IPv4Unspecified(), s.listen.Port())
	worker := s.open(0)
	defer unix.Close(worker)
	for _, fd := range s.dial(50) {
		defer unix.Close(fd)
	}
	if n := s.backlog(worker); n != 50 {
		t.Errorf("%d of 50 connections over IPv4 are at the worker on 0.0.0.0", n)
	}
	if n := s.backlog(s.socket); n != 1 {
		t.Errorf("%d connections wait at the manager's socket, want the one from before", n)
	}
}
