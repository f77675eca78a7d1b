package servers

import (
	"testing"
)

// Server is a program that answers on a port.
type Server struct {
	name    string
	command func(t testing.TB, port int) []string
}

// Single are the servers that are one process each.
func Single() []Server { return []Server{Node, Express, Python, Go, Lighttpd} }

// String returns the server's name, fit for a subtest.
func (s Server) String() string { return s.name }

// Command returns the command line that serves port: the program's path, then
// its arguments. It stays good until t ends, for any number of processes. It
// skips t if the program isn't installed.
func (s Server) Command(t testing.TB, port int) []string {
	t.Helper()
	return s.command(t, port)
}
