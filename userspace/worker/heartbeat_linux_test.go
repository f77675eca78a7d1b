package worker_test

import (
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/worker"
)

// stands tells whether the heartbeat of slot 0 stands still for so long at a time.
func (w *world) stands(d time.Duration) bool {
	last, since := w.slot(0).Beat, time.Now()
	for end := time.Now().Add(d + 20*time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if beat := w.slot(0).Beat; beat != last {
			last, since = beat, time.Now()
		}
		if time.Since(since) > d {
			return true
		}
	}
	return false
}

func (w *world) beats() bool {
	before := w.slot(0).Beat
	for range 1000 {
		if w.slot(0).Beat > before+2 {
			return true
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

func TestHeartbeatOfAnAcceptLoop(t *testing.T) {
	w := newWorld(t)
	l := w.listen()
	if !w.beats() {
		t.Fatal("it doesn't beat")
	}
	client, err := net.Dial("tcp", w.address()) // which nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if !w.stands(time.Second) {
		t.Fatal("it beats, though it accepts nothing")
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !w.beats() {
		t.Error("it doesn't beat, though nobody waits any more")
	}
}

func TestHeartbeatOfRequests(t *testing.T) {
	w := newWorld(t)
	finish := make(chan struct{})
	l := w.listen(worker.WithStall(300 * time.Millisecond))
	server := &http.Server{Handler: worker.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			<-finish
		}
	}))}
	go server.Serve(l)
	defer server.Close()
	get := func(path string) {
		reply, err := http.Get("http://" + w.address() + path)
		if err != nil {
			t.Error(err)
			return
		}
		reply.Body.Close()
	}
	defer http.DefaultClient.CloseIdleConnections()
	get("/")
	if !w.beats() {
		t.Fatal("it doesn't beat")
	}
	var stuck sync.WaitGroup
	stuck.Go(func() { get("/stuck") })
	if !w.stands(time.Second) {
		t.Fatal("it beats, though a request doesn't end")
	}
	if got := requestsOf(t, w, l); got != 1 {
		t.Errorf("%d requests are published, want 1", got)
	}
	close(finish)
	stuck.Wait()
	if !w.beats() {
		t.Error("it doesn't beat, though all requests are finished")
	}
	eventually(t, "both requests are published", func() bool { return requestsOf(t, w, l) == 2 })
}

// requestsOf reads the group's loads as every worker can.
func requestsOf(t testing.TB, w *world, l *worker.Listener) uint64 {
	t.Helper()
	group, err := w.host.Group(w.config.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer group.Close()
	file, err := group.LoadsFile()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	memory, err := unix.Mmap(int(file.Fd()), 0, 256*64, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(memory)
	return *(*uint64)(pointer(memory, l.Slot()*64+16))
}

// A process that has stopped has no heartbeat, of course; one that only computes has.
func TestHeartbeatOfABusyProcess(t *testing.T) {
	w := newWorld(t)
	w.listen()
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for !stop.Load() {
			}
		})
	}
	if !w.beats() {
		t.Error("it doesn't beat")
	}
	stop.Store(true)
	busy.Wait()
}

func TestSchedulerLatency(t *testing.T) {
	w := newWorld(t)
	l := w.listen(worker.WithLoad(worker.Manual), worker.WithSchedulerLatency(100*time.Microsecond))
	var stop atomic.Bool
	var busy sync.WaitGroup
	for range 8 * runtime.GOMAXPROCS(0) {
		busy.Go(func() {
			for !stop.Load() {
				for begin := time.Now(); time.Since(begin) < time.Millisecond; {
				}
				runtime.Gosched()
			}
		})
	}
	eventually(t, "the load says that goroutines wait", func() bool { return l.Load().Value() >= 20 })
	stop.Store(true)
	busy.Wait()
	eventually(t, "the load has gone down", func() bool { return l.Load().Value() <= 5 })
	l.Load().Set(1000)
	eventually(t, "the load is 1000 and a bit", func() bool { got := l.Load().Value(); return got >= 1000 && got <= 1005 })
}
