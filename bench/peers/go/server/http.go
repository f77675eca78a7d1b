package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockdist/sockdist/bench/peers/go/app"
	"github.com/sockdist/sockdist/userspace/worker"
)

// grace is how long requests have to end after SIGTERM.
const grace = time.Second

// newServer has no timeouts: connections that are kept stay.
func newServer(work *app.Work) *http.Server {
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, r *http.Request) {
		if err := work.Do(r.URL.Query().Get("us")); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(app.Answer)
	}
	mux.HandleFunc("/{$}", answer)
	mux.HandleFunc("/work", answer)
	mux.HandleFunc("/stream", stream)
	return &http.Server{Handler: mux}
}

func serve(work *app.Work, file *os.File) error {
	l, err := net.FileListener(file)
	if err != nil {
		return err
	}
	if err := file.Close(); err != nil { // l has a duplicate
		return err
	}
	server := newServer(work)
	return untilTold(server, l)
}

// untilTold serves until SIGTERM, and then answers what is under way.
func untilTold(server *http.Server, l net.Listener) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		if !errors.Is(err, errNoMaster) {
			return err
		}
	case <-ctx.Done():
	}
	within, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	_ = server.Shutdown(within) // what takes longer ends with the process
	return nil
}

// serveAsWorker ends by the library's rules, in no more time than the others.
func serveAsWorker(work *app.Work) error {
	server := newServer(work)
	server.Addr = ":" + os.Getenv("PORT")
	return worker.Run(context.Background(), server, worker.WithGrace(grace))
}
