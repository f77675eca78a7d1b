package cgroup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Populated tells whether a process lives in the cgroup or below it. A cgroup
// that is gone has none.
func (d directory) Populated() (bool, error) {
	text, err := os.ReadFile(d.eventsFile())
	if vanished(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("ask whether cgroup %s is populated: %w", d.path, err)
	}
	return populated(string(text)), nil
}

// WaitEmpty returns once no process lives in the cgroup or below it, or with
// the error of the context. It sleeps in the kernel until something changes.
func (d directory) WaitEmpty(ctx context.Context) error {
	if err := d.waitFor(ctx, func(events string) bool { return !populated(events) }); err != nil {
		return fmt.Errorf("wait for the processes of cgroup %s: %w", d.path, err)
	}
	return nil
}

// waitFor returns once the events of the cgroup are as wanted, or the cgroup is
// gone.
func (d directory) waitFor(ctx context.Context, wanted func(events string) bool) error {
	events, err := os.Open(d.eventsFile())
	if vanished(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer events.Close()

	wake, err := newAlarm()
	if err != nil {
		return err
	}
	defer wake.close()
	defer context.AfterFunc(ctx, wake.ring)()
	return waitForEvents(ctx, int(events.Fd()), wake, wanted)
}

func waitForEvents(ctx context.Context, events int, wake *alarm, wanted func(string) bool) error {
	text := make([]byte, 256)
	for {
		// Reading also arms the next POLLPRI.
		n, err := unix.Pread(events, text, 0)
		if errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if err == nil && wanted(string(text[:n])) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		_, err = unix.Poll([]unix.PollFd{
			{Fd: int32(events), Events: unix.POLLPRI},
			{Fd: int32(wake.fd), Events: unix.POLLIN},
		}, -1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func (d directory) eventsFile() string { return filepath.Join(d.path, "cgroup.events") }

func populated(events string) bool {
	return strings.Contains(events, "populated 1")
}
