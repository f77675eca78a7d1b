package wire

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sockdist/sockdist/internal/privilege"
)

func TestOwner(t *testing.T) {
	privilege.Require(t)
	noLeaks(t)
	path := filepath.Join(openFolder(t), "control")
	s, err := Serve(path, Options{Mode: 0o660, UID: 70001, GID: 70002}, handler{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	is := info.Sys().(*syscall.Stat_t)
	if info.Mode().Perm() != 0o660 || is.Uid != 70001 || is.Gid != 70002 {
		t.Errorf("mode %v, owner %d, group %d", info.Mode(), is.Uid, is.Gid)
	}
	for uid, may := range map[int]bool{70001: true, 70002: true, 70003: false} {
		as(t, uid, uid, nil, func() {
			conn, err := Dial(t.Context(), path)
			if (err == nil) != may {
				t.Errorf("user %d: %v", uid, err)
			}
			if err == nil {
				conn.Close()
			}
		})
	}
}

// What is no socket isn't replaced, and a socket of another server stays.
func TestNamesOfOthers(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "control")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Serve(path, plain, handler{}); err == nil {
		t.Error("a file is replaced")
		s.Close()
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	old, err := Serve(path, plain, handler{})
	if err != nil {
		t.Fatal(err)
	}
	next, err := Serve(path, plain, handler{})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	if err := Call(t.Context(), path, Request{Verb: Ping}, nil); err != nil {
		t.Errorf("the next server's socket went with the old one: %v", err)
	}
	if err := next.Close(); err != nil {
		t.Error(err)
	}
}

// A service manager makes the socket, and keeps it.
func TestSocketOfAServiceManager(t *testing.T) {
	noLeaks(t)
	path := filepath.Join(t.TempDir(), "control")
	made, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer made.Close()
	file, err := made.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for range 2 {
		s, err := Serve("", Options{UID: -1, GID: -1, Listener: file}, handler{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Call(t.Context(), path, Request{Verb: Ping}, nil); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}

	_, tcp := listener(t)
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pair[1])
	connected := os.NewFile(uintptr(pair[0]), "pair")
	defer connected.Close()
	for _, wrong := range []*os.File{tcp, connected} {
		if s, err := Serve("", Options{UID: -1, GID: -1, Listener: wrong}, handler{}); err == nil {
			t.Errorf("%s is taken for a control socket", wrong.Name())
			s.Close()
		}
	}
}
