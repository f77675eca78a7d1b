package worker_test

import (
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/wire"
	"github.com/sockdist/sockdist/userspace/worker"
)

// seats gives whoever joins another place each time: the next slot of the next
// loads. No real daemon does that without a reason; the worker must bear it anyway.
type seats struct {
	t     testing.TB
	loads []*os.File
	next  int
	taken atomic.Int64
	mu    sync.Mutex
	now   *wire.Session
}

func (s *seats) Answer(*wire.Peer, wire.Request, func(string)) wire.Reply { return wire.Reply{} }

func (s *seats) Join(session *wire.Session, r wire.Request, files []*os.File) {
	slot := (s.next*37 + 5) % 256
	file := s.loads[s.next/2%len(s.loads)] // every other time the memory is the same
	s.next++
	if len(files) != 1 {
		if session.Reply(wire.Reply{Bring: true}) != nil {
			return
		}
		var err error
		if _, files, err = session.Receive(); err != nil || len(files) != 1 {
			s.t.Errorf("it brings %d files: %v", len(files), err)
			return
		}
		files[0].Close()
	}
	seat := &wire.Seat{Group: "seats", Slot: slot, Descriptors: []string{wire.FileLoads}}
	s.mu.Lock()
	s.now = session // before the worker can know
	s.mu.Unlock()
	if session.Reply(wire.Reply{Done: true, Seat: seat}, file) != nil {
		return
	}
	s.taken.Add(1)
	for {
		if _, _, err := session.Receive(); err != nil {
			return
		}
		_ = session.Reply(wire.Reply{Done: true})
	}
}

// oust ends the session.
func (s *seats) oust() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.Close()
}

func loadsFile(t testing.TB) *os.File {
	fd, err := unix.MemfdCreate("loads", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "loads")
	t.Cleanup(func() { file.Close() })
	if err := file.Truncate(256 * 64); err != nil {
		t.Fatal(err)
	}
	return file
}

// Many goroutines count while the worker moves from place to place; in the end
// the last place has the exact sum.
func TestPlacesChange(t *testing.T) {
	s := &seats{t: t, loads: []*os.File{loadsFile(t), loadsFile(t), loadsFile(t)}}
	path := filepath.Join(t.TempDir(), "control")
	server, err := wire.Serve(path, wire.Options{UID: -1, GID: -1}, s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	l := listen(t, "127.0.0.1:0", worker.WithSocket(path))
	if !l.Steered() || l.Slot() != 5 {
		t.Fatalf("it has slot %d", l.Slot())
	}

	var stop atomic.Bool
	var counting sync.WaitGroup
	var sum atomic.Int64
	for range 8 {
		counting.Go(func() {
			mine := int64(0)
			for i := int64(0); !stop.Load(); i++ {
				l.Load().Add(i%5 - 1)
				mine += i%5 - 1
			}
			sum.Add(mine)
		})
	}
	for places := int64(2); places <= 8; places++ {
		s.oust()
		eventually(t, "it has another place", func() bool { return s.taken.Load() == places })
	}
	eventually(t, "it has the last place", func() bool { return l.Slot() == (7*37+5)%256 })
	stop.Store(true)
	counting.Wait()
	if got := l.Load().Value(); got != sum.Load() {
		t.Errorf("load %d, want %d", got, sum.Load())
	}
	if got := loadIn(t, s.loads[7/2%3], l.Slot()); got != sum.Load() {
		t.Errorf("the daemon sees a load of %d, want %d", got, sum.Load())
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		conn.Close()
	} else {
		t.Error(err)
	}
}

func loadIn(t testing.TB, file *os.File, slot int) int64 {
	var word [8]byte
	if _, err := file.ReadAt(word[:], int64(slot)*64); err != nil {
		t.Fatal(err)
	}
	return *(*int64)(unsafe.Pointer(&word[0]))
}

func pointer(memory []byte, at int) unsafe.Pointer { return unsafe.Pointer(&memory[at]) }
