// Command websocket answers messages over WebSocket. Such connections live long:
// when the worker ends, or has too many of them, it says goodbye to the client,
// which comes again and gets another worker.
//
//	go run ./websocket -listen 127.0.0.1:8080
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/sockdist/sockdist/userspace/worker"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address")
	flag.Parse()

	server := &http.Server{Addr: *listen, Handler: http.HandlerFunc(serve)}
	if err := worker.Run(context.Background(), server, worker.WithRebalance(worker.Rebalance{})); err != nil {
		log.Fatal(err)
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // it has told the client
	}
	defer socket.CloseNow()
	var busy sync.Mutex // held while a message is answered
	conn := worker.Lookup(r.Context().Value(http.LocalAddrContextKey).(net.Addr))
	// A message that comes after the goodbye isn't answered: the client sees that,
	// and repeats it on its new connection.
	conn.OnLeaving(func() {
		busy.Lock()
		defer busy.Unlock()
		_ = socket.Close(websocket.StatusGoingAway, "come again")
	})
	for {
		_, text, err := socket.Read(context.Background())
		if err != nil {
			return
		}
		busy.Lock()
		conn.Begin() // the kernel counts connections; messages that are being answered are the load
		err = socket.Write(context.Background(), websocket.MessageText, answer(text))
		conn.End()
		busy.Unlock()
		if err != nil {
			return
		}
	}
}

func answer(text []byte) []byte {
	time.Sleep(5 * time.Millisecond) // the work
	return fmt.Appendf(nil, "%s answered by %d", text, os.Getpid())
}
