package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/clients"
	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/userspace/attachment"
	"github.com/sockdist/sockdist/userspace/sockets"
)

// listenShared makes a listener that a worker might bring.
func listenShared(t testing.TB, network, address string) *os.File {
	t.Helper()
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if failed := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }); failed != nil {
			return failed
		}
		return err
	}}
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return fileOf(t, l.(*net.TCPListener))
}

func fileOf(t testing.TB, socket interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	file, err := socket.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file
}

func TestWrongDescriptors(t *testing.T) {
	w, other := newWorld(t), newWorld(t)
	here, elsewhere := w.config.Listen.String(), other.config.Listen.String()
	_, _, files, err := other.join()
	w.must(err)
	defer closeAll(files)
	before := descriptors(t)
	for _, c := range []struct {
		name, want string
		files      func(t *testing.T) []*os.File
	}{
		{"UDP", "not a TCP socket", func(t *testing.T) []*os.File {
			conn, err := net.ListenPacket("udp", here)
			w.must(err)
			defer conn.Close()
			return []*os.File{fileOf(t, conn.(*net.UDPConn))}
		}},
		{"unix", "not a TCP socket", func(t *testing.T) []*os.File {
			l, err := net.Listen("unix", filepath.Join(w.folder, "some"))
			w.must(err)
			defer l.Close()
			return []*os.File{fileOf(t, l.(*net.UnixListener))}
		}},
		{"pipe", "no socket", func(t *testing.T) []*os.File {
			r, wr, err := os.Pipe()
			w.must(err)
			wr.Close()
			t.Cleanup(func() { r.Close() })
			return []*os.File{r}
		}},
		{"regular file", "no socket", func(t *testing.T) []*os.File {
			file, err := os.Create(filepath.Join(w.folder, "file"))
			w.must(err)
			t.Cleanup(func() { file.Close() })
			return []*os.File{file}
		}},
		{"the loads", "no socket", func(t *testing.T) []*os.File { return files[1:] }},
		{"not listening", "it doesn't listen", func(t *testing.T) []*os.File {
			fd, err := bound(w.group.place)
			w.must(err)
			file := os.NewFile(uintptr(fd), "bound")
			t.Cleanup(func() { file.Close() })
			return []*os.File{file}
		}},
		{"a connection", "it doesn't listen", func(t *testing.T) []*os.File {
			l := listenShared(t, "tcp", "127.0.0.1:0")
			name, err := unix.Getsockname(int(l.Fd()))
			w.must(err)
			conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port))
			w.must(err)
			defer conn.Close()
			return []*os.File{fileOf(t, conn.(*net.TCPConn))}
		}},
		{"without SO_REUSEPORT", "without SO_REUSEPORT", func(t *testing.T) []*os.File {
			var plain net.ListenConfig
			plain.SetMultipathTCP(false)
			l, err := plain.Listen(t.Context(), "tcp", "127.0.0.1:0")
			w.must(err)
			defer l.Close()
			return []*os.File{fileOf(t, l.(*net.TCPListener))}
		}},
		{"another port", "it listens at 127.0.0.1:", func(t *testing.T) []*os.File { return []*os.File{listenShared(t, "tcp", "127.0.0.1:0")} }},
		{"another address", "it listens at 127.0.0.2:", func(t *testing.T) []*os.File {
			return []*os.File{listenShared(t, "tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), w.config.Listen.Port()).String())}
		}},
		{"of another group", "it listens at " + elsewhere, func(t *testing.T) []*os.File { return files[:1] }},
		{"MPTCP", "MPTCP", func(t *testing.T) []*os.File {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
			if err != nil {
				t.Skip("no MPTCP here")
			}
			w.must(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
			w.must(unix.Listen(fd, 1))
			file := os.NewFile(uintptr(fd), "mptcp")
			t.Cleanup(func() { file.Close() })
			return []*os.File{file}
		}},
		{"another network namespace", "another network namespace", func(t *testing.T) []*os.File {
			var file *os.File
			w.must(netns.New(t).Do(func() error { file = listenShared(t, "tcp", here); return nil }))
			return []*os.File{file}
		}},
		{"another user", "made by user 4242", func(t *testing.T) []*os.File {
			file := listenShared(t, "tcp", here)
			w.must(unix.Fchown(int(file.Fd()), stranger, -1))
			return []*os.File{file}
		}},
		{"two", "2 descriptors", func(t *testing.T) []*os.File { return []*os.File{listenShared(t, "tcp", here), files[0]} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, got, err := w.join(c.files(t)...)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(got) > 0 {
				t.Errorf("%d files and the error %v, want %q", len(got), err, c.want)
			}
		})
		if slots := w.slots(); len(slots) > 0 {
			t.Fatalf("%s: slots %v", c.name, slots)
		}
	}
	w.until("no descriptor is left", func() bool { return descriptors(t) <= before })
	// One that is as it should be gets a slot, and the same one again.
	mine := listenShared(t, "tcp", here)
	for range 3 {
		_, reply, got, err := w.join(mine)
		w.must(err)
		closeAll(got)
		if reply.Seat.Slot != 0 || len(got) != 1 || len(reply.Seat.Descriptors) != 1 || len(w.slots()) != 1 {
			t.Errorf("seat %+v with %d files", reply.Seat, len(got))
		}
	}
	_, reply, got, err := w.join()
	w.must(err)
	defer closeAll(got)
	if reply.Seat.Slot != 1 {
		t.Errorf("seat %+v", reply.Seat)
	}
}

func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	open := func(change func(*Config)) error {
		c := w.config
		change(&c)
		g, err := Open(w.host.Host, c)
		if err == nil {
			w.must(g.Remove())
		}
		return err
	}
	want := func(name, text string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %q", name, err, text)
		}
	}
	want("another address", "there is one at", open(func(c *Config) { c.Listen = netip.AddrPortFrom(c.Listen.Addr(), 1) }))
	free := newAddress()
	at := func(c *Config) { c.Name, c.Listen = "second", free }

	foreign, err := net.Listen("tcp", free.String()) // which speaks MPTCP
	w.must(err)
	want("a foreign listener", fmt.Sprintf("(pid %d)", os.Getpid()), open(at))
	foreign.Close()
	shared := listenShared(t, "tcp", free.String())
	want("one that shares the port", "is taken by", open(at))
	shared.Close()
	wildcard := listenShared(t, "tcp4", fmt.Sprintf("0.0.0.0:%d", free.Port()))
	want("one at the wildcard address", "is taken by", open(at))
	wildcard.Close()
	if err := open(at); err != nil {
		t.Errorf("with nobody there: %v", err)
	}
	names, err := w.host.Groups()
	if err != nil || len(names) != 1 {
		t.Errorf("groups %v %v", names, err)
	}
	// A stranger who comes later is told of at the next join.
	late := listenShared(t, "tcp4", fmt.Sprintf("0.0.0.0:%d", w.config.Listen.Port()))
	_, _, _, err = w.join()
	want("a stranger who came later", "is taken by", err)
	late.Close()
	c := w.worker()
	if got := clients.Hold(t, w.config.Listen, 3).PIDs(); got[c.pid()] != 3 {
		t.Errorf("%v", got)
	}
	// One who comes while there is no daemon keeps the next from going on, and
	// nothing is changed by that.
	w.close()
	late = listenShared(t, "tcp4", fmt.Sprintf("0.0.0.0:%d", w.config.Listen.Port()))
	_, err = Open(w.host.Host, w.config)
	want("a stranger who came while there was no daemon", "is taken by", err)
	if got := clients.Hold(t, w.config.Listen, 3).PIDs(); got[c.pid()] != 3 {
		t.Errorf("%v", got)
	}
	late.Close()
	w.open()
	c.says("again")
}

// sockdist attach leaves a library group alone.
func TestAttachRefuses(t *testing.T) {
	w := newWorld(t)
	w.worker()
	address := sockets.Address{Host: w.config.Listen.Addr(), Port: w.config.Listen.Port()}
	if _, err := attachment.Attach(t.Context(), w.host.Host, attachment.Options{Address: address}); !errors.Is(err, attachment.ErrLibrary) {
		t.Errorf("attached: %v", err)
	}
	if p := w.slot(0); !p.Reports {
		t.Errorf("%+v", p)
	}
}
