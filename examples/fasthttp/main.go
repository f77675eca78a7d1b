// Command fasthttp is a fasthttp server as a worker. It tells of its requests
// itself: this is how a server is added that the library knows nothing of.
//
//	go run ./fasthttp -listen 127.0.0.1:8080
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/sockdist/sockdist/userspace/worker"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	flag.Parse()

	l, err := worker.Listen(context.Background(), "tcp", *listen, worker.WithLoad(worker.InFlight))
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Run(context.Background(), server{&fasthttp.Server{Handler: count(hello)}}); err != nil {
		log.Fatal(err)
	}
}

// count makes requests the load of this worker, and asks clients to come again
// by another connection when the worker wants it.
func count(next fasthttp.RequestHandler) fasthttp.RequestHandler {
	return func(r *fasthttp.RequestCtx) {
		conn := worker.Lookup(r.LocalAddr())
		conn.Begin()
		defer conn.End()
		next(r)
		if conn.Leaving() {
			r.SetConnectionClose()
		}
	}
}

func hello(r *fasthttp.RequestCtx) {
	time.Sleep(5 * time.Millisecond) // the work
	fmt.Fprintf(r, "%s answered by %d\n", r.Path(), os.Getpid())
}

// server is what Run can end.
type server struct{ *fasthttp.Server }

func (s server) Shutdown(ctx context.Context) error { return s.ShutdownWithContext(ctx) }
