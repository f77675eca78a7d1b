package systemd

import (
	"net"
	"strings"
	"time"
)

const (
	// sendTimeout is how long one message may wait for a manager that reads
	// nothing.
	sendTimeout = 5 * time.Second

	closeTimeout = time.Second

	// mostWaiting is how many messages wait for such a manager. What it missed
	// for this long is of no more use.
	mostWaiting = 64
)

// send queues one message, made of lines.
func (m *Manager) send(lines ...string) {
	if m == nil || m.address == "" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == mostWaiting {
		return
	}
	m.waiting = append(m.waiting, strings.Join(lines, "\n"))
	if m.sending == nil {
		m.sending = make(chan struct{})
		go m.deliver(m.sending)
	}
}

func (m *Manager) deliver(done chan struct{}) {
	defer close(done)
	for {
		m.mu.Lock()
		if len(m.waiting) == 0 {
			m.waiting, m.sending = nil, nil
			m.mu.Unlock()
			return
		}
		message := m.waiting[0]
		m.waiting = m.waiting[1:]
		m.mu.Unlock()

		if err := deliver(m.address, message); err != nil {
			m.mu.Lock()
			m.report(err)
			m.mu.Unlock()
		}
	}
}

// deliver opens the socket anew for each message: a manager that was itself
// replaced has another one behind the same address.
func deliver(address, message string) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, err = conn.Write([]byte(message))
	return err
}
