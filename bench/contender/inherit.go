package contender

import (
	"context"

	"golang.org/x/sys/unix"
)

// overShared starts workers that inherit one listener: the central queue.
//
// A worker that dies is started again after 100 ms, as by an init system, and
// so it is by overReuseport. What waited in the queue is served by others.
// Reload starts as many new workers, waits until they accept, and then sends the
// old ones SIGTERM, with a second for their end: the listener stays, so that
// what the old ones had accepted and don't finish is all that gets lost.
func (s *Setup) overShared(ctx context.Context, c Command) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	file, err := bound(port, false)
	if err != nil {
		return s.fail(err)
	}
	if err := unix.Listen(int(file.Fd()), backlog); err != nil {
		file.Close()
		return s.fail(err)
	}
	return s.keep(ctx, &keeper{port: port, command: c, shared: file})
}

// overReuseport starts workers with a listener each, which share a port: the
// kernel's hash. The sockets are bound here, and nobody but their worker has
// them when it listens, as if it had made them itself.
//
// Who dies, or ends in a Reload, takes along its accept queue, and handshakes
// under way to it: those connections are reset. That is how it is by hand, too:
// a server can't refuse new connections and still serve those that wait.
func (s *Setup) overReuseport(ctx context.Context, c Command) (*Fleet, error) {
	port, err := freePort()
	if err != nil {
		return s.fail(err)
	}
	return s.keep(ctx, &keeper{port: port, command: c})
}
