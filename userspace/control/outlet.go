package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sockdist/sockdist/userspace/control/output"
)

const (
	// tailTimeout is for a relay that hangs; one that doesn't answers within
	// half a second.
	tailTimeout = 2 * time.Second

	// flushTimeout is how long the end waits for the last output, which a
	// terminal may not want to take.
	flushTimeout = 2 * time.Second

	// relayLife is how long a relay lives to be worth another one.
	relayLife = 5 * time.Second
)

// outlet is where workers print to. With a relay, both that process and this
// one have the reading ends, so that each outlives the other.
type outlet struct {
	format         output.Format
	stdout, stderr io.Writer
	command        []string // of the relay; empty for none
	log            *slog.Logger

	mu     sync.Mutex
	relay  *output.Client // nil when mux does the reading
	reader *process       // of relay
	mux    *output.Mux    // nil when relay does
	held   map[output.Run][2]*os.File
	lastID uint64
	closed bool

	watchers sync.WaitGroup
}

func openOutlet(c *Config) (*outlet, error) {
	o := &outlet{
		format: c.Log, stdout: c.Stdout, stderr: c.Stderr, command: c.Relay, log: c.Logger,
		held: make(map[output.Run][2]*os.File),
	}
	if len(o.command) == 0 {
		o.mux = output.NewMux(o.format, o.stdout, o.stderr)
		return o, nil
	}
	if err := o.startRelay(); err != nil {
		return nil, err
	}
	return o, nil
}

// startRelay is called with o.mu held, or before anybody else has o.
func (o *outlet) startRelay() error {
	path, err := findCommand(o.command)
	if err != nil {
		return fmt.Errorf("start the relay for the output of workers: %w", err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("start the relay for the output of workers: %w", err)
	}
	defer null.Close()
	client, socket, err := output.Dial()
	if err != nil {
		return err
	}
	defer socket.Close()

	reader, err := start(program{
		path:        path,
		args:        append(append([]string(nil), o.command...), o.format.String()),
		environment: os.Environ(),
		files:       []*os.File{null, o.stdout.(*os.File), o.stderr.(*os.File), socket},
		cpu:         -1,
	})
	if err != nil {
		_ = client.Close()
		return fmt.Errorf("start the relay for the output of workers: %w", err)
	}
	o.relay, o.reader = client, reader
	begun := time.Now()
	o.watchers.Go(func() {
		<-client.Gone()
		_ = client.Close()
		o.replaceRelay(reader, time.Since(begun))
	})
	return nil
}

// replaceRelay takes over from a relay that is gone, with what this process
// holds of the pipes.
func (o *outlet) replaceRelay(old *process, life time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return
	}
	o.relay, o.reader = nil, nil
	// It closed its socket before its time, so it is of no more use.
	_ = old.signal(unix.SIGKILL)
	o.log.Warn(fmt.Sprintf("the relay for the output of workers (pid %d) is gone: starting another one", old.pid))
	if life < relayLife {
		o.takeOver(errors.New("it didn't live long"))
		return
	}
	if err := o.startRelay(); err != nil {
		o.takeOver(err)
		return
	}
	for run, files := range o.held {
		if err := o.relay.Attach(run, files[0], files[1]); err != nil {
			return // its watcher sees that it is gone
		}
	}
}

// takeOver has this process read by itself from now on.
func (o *outlet) takeOver(why error) {
	o.log.Error(fmt.Sprintf("no relay for the output of workers, their output now ends with this process: %v", why))
	o.mux = output.NewMux(o.format, o.stdout, o.stderr)
	for run, files := range o.held {
		o.mux.Attach(run, files[0], files[1])
	}
	clear(o.held) // the files are the mux's now
}

// pipes are what a worker gets as its standard output and standard error.
type pipes struct {
	run            output.Run
	stdout, stderr *os.File
}

func (p pipes) close() {
	_ = p.stdout.Close()
	_ = p.stderr.Close()
}

// attach makes the pipes of a new life of a worker. The caller closes them
// once the worker has them. They belong to the user whom it runs as, who could
// otherwise not open /dev/stdout.
func (o *outlet) attach(slot int, who *account) (pipes, error) {
	var read, write [2]*os.File
	for i := range read {
		var err error
		if read[i], write[i], err = newPipe(who); err != nil {
			if i > 0 {
				_ = read[0].Close()
				_ = write[0].Close()
			}
			return pipes{}, err
		}
	}

	o.mu.Lock()
	defer o.mu.Unlock()
	o.lastID++
	run := output.Run{ID: o.lastID, Slot: slot}
	switch {
	case o.mux != nil:
		o.mux.Attach(run, read[0], read[1])
	default:
		o.held[run] = read
		if o.relay != nil {
			_ = o.relay.Attach(run, read[0], read[1]) // its watcher repeats it if need be
		}
	}
	return pipes{run: run, stdout: write[0], stderr: write[1]}, nil
}

func newPipe(who *account) (read, write *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("make a pipe for the output of a worker: %w", err)
	}
	// Only the reading end doesn't block, and it is told so before os.File
	// sees it: File.Fd, which is called to hand it on, would undo it.
	err = unix.SetNonblock(fds[0], true)
	if err == nil && who != nil {
		err = unix.Fchown(fds[1], int(who.uid), int(who.gid))
	}
	if err != nil {
		_, _ = unix.Close(fds[0]), unix.Close(fds[1])
		return nil, nil, fmt.Errorf("make a pipe for the output of a worker: %w", err)
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// detach returns the last lines of a life that is over.
func (o *outlet) detach(run output.Run) []string {
	o.mu.Lock()
	relay, mux := o.relay, o.mux
	files, held := o.held[run]
	delete(o.held, run)
	o.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), tailTimeout)
	defer cancel()
	var lines []string
	switch {
	case mux != nil:
		lines = mux.Tail(ctx, run.ID)
	case relay != nil:
		lines = relay.Tail(ctx, run.ID)
	}
	if held {
		_ = files[0].Close()
		_ = files[1].Close()
	}
	return lines
}

// close waits until all is printed, but not for ever; and not at all where
// workers go on to print, for whom the relay stays.
func (o *outlet) close(workersGoOn bool) error {
	o.mu.Lock()
	o.closed = true
	relay, reader, mux := o.relay, o.reader, o.mux
	for _, files := range o.held {
		_ = files[0].Close()
		_ = files[1].Close()
	}
	clear(o.held)
	o.mu.Unlock()

	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	var err error
	switch {
	case mux != nil && !workersGoOn:
		err = mux.Wait(ctx)
	case mux != nil:
		go func() { _ = mux.Wait(context.Background()) }() // until they end
	case relay != nil:
		_ = relay.Close()
		if workersGoOn {
			break
		}
		select {
		case <-reader.done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		o.log.Warn("the last output of the workers isn't taken by whoever reads ours")
	}
	o.watchers.Wait()
	return nil
}
