package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// send sends one packet. The files stay the caller's.
func send(conn *net.UnixConn, message any, files ...*os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > MaxMessage {
		return fmt.Errorf("a message of %d bytes, at most %d are possible", len(text), MaxMessage)
	}
	if len(files) > MaxFiles {
		return fmt.Errorf("a message with %d descriptors, at most %d are possible", len(files), MaxFiles)
	}
	return withFDs(files, nil, func(fds []int) error {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		_, _, err := conn.WriteMsgUnix(text, rights, nil)
		return err
	})
}

// sendNow sends a packet if there is room for it, and waits for nothing.
func sendNow(conn *net.UnixConn, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return control(conn, func(fd int) error {
		return unix.Sendmsg(fd, text, nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
}

// withFDs calls f with the files' descriptors. [os.File.Fd] would make
// them block, for all who share them.
func withFDs(files []*os.File, fds []int, f func(fds []int) error) error {
	if len(files) == 0 {
		return f(fds)
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = withFDs(files[1:], append(fds, int(fd)), f) }); err != nil {
		return err
	}
	return failed
}

// A packet is what came, before anybody looked at it.
type packet struct {
	text  []byte
	files []*os.File
}

// buffers are in use only while a packet is read, not while it is waited for:
// most sessions never say a word.
var buffers = sync.Pool{New: func() any { return new([MaxMessage]byte) }}

// receive reads one packet of at most limit bytes. Its end is io.EOF. The files
// are the caller's; with an error there are none.
func receive(conn *net.UnixConn, limit int) (p packet, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return packet{}, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		p, failed = receiveNow(int(fd), limit)
		return !errors.Is(failed, unix.EAGAIN)
	})
	if err == nil {
		err = failed
	}
	return p, err
}

// receiveNow doesn't wait: EAGAIN says that there is nothing.
func receiveNow(fd, limit int) (packet, error) {
	buffer := buffers.Get().(*[MaxMessage]byte)
	defer buffers.Put(buffer)
	control := make([]byte, unix.CmsgSpace(4*MaxFiles))
	n, controls, flags, err := receiveMessage(fd, buffer[:limit], control)
	if err != nil {
		return packet{}, err
	}
	p := packet{text: append([]byte(nil), buffer[:n]...)}
	p.files, err = filesIn(control[:controls])
	switch {
	case err != nil:
	case flags&unix.MSG_TRUNC != 0:
		err = fmt.Errorf("a message of more than %d bytes", limit)
	case flags&unix.MSG_CTRUNC != 0: // the kernel dropped what didn't fit
		err = fmt.Errorf("a message with more than %d descriptors, or that this process has no room for", MaxFiles)
	case n == 0: // an empty packet can't be told from the end
		err = io.EOF
	}
	if err != nil {
		closeAll(p.files)
		return packet{}, err
	}
	return p, nil
}

// receiveMessage returns what the kernel has. A reset comes before the packets
// that the other side had sent until then.
func receiveMessage(fd int, text, control []byte) (n, controls, flags int, err error) {
	resets := 0
	for {
		n, controls, flags, _, err = unix.Recvmsg(fd, text, control, unix.MSG_CMSG_CLOEXEC|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.ECONNRESET) && resets == 0 {
			resets++
			continue
		}
		if !errors.Is(err, unix.EINTR) {
			return n, controls, flags, err
		}
	}
}

// filesIn returns every descriptor that came, also of messages that aren't
// ours.
func filesIn(control []byte) ([]*os.File, error) {
	if len(control) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(control)
	var files []*os.File
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue // credentials, which nobody asked for
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// decode reads the packet's JSON.
func (p packet) decode(message any) error {
	if err := json.Unmarshal(p.text, message); err != nil {
		return fmt.Errorf("a message that is no JSON object of ours: %w", err)
	}
	return nil
}

// request reads a request. One of another version, whatever else is in it, is
// an errVersion.
func (p packet) request() (Request, error) {
	var any struct {
		Version int `json:"version"`
	}
	if err := p.decode(&any); err != nil {
		return Request{}, err
	}
	if any.Version != Version {
		return Request{}, errVersion(any.Version)
	}
	var r Request
	err := p.decode(&r)
	return r, err
}

type errVersion int

func (v errVersion) Error() string {
	return fmt.Sprintf("the supervisor speaks version %d of the protocol, the request is of version %d: "+
		"use the sockdist that the app was started with, or a worker library of its release", Version, int(v))
}
