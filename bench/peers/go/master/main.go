// Command master accepts connections on PORT, and passes each to a worker as a
// descriptor (SCM_RIGHTS).
//
//	master -policy rr -n 4 -- ./server     to one after the other
//	master -policy least -n 4 -- ./server  to who has the fewest; workers tell of ends
//
// It says on standard output when a worker serves. One that dies is started
// again after 100 ms; what it was passed is lost. SIGHUP starts new workers, and
// when all serve has the old ones finish what they have. SIGUSR1 adds a worker.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

func main() {
	policy := flag.String("policy", "rr", "rr or least")
	n := flag.Int("n", 1, "number of workers")
	flag.Parse()
	if err := run(*policy, *n, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "master:", err)
		os.Exit(1)
	}
}

func run(policy string, n int, command []string) error {
	if policy != "rr" && policy != "least" || n < 1 || len(command) == 0 {
		return fmt.Errorf("usage: master -policy rr|least -n N -- COMMAND")
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM)
	c := newCrew(command, policy == "least")
	if err := c.add(n); err != nil {
		return err
	}
	listener, err := app.Listen() // not before: a connection that waits can be passed
	if err != nil {
		return err
	}
	defer listener.Close() // not by the collector
	failed := make(chan error, 1)
	go func() { failed <- c.accept(int(listener.Fd())) }()
	for {
		select {
		case err := <-failed:
			return err
		case s := <-signals:
			if s == syscall.SIGTERM {
				return nil // and workers see that their sockets are closed
			}
			if err := c.change(s == syscall.SIGHUP); err != nil {
				fmt.Fprintln(os.Stderr, "master:", err)
			}
		}
	}
}
