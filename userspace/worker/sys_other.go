//go:build !linux

package worker

import (
	"context"
	"syscall"
)

// Elsewhere nothing steers: ports are not shared, accept queues are not seen, and a
// load stays in its first line.
func share(string, string, syscall.RawConn) error { return nil }
func queued(uintptr) int                          { return 0 }
func barrier()                                    {}
func unmap(*lines)                                {}

type member struct{}

func (l *Listener) listensAgain(error) bool { return false }

func (l *Listener) open(ctx context.Context, network, address string) error {
	if err := l.listenPlain(ctx, network, address); err != nil {
		return err
	}
	l.log.Info("sockdist steers only on Linux: an ordinary listener", "address", l.Addr().String())
	return nil
}

func (l *Listener) tellDrain(context.Context) bool { return false }
