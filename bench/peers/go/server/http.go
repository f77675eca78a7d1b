package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
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

// untilTold serves until SIGTERM, or until the master has no more, and then
// answers what it has accepted. Shutdown alone would hang up on clients whose
// request it reads after that.
func untilTold(server *http.Server, l net.Listener) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var open atomic.Int64
	server.ConnState = func(_ net.Conn, state http.ConnState) { open.Add(change(state)) }
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		if !errors.Is(err, errNoMaster) {
			return err
		}
	case <-ctx.Done():
		l.Close()
		<-served // who was accepted just before counts, too
	}
	server.SetKeepAlivesEnabled(false) // closes idle ones
	for deadline := time.Now().Add(grace); open.Load() > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// change is by how many connections there are more.
func change(state http.ConnState) int64 {
	switch state {
	case http.StateNew:
		return 1
	case http.StateClosed, http.StateHijacked:
		return -1
	}
	return 0
}

// serveAsWorker ends by the library's rules, in no more time than the others.
func serveAsWorker(work *app.Work) error {
	server := newServer(work)
	server.Addr = ":" + os.Getenv("PORT")
	return worker.Run(context.Background(), server, worker.WithGrace(grace))
}
