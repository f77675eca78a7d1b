package sockets

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/internal/netns"
	"github.com/sockdist/sockdist/internal/privilege"
)

func TestFetch(t *testing.T) {
	ns := netns.New(t)
	err := ns.Do(func() error {
		c := start(t, "listen", []string{"127.0.0.1:80"})
		listener := only(t, mustParse(t, "127.0.0.1:80"))
		holder := Server(holdersOf(t, listener.Inode))
		if holder.PID != c.pid() {
			t.Fatalf("held by %+v, want %d", holder, c.pid())
		}

		s, err := listener.Fetch(holder)
		if err != nil {
			return err
		}
		defer s.Close()
		got, err := Describe(s.FD())
		if err != nil || got.Cookie != listener.Cookie || !got.Listening || !got.ReusePort {
			t.Errorf("fetched %+v, %v, want %+v", got, err, listener)
		}
		flags, err := unix.FcntlInt(uintptr(s.FD()), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("the descriptor would be inherited: flags %x, %v", flags, err)
		}

		// This process holds it now, but doesn't serve it.
		if holders := holdersOf(t, listener.Inode); len(holders) != 2 || Server(holders).PID != c.pid() {
			t.Errorf("holders %+v", holders)
		}

		c.end()
		if again := only(t, mustParse(t, "127.0.0.1:80")); again.Cookie != listener.Cookie {
			t.Errorf("after the server's end %+v", again)
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		if left, err := Listeners(Address{}); len(left) != 0 {
			t.Errorf("after the last close %+v, %v", left, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFetchChecksTheSocket(t *testing.T) {
	privilege.Require(t)
	one, other := listen(t, "tcp4", "127.0.0.1:0"), listen(t, "tcp4", "127.0.0.1:0")
	holder := Server(holdersOf(t, describeOf(t, other).Inode))
	if s, err := only(t, addressOf(one)).Fetch(holder); !errors.Is(err, ErrChanged) {
		t.Errorf("fetched %v, %v", s, err)
	}
}

func TestFetchWhatIsNotThere(t *testing.T) {
	privilege.Require(t)
	if _, err := Fetch(gonePID(t), 0); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("of a process that is gone: %v", err)
	}
	if _, err := Fetch(start(t, "hold", nil).pid(), 1000); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a descriptor that is not there: %v", err)
	}
	if _, err := Fetch(-1, 0); err == nil {
		t.Error("fetched from no process")
	}
}

func TestFetchWithoutPrivilege(t *testing.T) {
	privilege.Require(t)
	said := asNobody(t, "fetch", fmt.Sprint(os.Getpid()), "0")
	if !strings.Contains(said, "operation not permitted") || !strings.Contains(said, "CAP_SYS_PTRACE") {
		t.Errorf("as nobody: %s", said)
	}
}

func TestDescribeRefuses(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(udp)
	local, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(local)

	for _, fd := range []int{int(null.Fd()), udp, local} {
		if d, err := Describe(fd); !errors.Is(err, ErrNotTCP) {
			t.Errorf("described %+v, %v", d, err)
		}
	}
	if _, err := Describe(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("no descriptor: %v", err)
	}
}

func TestDescribeBeforeListen(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	d, err := Describe(fd)
	if err != nil || d.Listening || d.ReusePort || d.MaxBacklog != 0 || d.Address.String() != "[::]:0" {
		t.Errorf("a fresh socket is %+v, %v", d, err)
	}
	if err := reusePort(fd); err != nil {
		t.Fatal(err)
	}
	if d, err = Describe(fd); err != nil || !d.ReusePort {
		t.Errorf("with SO_REUSEPORT %+v, %v", d, err)
	}
}

func mustParse(t testing.TB, text string) Address {
	t.Helper()
	a, err := ParseAddress(text)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
