package control

import (
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
//	SIGHUP            end in order when we began on a terminal, because then it
//	                  was closed; else nothing
//	SIGUSR1, SIGUSR2  passed on to the main process of each worker
func (s *Supervisor) Signal(sig os.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT:
		s.hurryUp(sig)
	case unix.SIGHUP:
		if s.onTerminal {
			s.urgency.raise(stopping)
			return
		}
		s.log.Info("SIGHUP is ignored")
	case unix.SIGUSR1, unix.SIGUSR2:
		if !s.manned.Load() {
			return
		}
		for _, w := range s.workers {
			w.signalMain(sig.(unix.Signal))
		}
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
