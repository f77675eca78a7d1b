package systemd

import "os"

// Listener is a socket that the manager listens on, and goes on to.
type Listener struct {
	// Name is FileDescriptorName= of the socket unit: its own name by default,
	// web.socket. Several may have the same.
	Name string
	// File is our descriptor of the socket, with close-on-exec. It belongs to
	// whoever asked; closing it doesn't close the manager's.
	File *os.File
}

// Listeners returns the sockets that came from socket activation, in the order
// of the socket unit. A second call returns the same files.
func (m *Manager) Listeners() []Listener {
	if m == nil {
		return nil
	}
	listeners := make([]Listener, len(m.listeners))
	for i, file := range m.listeners {
		listeners[i] = Listener{Name: file.Name(), File: file}
	}
	return listeners
}
