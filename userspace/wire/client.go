package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

var (
	// ErrNobody is wrapped when no supervisor listens at the socket.
	ErrNobody = errors.New("no supervisor answers")
	// ErrGone is wrapped when the supervisor went away before it was done.
	ErrGone = errors.New("the supervisor went away before it was done")
)

const (
	// busyPatience is how long a client tries again while the server is busy:
	// longer than silent clients have their places.
	busyPatience = 15 * time.Second
	busyPause    = 50 * time.Millisecond
)

// A Refusal is the supervisor's own answer that it didn't do what was asked.
type Refusal struct {
	Text string
	// Output are the last lines of the worker that is to blame, if there is one.
	Output []string
	// Busy: it may do it a little later.
	Busy bool
}

func (r *Refusal) Error() string { return r.Text }

// Call sends the request to the socket at path and returns when it is done.
// say, if not nil, is told of the progress. When the context is over it stops waiting; the
// supervisor goes on. Errors are a [*Refusal], or wrap [ErrNobody], [ErrGone],
// or what the context says.
func Call(ctx context.Context, path string, request Request, say func(string)) error {
	for began := time.Now(); ; {
		err := call(ctx, path, request, say)
		var refusal *Refusal
		if !errors.As(err, &refusal) || !refusal.Busy || time.Since(began) > busyPatience {
			return err
		}
		if err := sleep(ctx, busyPause); err != nil {
			return err
		}
	}
}

func call(ctx context.Context, path string, request Request, say func(string)) error {
	conn, err := Dial(ctx, path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	unsent := conn.Send(request) // a refusal may be there all the same
	for {
		reply, files, err := conn.Receive()
		closeAll(files)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil && unsent != nil:
			return fmt.Errorf("%w: %w", ErrGone, unsent)
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
			return &Refusal{Text: reply.Error, Output: reply.Output, Busy: reply.Busy}
		case reply.Done:
			return nil
		}
	}
}
