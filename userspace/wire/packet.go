package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"
)

// send sends one packet.
func send(conn *net.UnixConn, message any) error {
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	if len(text) > MaxMessage {
		return fmt.Errorf("a message of %d bytes, at most %d are possible", len(text), MaxMessage)
	}
	_, err = conn.Write(text)
	return err
}

// receive reads one packet. Its end is io.EOF.
func receive(conn *net.UnixConn, message any) error {
	buffer := make([]byte, MaxMessage)
	n, _, flags, _, err := conn.ReadMsgUnix(buffer, nil)
	switch {
	case errors.Is(err, unix.ECONNRESET), err == nil && n == 0:
		return io.EOF
	case err != nil:
		return err
	case flags&unix.MSG_TRUNC != 0:
		return fmt.Errorf("a message of more than %d bytes", MaxMessage)
	}
	if err := json.Unmarshal(buffer[:n], message); err != nil {
		return fmt.Errorf("a message that is no JSON object of ours: %w", err)
	}
	return nil
}
