// Command server is the app of all Go contenders but the prefork ones. It
// listens where PORT or LISTEN_FD say, or takes what a master accepted.
//
//	server                   net/http; one request works at a time
//	server -serial           one connection at a time, and no other is accepted meanwhile
//	server -worker           listens by the worker library, on PORT
//	server -control FD       gets connections as descriptors over a socket; see master
//	server -control FD -tell … and tells when each ends, by a byte
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

func main() {
	serial := flag.Bool("serial", false, "serve one connection at a time, accepting only when idle")
	library := flag.Bool("worker", false, "listen by the worker library")
	control := flag.Int("control", -1, "`descriptor` of the socket over which a master passes connections")
	tell := flag.Bool("tell", false, "tell the master when a connection ends")
	flag.Parse()
	if err := run(*serial, *library, *control, *tell); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func run(serial, library bool, control int, tell bool) error {
	work := app.NewWork()
	switch {
	case library && (serial || control >= 0):
		return fmt.Errorf("the library listens by itself, and serves with net/http")
	case library:
		return serveAsWorker(work)
	case control >= 0 && serial:
		return serveSerial(work, newPassed(control, tell))
	case control >= 0:
		return servePassed(work, newPassed(control, tell))
	}
	listener, err := app.Listen()
	if err != nil {
		return err
	}
	if serial {
		return serveSerial(work, accepting(listener))
	}
	return serve(work, listener)
}
