package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// SocketFD is the descriptor at which the reading process finds the socket to
// its supervisor.
const SocketFD = 3

// tailPatience is how long a tail waits for the last output of a worker that
// has ended.
const tailPatience = 500 * time.Millisecond

// Serve is the whole life of the reading process: it reads what the supervisor
// attaches, writes it to standard output and standard error, and returns when
// the supervisor is gone and every writer too. Signals that are meant for the
// supervisor don't end it: a terminal sends them to everybody. The name of an
// app, if there is one, is put on each line where the slot is.
func Serve(format Format, app string) error {
	signal.Ignore(unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGTTOU)

	socket := os.NewFile(SocketFD, "supervisor")
	conn, err := unixConn(socket)
	if err != nil {
		return fmt.Errorf("descriptor %d is no socket to a supervisor: %w", SocketFD, err)
	}
	defer conn.Close()

	mux := NewMux(format, os.Stdout, os.Stderr)
	mux.app = app
	failed := answer(conn, mux)
	return errors.Join(failed, mux.Wait(context.Background()))
}

// answer returns nil when the supervisor is gone.
func answer(conn *net.UnixConn, mux *Mux) error {
	for {
		var asked request
		files, err := receive(conn, &asked)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET):
			return nil
		case err != nil:
			return err
		case asked.Attach != nil && len(files) == 2:
			mux.Attach(*asked.Attach, files[0], files[1])
		case asked.Tail != nil && len(files) == 0:
			go sendTail(conn, mux, *asked.Tail)
		default:
			closeAll(files)
			return fmt.Errorf("the supervisor sent %+v with %d descriptors", asked, len(files))
		}
	}
}

// sendTail has nobody to report an error to: the supervisor is the one that
// asked, and it is gone if it can't be answered.
func sendTail(conn *net.UnixConn, mux *Mux, run uint64) {
	ctx, cancel := context.WithTimeout(context.Background(), tailPatience)
	defer cancel()
	_ = send(conn, reply{ID: run, Lines: mux.Tail(ctx, run)})
}

// unixConn takes over the file.
func unixConn(file *os.File) (*net.UnixConn, error) {
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("it is a %T", conn)
	}
	return socket, nil
}
