package worker_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/dependent"
	"github.com/sockdist/sockdist/internal/ledger"
	"github.com/sockdist/sockdist/internal/transcript"
	"github.com/sockdist/sockdist/userspace/worker"
)

func init() {
	roles["web"] = webRole
	roles["join"] = joinRole
}

// webRole is a server as its author would write it. It answers the ledger's questions.
func webRole(args []string) error {
	server := &http.Server{Addr: args[0], Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		time.Sleep(2 * time.Millisecond)
		fmt.Fprintf(w, "%d - %s\n", os.Getpid(), strings.TrimPrefix(r.URL.Path, "/"))
	})}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	return worker.Run(context.Background(), server)
}

// joinRole tells only whether it may join.
func joinRole(args []string) error {
	l, err := worker.Listen(context.Background(), "tcp", args[0])
	if err != nil {
		return err
	}
	fmt.Println("slot", l.Slot())
	return l.Close()
}

// child starts a role in a process of its own.
func (w *world) child(role string, credential *syscall.Credential) (*exec.Cmd, *bytes.Buffer) {
	w.t.Helper()
	cmd := exec.Command("/proc/self/exe", w.address())
	cmd.Env = append(os.Environ(), roleVariable+"="+role, worker.SocketVariable+"="+w.socket)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := dependent.Start(cmd); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		if w.t.Failed() {
			w.t.Logf("process %d said:\n%s", cmd.Process.Pid, &output)
		}
	})
	return cmd, &output
}

// client asks again and again over connections that it keeps, with requests that
// nobody may repeat, until stop.
type client struct {
	every    time.Duration
	h2c      bool
	requests atomic.Int64
	failed   atomic.Pointer[error]
}

func (c *client) run(url string, stop *atomic.Bool) {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!c.h2c)
	protocols.SetUnencryptedHTTP2(c.h2c)
	transport := &http.Transport{Protocols: protocols}
	if !c.h2c {
		// A client that was kept from its CPU for as long as workers wait for one more request
		// comes by another connection, as whoever may not repeat a request should.
		transport.IdleConnTimeout = 500 * time.Millisecond
	}
	defer transport.CloseIdleConnections()
	web := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	for ; !stop.Load(); time.Sleep(c.every) {
		reply, err := web.Post(url, "text/plain", io.MultiReader(strings.NewReader("once"))) // no GetBody
		if err == nil {
			_, err = io.Copy(io.Discard, reply.Body)
			reply.Body.Close()
		}
		if err != nil {
			c.failed.Store(&err)
			return
		}
		c.requests.Add(1)
	}
}

// Each worker is replaced by SIGTERM, under load: nothing is lost, nothing is reset.
func TestRunLosesNothing(t *testing.T) {
	w := newWorld(t)
	const workers = 3
	var web []*exec.Cmd
	hire := func() {
		before := w.live()
		cmd, _ := w.child("web", nil)
		web = append(web, cmd)
		eventually(t, "it has joined", func() bool { return w.live() > before })
	}
	for range workers {
		hire()
	}
	var stop atomic.Bool
	var clients []*client
	var running sync.WaitGroup
	for i := range 24 {
		c := &client{every: []time.Duration{0, 20 * time.Millisecond, 150 * time.Millisecond}[i%3], h2c: i%2 == 1}
		clients = append(clients, c)
		running.Go(func() { c.run("http://"+w.address()+"/post", &stop) })
	}
	load, err := ledger.Start(ledger.Load{Server: w.config.Listen, Rate: 200, Seed: 1, Timeout: time.Minute, Held: ledger.Held{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { load.Finish() })
	for range 2 * workers {
		hire()
		old := web[0]
		web = web[1:]
		if err := old.Process.Signal(unix.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := old.Wait(); err != nil {
			t.Errorf("a worker ended with %v", err)
		}
	}
	book := load.Finish()
	stop.Store(true)
	running.Wait()
	for _, e := range book.Losses() {
		t.Errorf("lost: %v", e)
	}
	if n := len(book.With(ledger.Answered)); n < 100 {
		t.Errorf("only %d connections were answered", n)
	}
	for i, c := range clients {
		if err := c.failed.Load(); err != nil {
			t.Errorf("client %d (HTTP/2: %v, every %v) lost a request after %d: %v", i, c.h2c, c.every, c.requests.Load(), *err)
		} else if c.requests.Load() < 3 {
			t.Errorf("client %d made only %d requests", i, c.requests.Load())
		}
	}
}

// live is how many slots get connections.
func (w *world) live() (n int) {
	for slot := range w.config.Slots {
		if s := w.slot(slot); s.Slot >= 0 && s.State.String() == "live" {
			n++
		}
	}
	return n
}

// A user whom the configuration doesn't name may not join.
func TestRefusedUser(t *testing.T) {
	w := newWorld(t)
	openTo(t, w.socket)
	cmd, said := w.child("join", &syscall.Credential{Uid: 65534, Gid: 65534})
	if err := cmd.Wait(); err == nil || !strings.Contains(said.String(), worker.ErrRefused.Error()) || !strings.Contains(said.String(), "65534") {
		t.Errorf("user nobody got %v, and %q", err, said)
	}
	c := w.config
	c.UIDs = []uint32{65534}
	if err := w.group.Change(c); err != nil {
		t.Fatal(err)
	}
	cmd, said = w.child("join", &syscall.Credential{Uid: 65534, Gid: 65534})
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "slot 0") {
		t.Errorf("user nobody got %v, and %q", err, said)
	}
}

// openTo lets every user reach a path, and run this program.
func openTo(t testing.TB, path string) {
	for at := path[:strings.LastIndex(path, "/")]; len(at) > len(os.TempDir()); at = at[:strings.LastIndex(at, "/")] {
		if err := os.Chmod(at, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// slow is a server whose requests last as long as the test wants.
type slow struct {
	begun, finish chan struct{}
}

func (s slow) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.begun <- struct{}{}
	<-s.finish
	fmt.Fprint(w, "done")
}

func TestRun(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls=%v", secure), func(t *testing.T) {
			s := slow{make(chan struct{}), make(chan struct{})}
			server := &http.Server{Addr: freePort(t).String(), Handler: s, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
			url, protocols := "http://"+server.Addr, 1
			transport := &http.Transport{}
			if secure {
				server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate(t)}}
				transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
				transport.ForceAttemptHTTP2 = true
				url, protocols = "https://"+server.Addr, 2
			}
			defer transport.CloseIdleConnections()
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- worker.Run(ctx, server, quiet(t), worker.WithSocket("")) }()
			awaitListener(t, server.Addr)
			var asking sync.WaitGroup
			asking.Go(func() {
				reply, err := (&http.Client{Transport: transport}).Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				defer reply.Body.Close()
				if body, err := io.ReadAll(reply.Body); err != nil || string(body) != "done" || reply.ProtoMajor != protocols {
					t.Errorf("got %q by HTTP/%d: %v", body, reply.ProtoMajor, err)
				}
			})
			<-s.begun
			cancel() // the request in flight is served
			select {
			case err := <-ended:
				t.Errorf("it ended with a request in flight: %v", err)
			case <-time.After(2 * time.Second):
			}
			close(s.finish)
			asking.Wait()
			if err := <-ended; err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

func awaitListener(t testing.TB, address string) {
	t.Helper()
	eventually(t, "it listens", func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// A request that doesn't end is cut off when the grace is over, or a second signal comes.
func TestRunEndsAnyway(t *testing.T) {
	for _, hurried := range []bool{false, true} {
		t.Run(fmt.Sprintf("hurried=%v", hurried), func(t *testing.T) {
			s := slow{make(chan struct{}), make(chan struct{})}
			defer close(s.finish)
			grace := 700 * time.Millisecond
			if hurried {
				grace = time.Hour
			}
			server := &http.Server{Addr: freePort(t).String(), Handler: s}
			ended := make(chan error, 1)
			var said transcript.Text
			go func() {
				ended <- worker.Run(t.Context(), server, worker.WithLogger(slog.New(slog.NewTextHandler(&said, nil))), worker.WithSocket(""), worker.WithGrace(grace))
			}()
			awaitListener(t, server.Addr)
			var asking sync.WaitGroup
			asking.Go(func() {
				if reply, err := http.Get("http://" + server.Addr); err == nil {
					reply.Body.Close()
					t.Error("the request was answered")
				}
			})
			<-s.begun
			kill := func() {
				if err := unix.Kill(os.Getpid(), unix.SIGTERM); err != nil {
					t.Fatal(err)
				}
			}
			kill()
			if hurried {
				// Else both signals may be one.
				eventually(t, "the first signal has come", func() bool { return strings.Contains(said.String(), "ending") })
				kill()
			}
			want := context.DeadlineExceeded
			if hurried {
				want = nil
			}
			if err := <-ended; !errors.Is(err, want) {
				t.Errorf("it ended with %v, want %v", err, want)
			}
			asking.Wait()
		})
	}
}

// What Serve says by itself is what Run says.
func TestRunFails(t *testing.T) {
	if err := worker.Run(t.Context(), &http.Server{Addr: "127.0.0.1:65536"}, quiet(t), worker.WithSocket("")); err == nil {
		t.Error("no error")
	}
	l := listen(t, "127.0.0.1:0")
	l.Close()
	if err := l.Run(t.Context(), &http.Server{}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("error %v", err)
	}
}
