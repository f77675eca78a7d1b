package worker

import (
	"net"
	"net/http"
)

// Handler counts the requests that h serves, at the [Listener] that they came through:
// in its load, its finished requests, and its heartbeat. HTTP/1, HTTP/2, with or
// without TLS. A request that came through no Listener goes to h and that is all. It
// costs no allocation.
//
// A request is in flight until h returns, also when h hijacks the connection, as
// WebSocket libraries do. If h returns and leaves the connection to another goroutine,
// what goes on there is for that goroutine to count, with [ConnOf]; the connection
// itself is counted by the kernel until it is closed.
//
// It knows the connection by its local address. What puts its own there, as some do
// for the PROXY protocol, hides the connection: then use [ConnOf].
//
// Wrap once, around everything: two Handlers count a request twice.
func Handler(h http.Handler) http.Handler {
	if counting, ok := h.(*handler); ok {
		return counting
	}
	if h == nil {
		h = http.DefaultServeMux
	}
	return &handler{h}
}

type handler struct{ next http.Handler }

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	c := Lookup(local)
	if c == nil {
		h.next.ServeHTTP(w, r)
		return
	}
	ends := len(r.Header["Upgrade"]) == 0 && r.Method != http.MethodConnect
	if ends && c.Leaving() {
		w.Header().Set("Connection", "close") // net/http makes it a GOAWAY with HTTP/2
	}
	c.begin(ends)
	defer c.end(ends)
	h.next.ServeHTTP(w, r)
}
