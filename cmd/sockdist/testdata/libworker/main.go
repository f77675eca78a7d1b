// Command libworker is testdata/worker for workers that use the library. SIGUSR1 has
// it report a load, SIGUSR2 drain.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/sockdist/sockdist/userspace/worker"
)

var (
	listen = flag.String("listen", "", "listen on this address")
	load   = flag.Int64("load", 6, "the load to report at SIGUSR1")
)

func main() {
	log.SetFlags(0)
	flag.Parse()
	signals := make(chan os.Signal, 4) // before anybody can see that it has joined
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	l, err := worker.Listen(context.Background(), "tcp", *listen, worker.WithLoad(worker.Manual))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("pid %d: steered %v, group %q, slot %d of %s\n", os.Getpid(), l.Steered(), l.Group(), l.Slot(), os.Getenv("SOCKDIST_SLOT"))
	go obey(l, signals)
	b := openBooks()
	server := &http.Server{ConnState: b.accepted, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Path[1:]
		b.record('N', r.RemoteAddr, " "+id)
		fmt.Fprintln(w, os.Getpid(), os.Getenv("SOCKDIST_SLOT"), id)
	})}
	if err := l.Run(context.Background(), server); err != nil {
		log.Fatal(err)
	}
}

func obey(l *worker.Listener, signals <-chan os.Signal) {
	for s := range signals {
		if s == syscall.SIGUSR1 {
			l.Load().Set(*load)
			continue
		}
		if err := l.Drain(context.Background()); err != nil {
			log.Print(err)
		}
		fmt.Printf("pid %d: drained\n", os.Getpid())
	}
}
