package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Signal handles a signal that this process got. It may be called at any time,
// from any goroutine.
//
//	SIGTERM, SIGINT   end in order; the second one doesn't wait for
//	                  connections, the third one kills
//	SIGHUP            reload; or, when it comes because the terminal that we
//	                  began on was closed, end in order
//	SIGUSR1, SIGUSR2  passed on to the main process of each worker
func (s *Supervisor) Signal(sig os.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT:
		s.hurryUp(sig)
	case unix.SIGHUP:
		if s.onTerminal && !isTerminal(s.config.Stdout) && !isTerminal(s.config.Stderr) {
			s.urgency.raise(stopping)
			return
		}
		s.background.Go(s.reloadForSignal)
	case unix.SIGUSR1, unix.SIGUSR2:
		if !s.manned.Load() {
			return
		}
		for _, w := range s.crew.all() {
			w.signalMain(sig.(unix.Signal))
		}
	}
}

func (s *Supervisor) reloadForSignal() {
	err := s.Reload(context.Background(), false, func(text string) { s.log.Info(text) })
	switch {
	case err == nil:
		s.log.Info("reloaded")
	case !errors.Is(err, ErrEnding):
		s.log.Error(fmt.Sprintf("reload: %v", err))
	}
}

// survivePipes keeps this process alive when it writes a log that nobody reads
// any more, and returns what ends that. Ignoring the signal would make the
// workers ignore it too.
func survivePipes() (end func()) {
	discarded := make(chan os.Signal, 1)
	signal.Notify(discarded, unix.SIGPIPE)
	return func() { signal.Stop(discarded) }
}

func (s *Supervisor) hurryUp(sig os.Signal) {
	switch s.urgency.raiseMore() {
	case stopping:
		s.log.Info(fmt.Sprintf("ending (%v); once more to not wait for connections", sig))
	case hurried:
		s.log.Info(fmt.Sprintf("ending without waiting for connections (%v); once more to kill the workers", sig))
	case killing:
		s.log.Warn(fmt.Sprintf("killing the workers (%v)", sig))
	}
}
