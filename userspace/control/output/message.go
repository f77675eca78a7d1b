package output

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// request is what the supervisor asks of the reading process, one datagram
// each. Exactly one field is set.
type request struct {
	// Attach comes with two descriptors: the reading ends of the pipes of
	// standard output and standard error.
	Attach *Run `json:"attach,omitempty"`
	// Tail is answered by a reply with the same ID.
	Tail *uint64 `json:"tail,omitempty"`
}

// reply answers a request for a tail.
type reply struct {
	ID    uint64   `json:"id"`
	Lines []string `json:"lines"`
}

// maxMessage is more than a tail takes, even when each byte of it is written
// as an escape of six.
const maxMessage = 6*TailLines*TailWidth + 4096

// sendPatience is how long the other end, stopped or stuck, may leave messages
// lying.
const sendPatience = 2 * time.Second

func send(conn *net.UnixConn, message any, files ...*os.File) error {
	text, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write a message: %w", err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, file := range files {
			fds[i] = int(file.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(sendPatience)); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	if _, _, err := conn.WriteMsgUnix(text, rights, nil); err != nil {
		return fmt.Errorf("send a message: %w", err)
	}
	return nil
}

// receive returns the descriptors that came along, which the caller closes.
func receive(conn *net.UnixConn, message any) ([]*os.File, error) {
	text := make([]byte, maxMessage)
	rights := make([]byte, unix.CmsgSpace(2*4))
	n, rn, _, _, err := conn.ReadMsgUnix(text, rights)
	if err != nil {
		return nil, err
	}
	files, err := parseRights(rights[:rn])
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text[:n], message); err != nil {
		closeAll(files)
		return nil, fmt.Errorf("read a message: %w", err)
	}
	return files, nil
}

func parseRights(rights []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return nil, fmt.Errorf("read the descriptors of a message: %w", err)
	}
	var files []*os.File
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("read the descriptors of a message: %w", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "pipe"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, file := range files {
		_ = file.Close()
	}
}
