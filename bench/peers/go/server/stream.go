package main

import (
	"bufio"
	"fmt"
	"net/http"

	"github.com/sockdist/sockdist/bench/peers/go/app"
)

// stream echoes until the client has enough.
func stream(w http.ResponseWriter, r *http.Request) {
	protocol := r.Header.Get("Upgrade")
	if protocol == "" {
		http.Error(w, "Upgrade is missing", http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n%s", protocol, app.Answer)
	// Thousands of them stay open: each keeps one small buffer.
	echo(conn, buffered.Reader)
}

func echo(conn interface{ Write([]byte) (int, error) }, from *bufio.Reader) {
	for {
		if _, err := from.Peek(1); err != nil {
			return
		}
		some, _ := from.Peek(from.Buffered())
		if _, err := conn.Write(some); err != nil {
			return
		}
		_, _ = from.Discard(len(some))
	}
}
