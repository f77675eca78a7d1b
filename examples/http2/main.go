// Command http2 serves HTTP/2 over TLS, with a certificate that it makes itself,
// or without TLS (h2c). A client of HTTP/1.1 is answered as well.
//
//	go run ./http2 -listen 127.0.0.1:8443
//	go run ./http2 -listen 127.0.0.1:8080 -h2c
package main

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/sockdist/sockdist/userspace/worker"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8443", "address")
	h2c := flag.Bool("h2c", false, "no TLS")
	flag.Parse()

	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(hello), Protocols: new(http.Protocols)}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(*h2c)
	if !*h2c { // with a certificate, Run serves TLS
		certificate, err := selfSigned()
		if err != nil {
			log.Fatal(err)
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
	}
	// One connection carries many requests, and can be too much for its worker:
	// then the client is asked to come again, by GOAWAY.
	if err := worker.Run(context.Background(), server, worker.WithRebalance(worker.Rebalance{})); err != nil {
		log.Fatal(err)
	}
}

func hello(w http.ResponseWriter, r *http.Request) {
	time.Sleep(5 * time.Millisecond) // the work
	fmt.Fprintf(w, "%s answered by %d over %s\n", r.URL.Path, os.Getpid(), r.Proto)
}
