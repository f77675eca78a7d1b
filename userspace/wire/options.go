package wire

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options say what a server's socket is like.
type Options struct {
	// Mode of the socket: who may connect needs the right to write. 0 is 0600.
	Mode fs.FileMode
	// UID and GID are whose the socket is; -1 leaves them as they come.
	UID, GID int
	// Listener is a listening socket that somebody else made, as a service manager;
	// then there is no path. It stays the caller's.
	Listener *os.File
	Limits   Limits
}

// listen returns the listener, and what removes its name.
func (o Options) listen(path string) (*net.UnixListener, func(), error) {
	if o.Listener != nil {
		l, err := o.inherit()
		return l, func() {}, err
	}
	if err := replace(path); err != nil {
		return nil, nil, err
	}
	// Nobody can connect before the mode is right, and before the owner is, none
	// but who is in our own group.
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) (err error) {
		if failed := raw.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0) }); failed != nil {
			return failed
		}
		return err
	}}
	any, err := config.Listen(context.Background(), "unixpacket", path)
	if err != nil {
		return nil, nil, err
	}
	l := any.(*net.UnixListener)
	l.SetUnlinkOnClose(false)
	if err := o.open(path); err != nil {
		l.Close()
		_ = os.Remove(path)
		return nil, nil, fmt.Errorf("open the control socket: %w", err)
	}
	made, err := os.Lstat(path)
	return l, func() {
		// Another server may have its own there by now.
		if now, again := os.Lstat(path); err == nil && again == nil && os.SameFile(made, now) {
			_ = os.Remove(path)
		}
	}, nil
}

func replace(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there already, and is no socket", path)
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the socket: %w", err)
	}
	return nil
}

// open lets clients in. The mode comes first: the owner may change it, and after
// that somebody else is.
func (o Options) open(path string) error {
	mode := o.Mode.Perm()
	if mode == 0 {
		mode = 0o600
	}
	if err := os.Chmod(path, mode); err != nil || o.UID == -1 && o.GID == -1 {
		return err
	}
	return os.Lchown(path, o.UID, o.GID)
}

func (o Options) inherit() (*net.UnixListener, error) {
	any, err := net.FileListener(o.Listener)
	if err != nil {
		return nil, fmt.Errorf("use %s as the control socket: %w", o.Listener.Name(), err)
	}
	l, ok := any.(*net.UnixListener)
	if !ok || l.Addr().Network() != "unixpacket" || !listens(l) {
		any.Close()
		return nil, fmt.Errorf("use %s as the control socket: it is no unix socket of type SEQPACKET that listens", o.Listener.Name())
	}
	l.SetUnlinkOnClose(false)
	return l, nil
}

func listens(l *net.UnixListener) bool {
	var yes int
	raw, err := l.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { yes, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN) })
	}
	return err == nil && yes == 1
}
