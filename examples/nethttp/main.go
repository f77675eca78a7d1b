// Command nethttp is an HTTP server of the standard library as a worker.
//
//	go run ./nethttp -listen 127.0.0.1:8080
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	flag.Parse()

	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(hello)}
	// It joins its group, counts requests as its load, serves until SIGTERM, and
	// ends when all is answered.
	if err := worker.Run(context.Background(), server); err != nil {
		log.Fatal(err)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	time.Sleep(5 * time.Millisecond) // the work
	fmt.Fprintf(w, "%s answered by %d\n", r.URL.Path, os.Getpid())
}
