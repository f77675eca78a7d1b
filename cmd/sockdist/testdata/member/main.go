// Command member is a server that uses the library, for the tests of sockdist
// serve. It answers each request with its process ID and slot, as package clients
// expects. Without a daemon it is a plain server that shares its port.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockdist/sockdist/userspace/worker"
)

func main() {
	log.SetFlags(0)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := worker.Listen(ctx, "tcp", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: worker.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, os.Getpid(), max(0, l.Slot()))
	}))}
	fmt.Println("listening", l.Addr(), l.Group())
	if err := l.Run(ctx, server); err != nil {
		log.Fatal(err)
	}
}
