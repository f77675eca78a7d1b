package membership

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/userspace/wire"
)

// workerRole is a server that joins as a worker of the library does, and writes
// down what it accepts. By SIGTERM it drains, finishes and quits.
func workerRole(args []string) error {
	var w joiner
	flags := flag.NewFlagSet("worker", flag.ExitOnError)
	flags.StringVar(&w.socket, "socket", "", "")
	flags.StringVar(&w.join.Group, "group", "", "")
	flags.StringVar(&w.join.Network, "network", "tcp", "")
	flags.StringVar(&w.join.Address, "address", "", "")
	flags.DurationVar(&w.beat, "beat", 0, "count the heartbeat up so often")
	flags.BoolVar(&w.abrupt, "abrupt", false, "don't drain")
	flags.DurationVar(&w.slow, "slow", 0, "accept one so often")
	flags.BoolVar(&w.deaf, "deaf", false, "accept nothing")
	seats := flags.Int("seats", 1, "so many at once")
	cycles := flags.Int("cycles", 0, "join and leave so often, and end")
	flags.Parse(args)
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, unix.SIGTERM)
	sabotage := make(chan os.Signal, 1)
	signal.Notify(sabotage, unix.SIGUSR1) // before anybody knows that it is there
	w.books = openBooks()
	if *cycles > 0 {
		return w.juggle(*cycles)
	}
	var taken []*seat
	for range *seats {
		s, err := w.sit()
		if err != nil {
			return err
		}
		taken = append(taken, s)
		s.serve()
		fmt.Println("joined", s.slot.Load())
	}
	go taken[0].sabotage(sabotage)
	<-ends
	var failed error
	for _, s := range taken {
		failed = errors.Join(failed, s.leave())
	}
	time.Sleep(50 * time.Millisecond) // what net/http has just accepted, it doesn't wait for
	return failed
}

type joiner struct {
	socket string
	join   wire.Join
	beat   time.Duration
	slow   time.Duration
	deaf   bool
	abrupt bool
	books  *os.File
}

// A seat is a slot of the worker's.
type seat struct {
	worker   *joiner
	slot     atomic.Int64
	listener *os.File
	server   *http.Server
	ended    sync.WaitGroup
	leaving  atomic.Bool
	replies  chan wire.Reply

	mu   sync.Mutex
	conn *wire.Conn
}

func (w *joiner) sit() (*seat, error) {
	s := &seat{worker: w, replies: make(chan wire.Reply, 1)}
	if err := s.dial(); err != nil {
		return nil, err
	}
	return s, nil
}

// dial joins, with the listener that it has.
func (s *seat) dial() error {
	conn, err := wire.Dial(context.Background(), s.worker.socket)
	if err != nil {
		return err
	}
	reply, files, err := ask(conn, wire.Request{Verb: wire.JoinGroup, Join: &s.worker.join}, given(s.listener)...)
	if err == nil && (reply.Seat == nil || len(files) != len(reply.Seat.Descriptors)) {
		err = fmt.Errorf("reply %+v with %d files", reply, len(files))
	}
	if err != nil {
		conn.Close()
		return err
	}
	s.slot.Store(int64(reply.Seat.Slot))
	for i, name := range reply.Seat.Descriptors {
		switch name {
		case wire.FileListener:
			s.listener = files[i]
		case wire.FileLoads:
			s.heartbeat(files[i])
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn = conn
	return nil
}

func given(file *os.File) []*os.File {
	if file == nil {
		return nil
	}
	return []*os.File{file}
}

// ask sends a request and returns the last reply, or what it says is wrong.
func ask(conn *wire.Conn, r wire.Request, files ...*os.File) (wire.Reply, []*os.File, error) {
	if err := conn.Send(r, files...); err != nil {
		return wire.Reply{}, nil, err
	}
	reply, got, err := conn.Receive()
	if err == nil && reply.Error != "" {
		err = errors.New(reply.Error)
	}
	return reply, got, err
}

// heartbeat counts for as long as the process lives.
func (s *seat) heartbeat(loads *os.File) {
	defer loads.Close()
	if s.worker.beat == 0 {
		return
	}
	line := mapLoads(loads)[s.slot.Load()]
	go func() {
		for ; ; time.Sleep(s.worker.beat) {
			atomic.AddUint64(&line[1], 1)
		}
	}()
}

func mapLoads(loads *os.File) (lines [256]*[8]uint64) {
	bytes, err := unix.Mmap(int(loads.Fd()), 0, 256*64, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		log.Fatal(err)
	}
	for i := range lines {
		lines[i] = (*[8]uint64)(unsafe.Pointer(&bytes[i*64]))
	}
	return lines
}

// serve accepts until leave, and joins again whenever the session ends.
func (s *seat) serve() {
	if s.worker.deaf {
		return
	}
	l, err := net.FileListener(s.listener) // a duplicate
	if err != nil {
		log.Fatal(err)
	}
	s.server = &http.Server{Handler: s, ErrorLog: log.New(os.Stderr, "", 0)}
	s.ended.Go(func() {
		if err := s.server.Serve(&recorder{l, s.worker.books, s.worker.slow}); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	})
	go s.keep()
}

// keep joins again with the same listener when the daemon has gone.
func (s *seat) keep() {
	for {
		reply, _, err := s.conn.Receive()
		if err == nil {
			s.replies <- reply
			continue
		}
		if s.leaving.Load() {
			close(s.replies)
			return
		}
		s.conn.Close()
		for s.dial() != nil {
			time.Sleep(20 * time.Millisecond)
		}
		fmt.Println("again", s.slot.Load())
	}
}

func (s *seat) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Path[1:]
	if id == "" {
		fmt.Fprintf(w, "%d %d", os.Getpid(), s.slot.Load())
		return
	}
	record(s.worker.books, 'N', r.RemoteAddr, " "+id)
	fmt.Fprintf(w, "%d %d %s\n", os.Getpid(), s.slot.Load(), id)
}

// leave loses nothing.
func (s *seat) leave() error {
	s.leaving.Store(true)
	if err := s.command(wire.Drain); err != nil {
		return err
	}
	s.listener.Close()
	if s.server != nil {
		if err := s.server.Shutdown(context.Background()); err != nil {
			return err
		}
	}
	err := s.command(wire.Quit)
	s.ended.Wait()
	return err
}

func (s *seat) command(verb string) error {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if s.server == nil {
		_, _, err := ask(conn, wire.Request{Verb: verb})
		return err
	}
	if err := conn.Send(wire.Request{Verb: verb}); err != nil {
		return err
	}
	if reply := <-s.replies; reply.Error != "" {
		return errors.New(reply.Error)
	}
	return nil
}

// juggle joins and leaves again and again, with a session each.
func (w *joiner) juggle(cycles int) error {
	for n := range cycles {
		s, err := w.sit()
		if err != nil {
			return fmt.Errorf("join %d: %w", n, err)
		}
		l, err := net.FileListener(s.listener)
		if err != nil {
			return err
		}
		s.listener.Close()
		s.server = &http.Server{Handler: s}
		s.ended.Go(func() { _ = s.server.Serve(&recorder{l, w.books, 0}) })
		time.Sleep(time.Duration(n%7) * time.Millisecond)
		if err := s.step(n, l); err != nil {
			return err
		}
		s.conn.Close()
	}
	time.Sleep(time.Second) // the last answers
	return nil
}

// step leaves in one of several ways. An abrupt worker doesn't drain, and may
// leave without a word.
func (s *seat) step(n int, l net.Listener) error {
	say := func(verb string) error { _, _, err := ask(s.conn, wire.Request{Verb: verb}); return err }
	if !s.worker.abrupt {
		if err := say(wire.Drain); err != nil {
			return err
		}
	}
	switch {
	case n%3 == 0: // the listener closes a little later
		defer l.Close()
		return say(wire.Quit)
	case n%3 == 1 || !s.worker.abrupt:
		l.Close()
		return say(wire.Quit)
	}
	return l.Close()
}

// sabotage takes the group's program off, by SIGUSR1.
func (s *seat) sabotage(asked <-chan os.Signal) {
	for range asked {
		fmt.Println("detach:", unix.SetsockoptInt(int(s.listener.Fd()), unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0))
	}
}

// recorder keeps the ledger's books.
type recorder struct {
	net.Listener
	books *os.File
	slow  time.Duration
}

func (r *recorder) Accept() (net.Conn, error) {
	time.Sleep(r.slow)
	c, err := r.Listener.Accept()
	if err == nil {
		record(r.books, 'A', c.RemoteAddr().String(), "")
	}
	return c, err
}

func openBooks() *os.File {
	folder := os.Getenv(ledger.FolderVariable)
	if folder == "" {
		return nil
	}
	file, err := os.OpenFile(fmt.Sprintf("%s/%d.%d", folder, os.Getpid(), ledger.Now()), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	return file
}

func record(books *os.File, letter byte, peer, more string) {
	if books == nil {
		return
	}
	host, port, _ := net.SplitHostPort(peer)
	fmt.Fprintf(books, "%c %d %s %s%s\n", letter, ledger.Now(), host, port, more)
}

// sleepRole does nothing until it is killed.
func sleepRole([]string) error {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM)
	<-ends
	return nil
}
