// Command sockdist puts a set of worker processes behind one port and lets the
// kernel hand each new connection to the least-loaded worker.
//
// Each verb is a file of its own. Verbs work on pins in the kernel, so that none
// needs a daemon; `run` stays for as long as it supervises.
package main

import (
	"context"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, environment{
		out:      os.Stdout,
		err:      os.Stderr,
		terminal: isTerminal(os.Stdout),
		getenv:   os.Getenv,
	}, os.Args[1:]))
}
