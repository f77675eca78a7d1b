package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"

	"golang.org/x/sys/unix"
)

var (
	// ErrNobody is wrapped when no supervisor listens at the socket.
	ErrNobody = errors.New("no supervisor answers")
	// ErrGone is wrapped when the supervisor went away before it was done.
	ErrGone = errors.New("the supervisor went away before it was done")
)

// A Refusal is the supervisor's own answer that it didn't do what was asked.
type Refusal struct {
	Text string
	// Output are the last lines of the worker that is to blame, if there is one.
	Output []string
}

func (r *Refusal) Error() string { return r.Text }

// Call sends the request to the socket at path and returns when it is done.
// say, if not nil, is told of the progress. When the context is over it stops waiting; the
// supervisor goes on. Errors are a [*Refusal], or wrap [ErrNobody], [ErrGone],
// or what the context says.
func Call(ctx context.Context, path string, request Request, say func(string)) error {
	conn, err := dial(path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	request.Version = Version
	if err := send(conn, request); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	for {
		var reply Reply
		err := receive(conn, &reply)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF):
			return ErrGone
		case err != nil:
			return fmt.Errorf("read the supervisor's reply: %w", err)
		}
		if reply.Say != "" && say != nil {
			say(reply.Say)
		}
		switch {
		case reply.Done && reply.Error != "":
			return &Refusal{Text: reply.Error, Output: reply.Output}
		case reply.Done:
			return nil
		}
	}
}

func dial(path string) (*net.UnixConn, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, fmt.Errorf("%w at %s", ErrNobody, path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("connect to %s: run as the user who runs the supervisor, or as root: %w", path, err)
	}
	return conn, err
}
